package jepa

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/arena"
	"edgejepa/internal/rng"
)

// varianceTerm is the formula in the comment of variance, in float64: its two parts, unweighted.
func varianceTerm(p []float64, b, d int) (hinge, covariance float64) {
	mean := make([]float64, d)
	for i, v := range p {
		mean[i%d] += v / float64(b)
	}
	for j := range d {
		for k := range d {
			cov := 0.0
			for i := range b {
				cov += (p[i*d+j] - mean[j]) * (p[i*d+k] - mean[k]) / float64(b-1)
			}
			if j == k {
				hinge += max(0, 1-math.Sqrt(cov+1e-4)) / float64(d)
			} else {
				covariance += 0.04 * cov * cov / float64(d)
			}
		}
	}
	return hinge, covariance
}

func newVariance(weight float64, batch, dim int) *variance {
	return arena.Build(func(a *arena.Arena) *variance {
		v := placeVariance(a, weight, batch, dim)
		v.placeWork(a)
		return v
	})
}

// spreadRows are rows [b, d] whose channels deviate by about scale[j%len(scale)], far from zero.
func spreadRows(b, d int, scale ...float64) []float32 {
	s := rng.New(3, rng.PurposeProbe, uint64(b), uint64(d))
	p := make([]float32, b*d)
	for i := range p {
		p[i] = float32(scale[i%d%len(scale)]*s.Norm() + 2)
	}
	return p
}

func TestVariance(t *testing.T) {
	const weight = 0.3
	for _, c := range []struct {
		name         string
		b, d         int
		p            []float32
		open, closed bool // some channels below the hinge, some above
	}{
		{"all open", 6, 32, spreadRows(6, 32, 0.2), true, false},
		{"all closed", 12, 8, spreadRows(12, 8, 4), false, true},
		{"some of each", 7, 20, spreadRows(7, 20, 0.1, 5), true, true},
		{"batch of two", 2, 16, spreadRows(2, 16, 0.4), true, false},
		{"odd width", 9, 36, spreadRows(9, 36, 0.5, 0.3, 4), true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newVariance(weight, c.b, c.d)
			copy(v.pooled, c.p)
			got := v.apply()
			require.Equal(t, c.open, slices.Min(v.std) < 1)
			require.Equal(t, c.closed, slices.Max(v.std) >= 1)

			p := make([]float64, len(c.p))
			for i, x := range c.p {
				p[i] = float64(x)
			}
			term := func() float64 {
				hinge, covariance := varianceTerm(p, c.b, c.d)
				return weight * (hinge + covariance)
			}
			// Sums of at most 16 rounded products and centred values 2 off zero: some 2^-20 relative.
			require.InEpsilon(t, term(), got, 1e-5)
			want := make([]float32, len(p))
			const h = 1e-5
			for i := range p {
				x := p[i]
				p[i] = x + h
				up := term()
				p[i] = x - h
				want[i] = float32((up - term()) / (2 * h))
				p[i] = x
			}
			near(t, 1e-5, v.grad, want, "gradient")

			// What the step before left behind does not show.
			first := slices.Clone(v.grad)
			copy(v.pooled, c.p)
			require.Equal(t, got, v.apply())
			require.Equal(t, first, v.grad)
		})
	}
}

// The hinge is closed: only the covariance is left, and it alone has a gradient.
func TestVarianceClosedHinge(t *testing.T) {
	p := []float32{4, 4, -4, 4, 4, -4, -4, -4} // [4, 2], orthogonal channels far apart
	v := newVariance(1, 4, 2)
	copy(v.pooled, p)
	require.Zero(t, v.apply())
	require.Equal(t, make([]float32, 8), v.grad)
	require.InDelta(t, math.Sqrt(64.0/3), v.std[0], 1e-4)
}

// Collapsed features cost the whole hinge; no direction leads out, and nothing divides by zero.
func TestVarianceOfEqualRows(t *testing.T) {
	v := newVariance(1, 4, 8)
	for i := range v.pooled {
		v.pooled[i] = float32(i%8) / 4
	}
	require.InDelta(t, 1-0.01, v.apply(), 1e-6)
	require.Equal(t, make([]float32, 32), v.grad)

	v.pooled[5] = float32(math.NaN())
	v.apply() // does not panic
	require.True(t, slices.ContainsFunc(v.grad, func(g float32) bool { return g != g }))
}
