package kernels

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/kernels/kerneltest"
)

// definition is every element of C = init + A·B as a chain, A and B given by element; C and init have n columns.
func definition(init []float32, m, n, k int, a, b func(i, j int) float32) []float32 {
	c := append([]float32(nil), init...)
	for i := range m {
		for j := range n {
			c[i*n+j] = chain(c[i*n+j], k, func(x int) float32 { return a(i, x) }, func(x int) float32 { return b(x, j) })
		}
	}
	return c
}

// collidingRows is how far the rows of a transposed A must be apart for it to be copied; see collides.
const collidingRows = 256

// productShapes are m, n, k at the ends of tiles, pairs of panels, blocks of rows and of k, groups of panels and calls;
// wide ones have an A that collides.
func productShapes() [][3]int {
	s := [][3]int{{1, 1, 1}, {300, 33, kBlock + 1}, {20, 200, 2*kBlock + 5}, {5, 16, 3 * kBlock}, {25, 257, kBlock + 2}, {6, 256, 8},
		{70, 200, kBlock}, {27, 401, kBlock}, {26, 256, stripK + 1}, {27, 1024, 8}}
	for _, m := range []int{1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 15, 16, 19, 20, 23, 24, 31} {
		for _, n := range []int{7, 16, 31, 32, 48, 65} {
			s = append(s, [3]int{m, n, 9})
		}
	}
	return s
}

// Every path and shape, B as it stands: the definition, and nothing outside an operand is read or written, for each
// ends or begins at a page that must not be touched.
func TestProductsOfViews(t *testing.T) {
	for _, s := range productShapes() {
		m, n, k := s[0], s[1], s[2]
		if testing.Short() && m*n*k > 100_000 {
			continue
		}
		lda, ldb, ldc, ldt := k+m%3, n+m%2, n+k%2, m+n%2
		if n > 255 {
			ldt = collidingRows
			require.True(t, (&tile{csA: ldt, k: k}).collides(m, n))
		}
		a, at, b := make([]float32, (m-1)*lda+k), make([]float32, (k-1)*ldt+m), make([]float32, (k-1)*ldb+n)
		bias, c0 := make([]float32, n), make([]float32, m*n)
		mixed(a, 1)
		mixed(b, 2)
		mixed(bias, 3)
		mixed(c0, 4)
		for i := range m {
			for x := range k {
				at[x*ldt+i] = a[i*lda+x]
			}
		}
		repeated := make([]float32, 0, m*n)
		for range m {
			repeated = append(repeated, bias...)
		}
		want := func(init []float32) []float32 {
			return definition(init, m, n, k, func(i, x int) float32 { return a[i*lda+x] }, func(x, j int) float32 { return b[x*ldb+j] })
		}
		wantZero, wantBias, wantAdd := want(make([]float32, m*n)), want(repeated), want(c0)
		forEachISA(t, func(t *testing.T) {
			for _, atEnd := range []bool{false, true} {
				fenced := func(x []float32) []float32 {
					f := kerneltest.Fenced(t, len(x), atEnd)
					copy(f, x)
					return f
				}
				fa, fat, fbias := fenced(a), fenced(at), fenced(bias)
				view := View{K: k, N: n, X: fenced(b), LD: ldb}
				var packed Panels
				packed.Pack(view.X, ldb, k, n)
				packed.Data = fenced(packed.Data)
				c := kerneltest.Fenced(t, (m-1)*ldc+n, atEnd)
				check := func(name string, want []float32, f func()) {
					for i := range c {
						c[i] = 77
					}
					for i := range m {
						copy(c[i*ldc:i*ldc+n], c0[i*n:])
					}
					f()
					for i := range m {
						require.NoError(t, kerneltest.EqualBits(want[i*n:i*n+n], c[i*ldc:i*ldc+n]), "%s %v row %d", name, s, i)
						if i > 0 && ldc > n {
							require.Equal(t, float32(77), c[i*ldc-1], "%s %v: written between rows", name, s)
						}
					}
				}
				check("view", wantZero, func() { GemmView(c, ldc, fa, lda, m, &view, nil, 0) })
				check("view, bias", wantBias, func() { GemmView(c, ldc, fa, lda, m, &view, fbias, 0) })
				check("view, in place", wantAdd, func() { GemmView(c, ldc, fa, lda, m, &view, c, ldc) })
				check("view, transposed", wantAdd, func() { AddGemmTNView(c, ldc, fat, ldt, m, &view) })
				check("packed", wantZero, func() { Gemm(c, ldc, fa, lda, m, &packed, nil, 0) })
				check("packed, bias", wantBias, func() { Gemm(c, ldc, fa, lda, m, &packed, fbias, 0) })
				check("packed, transposed", wantAdd, func() { AddGemmTN(c, ldc, fat, ldt, m, &packed) })
			}
		})
	}
}

// The comparison above fails for a product that is wrong in one place.
func TestProductComparisonFails(t *testing.T) {
	const m, n, k = 13, 33, 20
	a, b, c := make([]float32, m*k), make([]float32, k*n), make([]float32, m*n)
	mixed(a, 1)
	mixed(b, 2)
	want := definition(make([]float32, m*n), m, n, k, func(i, x int) float32 { return a[i*k+x] }, func(x, j int) float32 { return b[x*n+j] })
	product := func() error {
		GemmView(c, n, a, k, m, &View{K: k, N: n, X: b, LD: n}, nil, 0)
		return kerneltest.EqualBits(want, c)
	}
	require.NoError(t, product())
	for _, x := range []*float32{&a[0], &a[len(a)-1], &b[0], &b[len(b)-1], &b[n]} {
		was := *x
		*x = -was
		require.Error(t, product(), "a flipped sign")
		*x = 0
		require.Error(t, product(), "a lost value")
		*x = was
	}
	// Two values of k in the wrong order.
	for i := range m {
		a[i*k], a[i*k+k-1] = a[i*k+k-1], a[i*k]
	}
	for j := range n {
		b[j], b[(k-1)*n+j] = b[(k-1)*n+j], b[j]
	}
	require.Error(t, product(), "k not ascending")
}

// Packing puts every value where the layout says, on every path and every end of a shape, from operands that end or
// begin at a page that must not be touched.
func TestPack(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		for _, n := range []int{1, 3, 15, 16, 17, 32, 50} {
			for _, k := range []int{1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 19, 20, 36, 67} {
				for _, atEnd := range []bool{false, true} {
					ldw, ldx := k+n%3, n+k%3
					if n == 50 && k > 16 {
						ldx += 1024 // rows in pages of their own
					}
					w, x := kerneltest.Fenced(t, (n-1)*ldw+k, atEnd), kerneltest.Fenced(t, (k-1)*ldx+n, atEnd)
					mixed(w, 1)
					for i := range x {
						x[i] = -1e9
					}
					for i := range k {
						for j := range n {
							x[i*ldx+j] = w[j*ldw+i]
						}
					}
					want := make([]float32, PanelLen(k, n))
					for i := range k {
						for j := range n {
							want[j/NR*NR*k+i*NR+j%NR] = w[j*ldw+i]
						}
					}
					p := Panels{Data: kerneltest.Fenced(t, len(want), atEnd)}
					p.PackT(w, ldw, k, n)
					require.NoError(t, kerneltest.EqualBits(want, p.Data), "PackT k=%d n=%d", k, n)
					for i := range p.Data {
						p.Data[i] = 77
					}
					p.Pack(x, ldx, k, n)
					require.NoError(t, kerneltest.EqualBits(want, p.Data), "Pack k=%d n=%d", k, n)
					for i := range p.Data {
						p.Data[i] = 77
					}
					for j := range (n + NR - 1) / NR { // in pieces, backwards
						p.PackRows(x, ldx, j, k/2, k)
						p.PackRowsAt(x, ldx, j, 0, k/2)
					}
					require.NoError(t, kerneltest.EqualBits(want, p.Data), "PackRows k=%d n=%d", k, n)
				}
			}
		}
	})
}

func TestViewAllocatesNothing(t *testing.T) {
	const m, n, k = 20, 40, 64 // 40 columns: the last panel is cut
	a, b, c := make([]float32, m*k), make([]float32, k*n), make([]float32, m*n)
	v := View{K: k, N: n, X: b, LD: n}
	forEachISA(t, func(t *testing.T) {
		require.Zero(t, testing.AllocsPerRun(10, func() {
			GemmView(c, n, a, k, m, &v, nil, 0)
			AddGemmTNView(c, n, a, m, m, &v)
		}))
	})
}

func TestProductsRejectShapes(t *testing.T) {
	const m, n, k = 3, 17, 5
	a, b, c := make([]float32, m*k), make([]float32, k*n), make([]float32, m*n)
	v := View{K: k, N: n, X: b, LD: n}
	for i, f := range []func(){
		func() { GemmView(c, n, a, k, m+1, &v, nil, 0) },
		func() { GemmView(c, n-1, a, k, m, &v, nil, 0) },
		func() { GemmView(c[1:], n, a, k, m, &v, nil, 0) },
		func() { GemmView(c, n, a, k, m, &v, c[1:], n) },
		func() { GemmView(c, n, a, k, m, &View{K: k, N: n, X: b[1:], LD: n}, nil, 0) },
		func() { GemmView(c, n, a, k, m, &View{K: k, N: n, X: b, LD: n - 1}, nil, 0) },
		func() { AddGemmTNView(c, n, a, m-1, m, &v) },
		func() { AddGemmTNView(c, n, a[1:], m, m, &v) },
		func() { AddGemmTNView(c, n, a, m, m, &View{K: k, N: n, X: b[1:], LD: n}) },
	} {
		require.Panics(t, f, fmt.Sprint(i))
	}
	GemmView(nil, 0, nil, 0, 0, &v, nil, 0)
	AddGemmTNView(c, n, a, m, m, &View{N: n})
}
