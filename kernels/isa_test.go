package kernels

import (
	"testing"

	"edgejepa/kernels/kerneltest"
)

func TestRequiredISA(t *testing.T) { kerneltest.RequireISA(t) }

func forEachISA(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	kerneltest.ForEachISA(t, f)
}
