package fixed

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/kernels/i8"
	"edgejepa/kernels/kerneltest"
)

// softmaxCols are row lengths around the vector widths, and the token counts of encoders.
var softmaxCols = []int{1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 36, 49, 63, 64, 65, 95, 96, 97, 144, 196, 197, 256, 1000, 4096}

func newSoftmax(t *testing.T, scale float64, wide bool) *Softmax {
	s, err := NewSoftmax(scale, wide)
	require.NoError(t, err)
	return s
}

// top is the largest weight.
func (s *Softmax) top() float64 { return float64(s.first >> (s.bits + 1)) }

// Every weight is within the bound of SoftmaxI8 of its value, sums are those of the weights, and the bound is tight
// enough to tell the rounding from none.
func TestSoftmaxI8(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 4))
		for n, cols := range softmaxCols {
			for _, wide := range []bool{false, true} {
				for _, scale := range []float64{0, 1e-12, 3e-9, 1e-6, 1.23e-4, 0.01, 0.3, 2.7} {
					s := newSoftmax(t, scale, wide)
					rows, ld, lds := 1+n%4, cols+n%3, cols+n%2*5
					spread := 3 / max(scale, 1e-9)
					scores := make([]int32, rows*lds)
					for i := range scores {
						scores[i] = int32(max(min(r.NormFloat64()*spread, math.MaxInt32), math.MinInt32))
						if r.IntN(20) == 0 {
							scores[i] = extremes[r.IntN(len(extremes))] >> (2 * n % 20)
						}
					}
					if n%4 == 3 { // equal scores
						copy(scores, slices.Repeat([]int32{-12345}, lds))
					}
					was := slices.Clone(scores)
					p, sum := slices.Repeat([]int8{99}, rows*ld), make([]int32, rows)
					SoftmaxI8(p[:(rows-1)*ld+cols], ld, sum, scores[:(rows-1)*lds+cols], lds, rows, cols, s)
					require.Equal(t, was, scores)
					for i := range rows {
						row := scores[i*lds:][:cols]
						most, total, limit := slices.Max(row), int32(0), 0.7
						if wide {
							limit = 0.8
						}
						for j, v := range row {
							w := int32(p[i*ld+j]) + int32(s.zero)
							total += w
							exact := s.top() * math.Exp(-scale*(float64(most)-float64(v)))
							if off := math.Abs(float64(w) - exact); !(off <= limit) {
								t.Fatalf("cols %d scale %g [%d,%d]: off by %g, allowed %g", cols, scale, i, j, off, limit)
							}
						}
						require.Equal(t, total, sum[i])
						if ld > cols && i < rows-1 {
							require.EqualValues(t, 99, p[i*ld+cols], "written between the rows")
						}
					}
				}
			}
		}
	})
}

// Every difference of scores, on every path: the bits of weight, and an error that is two-sided.
func TestSoftmaxWeights(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		for _, wide := range []bool{false, true} {
			for _, scale := range []float64{1e-4, 3.1e-4, 0.7e-3, 0x1p-11 * math.Ln2, 0.005, 0.4} {
				s := newSoftmax(t, scale, wide)
				n := min(int(11*math.Ln2/scale)+70, 1<<17)
				worst := 0.0
				for from := 0; from < n; from += 1023 {
					scores, p, sum := make([]int32, 1024), make([]int8, 1024), make([]int32, 1)
					for i := range scores[1:] {
						scores[1+i] = -int32(from + i)
					}
					SoftmaxI8(p, 1024, sum, scores, 1024, 1, 1024, s)
					for i := range scores[1:] {
						w := s.weight(uint32(from + i))
						if p[1+i] != int8(w-s.zero) {
							t.Fatalf("scale %g, %d: %d, want %d", scale, from+i, p[1+i], w-s.zero)
						}
						worst = max(worst, math.Abs(float64(w)-s.top()*math.Exp(-scale*float64(from+i))))
					}
				}
				if wide {
					require.LessOrEqual(t, worst, 0.8)
				} else {
					require.LessOrEqual(t, worst, 0.7)
				}
				if scale < 0.1 {
					require.Greater(t, worst, 0.49)
				}
			}
		}
	})
}

func TestNewSoftmax(t *testing.T) {
	for _, bad := range []float64{math.NaN(), -1e-9, math.Inf(1), 2.9} {
		_, err := NewSoftmax(bad, true)
		require.Error(t, err, "%g", bad)
	}
	require.EqualValues(t, 255, newSoftmax(t, 0, true).weight(math.MaxUint32))
	require.EqualValues(t, 127, newSoftmax(t, 0, false).weight(math.MaxUint32))
}

// attentionSNR is the signal-to-noise ratio in dB of softmax(scale*scores)·V with int8 weights, V and its output scale
// taken as exact, for normal scores of the given deviation in the exponent.
func attentionSNR(t *testing.T, tokens int, deviation float64, wide bool) float64 {
	r := rand.New(rand.NewPCG(uint64(tokens), 5))
	const rows, scale = 64, 2e-4
	s := newSoftmax(t, scale, wide)
	scores, p, sum := make([]int32, rows*tokens), make([]int8, rows*tokens), make([]int32, rows)
	for i := range scores {
		scores[i] = int32(r.NormFloat64() * deviation / scale)
	}
	SoftmaxI8(p, tokens, sum, scores, tokens, rows, tokens, s)
	signal, noise := 0.0, 0.0
	for i := range rows {
		v := make([]float64, tokens)
		for j := range v {
			v[j] = r.NormFloat64()
		}
		var want, total, got float64
		for j, x := range scores[i*tokens:][:tokens] {
			e := math.Exp(scale * float64(x))
			want, total = want+e*v[j], total+e
			got += float64(int(p[i*tokens+j])+int(s.zero)) * v[j] / float64(sum[i])
		}
		want /= total
		signal, noise = signal+want*want, noise+(got-want)*(got-want)
	}
	return 10 * math.Log10(signal/noise)
}

func TestSoftmaxSNR(t *testing.T) {
	for _, c := range []struct {
		tokens           int
		deviation        float64
		least, leastWide float64
	}{
		{64, 0.5, 43, 49}, {64, 1, 37, 45}, {64, 2, 31, 37}, {64, 3, 34, 39},
		{196, 0.5, 39, 45}, {196, 1, 33, 40}, {196, 2, 27, 34}, {196, 3, 28, 32},
	} {
		narrow, wide := attentionSNR(t, c.tokens, c.deviation, false), attentionSNR(t, c.tokens, c.deviation, true)
		t.Logf("%d tokens, scores of deviation %g: %.1f dB with 7 bits, %.1f dB with 8", c.tokens, c.deviation, narrow, wide)
		require.Greater(t, narrow, c.least)
		require.Greater(t, wide, c.leastWide)
	}
}

// A head of attention from int8 to int8: what comes out is the rounded mean of V under the weights that SoftmaxI8 chose,
// and near that under the exact ones. One row of P more gives the base of weights that are stored less 128.
func TestIntAttention(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		const tokens, d, scale = 65, 48, 2e-4
		r := rand.New(rand.NewPCG(6, 5))
		q, k, v := randomI8(r, tokens*d), randomI8(r, tokens*d), randomI8(r, d*tokens)
		var keys, values i8.Panels
		keys.Pack(k, d, tokens)
		values.Pack(v, tokens, d) // the transpose of V: a row a channel
		scores, p, sum := make([]int32, tokens*tokens), make([]int8, (tokens+1)*tokens), make([]int32, tokens)
		i8.Gemm(scores, tokens, q, d, tokens, &keys)
		mean, err := NewRequant(slices.Repeat([]float64{0x1p-20}, d), make([]float64, d), 128<<RowFraction)
		require.NoError(t, err)
		for _, wide := range []bool{false, true} {
			s := newSoftmax(t, scale, wide)
			for j := range tokens {
				p[tokens*tokens+j] = int8(-s.zero)
			}
			acc, got := make([]int32, (tokens+1)*d), make([]int8, tokens*d)
			SoftmaxI8(p, tokens, sum, scores, tokens, tokens, tokens, s)
			i8.Gemm(acc, d, p, tokens, tokens+1, &values)
			RequantMeans(got, d, acc, d, tokens, d, sum, acc[tokens*d:], mean)
			for i := range tokens {
				row := scores[i*tokens:][:tokens]
				most := slices.Max(row)
				for j := range d {
					var chosen, exact, total float64
					for n, x := range row {
						w := math.Exp(scale * float64(x-most))
						exact, total = exact+w*float64(v[j*tokens+n]), total+w
						chosen += float64(int(p[i*tokens+n])+int(s.zero)) * float64(v[j*tokens+n])
					}
					require.InDelta(t, chosen/float64(sum[i]), float64(got[i*d+j]), 0.51)
					require.InDelta(t, exact/total, float64(got[i*d+j]), 0.51+127*0.8*tokens/float64(sum[i]))
				}
			}
		}
	})
}

// randomI8 is n values that weights may have.
func randomI8(r *rand.Rand, n int) []int8 {
	x := make([]int8, n)
	for i := range x {
		x[i] = int8(r.IntN(255) - 127)
	}
	return x
}
