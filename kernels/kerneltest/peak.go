package kerneltest

import (
	"edgejepa/internal/cpu"
	"edgejepa/kernels/internal/peak"
)

// Peak is the multiply-adds of float32 that one core can do in a second, from registers alone, measured now; 0 where there
// is no loop for the present path.
func Peak() float64 {
	if l := peak.Of(cpu.ISA(), "f32"); l != nil {
		return l.Best()
	}
	return 0
}
