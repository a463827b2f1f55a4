//go:build !purego

package kernels

import "edgejepa/internal/cpu"

// packChunk bounds one call, in rows of a panel: some 10 microseconds out of main memory.
const packChunk = 2048

// packTVector packs the longest multiple of four columns of 16 rows of w into a panel and returns how many those are.
func packTVector(dst, w []float32, ldw, k int) int {
	if !cpu.HasAVX2FMA {
		return 0
	}
	n := k &^ 3
	for i := 0; i < n; i += packChunk {
		packT16(&dst[i*NR], &w[i], min(packChunk, n-i), ldw*4)
	}
	return n
}

// packRowsVector copies 16 columns of rows rows into a panel and returns how many rows it took.
func packRowsVector(dst, x []float32, ldx, rows int) int {
	if !cpu.HasAVX2FMA {
		return 0
	}
	for i := 0; i < rows; i += packChunk {
		packRows16(&dst[i*NR], &x[i*ldx], min(packChunk, rows-i), ldx*4)
	}
	return rows
}

// packStripVector copies stripRows columns of rows rows into a strip and returns how many rows it took.
func packStripVector(dst, x []float32, ldx, rows int) int {
	if !cpu.HasAVX2FMA {
		return 0
	}
	packRows24(&dst[0], &x[0], rows, ldx*4)
	return rows
}

// packT16 is, with k a multiple of 4 and stride in bytes,
//
//	for i := range k { for r := range 16 { dst[i*16+r] = src[r*stride+i] } }
//
//go:noescape
func packT16(dst, src *float32, k, stride int)

// packRows16 is, with stride in bytes,
//
//	for r := range rows { copy(dst[r*16:r*16+16], src[r*stride:]) }
//
//go:noescape
func packRows16(dst, src *float32, rows, stride int)

// packRows24 is, with stride in bytes,
//
//	for r := range rows { copy(dst[r*24:r*24+24], src[r*stride:]) }
//
//go:noescape
func packRows24(dst, src *float32, rows, stride int)
