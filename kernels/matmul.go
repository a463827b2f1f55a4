package kernels

import "unsafe"

// Gemm is C = A·B, or C = init + A·B: for every i < m and j < b.N
//
//	s := init[i*ldInit+j]                       // 0 without init; ldInit 0 repeats one row, such as a bias
//	for k := range b.K { s = fma(a[i*lda+k], B[k,j], s) }
//	c[i*ldc+j] = s
//
// Each element is one chain of correctly rounded multiply-adds with k ascending, so the result has the same bits
// on every instruction set, and splitting the rows between callers changes nothing. The error of an element is at
// most K 2^-24 (1+o(1)) sum |a b|. c may be init; it must not overlap a or b.
func Gemm(c []float32, ldc int, a []float32, lda, m int, b *Panels, init []float32, ldInit int) {
	if m == 0 || b.N == 0 {
		return
	}
	if b.K == 0 || lda < b.K || ldc < b.N || len(a) < (m-1)*lda+b.K || len(b.Data) < PanelLen(b.K, b.N) {
		panic("kernels: Gemm: A, B or C is smaller than its shape")
	}
	t := tile{rsA: lda, csA: 1, bsA: MR * lda, k: b.K}
	step := tileRows(b.K)
	for i := 0; i < m; i += step {
		rows := min(step, m-i)
		t.product(c[i*ldc:], ldc, a[i*lda:], rows, b, 0, b.K, from(init, i*ldInit), ldInit)
	}
}

// tnBlock is how many rows of A and B an AddGemmTN takes at a time: 256 rows of a panel are 16 KiB, half of a small
// first-level cache.
const tnBlock = 256

// AddGemmTN is C += Aᵀ·B, the weight gradient: for every i < m and j < b.N
//
//	s := c[i*ldc+j]
//	for k := range b.K { s = fma(a[k*lda+i], B[k,j], s) }
//	c[i*ldc+j] = s
//
// It is the chain of Gemm, continued: adding the rows of two micro-batches in two calls gives the bits of one call
// over both. A is read as it stands: a row of it has the values of several tiles side by side, so packing it gains nothing.
func AddGemmTN(c []float32, ldc int, a []float32, lda, m int, b *Panels) {
	if m == 0 || b.N == 0 || b.K == 0 {
		return
	}
	if lda < m || ldc < b.N || len(a) < (b.K-1)*lda+m || len(b.Data) < PanelLen(b.K, b.N) {
		panic("kernels: AddGemmTN: an operand is smaller than its shape")
	}
	for k0 := 0; k0 < b.K; k0 += tnBlock {
		kc := min(tnBlock, b.K-k0)
		t := tile{rsA: 1, csA: lda, bsA: MR, k: kc}
		step := tileRows(kc)
		for i := 0; i < m; i += step {
			rows := min(step, m-i)
			ci := c[i*ldc:]
			t.product(ci, ldc, a[k0*lda+i:], rows, b, k0, kc, ci, ldc)
		}
	}
}

// tileRows bounds the rows of one call into assembly, a multiple of MR, to about 400,000 multiply-adds: a goroutine
// cannot be preempted inside it, and a small board does that many in 100 microseconds.
func tileRows(k int) int { return max(1, 25000/max(k, 1)/MR) * MR }

// from is x[i:], or nil for nil.
func from(x []float32, i int) []float32 {
	if x == nil {
		return nil
	}
	return x[i:]
}

// zeroRow is where a product without init starts.
var zeroRow [NR]float32

// tile is the argument of the tile kernels: rows [0, rows) of one panel's columns,
//
//	s := init[i*ldInit+j]; for kk := range k { s = fma(a[i*rsA+kk*csA], b[kk*NR+j], s) }; c[i*ldc+j] = s
//
// where every MR rows a moves on by bsA. Strides count float32.
type tile struct {
	a, b, c, init *float32 // c nil: both C and init are edge, rows NR apart
	rsA, csA, bsA int
	ldc, ldInit   int
	k, rows       int
	edge          [MR * NR]float32
}

// product runs the tile kernel over the panels of b, rows [k0, k0+kc) of each. The last panel, if it is cut, goes
// through a tile of its own so that nothing outside C is touched.
func (t *tile) product(c []float32, ldc int, a []float32, rows int, b *Panels, k0, kc int, init []float32, ldInit int) {
	_ = c[(rows-1)*ldc+b.N-1]
	t.a = unsafe.SliceData(a)
	for j := 0; j < b.N; j += NR {
		t.b = &b.Data[j*b.K+k0*NR]
		if b.N-j >= NR {
			t.c, t.ldc, t.rows = &c[j], ldc, rows
			if init == nil {
				t.init, t.ldInit = &zeroRow[0], 0
			} else {
				_ = init[(rows-1)*ldInit+j+NR-1]
				t.init, t.ldInit = &init[j], ldInit
			}
			tileF32(t)
			continue
		}
		t.last(c[j:], ldc, rows, b.N-j, from(init, j), ldInit)
	}
}

// last computes the first w < NR columns of a panel, MR rows at a time through the full-width edge.
func (t *tile) last(c []float32, ldc, rows, w int, init []float32, ldInit int) {
	a := t.a
	t.c, t.ldc, t.init, t.ldInit = nil, NR, nil, NR
	for i := 0; i < rows; i += MR {
		t.rows = min(MR, rows-i)
		for r := range t.rows {
			if init == nil {
				clear(t.edge[r*NR : r*NR+w])
			} else {
				copy(t.edge[r*NR:r*NR+w], init[(i+r)*ldInit:])
			}
		}
		tileF32(t)
		for r := range t.rows {
			copy(c[(i+r)*ldc:(i+r)*ldc+w], t.edge[r*NR:])
		}
		if i+MR < rows {
			t.a = (*float32)(unsafe.Add(unsafe.Pointer(t.a), t.bsA*4))
		}
	}
	t.a = a
}
