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

// Over all 2^13 values of the random bits the mean of roundHalf is the value itself, exactly where halves are normal and
// to 2^-38 below. The values are between neighbours, everywhere in the range.
func TestRoundHalfIsUnbiased(t *testing.T) {
	mean := func(x float32, round func(x float32, r uint32) float32) float64 {
		sum := 0.0 // exact: multiples of 2^-24 below 2^29
		for r := range uint32(1 << 13) {
			sum += float64(round(x, r))
		}
		return sum / (1 << 13)
	}
	check := func(x float32, round func(x float32, r uint32) float32) error {
		allowed := 0.0
		if abs(x) < 0x1p-14 {
			allowed = 0x1p-38
		}
		if m := mean(x, round); !(math.Abs(m-float64(x)) <= allowed) {
			return fmt.Errorf("mean of roundHalf(%g) is %g", x, m)
		}
		return nil
	}
	for i := range uint32(400) {
		h := noise.Mix(i) % 0x7bff
		part := float32(noise.Mix(i+1000)>>8) * 0x1p-24
		lo, hi := fp.FromHalf(uint16(h)), fp.FromHalf(uint16(h+1))
		x := lo + float32((hi-lo)*part)
		if i%2 == 1 {
			x = -x
		}
		require.NoError(t, check(x, roundHalf))
	}
	// Nearest rounding, a shift of the random bits, and one of them short are found out.
	nearest := func(x float32, r uint32) float32 { return fp.FromHalf(fp.ToHalf(x)) }
	require.Error(t, check(1+0x1p-12, nearest))
	require.Error(t, check(1+0x1p-12, func(x float32, r uint32) float32 { return roundHalf(x, min(r+1, 1<<13-1)) }))
	require.Error(t, check(1+0x1p-23, func(x float32, r uint32) float32 { return roundHalf(x, r&^1) }))
	require.Error(t, check(0x1p-20+0x1p-30, nearest))
}

// Whatever the random bits: a half stays, anything else becomes one of its two neighbours, both of them in turn.
func TestRoundHalfNeighbours(t *testing.T) {
	const most = 1<<13 - 1
	for h := range uint16(0x7c00) {
		lo := fp.FromHalf(h)
		for _, sign := range []float32{1, -1} {
			bits := uint16(math.Float32bits(sign) >> 16 & 0x8000)
			for _, r := range []uint32{0, 1, most / 2, most} {
				if got := fp.ToHalf(roundHalf(sign*lo, r)); got != bits|h {
					t.Fatalf("half %#04x became %#04x", bits|h, got)
				}
			}
			if h == 0x7bff {
				continue
			}
			x := lo + float32((fp.FromHalf(h+1)-lo)*0.5)
			down, up := fp.ToHalf(roundHalf(sign*x, 0)), fp.ToHalf(roundHalf(sign*x, most))
			if down != bits|h || up != bits|(h+1) {
				t.Fatalf("%g became %#04x or %#04x", sign*x, down, up)
			}
		}
	}
	for _, r := range []uint32{0, most} { // beyond the largest: no infinity that was not there, and NaN stays NaN
		for x, want := range map[uint32]uint16{0x477fe001: 0x7bff, 0x477ff000: 0x7bff, 0x47800000: 0x7bff, 0x7f7fffff: 0x7bff,
			0x7f800000: 0x7c00, 0x7f800001: 0x7e00, 0x7fffffff: 0x7fff, 0x7fc00000: 0x7e00, 1: 0, 0x807fffff: 0x8000} {
			require.Equal(t, want, fp.ToHalf(roundHalf(math.Float32frombits(x), r)), "%#08x", x)
			require.Equal(t, want^0x8000, fp.ToHalf(roundHalf(math.Float32frombits(x^1<<31), r)), "%#08x", x)
		}
	}
}

// The specials again, through every path and with NaNs bit for bit.
func TestRoundHalfSpecials(t *testing.T) {
	var src []float32
	for top := range uint32(0x400) {
		for _, sign := range []uint32{0, 1 << 31} {
			src = append(src, math.Float32frombits(sign|0x7f800000|top<<13), math.Float32frombits(sign|0x7f800001|top<<13),
				math.Float32frombits(sign|0x47700000+top<<13), math.Float32frombits(sign|top<<13|7))
		}
	}
	forEachISA(t, func(t *testing.T) {
		want, got := make([]uint16, len(src)), make([]uint16, len(src))
		onGeneric(func() { RoundHalf(want, src, noise.Stream{Key: 7}) })
		RoundHalf(got, src, noise.Stream{Key: 7})
		require.Equal(t, want, got)
		for i, x := range src {
			if x-x != 0 { // NaN and Inf
				require.Equal(t, fp.ToHalf(x), got[i])
			} else {
				require.Less(t, got[i]&0x7fff, uint16(0x7c00))
			}
		}
	})
}

// The mean over many places, with the noise itself, is the value within five standard deviations, and not so for nearest.
func TestRoundHalfMean(t *testing.T) {
	const n = 1 << 16
	forEachISA(t, func(t *testing.T) {
		x, h, back := make([]float32, n), make([]uint16, n), make([]float32, n)
		for key := range uint32(20) {
			part := float32(noise.Mix(key)>>8) * 0x1p-24
			value, ulp := 1+float32(part*0x1p-10), 0x1p-10
			if key%2 == 1 {
				value, ulp = float32((7+part)*0x1p-24), 0x1p-24
			}
			for i := range x {
				x[i] = value
			}
			bound := 5 * ulp * math.Sqrt(float64(part*(1-part))/n)
			RoundHalf(h, x, noise.Stream{Key: key})
			fp.DecodeHalf(back, h)
			require.InDelta(t, value, mean(back), bound, "key %d", key)
			fp.EncodeHalf(h, x)
			fp.DecodeHalf(back, h)
			if part > 0.05 && part < 0.95 {
				require.Greater(t, math.Abs(mean(back)-float64(value)), bound)
			}
		}
	})
}

func mean(x []float32) float64 {
	s := 0.0
	for _, v := range x {
		s += float64(v)
	}
	return s / float64(len(x))
}

// An average with momentum 0.9999 of a constant, kept in halves: in 20,000 steps it goes 1-e^-2 of the way, up to the
// standard error of what is derived at LerpHalf; rounded to nearest it does not move at all.
func TestLerpHalfMoves(t *testing.T) {
	const n, momentum, steps = 1024, 0.9999, 20000
	src, h := make([]float32, n), make([]uint16, n)
	for i := range src {
		src[i] = 1.05
	}
	start := make([]float32, n)
	for i := range start {
		start[i] = 1
	}
	fp.EncodeHalf(h, start)
	near := append([]uint16(nil), h...)
	back := make([]float32, n)
	for step := range uint32(steps) {
		LerpHalf(h, src, momentum, noise.Stream{Key: step})
		if step < 100 {
			fp.DecodeHalf(back, near)
			Lerp(back, src, momentum)
			fp.EncodeHalf(near, back)
		}
	}
	fp.DecodeHalf(back, h)
	want := 1.05 - 0.05*math.Pow(momentum, steps)
	sd := math.Sqrt(0.05 * 0x1p-10 / 2) // of one element, at most
	require.InDelta(t, want, mean(back), 5*sd/math.Sqrt(n)+steps*0x1p-24*(1-momentum))
	spread := 0.0
	for _, v := range back {
		spread += (float64(v) - want) * (float64(v) - want)
	}
	spread = math.Sqrt(spread / n)
	require.Less(t, spread, 1.1*sd)
	require.Greater(t, spread, sd/10) // a spread of zero would mean that all places share one noise
	for _, v := range near {
		require.Equal(t, uint16(0x3c00), v)
	}
	was := append([]uint16(nil), h...)
	LerpHalf(h, src, 1, noise.Stream{Key: 1})
	require.Equal(t, was, h)
}

func BenchmarkHalf(b *testing.B) {
	for _, n := range []int{1 << 12, 1 << 20, 1 << 24} { // in the first-level cache, in the last, in memory
		for _, k := range halfKernels {
			x, h := make([][]float32, k.floats), make([][]uint16, k.halfs)
			for i := range x {
				x[i] = filled(n, kerneltest.Normal, uint64(i))
			}
			for i := range h {
				h[i] = make([]uint16, n)
			}
			b.Run(fmt.Sprintf("%s/%d", k.name, n), func(b *testing.B) {
				for b.Loop() {
					k.run(x, h, noise.Stream{Key: 1})
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/elem")
			})
		}
		p, g, m, v, e := make([]float32, n), filled(n, kerneltest.Normal, 1), make([]float32, n), make([]float32, n), make([]float32, n)
		b.Run(fmt.Sprintf("AdamW.Step/%d", n), func(b *testing.B) {
			for b.Loop() {
				testAdamW.Step(p, g, m, v, 0.7)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/elem")
		})
		b.Run(fmt.Sprintf("AdamW.StepEMA/%d", n), func(b *testing.B) {
			for b.Loop() {
				testAdamW.StepEMA(p, g, m, v, e, 0.7, 0.996)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/elem")
		})
		b.Run(fmt.Sprintf("Lerp/%d", n), func(b *testing.B) {
			for b.Loop() {
				Lerp(e, p, 0.996)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/elem")
		})
	}
}
