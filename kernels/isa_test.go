package kernels

import (
	"testing"

	"edgejepa/internal/cpu"
	"edgejepa/kernels/kerneltest"
)

func TestRequiredISA(t *testing.T) { kerneltest.RequireISA(t) }

func forEachISA(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	kerneltest.ForEachISA(t, f)
}

// isaSwitch is one path that a test can switch off and on.
type isaSwitch struct {
	name string
	on   *bool
}

// isaSwitches are the paths that are on, the lowest first.
func isaSwitches() (s []isaSwitch) {
	for _, r := range cpu.Rungs() {
		if *r.On {
			s = append(s, isaSwitch{r.Name, r.On})
		}
	}
	return s
}
