//go:build !purego

package kernels

import "edgejepa/internal/cpu"

// Which paths this machine runs. Tests flip them; nothing else writes them after init.
var (
	useAVX2   = cpu.HasAVX2FMA
	useAVX512 = cpu.HasAVX512
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

// tileF32AVX2 is tileF32Generic.
//
//go:noescape
func tileF32AVX2(t *tile)

// tileF32AVX512 is tileF32Generic.
//
//go:noescape
func tileF32AVX512(t *tile)
