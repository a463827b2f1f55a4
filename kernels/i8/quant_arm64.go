//go:build !purego

package i8

import (
	"unsafe"

	"edgejepa/internal/cpu"
	"edgejepa/internal/noise"
	"edgejepa/kernels"
)

// maxAbsBitsNEON is maxAbsBitsGeneric(x[:n]); n is a multiple of 16.
//
//go:noescape
func maxAbsBitsNEON(x *float32, n int) uint32

// maxChainNEON is maxChainGeneric(w[:n]); n is a multiple of 32.
//
//go:noescape
func maxChainNEON(w *float32, n int) uint32

// quantizeNEON is quantizeGeneric(q[:n], x[:n], inv); n is a multiple of 16.
//
//go:noescape
func quantizeNEON(q *int8, x *float32, n int, inv float32)

// quantizeStochasticNEON is quantizeStochasticGeneric(q[:n], x[:n], inv, bits); n is a multiple of 16, and each of the
// four lanes moves on by four places.
//
//go:noescape
func quantizeStochasticNEON(q *int8, x *float32, n int, inv float32, lanes *noiseLanes)

// maxAbsColumnsNEON is maxAbsColumnsGeneric on 4*groups columns.
//
//go:noescape
func maxAbsColumnsNEON(absmax *uint32, x *float32, rows, ldx, groups int)

// quantizeColumnsNEON does 16 rows of 4*groups columns: q[j*ldq+i] = roundNearest(x[i*ldx+j] * inv[j]).
//
//go:noescape
func quantizeColumnsNEON(q *int8, ldq int, x *float32, ldx int, inv *float32, groups int)

// quantizeColumnsStochasticNEON is the same by chance. The lanes hold the places of the first row, their step is a row.
//
//go:noescape
func quantizeColumnsStochasticNEON(q *int8, ldq int, x *float32, ldx int, inv *float32, groups int, lanes *noiseLanes)

// dequantNEON is dequantGeneric from column 0 on; cols is a multiple of 8, bias may be nil. dst may be acc, seen as
// float32.
//
//go:noescape
func dequantNEON(dst *float32, ldd int, acc *int32, ldacc, rows, cols int, sa, sw, bias *float32)

func maxAbsBits(x []float32) uint32 {
	n := len(x) &^ 15
	if !cpu.HasNEON || n == 0 {
		return maxAbsBitsGeneric(x)
	}
	return max(maxAbsBitsNEON(&x[0], n), maxAbsBitsGeneric(x[n:]))
}

func maxChain(w []float32) uint32 {
	n := len(w) &^ (chainBlock - 1)
	if !cpu.HasNEON || n == 0 {
		return maxChainGeneric(w)
	}
	return max(maxChainNEON(&w[0], n), maxChainGeneric(w[n:]))
}

func quantize(q []int8, x []float32, inv float32) {
	q = q[:len(x)]
	if n := len(x) &^ 15; cpu.HasNEON && n > 0 {
		quantizeNEON(&q[0], &x[0], n, inv)
		q, x = q[n:], x[n:]
	}
	quantizeGeneric(q, x, inv)
}

func dequant(dst []float32, ldd int, acc []int32, ldacc, rows, cols int, sa, sw, bias []float32) {
	n := 0
	if cpu.HasNEON {
		n = cols &^ 7
	}
	if n > 0 {
		dequantNEON(&dst[0], ldd, &acc[0], ldacc, rows, n, &sa[0], &sw[0], unsafe.SliceData(bias))
	}
	if n < cols {
		dequantGeneric(dst, ldd, acc, ldacc, rows, n, cols, sa, sw, bias)
	}
}

// addDequant adds to dst what dequant stores; acc becomes that.
func addDequant(dst []float32, ldd int, acc []int32, ldacc, rows, cols int, sa, sw, bias []float32) {
	y := unsafe.Slice((*float32)(unsafe.Pointer(&acc[0])), len(acc))
	dequant(y, ldacc, acc, ldacc, rows, cols, sa, sw, bias)
	for i := range rows {
		kernels.Add(dst[i*ldd:][:cols], y[i*ldacc:][:cols])
	}
}

func hasMinInt8(q []int8) bool { return hasMinInt8Generic(q) }

// noiseLanes are four lanes of noise: places with the mixed key added, the key, and what the places move on by.
type noiseLanes struct{ counter, key, step [4]uint32 }

func (l *noiseLanes) set(bits noise.Stream, step int) {
	at := bits.Lane()
	for i := range l.key {
		l.counter[i], l.key[i], l.step[i] = at+uint32(i), bits.Key, uint32(step)
	}
}

// quantizeRows leaves the rows to the caller.
func quantizeRows(q []int8, ldq int, scale, x []float32, rows, cols int) bool { return false }

func quantizeStochastic(q []int8, x []float32, inv float32, bits noise.Stream) {
	q = q[:len(x)]
	n := len(x) &^ 15
	if cpu.HasNEON && n > 0 {
		var lanes noiseLanes
		lanes.set(bits, len(lanes.key))
		quantizeStochasticNEON(&q[0], &x[0], n, inv, &lanes)
	} else {
		n = 0
	}
	quantizeStochasticGeneric(q[n:], x[n:], inv, bits.At(n))
}

func maxAbsColumns(absmax []uint32, x []float32, rows, ldx int) {
	n := len(absmax) &^ 3
	if cpu.HasNEON && n > 0 {
		maxAbsColumnsNEON(&absmax[0], &x[0], rows, ldx, n/4)
	} else {
		n = 0
	}
	maxAbsColumnsGeneric(absmax[n:], x[n:], rows, ldx)
}

// quantize does columns [j, j+n): blocks of 16 rows by groups of 4 columns, of which the last may do again what others
// did before.
func (c *columnsI8) quantize(j, n int) {
	const rows, cols = 16, 4
	if !cpu.HasNEON || c.rows < rows || n < cols {
		c.quantizeGeneric(j, n)
		return
	}
	for i := 0; i < c.rows; i += rows {
		i := min(i, c.rows-rows)
		c.block(i, j, 0, n/cols)
		if n%cols != 0 {
			c.block(i, j, n-cols, 1)
		}
	}
}

// block does 16 rows from i on of groups of 4 columns from j+l on.
func (c *columnsI8) block(i, j, l, groups int) {
	q, x, inv := &c.q[(j+l)*c.ldq+i], &c.x[i*c.ldx+j+l], &c.inv[l]
	if !c.stochastic {
		quantizeColumnsNEON(q, c.ldq, x, c.ldx, inv, groups)
		return
	}
	var lanes noiseLanes
	lanes.set(c.bits.At(i*c.cols+j+l), c.cols)
	quantizeColumnsStochasticNEON(q, c.ldq, x, c.ldx, inv, groups, &lanes)
}
