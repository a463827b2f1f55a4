package kernels

// View is the right-hand operand B [K, N] of a product, row-major with rows LD apart, read as it stands: the weight of a
// layer in dx = dy·W, the input in dW = dyᵀ·x, a head's values in softmax(q·kᵀ)·v.
//
// It saves the packed copy and the time to make it, and is as fast as a packed operand at the widths of this program's
// models: 0.95 and 0.95 of the peak for 64×128×512 on AVX-512, 0.95 and 0.95 for 196×768×192. Pack B if LD is a multiple
// of 1024, when the rows of a panel fall into one set of a first-level cache (0.6 instead of 0.85 at 64×1024×1024), or
// if it is used again and again and its last panel is cut, which paths without masks copy at each use.
type View struct {
	K, N int
	X    []float32 // (K-1)*LD + N values or more
	LD   int
}

func (b *View) covers() bool { return b.LD >= b.N && len(b.X) >= (b.K-1)*b.LD+b.N }

// GemmView is Gemm with B read as it stands.
func GemmView(c []float32, ldc int, a []float32, lda, m int, b *View, init []float32, ldInit int) {
	if m == 0 || b.N == 0 {
		return
	}
	if m < 0 || b.K == 0 || lda < b.K || len(a) < (m-1)*lda+b.K || !b.covers() || !fitsGemm(c, ldc, m, b.N, init, ldInit) {
		panic("kernels: GemmView: A, B or C is smaller than its shape")
	}
	t := tile{rsA: lda, csA: 1, bsA: MR * lda}
	var r right
	r.view(b.X, b.LD, b.K, b.N)
	t.gemm(c, ldc, a, m, &r, init, ldInit)
}

// AddGemmTNView is AddGemmTN with B read as it stands.
func AddGemmTNView(c []float32, ldc int, a []float32, lda, m int, b *View) {
	if m == 0 || b.N == 0 || b.K == 0 {
		return
	}
	if m < 0 || lda < m || len(a) < (b.K-1)*lda+m || !b.covers() || !fitsGemm(c, ldc, m, b.N, c, ldc) {
		panic("kernels: AddGemmTNView: an operand is smaller than its shape")
	}
	t := tile{rsA: 1, csA: lda, bsA: MR}
	var r right
	r.view(b.X, b.LD, b.K, b.N)
	t.gemm(c, ldc, a, m, &r, c, ldc)
}
