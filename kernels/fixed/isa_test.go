package fixed

import (
	"testing"

	"edgejepa/kernels/kerneltest"
)

func TestRequiredISA(t *testing.T) { kerneltest.RequireISA(t) }
