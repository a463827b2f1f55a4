//go:build !purego

package kernels

import "edgejepa/internal/cpu"

func tileF32(t *tile) {
	if cpu.HasAVX512 {
		tileF32AVX512(t)
	} else if cpu.HasAVX2FMA {
		tileF32AVX2(t)
	} else {
		tileF32Generic(t)
	}
}

// tileTakesPanels: tileF32 runs over t.panels panels.
func tileTakesPanels() bool { return cpu.HasAVX2FMA }

// tileMasks: tileF32 leaves out the columns that t.mask lacks.
func tileMasks() bool { return cpu.HasAVX512 }

// tileF32AVX2 is tileF32Generic.
//
//go:noescape
func tileF32AVX2(t *tile)

// tileF32AVX512 is tileF32Generic.
//
//go:noescape
func tileF32AVX512(t *tile)
