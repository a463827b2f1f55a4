//go:build !purego

package kernels

import "edgejepa/internal/cpu"

// Which paths this machine runs. Tests flip them; nothing else writes them after init.
var useAVX2 = cpu.HasAVX2FMA

const (
	useNEON    = false
	useDotProd = false
)

func tileF32(t *tile) {
	if useAVX2 {
		tileF32AVX2(t)
	} else {
		tileF32Generic(t)
	}
}

// tileF32AVX2 is tileF32Generic.
//
//go:noescape
func tileF32AVX2(t *tile)
