//go:build !purego

package kernels

import "edgejepa/internal/cpu"

// Which paths this machine runs. Tests flip them; nothing else writes them after init.
var (
	useNEON    = cpu.HasNEON
	useDotProd = cpu.HasDotProd
	useI8MM    = cpu.HasI8MM
)

// useInOrder chooses the schedules for cores that issue in order. The results are the same.
var useInOrder = cpu.InOrder

const useAVX2 = false

func tileF32(t *tile) {
	switch {
	case !useNEON:
		tileF32Generic(t)
	case useInOrder:
		tileF32A53(t)
	default:
		tileF32NEON(t)
	}
}

// tileF32NEON is tileF32Generic.
//
//go:noescape
func tileF32NEON(t *tile)

// tileF32A53 is tileF32Generic.
//
//go:noescape
func tileF32A53(t *tile)

func tileTakesPanels() bool { return false }

func tileMasks() bool { return false }
