package kernels

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/fp"
	"edgejepa/internal/noise"
	"edgejepa/kernels/kerneltest"
)

// adamAt is an optimiser at step t, with Beta2 = 0.999.
func adamAt(t int) AdamW {
	b1, b2 := float64(float32(0.9)), float64(float32(0.999))
	return AdamW{LR: 1e-3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.05,
		Corr1: float32(1 - math.Pow(b1, float64(t))), Corr2: float32(math.Sqrt(1 - math.Pow(b2, float64(t))))}
}

// momentTrial runs AdamW on n parameters with random gradients of each one's own mean and size (magnitudes from 2^-22 to
// 2^-2), with moments in float32 and by step, which has them in halves. It returns the relative error of sqrt(v) at the
// end, root mean square and mean, and the difference of the parameters relative to the way they have gone.
func momentTrial(n, steps int, step func(c AdamW, p, g []float32, m, s []uint16, t int)) (rms, bias, way float64) {
	p, p2 := make([]float32, n), make([]float32, n)
	m, v := make([]float32, n), make([]float32, n)
	mh, sh := make([]uint16, n), make([]uint16, n)
	g := make([]float32, n)
	for t := 1; t <= steps; t++ {
		kerneltest.Fill(g, kerneltest.Normal, uint64(t))
		for i := range g {
			size := float32(math.Ldexp(1, -2-i%21))
			if t > steps/2 {
				size /= 4 // gradients shrink as training goes on, and v must follow
			}
			g[i] = float32((g[i] + 0.3) * size)
		}
		c := adamAt(t)
		c.Step(p, g, m, v, 1)
		step(c, p2, g, mh, sh, t)
	}
	s := make([]float32, n)
	fp.DecodeHalf(s, sh)
	var moved, off float64
	for i := range s {
		want := math.Sqrt(float64(v[i]))
		e := (float64(s[i])/HalfMomentScale - want) / want
		rms += e * e / float64(n)
		bias += e / float64(n)
		moved += float64(p[i]) * float64(p[i])
		off += float64(p2[i]-p[i]) * float64(p2[i]-p[i])
	}
	return math.Sqrt(rms), bias, math.Sqrt(off / moved)
}

// Moments in halves follow those in float32 through 3000 steps in which the gradients shrink to a quarter. The bound of
// the error is what the comment in adamw_half.go derives: a random walk with steps of variance d(u-d), d = s/2000 being a
// step of s and u <= s/1024 the distance of halves, over 1/(1-b2²) = 500 steps: sqrt(500 * 5e-4 * 4.8e-4) = 1.1 %; a
// squared gradient that is larger than usual makes for more, allowed is twice that. Nearest rounding fails by far.
func TestHalfMomentsFollow(t *testing.T) {
	n, steps := 630, 3000
	if testing.Short() {
		n = 210
	}
	rms, bias, way := momentTrial(n, steps, func(c AdamW, p, g []float32, m, s []uint16, t int) {
		c.StepHalf(p, g, m, s, 1, noise.Stream{Key: uint32(t)})
	})
	t.Logf("stochastic: sqrt(v) off by %.2g rms, %.2g mean; parameters by %.2g of their way", rms, bias, way)
	require.Less(t, rms, 0.022)
	require.Greater(t, rms, 1e-3)
	require.Less(t, math.Abs(bias), 0.002+3*rms/math.Sqrt(float64(n)))
	require.Less(t, way, 0.02)

	// The same with moments rounded to nearest.
	m32, v32 := make([]float32, n), make([]float32, n)
	nearest, _, _ := momentTrial(n, steps, func(c AdamW, p, g []float32, m, s []uint16, t int) {
		fp.DecodeHalf(m32, m)
		fp.DecodeHalf(v32, s)
		for i := range m32 {
			m32[i] /= HalfMomentScale
			v32[i] = float32(v32[i]/HalfMomentScale) * float32(v32[i]/HalfMomentScale)
		}
		c.Step(p, g, m32, v32, 1)
		for i := range m32 {
			m32[i] *= HalfMomentScale
			v32[i] = sqrt(v32[i]) * HalfMomentScale
		}
		fp.EncodeHalf(m, m32)
		fp.EncodeHalf(s, v32)
	})
	t.Logf("nearest: sqrt(v) off by %.2g rms", nearest)
	require.Greater(t, nearest, 5*rms)
}

// One step from moments that halves hold exactly: the parameter is that of Step within the rounding of sqrt, which is
// squared again, and the stored moments are neighbours of those of Step. StepHalfEMA and StepHalfEMAHalf do the same to
// parameters and moments, and to the target what Lerp and LerpHalf do.
func TestStepHalfAgainstStep(t *testing.T) {
	const n = 997
	forEachISA(t, func(t *testing.T) {
		g, p := filled(n, kerneltest.Normal, 1), filled(n, kerneltest.Normal, 2)
		mh, sh := make([]uint16, n), make([]uint16, n)
		m, v := make([]float32, n), make([]float32, n)
		for i := range g {
			g[i] *= 0x1p-8
			mh[i] = fp.ToHalf(g[(i+1)%n] * HalfMomentScale)
			sh[i] = fp.ToHalf(abs(g[(i+2)%n])*HalfMomentScale + 1)
			m[i] = fp.FromHalf(mh[i]) / HalfMomentScale
			s := fp.FromHalf(sh[i]) / HalfMomentScale
			v[i] = float32(s * s)
		}
		clone := func() (a, b []uint16) { return append(a, mh...), append(b, sh...) }
		bits := noise.Stream{Key: 5}
		c := adamAt(100)

		want := append([]float32(nil), p...)
		got := append([]float32(nil), p...)
		ma, sa := clone()
		c.Step(want, g, m, v, 0.5)
		c.StepHalf(got, g, ma, sa, 0.5, bits)
		require.NoError(t, kerneltest.Within(kerneltest.Floats64(want), got, 4*eps32*1e-3, 2*eps32))
		for i := range m {
			near := func(h uint16, x float32) {
				x *= HalfMomentScale
				lo, hi := fp.ToHalf(roundHalf(x, 0)), fp.ToHalf(roundHalf(x, 1<<13-1))
				require.True(t, h == lo || h == hi, "half %#04x of %g", h, x)
			}
			near(ma[i], m[i])
			near(sa[i], sqrt(v[i]))
		}

		target := filled(n, kerneltest.Normal, 3)
		lerped := append([]float32(nil), target...)
		got2 := append([]float32(nil), p...)
		mb, sb := clone()
		c.StepHalfEMA(got2, g, mb, sb, target, 0.5, 0.996, bits)
		Lerp(lerped, got, 0.996)
		require.Equal(t, got, got2)
		require.Equal(t, ma, mb)
		require.Equal(t, sa, sb)
		require.Equal(t, lerped, target)

		th := make([]uint16, n)
		fillHalves(th, kerneltest.Normal, 4)
		fp.DecodeHalf(lerped, th)
		Lerp(lerped, got, 0.996)
		got3 := append([]float32(nil), p...)
		mc, sc := clone()
		c.StepHalfEMAHalf(got3, g, mc, sc, th, 0.5, 0.996, bits)
		require.Equal(t, got, got3)
		require.Equal(t, ma, mc)
		require.Equal(t, sa, sc)
		up := 0
		for i, x := range lerped {
			lo, hi := fp.ToHalf(roundHalf(x, 0)), fp.ToHalf(roundHalf(x, 1<<13-1))
			require.True(t, th[i] == lo || th[i] == hi)
			if th[i] == hi {
				up++
			}
		}
		require.InDelta(t, n/2, up, 0.1*n)
	})
}

// Gradients far outside the range, zeros and gaps: parameters stay finite as long as gradients are.
func TestStepHalfRange(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		for _, size := range []float32{0, 0x1p-149, 1e-30, 1e-12, 1e-9, 1, 8, 100, 1e6, 1e15} {
			p, g := make([]float32, 32), make([]float32, 32)
			m, s := make([]uint16, 32), make([]uint16, 32)
			for t1 := 1; t1 <= 50; t1++ {
				for i := range g {
					g[i] = size
				}
				adamAt(t1).StepHalf(p, g, m, s, 1, noise.Stream{Key: uint32(t1)})
			}
			require.True(t, AllFinite(p), "%g", size)
			for _, v := range p { // 50 steps of about LR in the gradient's direction, or none
				require.LessOrEqual(t, v, float32(0), fmt.Sprint(size))
				if size >= 1e-6 && size <= 8 {
					require.InDelta(t, -0.05, v, 0.01, "%g", size)
				}
			}
		}
	})
}
