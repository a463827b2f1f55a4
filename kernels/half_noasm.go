//go:build purego || !(amd64 || arm64)

package kernels

import "edgejepa/internal/noise"

// As in vector_noasm.go: no prefix is done.

func roundHalfVector(dst []uint16, src []float32, bits noise.Stream) int               { return 0 }
func lerpHalfVector(dst []uint16, src []float32, m, m1 float32, bits noise.Stream) int { return 0 }
func layerNormHalfVector(dst []uint16, x, gain, bias, mean, rstd []float32, rows, cols int, eps float32) bool {
	return false
}
func adamwHalfVector(p, g []float32, m, v []uint16, s *adamw, bits noise.Stream) int { return 0 }
func adamwHalfEMAVector(p, g []float32, m, v []uint16, t []float32, s *adamw, bits noise.Stream) int {
	return 0
}
func adamwHalfEMAHalfVector(p, g []float32, m, v, t []uint16, s *adamw, bits noise.Stream) int {
	return 0
}
func packRowsHalfVector(dst []float32, x []uint16, ldx, rows int) int { return 0 }
func packTHalfVector(dst []float32, w []uint16, ldw, k int) int       { return 0 }
