//go:build !purego

package i8

import (
	"unsafe"

	"edgejepa/internal/cpu"
	"edgejepa/internal/noise"
)

// maxAbsBitsAVX2 is maxAbsBitsGeneric(x[:n]); n is a multiple of 32.
//
//go:noescape
func maxAbsBitsAVX2(x *float32, n int) uint32

// maxChainAVX2 is the bits of maxChainGeneric(w[:n]); n is a multiple of 32.
//
//go:noescape
func maxChainAVX2(w *float32, n int) uint32

// quantizeAVX2 is quantizeGeneric(q[:n], x[:n], inv); n is a multiple of 32, no |x*inv| reaches 127.5.
//
//go:noescape
func quantizeAVX2(q *int8, x *float32, n int, inv float32)

// quantizeStochasticAVX2 is quantizeStochasticGeneric(q[:n], x[:n], inv, bits); n is a multiple of 32, and each of the
// eight lanes moves on by eight places.
//
//go:noescape
func quantizeStochasticAVX2(q *int8, x *float32, n int, inv float32, lanes *noiseLanes)

// quantizeRowsAVX2 is QuantizeRows; cols is a multiple of 32.
//
//go:noescape
func quantizeRowsAVX2(q *int8, ldq int, scale, x *float32, rows, cols int)

//go:noescape
func quantizeRowsAVX512(q *int8, ldq int, scale, x *float32, rows, cols int)

// maxAbsColumnsAVX2 is maxAbsColumnsGeneric on 8*groups columns.
//
//go:noescape
func maxAbsColumnsAVX2(absmax *uint32, x *float32, rows, ldx, groups int)

// quantizeColumnsAVX2 does 32 rows of 8*groups columns: q[j*ldq+i] = roundNearest(x[i*ldx+j] * inv[j]).
//
//go:noescape
func quantizeColumnsAVX2(q *int8, ldq int, x *float32, ldx int, inv *float32, groups int)

// quantizeColumnsStochasticAVX2 is the same by chance. The lanes hold the places of the first row, their step is a row;
// they are left 8*groups further.
//
//go:noescape
func quantizeColumnsStochasticAVX2(q *int8, ldq int, x *float32, ldx int, inv *float32, groups int, lanes *noiseLanes)

// dequantAVX2 is dequantGeneric from column 0 on; cols is a multiple of 8, bias may be nil. dst may be acc, seen as
// float32.
//
//go:noescape
func dequantAVX2(dst *float32, ldd int, acc *int32, ldacc, rows, cols int, sa, sw, bias *float32)

// addDequantAVX2 adds to dst what dequantAVX2 stores.
//
//go:noescape
func addDequantAVX2(dst *float32, ldd int, acc *int32, ldacc, rows, cols int, sa, sw, bias *float32)

// hasMinInt8AVX2 says whether any of n values is -128; n is a multiple of 64.
//
//go:noescape
func hasMinInt8AVX2(q *int8, n int) bool

func maxAbsBits(x []float32) uint32 {
	n := len(x) &^ 31
	if !cpu.HasAVX2FMA || n == 0 {
		return maxAbsBitsGeneric(x)
	}
	return max(maxAbsBitsAVX2(&x[0], n), maxAbsBitsGeneric(x[n:]))
}

func maxChain(w []float32) uint32 {
	n := len(w) &^ (chainBlock - 1)
	if !cpu.HasAVX2FMA || n == 0 {
		return maxChainGeneric(w)
	}
	return max(maxChainAVX2(&w[0], n), maxChainGeneric(w[n:]))
}

func quantize(q []int8, x []float32, inv float32) {
	q = q[:len(x)]
	if n := len(x) &^ 31; cpu.HasAVX2FMA && n > 0 {
		quantizeAVX2(&q[0], &x[0], n, inv)
		q, x = q[n:], x[n:]
	}
	quantizeGeneric(q, x, inv)
}

func dequant(dst []float32, ldd int, acc []int32, ldacc, rows, cols int, sa, sw, bias []float32) {
	n := 0
	if cpu.HasAVX2FMA {
		n = cols &^ 7
	}
	if n > 0 {
		dequantAVX2(&dst[0], ldd, &acc[0], ldacc, rows, n, &sa[0], &sw[0], unsafe.SliceData(bias))
	}
	if n < cols {
		dequantGeneric(dst, ldd, acc, ldacc, rows, n, cols, sa, sw, bias)
	}
}

// addDequant adds to dst what dequant stores.
func addDequant(dst []float32, ldd int, acc []int32, ldacc, rows, cols int, sa, sw, bias []float32) {
	n := 0
	if cpu.HasAVX2FMA {
		n = cols &^ 7
	}
	if n > 0 {
		addDequantAVX2(&dst[0], ldd, &acc[0], ldacc, rows, n, &sa[0], &sw[0], unsafe.SliceData(bias))
	}
	if n < cols {
		addDequantGeneric(dst, ldd, acc, ldacc, rows, n, cols, sa, sw, bias)
	}
}

// hasMinInt8 says whether any value is -128.
func hasMinInt8(q []int8) bool {
	for cpu.HasAVX2FMA && len(q) >= 64 {
		n := min(len(q)&^63, callBytes)
		if hasMinInt8AVX2(&q[0], n) {
			return true
		}
		q = q[n:]
	}
	return hasMinInt8Generic(q)
}

// noiseLanes are eight lanes of noise: places with the mixed key added, what they move on by, and the key.
type noiseLanes struct{ counter, step, key [8]uint32 }

func (l *noiseLanes) set(bits noise.Stream, step int) {
	at := bits.Lane()
	for i := range l.key {
		l.counter[i], l.step[i], l.key[i] = at+uint32(i), uint32(step), bits.Key
	}
}

// quantizeRows does rows of QuantizeRows, and says whether it could.
func quantizeRows(q []int8, ldq int, scale, x []float32, rows, cols int) bool {
	if !cpu.HasAVX2FMA || cols%32 != 0 {
		return false
	}
	if cpu.HasAVX512 {
		quantizeRowsAVX512(&q[0], ldq, &scale[0], &x[0], rows, cols)
	} else {
		quantizeRowsAVX2(&q[0], ldq, &scale[0], &x[0], rows, cols)
	}
	return true
}

func quantizeStochastic(q []int8, x []float32, inv float32, bits noise.Stream) {
	q = q[:len(x)]
	n := len(x) &^ 31
	if cpu.HasAVX2FMA && n > 0 {
		var lanes noiseLanes
		lanes.set(bits, len(lanes.key))
		quantizeStochasticAVX2(&q[0], &x[0], n, inv, &lanes)
	} else {
		n = 0
	}
	quantizeStochasticGeneric(q[n:], x[n:], inv, bits.At(n))
}

func maxAbsColumns(absmax []uint32, x []float32, rows, ldx int) {
	n := len(absmax) &^ 7
	if cpu.HasAVX2FMA && n > 0 {
		maxAbsColumnsAVX2(&absmax[0], &x[0], rows, ldx, n/8)
	} else {
		n = 0
	}
	maxAbsColumnsGeneric(absmax[n:], x[n:], rows, ldx)
}

// quantize does columns [j, j+n): blocks of 32 rows by groups of 8 columns, of which the last may do again what others
// did before.
func (c *columnsI8) quantize(j, n int) {
	const rows, cols = 32, 8
	if !cpu.HasAVX2FMA || c.rows < rows || n < cols {
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

// block does 32 rows from i on of groups of 8 columns from j+l on.
func (c *columnsI8) block(i, j, l, groups int) {
	q, x, inv := &c.q[(j+l)*c.ldq+i], &c.x[i*c.ldx+j+l], &c.inv[l]
	if !c.stochastic {
		quantizeColumnsAVX2(q, c.ldq, x, c.ldx, inv, groups)
		return
	}
	var lanes noiseLanes
	lanes.set(c.bits.At(i*c.cols+j+l), c.cols)
	quantizeColumnsStochasticAVX2(q, c.ldq, x, c.ldx, inv, groups, &lanes)
}
