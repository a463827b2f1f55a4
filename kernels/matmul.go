package kernels

import (
	"sync"
	"unsafe"
)

// Gemm is C = A·B, or C = init + A·B: for every i < m and j < b.N
//
//	s := init[i*ldInit+j]                       // 0 without init; ldInit 0 repeats one row, such as a bias
//	for k := range b.K { s = fma(a[i*lda+k], B[k,j], s) }
//	c[i*ldc+j] = s
//
// Each element is one chain of correctly rounded multiply-adds with k ascending, so the result has the same bits
// on every instruction set, and splitting the rows between callers changes nothing. The error of an element is at
// most K 2^-24 (1+o(1)) sum |a b|. c may be init if ldInit is ldc; it must not overlap a or b.
func Gemm(c []float32, ldc int, a []float32, lda, m int, b *Panels, init []float32, ldInit int) {
	if m == 0 || b.N == 0 {
		return
	}
	if m < 0 || b.K == 0 || lda < b.K || len(a) < (m-1)*lda+b.K || len(b.Data) < PanelLen(b.K, b.N) ||
		!fitsGemm(c, ldc, m, b.N, init, ldInit) {
		panic("kernels: Gemm: A, B or C is smaller than its shape")
	}
	t := tile{rsA: lda, csA: 1, bsA: MR * lda}
	var r right
	r.packed(b)
	t.gemm(c, ldc, a, m, &r, init, ldInit)
}

// AddGemmTN is C += Aᵀ·B, the weight gradient: for every i < m and j < b.N
//
//	s := c[i*ldc+j]
//	for k := range b.K { s = fma(a[k*lda+i], B[k,j], s) }
//	c[i*ldc+j] = s
//
// It is the chain of Gemm, continued: adding the rows of two micro-batches in two calls gives the bits of one call
// over both.
func AddGemmTN(c []float32, ldc int, a []float32, lda, m int, b *Panels) {
	if m == 0 || b.N == 0 || b.K == 0 {
		return
	}
	if m < 0 || lda < m || len(a) < (b.K-1)*lda+m || len(b.Data) < PanelLen(b.K, b.N) || !fitsGemm(c, ldc, m, b.N, c, ldc) {
		panic("kernels: AddGemmTN: an operand is smaller than its shape")
	}
	t := tile{rsA: 1, csA: lda, bsA: MR}
	var r right
	r.packed(b)
	t.gemm(c, ldc, a, m, &r, c, ldc)
}

// kBlock is how many values of k a call takes at most: 384 rows of a panel are 24 KiB, which leaves room for A in a small
// first-level cache. The next call continues the chains from C.
const kBlock = 384

// callMACs bounds one call into assembly, in multiply-adds of one panel: a goroutine cannot be preempted inside it, and
// a small board does that many in 100 microseconds. Paths that take several panels a call are four times as fast.
const callMACs = 400_000

// right is B as the tile kernels read it: row k of the panel of columns [j, j+NR), j a multiple of NR, stands at
// x[j/NR*panel+k*row:].
type right struct {
	x          []float32
	row, panel int
	k, n       int
	padded     bool // the last panel has NR columns in memory, too
}

// packed and view fill r in place: the compiler would copy a literal through memory, and stall on it.
func (r *right) packed(b *Panels) {
	r.x, r.row, r.panel, r.k, r.n, r.padded = b.Data, NR, b.K*NR, b.K, b.N, true
}

func (r *right) view(x []float32, ldx, k, n int) {
	r.x, r.row, r.panel, r.k, r.n, r.padded = x, ldx, NR, k, n, false
}

// tile is the argument of the tile kernels: rows [0, rows) of one panel's columns,
//
//	s := init[i*ldInit+j]; for kk := range k { s = fma(a[i*rsA+kk*csA], b[kk*csB+j], s) }; c[i*ldc+j] = s
//
// where bsA is MR*rsA, the distance of a tile from the next. Strides count float32, but csB, bsB and initStep bytes.
type tile struct {
	a, b, c, init *float32 // c nil: both C and init are edge, rows NR apart
	rsA, csA, bsA int
	ldc, ldInit   int
	k, rows       int
	csB           int // packedRow if the panel is packed

	// Kernels for which tileTakesPanels go on to further panels, bsB apart; C moves on by NR, init by initStep.
	panels, bsB, initStep int
	mask                  int // those for which tileMasks: the columns of a lone panel, one bit each; the rest is not touched

	edge [MR * NR]float32
}

// packedRow is how many bytes a row of a packed panel takes.
const packedRow = NR * 4

// zeroRow is where a product without init starts.
var zeroRow [2 * NR]float32

// allColumns is the mask of a whole panel.
const allColumns = 1<<NR - 1

// fitsGemm reports whether C [m, n] and init are there, and C does not overwrite an init that has other rows.
func fitsGemm(c []float32, ldc, m, n int, init []float32, ldInit int) bool {
	if ldc < n || len(c) < (m-1)*ldc+n {
		return false
	}
	return init == nil || ldInit >= 0 && len(init) >= (m-1)*ldInit+n && (&init[0] != &c[0] || ldInit == ldc || m == 1)
}

// gemm is C = init + A·B for the A that t describes, a block of k after the other.
func (t *tile) gemm(c []float32, ldc int, a []float32, m int, b *right, init []float32, ldInit int) {
	t.csB, t.bsB = b.row*4, b.panel*4
	kc, most := b.k, kBlock
	if t.csA != 1 {
		most = stripK
	}
	if kc > most { // blocks of about one size
		blocks := (kc + most - 1) / most
		kc = (kc + blocks - 1) / blocks
	}
	for k := 0; k < b.k; k += kc {
		t.k = min(kc, b.k-k)
		t.blocks(c, ldc, a[k*t.csA:], m, b, k, init, ldInit)
		init, ldInit = c, ldc // the chains go on from C
	}
}

// from is x[i:], or nil for nil.
func from(x []float32, i int) []float32 {
	if x == nil {
		return nil
	}
	return x[i:]
}

// groupBytes of B serve all rows before the next are read: a part of a small board's second-level cache.
const groupBytes = 256 << 10

// blocks adds t.k values of k, of which k is the first: for a group of panels that stay in the second-level cache, a block
// of rows after the other, so that A is not read again for each panel and a call is bounded.
//
// The rows of a transposed A are those of a weight's gradient, C, which is as large as the weight. A block has few
// of them, so that C is read along its rows: down a column, each value would be in another page.
func (t *tile) blocks(c []float32, ldc int, a []float32, m int, b *right, k int, init []float32, ldInit int) {
	rows := m
	if m*t.k > callMACs/NR {
		rows = max(1, callMACs/NR/t.k/MR) * MR
	}
	if t.csA != 1 {
		rows = min(rows, stripRows)
		if ldc%1024 == 0 && tileMasks() { // two lines of C a row, all in the same two sets of the cache
			rows = min(rows, stripRows/2)
		}
	}
	panels := 1
	if tileTakesPanels() {
		panels = max(2, 4*callMACs/NR/(rows*t.k)&^1)
	}
	group := max(1, groupBytes/packedRow/t.k/panels) * panels
	all, whole := (b.n+NR-1)/NR, b.n/NR
	var s *strip
	if t.collides(m, b.n) {
		s = stripPool.Get().(*strip)
		defer stripPool.Put(s)
	}
	for g := 0; g < all; g += group {
		end := min(g+group, all)
		for i := 0; i < m; i += rows {
			t.rows = min(rows, m-i)
			lda := t.csA
			if t.a = &a[i*t.rsA]; s != nil {
				s.take(a[i:], lda, t.rows, t.k)
				t.a, t.csA = &s[0], stripRows
			}
			ci, initI := c[i*ldc:], from(init, i*ldInit)
			for p := g; p < end; p += t.panels {
				if t.panels, t.mask = min(panels, end-p, whole-p), allColumns; p == whole {
					t.panels, t.mask = 1, 1<<(b.n%NR)-1
				}
				t.product(ci[p*NR:], ldc, b, p, k, from(initI, p*NR), ldInit)
			}
			t.csA = lda
		}
	}
}

// product runs the tile kernel over t.panels panels from row k of panel p.
func (t *tile) product(c []float32, ldc int, b *right, p, k int, init []float32, ldInit int) {
	t.b = &b.x[p*b.panel+k*b.row]
	switch {
	case t.mask == allColumns || tileMasks():
		t.c, t.ldc = &c[0], ldc
		if init == nil {
			t.init, t.ldInit, t.initStep = &zeroRow[0], 0, 0
		} else {
			t.init, t.ldInit, t.initStep = &init[0], ldInit, packedRow
		}
		tileF32(t)
	case b.padded:
		t.last(c, ldc, b.n%NR, init, ldInit)
	default:
		t.lastOfView(c, ldc, b.x[p*b.panel+k*b.row:], b.row, b.n%NR, init, ldInit)
	}
}

// collides reports whether the values of A that one tile takes are a multiple of 1 KiB apart, so that four sets of a
// first-level cache hold them all, and whether there are enough of them, and panels that use them, to be worth a copy.
func (t *tile) collides(m, n int) bool {
	return t.csA%256 == 0 && t.k >= 8 && m >= MR && n >= 16*NR
}

// strip is a copy of up to stripRows columns of a transposed A: [k][stripRows].
type strip [stripK * stripRows]float32

// stripRows, the rows of C in a block of a product with a transposed A, is a multiple of every tile's height, and the
// width of packRows24. stripK is what such a product has instead of kBlock: a strip, a pair of panels and the next pair
// together stay in a first-level cache.
const (
	stripRows = 24
	stripK    = 128
)

var stripPool = sync.Pool{New: func() any { return new(strip) }}

// take copies rows columns of a, which is [k, lda].
func (s *strip) take(a []float32, lda, rows, k int) {
	done := 0
	if rows == stripRows {
		_ = a[(k-1)*lda+stripRows-1]
		done = packStripVector(s[:], a, lda, k)
	}
	for i := done; i < k; i++ {
		copy(s[i*stripRows:i*stripRows+rows], a[i*lda:])
	}
}

// last computes the first w < NR columns of a panel, MR rows at a time through the full-width edge, so that nothing
// outside C is touched. It works on a copy: what *t points at would escape to the heap.
func (t *tile) last(c []float32, ldc, w int, init []float32, ldInit int) {
	u := *t
	u.c, u.ldc, u.init, u.ldInit = nil, NR, nil, NR
	for i := 0; i < t.rows; i += MR {
		u.rows = min(MR, t.rows-i)
		for r := range u.rows {
			if init == nil {
				clear(u.edge[r*NR : r*NR+w])
			} else {
				copy(u.edge[r*NR:r*NR+w], init[(i+r)*ldInit:])
			}
		}
		tileF32(&u)
		for r := range u.rows {
			copy(c[(i+r)*ldc:(i+r)*ldc+w], u.edge[r*NR:])
		}
		if i+MR < t.rows {
			u.a = (*float32)(unsafe.Add(unsafe.Pointer(u.a), u.bsA*4))
		}
	}
}

// lastOfView is last for a panel that has only w columns in memory: x, with rows ldx apart.
//
//go:noinline
func (t *tile) lastOfView(c []float32, ldc int, x []float32, ldx, w int, init []float32, ldInit int) {
	var packed [kBlock * NR]float32
	for k := range t.k {
		copy(packed[k*NR:k*NR+w], x[k*ldx:])
	}
	u := *t
	u.b, u.csB = &packed[0], packedRow
	u.last(c, ldc, w, init, ldInit)
}
