//go:build purego || !amd64

package kernels

func packTVector(dst, w []float32, ldw, k int) int { return 0 }

func packRowsVector(dst, x []float32, ldx, rows int) int { return 0 }

func packStripVector(dst, x []float32, ldx, rows int) int { return 0 }
