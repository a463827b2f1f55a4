//go:build !purego

package kernels

import "edgejepa/internal/cpu"

// Which paths this machine runs. Tests flip them; nothing else writes them after init.
var (
	useNEON    = cpu.HasNEON
	useDotProd = cpu.HasDotProd
)

const useAVX2 = false

func tileF32(t *tile) {
	if useNEON {
		tileF32NEON(t)
	} else {
		tileF32Generic(t)
	}
}

// tileF32NEON is tileF32Generic.
//
//go:noescape
func tileF32NEON(t *tile)
