package fixed

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/kernels/kerneltest"
)

// normRow is a row of a residual stream: small or large values, outliers, an offset far above the deviation, one value
// apart from the others, two values a unit apart, equal values.
func normRow(r *rand.Rand, cols, kind int) []int32 {
	x := make([]int32, cols)
	at := r.IntN(cols)
	for i := range x {
		switch n := r.NormFloat64(); kind {
		case 0, 1:
			x[i] = int32(n * 3000)
		case 2:
			x[i] = int32(n*2) - 16000000
		case 3:
			x[i] = ResidualMax * int32(r.IntN(2)*2-1)
		case 4, 5:
			x[i] = -77777
		case 6:
			x[i] = r.Int32N(2) + 12345678
		}
	}
	switch kind {
	case 1:
		x[at] = ResidualMax
	case 4:
		x[at]++
	}
	return x
}

const normKinds = 8 // the last is zero

// normOracle is LN(x)*gain + bias in float64, from the definition.
func normOracle(x []int32, gain, bias []float64, eps float64) []float64 {
	n, sum, variance := int64(len(x)), int64(0), 0.0
	for _, v := range x {
		sum += int64(v)
	}
	d := make([]float64, len(x)) // x - mean, of one rounding
	for j, v := range x {
		d[j] = float64(n*int64(v)-sum) / float64(n)
		variance += d[j] * d[j] / float64(n)
	}
	y := make([]float64, len(x))
	for j := range x {
		y[j] = bias[j]
		if variance+eps > 0 {
			y[j] += d[j] / math.Sqrt(variance+eps) * gain[j]
		}
	}
	return y
}

func TestIntLayerNorm(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 3))
		worst := 0.0
		for n, cols := range append(slices.Clone(intCols), 384, 768, 1000, 4095, 4096) {
			ld, ldx := cols+n%3, cols+n%2*5
			gain, bias, ratio := make([]float64, cols), make([]float64, cols), make([]float64, cols)
			for j := range gain {
				gain[j], bias[j] = 40*(1+r.NormFloat64()), 10*r.NormFloat64()
				ratio[j] = math.Ldexp(gain[j], -RowFraction)
			}
			q, err := NewRequant(ratio, bias, 1<<26)
			require.NoError(t, err)
			x := make([]int32, normKinds*ldx)
			for i := range normKinds {
				copy(x[i*ldx:], normRow(r, cols, i))
			}
			was := slices.Clone(x)
			dst := slices.Repeat([]int8{99}, normKinds*ld)
			for _, eps := range []float64{0, 1, 1e5} {
				LayerNorm(dst[:(normKinds-1)*ld+cols], ld, x[:(normKinds-1)*ldx+cols], ldx, normKinds, cols, q, NormEps(eps, 1))
				require.Equal(t, was, x)
				for i := range normKinds {
					for j, y := range normOracle(x[i*ldx:][:cols], gain, bias, eps) {
						off := math.Abs(float64(dst[i*ld+j]) - max(min(y, 127), -127))
						s := math.Ldexp(1.5, -int(q.Shift[j]))
						most := 0.5 + math.Ldexp(1.5*math.Abs(gain[j]), -RowFraction) + s + math.Abs(y)*0x1p-27
						if !(off <= most) {
							t.Fatalf("cols %d kind %d eps %g [%d]: off by %g, allowed %g", cols, i, eps, j, off, most)
						}
						worst = max(worst, off)
					}
					for _, v := range dst[i*ld+cols : (i+1)*ld] {
						require.EqualValues(t, 99, v, "written between the rows")
					}
				}
			}
		}
		require.Greater(t, worst, 0.49)
	})
}

// u of LayerNorm, which SumNorm adds up, is within 3/2 of its value, and every path gives the same for any input.
func TestSumIntNorm(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(2, 3))
		for n, cols := range append(slices.Clone(intCols), 1000, 4096) {
			ones, zeros := slices.Repeat([]float64{1 << RowFraction}, cols), make([]float64, cols)
			ldx := cols + n%2*5
			for i := range normKinds {
				x := normRow(r, cols, i)
				sum := slices.Repeat([]int64{-7}, cols)
				SumNorm(sum, x, cols, 1, cols, 0)
				for j, y := range normOracle(x, ones, zeros, 0) {
					if off := math.Abs(y - float64(sum[j]+7)); !(off <= 1.5+math.Abs(y)*0x1p-30) {
						t.Fatalf("cols %d kind %d [%d]: off by %g", cols, i, j, off)
					}
				}
			}
			const rows = 37
			x := fillI32(r, rows*ldx, 31, true)
			q := anyRequant(t, r, cols)
			sum, want := make([]int64, cols), make([]int64, cols)
			dst, wantDst := make([]int8, rows*cols), make([]int8, rows*cols)
			SumNorm(sum, x, ldx, rows, cols, 3)
			LayerNorm(dst, cols, x, ldx, rows, cols, q, 3)
			for i := range rows {
				s, sq := rowMomentsGeneric(x[i*ldx:][:cols])
				scale := normScale(s, sq, cols, 3)
				sumScaledRowGeneric(want, x[i*ldx:][:cols], &scale)
				scaleRowI8Generic(wantDst[i*cols:][:cols], x[i*ldx:][:cols], &scale, nil, q)
			}
			require.Equal(t, want, sum)
			require.Equal(t, wantDst, dst)
		}
	})
}

// Scales stay in their ranges whatever the moments.
func TestNormScale(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 3))
	for range 20000 {
		n := 1 + r.IntN(MaxNormCols)
		s := normScale(int64(r.Uint64())>>(20+r.IntN(44)), r.Uint64()>>r.IntN(64), n, r.Uint64()>>r.IntN(64))
		require.True(t, s.lift >= 0 && s.lift <= 30 && s.shift >= 0 && s.shift <= 31 && s.mult >= 0 && s.mult < 1<<30, "%+v", s)
	}
	// Within its contract there is nothing to clamp: no bit of precision is lost at either end.
	for n := 2; n <= MaxNormCols; n++ {
		for _, s := range []rowScale{
			normScale(0, uint64(n)*ResidualMax*ResidualMax, n, 0), normScale(1, 1, n, 0),
		} {
			require.True(t, s.mult >= 1<<28, "%d: %+v", n, s)
		}
	}
}

func TestIsqrt(t *testing.T) {
	check := func(x uint64) {
		b := new(big.Int).SetUint64(x)
		require.Equal(t, b.Sqrt(b).Uint64(), isqrt(x), "%d", x)
	}
	r := rand.New(rand.NewPCG(5, 3))
	for x := range uint64(3000) {
		check(x)
	}
	for range 5000 {
		x := r.Uint64() >> (2 + r.IntN(61))
		root := uint64(math.Sqrt(float64(x)))
		for _, v := range []uint64{x, root * root, root*root - min(root, 1), root*root + 2*root} {
			check(min(v, 1<<62-1))
		}
	}
	check(1<<62 - 1)
}

// NormEps is eps in squares of the stream's unit, with 16 bits behind the point, and never wraps.
func TestNormEps(t *testing.T) {
	require.EqualValues(t, 1<<16, NormEps(1, 1))
	require.EqualValues(t, 17592186, NormEps(1e-6, 0x1p-14)) // 1e-6 * 2^44
	require.Equal(t, uint64(1)<<50, NormEps(1, 1e-30))
	require.Zero(t, NormEps(0, 1))
	require.Zero(t, NormEps(-1, 1))
	require.Zero(t, NormEps(math.NaN(), 1))
}

func TestScaleSums(t *testing.T) {
	dst := make([]float32, 3)
	ScaleSums(dst, []int64{3, -5, 1 << 52}, []float64{0.5, 0.25, 0x1p-52}, []float64{1, 0, 2})
	require.Equal(t, []float32{2.5, -1.25, 3}, dst)
	require.Panics(t, func() { ScaleSums(dst, make([]int64, 3), make([]float64, 2), make([]float64, 3)) })
}
