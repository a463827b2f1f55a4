//go:build purego || !(amd64 || arm64)

package i8

import "edgejepa/internal/noise"

func pathLayout() arrangement { return inRuns }

// The block of a product that GemmF32 completes at a time: 12 KiB of sums, which stay in the first-level cache. Rows are
// a multiple of every tile's, columns of every panel's.
const (
	fusedRows = 24
	fusedCols = 128
)

// scratch is what a product needs beside its operands: nothing.
type scratch struct{}

// gemm is Gemm without its checks.
func (*scratch) gemm(acc []int32, ldacc int, a []int8, lda, m int, p *Panels) {
	gemmGeneric(acc, ldacc, a, lda, m, p)
}

func packVector(panel []int8, start []int32, rows []int8, k int, l *geometry) int { return 0 }

func maxAbsBits(x []float32) uint32 { return maxAbsBitsGeneric(x) }

func maxChain(w []float32) uint32 { return maxChainGeneric(w) }

func quantize(q []int8, x []float32, inv float32) { quantizeGeneric(q, x, inv) }

func dequant(dst []float32, ldd int, acc []int32, ldacc, rows, cols int, sa, sw, bias []float32) {
	dequantGeneric(dst, ldd, acc, ldacc, rows, 0, cols, sa, sw, bias)
}

func addDequant(dst []float32, ldd int, acc []int32, ldacc, rows, cols int, sa, sw, bias []float32) {
	addDequantGeneric(dst, ldd, acc, ldacc, rows, 0, cols, sa, sw, bias)
}

func hasMinInt8(q []int8) bool { return hasMinInt8Generic(q) }

// quantizeRows leaves the rows to the caller.
func quantizeRows(q []int8, ldq int, scale, x []float32, rows, cols int) bool { return false }

func brokenBlocks(q []int8) bool { return brokenBlocksGeneric(q) }

func quantizeStochastic(q []int8, x []float32, inv float32, bits noise.Stream) {
	quantizeStochasticGeneric(q, x, inv, bits)
}

func maxAbsColumns(absmax []uint32, x []float32, rows, ldx int) {
	maxAbsColumnsGeneric(absmax, x, rows, ldx)
}

func (c *columnsI8) quantize(j, n int) { c.quantizeGeneric(j, n) }
