//go:build !purego

package kernels

import "unsafe"

// i8PassK is how many k one pass of the AVX2 tile takes: six rows of that many int16 are 12 KiB. i8RowLen is how far
// those rows are apart; the odd cache line keeps them out of each other's way.
const (
	i8PassK  = 1024
	i8RowLen = i8PassK + 32
)

// i8CallMACs bounds one call into assembly to some tens of microseconds: a goroutine cannot be preempted inside it.
const i8CallMACs = 1 << 20

// tileI8 is the argument of tileI8AVX2.
type tileI8 struct {
	b          *int8  // the first panel, at the pass's first k
	c          *int32 // the first row's sums
	bStep, ldc int    // from one panel to the next, in bytes; from one row to the next, in int32
	steps      int    // k of this pass, in fours
	rows       int    // 1, 2, 4 or 6
	panels     int
	add        bool // continue the sums in c
	a          [6 * i8RowLen]int16
}

// tileI8AVX2 takes rows of widened activations through panels of 16 channels. For r < rows, j < 16*panels:
//
//	c[r*ldc+j] = sum over k < 4*steps of int32(a[r*i8RowLen+k]) * w[j,k]      // + c[r*ldc+j] with add
//
//go:noescape
func tileI8AVX2(t *tileI8)

// widenI8AVX2 is for i := range n { dst[i] = int16(src[i]) }; n is a multiple of 16.
//
//go:noescape
func widenI8AVX2(dst *int16, src *int8, n int)

// maxAbsBitsAVX2 is maxAbsBitsGeneric(x[:n]); n is a multiple of 32.
//
//go:noescape
func maxAbsBitsAVX2(x *float32, n int) uint32

// maxChainAVX2 is the bits of maxChainGeneric(w[:n]); n is a multiple of 32.
//
//go:noescape
func maxChainAVX2(w *float32, n int) uint32

// quantizeAVX2 is quantizeGeneric(q[:n], x[:n], inv); n is a multiple of 32.
//
//go:noescape
func quantizeAVX2(q *int8, x *float32, n int, inv float32)

// dequantAVX2 is dequantGeneric on n values, a multiple of 8; bias may be nil.
//
//go:noescape
func dequantAVX2(dst *float32, acc *int32, sa float32, sw, bias *float32, n int)

func i8PathLayout() i8Layout {
	if useAVX2 {
		return i8Pairs
	}
	return i8Runs
}

func gemmI8(acc []int32, ldacc int, a []int8, lda, m int, p *PanelsI8) {
	if p.layout == i8Pairs {
		gemmI8AVX2(acc, ldacc, a, lda, m, p)
	} else {
		gemmI8Generic(acc, ldacc, a, lda, m, p)
	}
}

func gemmI8AVX2(acc []int32, ldacc int, a []int8, lda, m int, p *PanelsI8) {
	var t tileI8
	var edge [6 * 16]int32
	t.bStep = 16 * p.kp
	for i := 0; i < m; i += t.rows {
		t.rows = tileRowsI8(m - i)
		for k := 0; k < p.K; k += i8PassK {
			kc := min(i8PassK, p.K-k)
			t.widen(a[i*lda+k:], lda, kc)
			t.steps, t.add = (kc+3)/4, k > 0
			most := max(1, i8CallMACs/(16*t.rows*kc))
			full := p.N / 16
			for j := 0; j < full; j += most {
				t.panels = min(most, full-j)
				t.b, t.c, t.ldc = &p.data[j*t.bStep+16*k], &acc[i*ldacc+16*j], ldacc
				tileI8AVX2(&t)
			}
			if j := 16 * full; j < p.N { // a cut panel goes through edge, so that nothing outside acc is touched
				t.panels = 1
				t.b, t.c, t.ldc = &p.data[full*t.bStep+16*k], &edge[0], 16
				tileI8AVX2(&t)
				if k+kc == p.K {
					for r := range t.rows {
						copy(acc[(i+r)*ldacc+j:(i+r)*ldacc+p.N], edge[16*r:])
					}
				}
			}
		}
	}
}

// tileRowsI8 is the tallest tile for the rows that are left.
func tileRowsI8(left int) int {
	switch {
	case left >= 6:
		return 6
	case left >= 4:
		return 4
	}
	return min(left, 2)
}

// widen copies kc values of each row of a to t.a, as int16 and padded with zeros to a multiple of 4.
func (t *tileI8) widen(a []int8, lda, kc int) {
	for r := range t.rows {
		dst, src := t.a[r*i8RowLen:(r+1)*i8RowLen], a[r*lda:r*lda+kc]
		n := kc &^ 15
		if n > 0 {
			widenI8AVX2(&dst[0], &src[0], n)
		}
		if n < kc {
			for i, v := range src[n:] {
				dst[n+i] = int16(v)
			}
			clear(dst[kc:roundUp(kc, 4)])
		}
	}
}

func maxAbsBits(x []float32) uint32 {
	n := len(x) &^ 31
	if !useAVX2 || n == 0 {
		return maxAbsBitsGeneric(x)
	}
	return max(maxAbsBitsAVX2(&x[0], n), maxAbsBitsGeneric(x[n:]))
}

func maxChain(w []float32) uint32 {
	n := len(w) &^ (chainBlock - 1)
	if !useAVX2 || n == 0 {
		return maxChainGeneric(w)
	}
	return max(maxChainAVX2(&w[0], n), maxChainGeneric(w[n:]))
}

func quantize(q []int8, x []float32, inv float32) {
	q = q[:len(x)]
	if n := len(x) &^ 31; useAVX2 && n > 0 {
		quantizeAVX2(&q[0], &x[0], n, inv)
		q, x = q[n:], x[n:]
	}
	quantizeGeneric(q, x, inv)
}

func dequant(dst []float32, acc []int32, sa float32, sw, bias []float32) {
	if n := len(acc) &^ 7; useAVX2 && n > 0 {
		dequantAVX2(&dst[0], &acc[0], sa, &sw[0], unsafe.SliceData(bias), n)
		dst, acc, sw, bias = dst[n:], acc[n:], sw[n:], from(bias, n)
	}
	dequantGeneric(dst, acc, sa, sw, bias)
}
