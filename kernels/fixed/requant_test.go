package fixed

import (
	"math"
	"math/big"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/kernels/kerneltest"
)

// intCols are row lengths around the vector widths.
var intCols = []int{1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65, 80, 96, 100, 192, 200}

// extremes are the int32 values at which arithmetic goes wrong first.
var extremes = []int32{math.MinInt32, math.MinInt32 + 1, -1 << 30, -1<<30 - 1, -ResidualMax, -ResidualMax - 1, -1, 0, 1,
	ResidualMax, ResidualMax + 1, 1<<30 - 1, 1 << 30, math.MaxInt32 - 1, math.MaxInt32}

// fillI32 is n values of magnitudes below 2^width, a few of them extreme if hurt.
func fillI32(r *rand.Rand, n, width int, hurt bool) []int32 {
	x := make([]int32, n)
	for i := range x {
		x[i] = int32(r.Uint32()) >> (31 - r.IntN(width+1))
		if hurt && r.IntN(8) == 0 {
			x[i] = extremes[r.IntN(len(extremes))]
		}
	}
	return x
}

// anyRequant is a Requant at and within the limits of Check.
func anyRequant(t *testing.T, r *rand.Rand, n int) *Requant {
	q := &Requant{r.IntN(31), make([]int32, n), make([]int32, n), make([]int32, n)}
	for j := range n {
		q.Mult[j] = r.Int32N(1<<31-1) - 1<<30 + 1
		q.Add[j] = r.Int32N(1<<31-1) - 1<<30 + 1
		q.Shift[j] = 1 + r.Int32N(29)
		switch r.IntN(8) {
		case 0:
			q.Mult[j], q.Add[j] = 1<<30-1, 1<<30
		case 1:
			q.Mult[j], q.Add[j] = 1-1<<30, -1<<30
		case 2:
			q.Shift[j] = 1
		}
	}
	require.NoError(t, q.Check(n))
	return q
}

// netRequant is a Requant as a network has it: sums of up to bound give up to twice what most is.
func netRequant(t *testing.T, r *rand.Rand, n, bound int, most float64) (q *Requant, ratio, bias []float64) {
	ratio, bias = make([]float64, n), make([]float64, n)
	for j := range n {
		ratio[j] = 2 * most / float64(bound) * math.Ldexp(r.Float64()-0.5, 1-r.IntN(4))
		bias[j] = most * r.NormFloat64()
	}
	q, err := NewRequant(ratio, bias, bound)
	require.NoError(t, err)
	require.NoError(t, q.Check(n))
	return q, ratio, bias
}

// requantOracle is v of Requant in unbounded integers: one floor, of one quotient.
func requantOracle(a int32, q *Requant, j int) int64 {
	v := big.NewInt(int64(a << q.Lift))
	v.Mul(v, big.NewInt(int64(q.Mult[j])))
	v.Add(v, new(big.Int).Lsh(big.NewInt(int64(q.Add[j])), 31))
	return v.Rsh(v, uint(31+q.Shift[j])).Int64() // Rsh rounds down
}

func clampTo(v, most int64) int64 { return max(min(v, most), -most) }

func TestRequant(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for n, cols := range intCols {
			q := anyRequant(t, r, cols)
			rows, ld, ldacc := 1+n%5, cols+n%3, cols+n%2*5
			acc, res := fillI32(r, rows*ldacc, 31, true), fillI32(r, rows*ld, 24, false)
			for i := range res { // at both ends of the stream too
				if res[i] = max(min(res[i], ResidualMax), -ResidualMax); r.IntN(8) == 0 {
					res[i] = ResidualMax * int32(r.IntN(2)*2-1)
				}
			}
			was, before := slices.Clone(acc), slices.Clone(res)
			dst := slices.Repeat([]int8{99}, rows*ld)
			RequantI8(dst[:(rows-1)*ld+cols], ld, acc[:(rows-1)*ldacc+cols], ldacc, rows, cols, q)
			AddRequant(res[:(rows-1)*ld+cols], ld, acc[:(rows-1)*ldacc+cols], ldacc, rows, cols, q)
			require.Equal(t, was, acc)
			for i := range rows {
				for j := range ld {
					at := i*ld + j
					if j >= cols {
						require.EqualValues(t, 99, dst[at], "written between the rows")
						require.Equal(t, before[at], res[at], "written between the rows")
						continue
					}
					v := requantOracle(acc[i*ldacc+j], q, j)
					require.EqualValues(t, clampTo(v, 127), dst[at], "cols %d, [%d,%d]", cols, i, j)
					require.EqualValues(t, clampTo(int64(before[at])+v, ResidualMax), res[at], "cols %d, [%d,%d]", cols, i, j)
				}
			}
		}
	})
}

// The integers follow the real numbers within the bound of NewRequant, and it is not an idle one.
func TestNewRequant(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const bound, most = 1 << 22, 100
	q, ratio, bias := netRequant(t, r, 500, bound, most)
	require.Zero(t, q.Lift)
	worst, coarse := 0.0, 0
	for j := range ratio {
		s := math.Ldexp(1, -int(q.Shift[j]))
		require.Less(t, s, 1./(1<<requantFraction))
		for range 50 {
			acc := r.Int32N(2*bound+1) - bound
			exact := float64(acc) * ratio[j]
			v := float64(requantOracle(acc, q, j))
			off := math.Abs(v - (exact + bias[j]))
			require.LessOrEqual(t, off, 0.5+1.5*s+math.Abs(exact)*0x1p-30)
			if worst = max(worst, off); off > 0.5 {
				coarse++
			}
		}
	}
	require.Greater(t, worst, 0.4999)
	require.Less(t, coarse, 100, "not the nearest integer")

	// Halves go up, for either sign; the bias is folded in.
	q, err := NewRequant([]float64{0.5, -0.5, 0.25}, []float64{0, 0, 2.25}, 1000)
	require.NoError(t, err)
	for a, want := range map[int32][3]int64{
		0: {0, 0, 2}, 1: {1, 0, 3}, -1: {0, 1, 2}, 3: {2, -1, 3}, -3: {-1, 2, 2}, 5: {3, -2, 4}, -7: {-3, 4, 1},
	} {
		for j := range want {
			require.Equal(t, want[j], requantOracle(a, q, j), "%d, channel %d", a, j)
		}
	}

	// Small ratios with large biases, zero, and ratios above 1 are all right; what cannot be is an error.
	q, err = NewRequant([]float64{0, 0x1p-60, 1e-9, 9.75, -1 + 0x1p-40}, []float64{-90, 90, 1000, 0, 0}, 1<<20)
	require.NoError(t, err)
	require.NoError(t, q.Check(5))
	for j, want := range []int64{-90, 90, 1000, 9750000, -1000000} {
		require.Equal(t, want, requantOracle(1000000, q, j), "channel %d", j)
	}
	// Multipliers halfway to 2^30 round to even, which is 2^30, and need a shift less.
	q, err = NewRequant([]float64{(1 - 0x1p-31) * 0x1p-10, -(1 - 0x1p-31) * 0x1p-10}, []float64{0, 0}, 1<<20)
	require.NoError(t, err)
	require.NoError(t, q.Check(2))
	require.Equal(t, []int32{1 << 29, -1 << 29}, q.Mult)
	q, err = NewRequant([]float64{0}, []float64{-7.5}, 1<<29)
	require.NoError(t, err)
	require.EqualValues(t, -7, requantOracle(1<<29, q, 0))
	for _, bad := range [][3]float64{{1, 0, 1 << 30}, {math.NaN(), 0, 1}, {0.1, math.NaN(), 1}, {math.Inf(1), 0, 1}, {1e-3, 0x1p29, 1}} {
		_, err = NewRequant(bad[:1], bad[1:2], int(bad[2]))
		require.Error(t, err, "%v", bad)
	}
	for _, bad := range []*Requant{
		{0, []int32{1 << 30}, []int32{0}, []int32{1}}, {31, []int32{0}, []int32{0}, []int32{1}}, {-1, []int32{0}, []int32{0}, []int32{1}},
		{0, []int32{0}, []int32{0}, []int32{0}}, {0, []int32{0}, []int32{0}, []int32{30}},
		{0, []int32{0}, []int32{1<<30 + 1}, []int32{1}}, {0, []int32{0}, nil, []int32{1}},
	} {
		require.Error(t, bad.Check(1), "%v", bad)
	}
}

func TestRequantMeans(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		for n, cols := range intCols {
			rows, ld, ldacc := 1+n*7%70, cols+n%3, cols+n%2*5
			ratio, bias := make([]float64, cols), make([]float64, cols)
			for j := range ratio {
				ratio[j] = math.Ldexp(0.5+r.Float64(), -RowFraction)
			}
			q, err := NewRequant(ratio, bias, 128<<RowFraction)
			require.NoError(t, err)
			acc, sum, base := make([]int32, rows*ldacc), make([]int32, rows), fillI32(r, cols, 15, false)
			for i := range rows {
				sum[i] = 127 + r.Int32N(255*4096-126)>>r.IntN(12)
				for j := range cols {
					acc[i*ldacc+j] = int32((r.Float64()*2-1)*127.9*float64(sum[i])) + base[j]
				}
			}
			dst := slices.Repeat([]int8{99}, rows*ld)
			RequantMeans(dst[:(rows-1)*ld+cols], ld, acc[:(rows-1)*ldacc+cols], ldacc, rows, cols, sum, base, q)
			for i := range rows {
				for j := range cols {
					exact := float64(acc[i*ldacc+j]-base[j]) / float64(sum[i]) * math.Ldexp(ratio[j], RowFraction)
					off := math.Abs(float64(dst[i*ld+j]) - max(min(exact, 127), -127))
					require.LessOrEqual(t, off, 0.5+2*ratio[j]+1.5/(1<<requantFraction), "cols %d, [%d,%d]", cols, i, j)
				}
				for _, v := range dst[i*ld+cols : (i+1)*ld] {
					require.EqualValues(t, 99, v, "written between the rows")
				}
			}

			// Whatever the operands, the bits are those of the generic path.
			q, acc = anyRequant(t, r, cols), fillI32(r, rows*ldacc, 31, true)
			for i := range sum {
				sum[i] = extremes[r.IntN(len(extremes))]
			}
			for _, b := range [][]int32{nil, fillI32(r, cols, 31, true)} {
				RequantMeans(dst[:(rows-1)*ld+cols], ld, acc, ldacc, rows, cols, sum, b, q)
				want := make([]int8, cols)
				for i := range rows {
					s := meanScale(sum[i])
					scaleRowI8Generic(want, acc[i*ldacc:][:cols], &s, b, q)
					require.Equal(t, want, dst[i*ld:][:cols], "cols %d, row %d", cols, i)
				}
			}
		}
	})
}

// The division of RequantMeans is right for every sum: at its largest operand it is within a unit.
func TestMeanScale(t *testing.T) {
	for sum := int32(1); sum <= 255*4096; sum += 1 + sum/1000 {
		s := meanScale(sum)
		require.Less(t, bits.Len32(uint32(128*sum)<<s.lift), 32)
		for _, x := range []int32{128 * sum, -128 * sum, 1, -1, 77*sum + 1} {
			exact := math.Ldexp(float64(x)/float64(sum), RowFraction)
			require.InDelta(t, exact, float64(s.apply(x)), 1.5, "%d / %d", x, sum)
		}
	}
	require.Zero(t, new(rowScale).apply(math.MaxInt32))
}

func TestRequantAllocates(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	const rows, cols = 40, 100
	q := anyRequant(t, r, cols)
	acc, dst, sum := fillI32(r, rows*cols, 20, false), make([]int8, rows*cols), fillI32(r, rows, 20, true)
	sums, res := make([]int64, cols), make([]int32, rows*cols)
	g, err := NewGELU(0.02, -128)
	require.NoError(t, err)
	s, err := NewSoftmax(1e-4, true)
	require.NoError(t, err)
	table := GELUTable(0.03, 0.02)
	require.Zero(t, testing.AllocsPerRun(5, func() {
		RequantI8(dst, cols, acc, cols, rows, cols, q)
		AddRequant(res, cols, acc, cols, rows, cols, q)
		RequantMeans(dst, cols, acc, cols, rows, cols, sum, acc, q)
		RequantGELU(dst, cols, acc, cols, rows, cols, q, g)
		LayerNorm(dst, cols, acc, cols, rows, cols, q, 1)
		SumNorm(sums, acc, cols, rows, cols, 1)
		SoftmaxI8(dst, cols, sum, acc, cols, rows, cols, s)
		Lookup(dst, dst, table)
	}))
}
