//go:build !purego

package kernels

import "edgejepa/internal/cpu"

// Which paths this machine runs. Tests flip them; nothing else writes them after init.
var (
	useAVX2       = cpu.HasAVX2FMA
	useAVXVNNI    = cpu.HasAVXVNNI
	useAVX512     = cpu.HasAVX512
	useAVX512VNNI = cpu.HasAVX512VNNI
)

const (
	useNEON    = false
	useDotProd = false
)

func tileF32(t *tile) {
	if useAVX512 {
		tileF32AVX512(t)
	} else if useAVX2 {
		tileF32AVX2(t)
	} else {
		tileF32Generic(t)
	}
}

// tileTakesPanels: tileF32 runs over t.panels panels.
func tileTakesPanels() bool { return useAVX2 }

// tileMasks: tileF32 leaves out the columns that t.mask lacks.
func tileMasks() bool { return useAVX512 }

// tileF32AVX2 is tileF32Generic.
//
//go:noescape
func tileF32AVX2(t *tile)

// tileF32AVX512 is tileF32Generic.
//
//go:noescape
func tileF32AVX512(t *tile)
