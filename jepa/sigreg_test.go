package jepa

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/arena"
	"edgejepa/internal/parallel"
	"edgejepa/internal/rng"
)

func newSIGReg(t *testing.T, weight float64, rows, views, dim, threads int) *sigreg {
	pool := parallel.New(threads)
	t.Cleanup(pool.Close)
	return arena.Build(func(a *arena.Arena) *sigreg { return placeSIGReg(a, pool, weight, rows, views, dim) })
}

// sigregTerm is the formula in the comment of sigreg, in float64 with the standard library's functions, for the
// directions that s has.
func sigregTerm(s *sigreg, z []float64) (sum float64) {
	for n := range sliceCount {
		a := s.directions[n*s.dim:][:s.dim]
		for v := range s.views {
			var x []float64
			for r := v; r < s.rows; r += s.views {
				p := 0.0
				for j := range a {
					p += z[r*s.dim+j] * float64(a[j])
				}
				x = append(x, p)
			}
			sum += s.weight * eppsPulley(x) / float64(sliceCount*s.views)
		}
	}
	return sum
}

// eppsPulley is the integral for one sample, at the same 17 points.
func eppsPulley(x []float64) (sum float64) {
	const h = 3.0 / 16
	for k := -16; k <= 16; k++ {
		t := h * float64(k)
		c, d := 0.0, 0.0
		for _, v := range x {
			c += math.Cos(t*v) / float64(len(x))
			d += math.Sin(t*v) / float64(len(x))
		}
		phi := math.Exp(-t * t / 2)
		w := h
		if k == -16 || k == 16 {
			w = h / 2
		}
		sum += w * phi * ((c-phi)*(c-phi) + d*d)
	}
	return float64(len(x)) * sum
}

func normals(n int, key uint64) []float32 {
	s := rng.New(4, rng.PurposeProbe, key, 0)
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(s.Norm())
	}
	return x
}

func widen(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// Value and gradient are those of the formula. The projections are sums of K rounded products: 2^-24 K relative.
func TestSIGReg(t *testing.T) {
	for _, c := range []struct {
		rows, views, dim int
		scale, shift     float32
	}{{8, 1, 5, 1, 0}, {8, 2, 6, 2, 0.5}, {9, 3, 4, 0.1, -1}, {4, 2, 3, 30, 9}, {2, 1, 2, 1, 0}} {
		s := newSIGReg(t, 0.3, c.rows, c.views, c.dim, 2)
		x := normals(c.rows*c.dim, 7)
		for i := range x {
			x[i] = c.scale*x[i] + c.shift
		}
		got := s.apply(x, 5, 2)
		z := widen(x)
		require.InEpsilon(t, sigregTerm(s, z), got, 1e-4, "%+v", c)
		want := make([]float32, len(z))
		const h = 1e-5
		for i := range z {
			v := z[i]
			z[i] = v + h
			up := sigregTerm(s, z)
			z[i] = v - h
			want[i] = float32((up - sigregTerm(s, z)) / (2 * h))
			z[i] = v
		}
		near(t, 2e-4, s.grad, want, "gradient")

		first := slices.Clone(s.grad)
		require.Equal(t, got, s.apply(x, 5, 2), "what was before does not show")
		require.Equal(t, first, s.grad)
		require.NotEqual(t, got, s.apply(x, 5, 3), "every step has its own directions")
		require.NotEqual(t, got, s.apply(x, 6, 2), "and every seed")
	}
}

// What the term is for: near 1 for a normal sample of any size, and far above for one that is collapsed, shifted, narrow,
// wide, flat in some channels, or heavy-tailed.
func TestSIGRegTellsSamplesApart(t *testing.T) {
	const rows, dim = 256, 8
	s := newSIGReg(t, 1, rows, 1, dim, 2)
	x := normals(rows*dim, 1)
	normal := s.apply(x, 1, 1)
	require.InDelta(t, 1.05, normal, 0.4)
	half := newSIGReg(t, 1, rows/2, 1, dim, 2)
	require.InDelta(t, 1.05, half.apply(x[:rows*dim/2], 1, 1), 0.4, "a sample of half the size")

	point := s.apply(make([]float32, rows*dim), 1, 1)
	require.InEpsilon(t, 0.4*rows, point, 0.02, "all of them one point, as the comment of sigreg has it")
	for name, change := range map[string]func(i int, v float32) float32{
		"shifted":   func(i int, v float32) float32 { return v + 1 },
		"narrow":    func(i int, v float32) float32 { return v / 2 },
		"wide":      func(i int, v float32) float32 { return v * 3 },
		"of rank 1": func(i int, v float32) float32 { return x[i/dim*dim] },
		"flat":      func(i int, v float32) float32 { return v * float32(i%dim%2) * 1.414 },
		"heavy-tailed": func(i int, v float32) float32 { // most near 0, every tenth row far away
			if i/dim%10 == 0 {
				return 3 * v
			}
			return v / 3
		},
	} {
		other := slices.Clone(x)
		for i, v := range x {
			other[i] = change(i, v)
		}
		require.Greater(t, s.apply(other, 1, 1), 3*normal, name)
	}
}

// Downhill lies the normal distribution: a narrow and shifted sample becomes one.
func TestSIGRegLeadsToNormal(t *testing.T) {
	const rows, dim = 64, 4
	s := newSIGReg(t, 1, rows, 1, dim, 2)
	x := normals(rows*dim, 2)
	for i := range x {
		x[i] = 0.2*x[i] + 1
	}
	start := s.apply(x, 1, 0)
	for step := range 100 {
		s.apply(x, 1, step)
		for i := range x {
			x[i] -= s.grad[i]
		}
	}
	mean, square := 0.0, 0.0
	for _, v := range x {
		mean += float64(v) / float64(len(x))
		square += float64(v) * float64(v) / float64(len(x))
	}
	require.Less(t, s.apply(x, 1, 0), start/10)
	require.InDelta(t, 0, mean, 0.05)
	require.InDelta(t, 1, square, 0.15)
}

func TestSIGRegSameBitsForAnyThreads(t *testing.T) {
	x := normals(40*24, 3)
	var want []float32
	var value float64
	for _, threads := range []int{1, 2, 3, 7} {
		s := newSIGReg(t, 0.3, 40, 2, 24, threads)
		got := s.apply(x, 5, 2)
		if want == nil {
			want, value = slices.Clone(s.grad), got
		}
		require.Equal(t, value, got)
		require.Equal(t, want, s.grad)
	}
}

// Values that are not finite do not panic, and end in the gradient, where a step is passed over.
func TestSIGRegOfNonFinite(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), 1e30} {
		s := newSIGReg(t, 1, 8, 1, 4, 1)
		x := normals(32, 1)
		x[5] = float32(v)
		s.apply(x, 1, 1)
		require.True(t, slices.ContainsFunc(s.grad, func(g float32) bool { return g != g }), v)
	}
}

func TestSIGRegDirections(t *testing.T) {
	s := newSIGReg(t, 1, 4, 1, 8, 2)
	s.apply(normals(32, 1), 1, 1)
	var mean, cross float64
	for n := range sliceCount {
		a := widen(s.directions[n*8:][:8])
		length := 0.0
		for _, v := range a {
			length += v * v
		}
		require.InDelta(t, 1, length, 1e-6)
		mean += a[0] / sliceCount
		cross += a[0] * a[1] / sliceCount
	}
	require.InDelta(t, 0, mean, 5*math.Sqrt(1.0/8/sliceCount))
	require.InDelta(t, 0, cross, 5.0/8/math.Sqrt(sliceCount))
}
