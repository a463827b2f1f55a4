//go:build !purego

package kernels

import "edgejepa/internal/cpu"

func tileF32(t *tile) {
	switch {
	case !cpu.HasNEON:
		tileF32Generic(t)
	case cpu.InOrder:
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
