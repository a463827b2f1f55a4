package kernels

import (
	"math"
	"math/big"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/rng"
	"edgejepa/kernels/kerneltest"
)

// mixed fills x with values of both signs over ten orders of magnitude, so that sums cancel and round.
func mixed(x []float32, key uint64) {
	s := rng.New(1, rng.PurposeProbe, key, 0)
	for i := range x {
		x[i] = float32(s.Norm()) * float32(math.Ldexp(1, s.IntN(30)-20))
	}
}

// chain is the definition of a product's element.
func chain(init float32, k int, a, b func(k int) float32) float32 {
	for i := range k {
		init = fma32(a(i), b(i), init)
	}
	return init
}

func TestFMA32RoundsOnce(t *testing.T) {
	check := func(x, y, z float32) {
		want, _ := new(big.Float).SetPrec(0).Add(
			new(big.Float).SetPrec(2000).Mul(big.NewFloat(float64(x)), big.NewFloat(float64(y))),
			big.NewFloat(float64(z))).Float32()
		require.Equal(t, math.Float32bits(want+0), math.Float32bits(fma32(x, y, z)+0), "fma(%g, %g, %g)", x, y, z)
	}
	s := rng.New(3, rng.PurposeProbe, 0, 0)
	naive := 0
	for range 200000 {
		x := math.Float32frombits(uint32(s.Uint64()))
		y := math.Float32frombits(uint32(s.Uint64()))
		z := math.Float32frombits(uint32(s.Uint64()))
		if p := float64(x) * float64(y); !(math.Abs(p) < 1e38) || z != z || math.Abs(float64(z)) > 1e38 {
			continue
		}
		check(x, y, z)
	}
	// Products a hair from the midpoint of two floats: the cases a second rounding gets wrong.
	for i := range 3000 {
		x := 1 + float32(s.IntN(1<<12))*0x1p-12
		y := 1 + float32(s.IntN(1<<12))*0x1p-12
		z := float32(math.Ldexp(float64(1+s.IntN(7)), -60-i%20))
		if i&1 == 1 {
			z = -z
		}
		check(x, y, z)
		check(-x, y, z)
		if float32(float64(x)*float64(y)+float64(z)) != fma32(x, y, z) {
			naive++
		}
	}
	require.Positive(t, naive, "the sweep never met a double rounding, so it proves nothing")
	require.True(t, math.IsInf(float64(fma32(math.MaxFloat32, 2, 1)), 1))
	require.True(t, math.IsNaN(float64(fma32(float32(math.Inf(1)), 0, 1))))
}

var gemmShapes = func() (s [][3]int) {
	for m := 1; m <= 14; m++ {
		for _, n := range []int{1, 15, 16, 17, 33} {
			for _, k := range []int{1, 2, 7, 64} {
				s = append(s, [3]int{m, n, k})
			}
		}
	}
	return append(s, [3]int{64, 192, 192}, [3]int{53, 130, 300})
}()

// Every path, every edge of a shape, strides, in place, with guard words around C: equal to the definition.
func TestGemm(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		for _, s := range gemmShapes {
			m, n, k := s[0], s[1], s[2]
			lda, ldc := k+m%3, n+k%2
			a := make([]float32, m*lda+1)[1:] // misaligned
			w := make([]float32, n*k)
			bias := make([]float32, n)
			mixed(a, 1)
			mixed(w, 2)
			mixed(bias, 3)
			var nt, nn Panels
			nt.PackT(w, k, k, n)
			wt := make([]float32, k*n)
			for i := range k {
				for j := range n {
					wt[i*n+j] = w[j*k+i]
				}
			}
			nn.Pack(wt, n, k, n)
			require.Equal(t, nt, nn)
			aWas := append([]float32(nil), a...)
			for _, mode := range []string{"zero", "bias", "in place"} {
				c := make([]float32, m*ldc+2)
				mixed(c, 4)
				was := append([]float32(nil), c...)
				switch mode {
				case "zero":
					Gemm(c[1:], ldc, a, lda, m, &nt, nil, 0)
				case "bias":
					Gemm(c[1:], ldc, a, lda, m, &nt, bias, 0)
				case "in place":
					Gemm(c[1:], ldc, a, lda, m, &nt, c[1:], ldc)
				}
				for i := range m {
					for j := range n {
						init := float32(0)
						switch mode {
						case "bias":
							init = bias[j]
						case "in place":
							init = was[1+i*ldc+j]
						}
						want := chain(init, k, func(x int) float32 { return a[i*lda+x] }, func(x int) float32 { return w[j*k+x] })
						if got := c[1+i*ldc+j]; math.Float32bits(got) != math.Float32bits(want) {
							t.Fatalf("%s %v: C[%d,%d] = %g, want %g", mode, s, i, j, got, want)
						}
						was[1+i*ldc+j] = c[1+i*ldc+j]
					}
				}
				require.Equal(t, was, c, "%s %v: a value outside C was written", mode, s)
			}
			require.Equal(t, aWas, a)
		}
	})
}

func TestAddGemmTN(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		for _, s := range append(gemmShapes, [3]int{13, 20, 700}) {
			m, n, k := s[0], s[1], s[2]
			lda, ldc := m+k%3, n+k%2
			a := make([]float32, k*lda)
			b := make([]float32, k*n)
			c := make([]float32, m*ldc+2)
			mixed(a, 1)
			mixed(b, 2)
			mixed(c, 3)
			was := append([]float32(nil), c...)
			var p Panels
			// Two micro-batches continue one chain.
			cut := k / 3
			if cut > 0 {
				p.Pack(b, n, cut, n)
				AddGemmTN(c[1:], ldc, a, lda, m, &p)
			}
			p.Pack(b[cut*n:], n, k-cut, n)
			AddGemmTN(c[1:], ldc, a[cut*lda:], lda, m, &p)
			for i := range m {
				for j := range n {
					want := chain(was[1+i*ldc+j], k, func(x int) float32 { return a[x*lda+i] }, func(x int) float32 { return b[x*n+j] })
					if got := c[1+i*ldc+j]; math.Float32bits(got) != math.Float32bits(want) {
						t.Fatalf("%v: C[%d,%d] = %g, want %g", s, i, j, got, want)
					}
					was[1+i*ldc+j] = want
				}
			}
			require.Equal(t, was, c, "%v: a value outside C was written", s)
		}
	})
}

// The chain's error stays below its bound against float64, K roundings of the sum of magnitudes, and the bound is not
// idle: independent roundings of partial sums that cancel come to about sqrt(K) of sqrt(K), a Kth of it.
func TestGemmErrorBound(t *testing.T) {
	const m, n, k = 24, 48, 384
	a, w, c := make([]float32, m*k), make([]float32, n*k), make([]float32, m*n)
	mixed(a, 1)
	mixed(w, 2)
	forEachISA(t, func(t *testing.T) {
		var p Panels
		p.PackT(w, k, k, n)
		Gemm(c, n, a, k, m, &p, nil, 0)
		worst := 0.0
		for i := range m {
			for j := range n {
				var sum, abs float64
				for x := range k {
					v := float64(a[i*k+x]) * float64(w[j*k+x])
					sum += v
					abs += math.Abs(v)
				}
				worst = max(worst, math.Abs(float64(c[i*n+j])-sum)/(abs*k*0x1p-24))
			}
		}
		require.Less(t, worst, 1.0)
		require.Greater(t, worst, 1.0/k)
	})
}

// Products and attention of inputs that hurt have the same bits on every path, NaN for NaN.
func TestProductsOfSpecialInputs(t *testing.T) {
	type shape struct{ m, n, k int }
	results := map[kerneltest.Kind][][]float32{}
	run := func(kind kerneltest.Kind) (out [][]float32) {
		for _, s := range []shape{{7, 37, 33}, {25, 64, 20}} {
			a, b := filled(s.m*s.k, kind, 1), filled(s.k*s.n, kind, 2)
			at, start := filled(s.k*s.m, kind, 3), filled(s.m*s.n, kind, 4)
			var p Panels
			p.Pack(b, s.n, s.k, s.n)
			v := View{K: s.k, N: s.n, X: b, LD: s.n}
			for range 4 {
				out = append(out, slices.Clone(start))
			}
			r := out[len(out)-4:]
			Gemm(r[0], s.n, a, s.k, s.m, &p, start, s.n)
			GemmView(r[1], s.n, a, s.k, s.m, &v, nil, 0)
			AddGemmTN(r[2], s.n, at, s.m, s.m, &p)
			AddGemmTNView(r[3], s.n, at, s.m, s.m, &v)
		}
		const tokens, dim, heads = 19, 24, 2
		qkv, datt := filled(tokens*3*dim, kind, 5), filled(tokens*dim, kind, 6)
		att, dqkv := make([]float32, tokens*dim), make([]float32, tokens*3*dim)
		scratch := make([]float32, AttentionScratch(tokens, dim, heads))
		AttentionForward(att, qkv, nil, tokens, dim, heads, scratch)
		AttentionBackward(dqkv, datt, qkv, nil, tokens, dim, heads, scratch)
		return append(out, att, dqkv)
	}
	onGeneric(func() {
		for _, kind := range kerneltest.Kinds {
			results[kind] = run(kind)
		}
	})
	forEachISA(t, func(t *testing.T) {
		for _, kind := range kerneltest.Kinds {
			got := run(kind)
			for i, want := range results[kind] {
				require.NoError(t, kerneltest.EqualBits(want, got[i]), "%v, result %d", kind, i)
			}
		}
	})
}

func TestGemmAllocatesNothing(t *testing.T) {
	const m, n, k = 20, 40, 64
	a, w, c := make([]float32, m*k), make([]float32, n*k), make([]float32, m*n)
	var p Panels
	p.PackT(w, k, k, n)
	var q Panels
	q.Pack(a, k, m, k)
	g := make([]float32, n*k)
	require.Zero(t, testing.AllocsPerRun(10, func() {
		p.PackT(w, k, k, n)
		Gemm(c, n, a, k, m, &p, nil, 0)
		AddGemmTN(g, k, c, n, n, &q)
	}))
}
