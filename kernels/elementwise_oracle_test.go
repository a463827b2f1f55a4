package kernels

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/kernels/kerneltest"
)

// eps32 is the rounding error of one float32 operation, relative to its result.
const eps32 = 0x1p-24

func filled(n int, kind kerneltest.Kind, seed uint64) []float32 {
	x := make([]float32, n)
	kerneltest.Fill(x, kind, seed)
	return x
}

func phi(x float64) float64 { return math.Exp(-x*x/2) / math.Sqrt(2*math.Pi) }

// cdf is accurate in both tails.
func cdf(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }

func TestExpWithinOneULP(t *testing.T) {
	worst, flushed := 0.0, 0
	for i := range 1 << 20 {
		x := -90 * float32(i) / (1 << 20)
		if i%2 == 1 {
			x /= 100
		}
		got, want := float64(expNeg(x)), math.Exp(float64(x))
		if x < -87 {
			require.Zero(t, got)
			flushed++
			continue
		}
		ulp := math.Ldexp(1, math.Ilogb(want)-23)
		worst = max(worst, math.Abs(got-want)/ulp)
	}
	t.Logf("worst error %.3f ulp", worst)
	require.Less(t, worst, 1.0)
	require.Greater(t, worst, 0.5, "better than rounding: the oracle is not an oracle")
	require.Greater(t, flushed, 1000)

	require.Equal(t, float32(1), expNeg(0))
	require.Equal(t, float32(1), expNeg(float32(math.Copysign(0, -1))))
	require.Zero(t, expNeg(float32(math.Inf(-1))))
	require.Zero(t, expNeg(-math.MaxFloat32))
	require.True(t, math.IsNaN(float64(expNeg(float32(math.NaN())))))
	require.GreaterOrEqual(t, expNeg(-87), float32(0x1p-126), "denormal")
}

func TestGELUBounds(t *testing.T) {
	const n = 1 << 20
	x, y, d, one := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
	for i := range x {
		x[i], one[i] = 28*float32(i)/n-14, 1
	}
	forEachISA(t, func(t *testing.T) {
		GELU(y, x)
		GELUGrad(d, one, x)
		var worst, worstRel, worstGrad float64
		for i, v := range kerneltest.Floats64(x) {
			want := v * cdf(v)
			e := math.Abs(float64(y[i]) - want)
			worst = max(worst, e)
			if v > -10 && v < 0 {
				worstRel = max(worstRel, e/-want)
			}
			worstGrad = max(worstGrad, math.Abs(float64(d[i])-(cdf(v)+v*phi(v))))
		}
		t.Logf("GELU %.3g absolute, %.3g relative on (-10, 0); GELUGrad %.3g", worst, worstRel, worstGrad)
		require.Less(t, worst, 3e-7)
		require.Less(t, worstRel, 3e-6)
		require.Less(t, worstGrad, 5e-7)
	})

	big := []float32{1e30, -1e30, math.MaxFloat32, 0, float32(math.Copysign(0, -1)), float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}
	nan := float32(math.NaN())
	got := make([]float32, len(big))
	GELU(got, big)
	require.NoError(t, kerneltest.EqualBits([]float32{1e30, 0, math.MaxFloat32, 0, 0, nan, nan, nan}, unsigned(got)))
	GELUGrad(got, one[:len(big)], big)
	require.NoError(t, kerneltest.EqualBits([]float32{1, 0, 1, 0.5, 0.5, nan, nan, nan}, unsigned(got)))
}

// unsigned hides the sign of zeros.
func unsigned(x []float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = abs(v)
	}
	return y
}

func TestLayerNormAgainstFloat64(t *testing.T) {
	const rows, cols, eps = 5, 197, 1e-6
	for _, kind := range []kerneltest.Kind{kerneltest.Normal, kerneltest.Denormal} {
		x, gain, bias, dy := filled(rows*cols, kind, 1), filled(cols, kerneltest.Normal, 2), filled(cols, kerneltest.Normal, 3), filled(rows*cols, kerneltest.Normal, 4)
		if kind == kerneltest.Normal {
			for i := range x {
				x[i] = 3*x[i] + 20 // an offset that a one-pass variance would stumble over
			}
		}
		y, mean, rstd := make([]float32, rows*cols), make([]float32, rows), make([]float32, rows)
		dx, dgain, dbias := filled(rows*cols, kerneltest.Normal, 5), filled(cols, kerneltest.Normal, 6), filled(cols, kerneltest.Normal, 7)
		wantX, wantGain, wantBias := kerneltest.Floats64(dx), kerneltest.Floats64(dgain), kerneltest.Floats64(dbias)
		wantY := make([]float64, rows*cols)
		for r := range rows {
			var m, v, sg, sgx float64
			for _, u := range x[r*cols:][:cols] {
				m += float64(u) / cols
			}
			for _, u := range x[r*cols:][:cols] {
				v += (float64(u) - m) * (float64(u) - m) / cols
			}
			s := 1 / math.Sqrt(v+eps)
			hat := func(j int) float64 { return (float64(x[r*cols+j]) - m) * s }
			g := func(j int) float64 { return float64(dy[r*cols+j]) * float64(gain[j]) }
			for j := range cols {
				wantY[r*cols+j] = hat(j)*float64(gain[j]) + float64(bias[j])
				sg += g(j) / cols
				sgx += g(j) * hat(j) / cols
				wantGain[j] += float64(dy[r*cols+j]) * hat(j)
				wantBias[j] += float64(dy[r*cols+j])
			}
			for j := range cols {
				wantX[r*cols+j] += s * (g(j) - sg - hat(j)*sgx)
			}
		}
		// The mean of 197 values around 20 is off by some eps32*20, amplified by rstd = 1/3 and |gain| < 4; the sums have
		// under 16 steps a lane. The gradient adds three rounded terms of size rstd*|dy*gain|, rstd being up to 1e3.
		scale := 1.0
		if kind == kerneltest.Denormal {
			scale = 1e3
		}
		LayerNorm(y, x, gain, bias, mean, rstd, rows, cols, eps)
		require.NoError(t, kerneltest.Within(wantY, y, 200*eps32, 8*eps32), "%v", kind)
		AddLayerNormGrad(dx, dy, x, gain, mean, rstd, rows, cols)
		require.NoError(t, kerneltest.Within(wantX, dx, 200*eps32*scale, 16*eps32), "%v", kind)
		AddLayerNormParamGrad(dgain, dbias, dy, x, mean, rstd, rows, cols, 0, 100)
		AddLayerNormParamGrad(dgain, dbias, dy, x, mean, rstd, rows, cols, 100, cols)
		require.NoError(t, kerneltest.Within(wantGain, dgain, 300*eps32, 0), "%v", kind)
		require.NoError(t, kerneltest.Within(wantBias, dbias, 50*eps32, 0), "%v", kind)

		// No affine part equals a gain of one and a bias of zero; no gain equals a gain of one.
		ones, plain := make([]float32, cols), make([]float32, rows*cols)
		for j := range ones {
			ones[j] = 1
		}
		LayerNorm(y, x, ones, make([]float32, cols), nil, nil, rows, cols, eps)
		LayerNorm(plain, x, nil, nil, nil, nil, rows, cols, eps)
		require.NoError(t, kerneltest.Within(kerneltest.Floats64(y), plain, 0, 0))
		clear(y)
		clear(plain)
		AddLayerNormGrad(y, dy, x, ones, mean, rstd, rows, cols)
		AddLayerNormGrad(plain, dy, x, nil, mean, rstd, rows, cols)
		require.NoError(t, kerneltest.EqualBits(y, plain))
	}
}

func TestSoftmaxAgainstFloat64(t *testing.T) {
	const rows, cols, stride, scale = 4, 197, 211, 0.125
	for _, spread := range []float32{0, 1, 30, 3000} {
		x := filled(rows*stride, kerneltest.Normal, 9)
		for i := range x {
			x[i] *= spread
		}
		want, dy := kerneltest.Floats64(x), filled(rows*stride, kerneltest.Normal, 10)
		wantGrad := make([]float64, len(x))
		for r := range rows {
			row, m, sum, dot := want[r*stride:][:cols], math.Inf(-1), 0.0, 0.0
			for _, v := range row {
				m = max(m, scale*v)
			}
			for j, v := range row {
				row[j] = math.Exp(scale*v - m)
				sum += row[j]
			}
			for j := range row {
				row[j] /= sum
				dot += row[j] * float64(dy[r*stride+j])
			}
			for j, p := range row {
				wantGrad[r*stride+j] = scale * p * (float64(dy[r*stride+j]) - dot)
			}
		}
		grad := make([]float32, len(x))
		Softmax(x, rows, cols, stride, scale)
		// The argument scale*x-max, up to 87 in size where exp is not 0, is rounded: twice 87*eps32 relative. Then exp (2
		// eps32), the sum over at most 13 steps a lane and 4 of the tree, the reciprocal and the product. Below the
		// normal range nothing is promised.
		require.NoError(t, kerneltest.Within(want, x, 0x1p-125, 200*eps32), "spread %v", spread)
		SoftmaxGrad(grad, dy, x, rows, cols, stride, scale)
		require.NoError(t, kerneltest.Within(wantGrad, grad, 200*eps32, 400*eps32), "spread %v", spread)
		var sum float64
		for _, v := range x[:cols] {
			sum += float64(v)
		}
		require.InDelta(t, 1, sum, 32*eps32)
	}

	inf := float32(math.Inf(1))
	x := []float32{-inf, 1, 1, -inf}
	Softmax(x, 1, 4, 4, 2)
	require.Equal(t, []float32{0, 0.5, 0.5, 0}, x)
	for _, bad := range [][]float32{{-inf, -inf}, {0, inf}, {0, float32(math.NaN())}} {
		Softmax(bad, 1, 2, 2, 1)
		require.True(t, bad[0] != bad[0] && bad[1] != bad[1], "%v", bad)
	}
}

func TestLossesAgainstFloat64(t *testing.T) {
	const n, scale = 1003, 0.25
	p, q, d := filled(n, kerneltest.Normal, 1), filled(n, kerneltest.Normal, 2), make([]float32, n)
	var l1, l2 float64
	want1, want2 := make([]float64, n), make([]float64, n)
	for i := range p {
		u := float64(p[i]) - float64(q[i])
		if math.Abs(u) < 1 {
			l1 += u * u / 2
		} else {
			l1 += math.Abs(u) - 0.5
		}
		l2 += u * u
		want1[i], want2[i] = scale*min(1, max(-1, u)), 2*scale*u
	}
	// u is rounded once (|u| < 8), its loss at most twice more; errors of a sum are at most their sum.
	require.InDelta(t, l1, SmoothL1(d, p, q, scale), n*8*3*eps32)
	require.NoError(t, kerneltest.Within(want1, d, 0, 3*eps32))
	require.InDelta(t, l2, SquaredError(d, p, q, scale), n*2*8*8*eps32)
	require.NoError(t, kerneltest.Within(want2, d, 0, 3*eps32))

	got := SmoothL1(d[:4], []float32{0, 0.5, 3, -3}, []float32{0, 0, 0, 0}, 2)
	require.Equal(t, 0.125+2.5+2.5, got)
	require.Equal(t, []float32{0, 1, 2, -2}, d[:4])
}

func TestArithmeticAgainstFloat64(t *testing.T) {
	const rows, cols = 9, 67
	x, y := filled(rows*cols, kerneltest.Cancelling, 1), filled(rows*cols, kerneltest.Normal, 2)
	var squares float64
	mean, sums, dst := make([]float64, cols), make([]float64, cols), filled(cols, kerneltest.Normal, 3)
	bound := 0.0
	for j := range cols {
		sums[j] = float64(dst[j])
		for r := range rows {
			v := float64(x[r*cols+j])
			squares += v * v
			sums[j] += v
			mean[j] += v / rows
			bound = max(bound, math.Abs(v))
		}
	}
	require.InEpsilon(t, squares, SumSquares(x), 1e-13)

	// Every partial sum is below rows*bound, and each of the rows additions rounds it once.
	AddColumnSums(dst, x, rows, cols, 0, 30)
	AddColumnSums(dst, x, rows, cols, 30, cols)
	require.NoError(t, kerneltest.Within(sums, dst, rows*rows*bound*eps32, 0))
	MeanRows(dst, x, rows, cols)
	require.NoError(t, kerneltest.Within(mean, dst, (rows+2)*bound*eps32, 0))

	sum, lerp := make([]float64, len(x)), make([]float64, len(x))
	for i := range x {
		sum[i] = float64(x[i]) + float64(y[i])
		lerp[i] = float64(float32(0.996))*float64(y[i]) + (1-float64(float32(0.996)))*float64(x[i])
	}
	z := append([]float32(nil), y...)
	Add(z, x)
	require.NoError(t, kerneltest.Within(sum, z, 0, eps32))
	Lerp(y, x, 0.996)
	require.NoError(t, kerneltest.Within(lerp, y, 3*bound*eps32, 2*eps32))
	require.Equal(t, []float32{0}, func() []float32 { x := []float32{-0.5}; Scale(x, 0); return unsigned(x) }())
}

func TestAllFinite(t *testing.T) {
	for n := range 40 {
		x := filled(n, kerneltest.Extreme, 1)
		for i := range x { // extreme values may have overflowed
			x[i] = max(-math.MaxFloat32, min(math.MaxFloat32, x[i]))
		}
		require.True(t, AllFinite(x))
		require.False(t, math.IsInf(SumSquares(x), 0))
		for i := range x {
			was := x[i]
			for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				x[i] = float32(bad)
				require.False(t, AllFinite(x), "n %d, i %d, %v", n, i, bad)
				require.False(t, SumSquares(x) <= math.MaxFloat64)
			}
			x[i] = was
		}
	}
}

// Ten steps against the update written in float64.
func TestAdamWAgainstFloat64(t *testing.T) {
	const n, gscale, momentum = 53, 0.5, 0.996
	p, target := filled(n, kerneltest.Normal, 1), filled(n, kerneltest.Normal, 2)
	m, v := make([]float32, n), make([]float32, n)
	p2, m2, v2 := append([]float32(nil), p...), make([]float32, n), make([]float32, n)
	wp, wt := kerneltest.Floats64(p), kerneltest.Floats64(target)
	wm, wv := make([]float64, n), make([]float64, n)
	b1, b2 := float64(float32(0.9)), float64(float32(0.999))
	for t1 := 1; t1 <= 10; t1++ {
		g := filled(n, kerneltest.Normal, uint64(10+t1))
		c := AdamW{LR: 0.01, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1,
			Corr1: float32(1 - math.Pow(b1, float64(t1))), Corr2: float32(math.Sqrt(1 - math.Pow(b2, float64(t1))))}
		c.StepEMA(p, g, m, v, target, gscale, momentum)
		c.Step(p2, g, m2, v2, gscale)
		for i := range wp {
			gi := gscale * float64(g[i])
			wm[i] = b1*wm[i] + (1-b1)*gi
			wv[i] = b2*wv[i] + (1-b2)*gi*gi
			wp[i] *= 1 - 0.01*0.1
			wp[i] -= 0.01 / float64(c.Corr1) * wm[i] / (math.Sqrt(wv[i])/float64(c.Corr2) + 1e-8)
			wt[i] = momentum*wt[i] + (1-momentum)*wp[i]
		}
	}
	// A step rounds p (|p| < 4) twice and moves it by at most 0.01*3, that move being good to some 16 eps32.
	bound := 10 * (2*4 + 0.03*16 + 4) * eps32
	require.NoError(t, kerneltest.Within(wp, p, bound, 0))
	require.NoError(t, kerneltest.Within(wt, target, bound, 0))
	require.NoError(t, kerneltest.Within(wm, m, 32*eps32, 0))
	require.NoError(t, kerneltest.Within(wv, v, 16*eps32, 32*eps32))
	require.NoError(t, kerneltest.EqualBits(p, p2))
	require.NoError(t, kerneltest.EqualBits(m, m2))
	require.NoError(t, kerneltest.EqualBits(v, v2))
}
