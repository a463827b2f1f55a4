package kernels

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/fp"
	"edgejepa/internal/noise"
	"edgejepa/kernels/kerneltest"
)

// The layers on halves give the bits of the float32 layers with the conversion beside them, at lengths around a strip.
func TestHalfLayers(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		for _, n := range []int{0, 1, 7, 16, 43, halfStrip - 1, halfStrip, halfStrip + 1, 2*halfStrip + 17} {
			for _, kind := range kerneltest.Kinds {
				const rows = 2
				h := make([]uint16, n)
				fillHalves(h, kind, uint64(n))
				wide := make([]float32, n)
				fp.DecodeHalf(wide, h)
				want, got := make([]float32, n), make([]float32, n)
				GELU(want, wide)
				GELUHalf(got, h)
				require.NoError(t, kerneltest.EqualBits(want, got))

				dy := filled(n, kind, 2)
				GELUGrad(want, dy, wide)
				GELUGradHalf(got, dy, h)
				require.NoError(t, kerneltest.EqualBits(want, got))
				GELUGradHalf(dy, dy, h)
				require.NoError(t, kerneltest.EqualBits(want, dy))

				if n == 0 {
					continue
				}
				x, gain, bias := filled(rows*n, kind, 3), filled(n, kerneltest.Normal, 4), filled(n, kerneltest.Normal, 5)
				y, wantH, gotH := make([]float32, rows*n), make([]uint16, rows*n), kerneltest.FencedAs[uint16](t, rows*n, true)
				var stat [4][rows]float32
				for _, affine := range []bool{true, false} {
					if !affine {
						gain, bias = nil, nil
					}
					LayerNorm(y, x, gain, bias, stat[0][:], stat[1][:], rows, n, 1e-6)
					fp.EncodeHalf(wantH, y)
					LayerNormHalf(gotH, x, gain, bias, stat[2][:], stat[3][:], rows, n, 1e-6)
					require.NoError(t, equalHalves(wantH, gotH))
					require.NoError(t, kerneltest.EqualBits(stat[0][:], stat[2][:]))
					require.NoError(t, kerneltest.EqualBits(stat[1][:], stat[3][:]))
					clear(gotH)
					LayerNormHalf(gotH, x, gain, bias, nil, nil, rows, n, 1e-6)
					require.NoError(t, equalHalves(wantH, gotH))
				}
			}
		}
	})
}

func TestHalfLayersShapes(t *testing.T) {
	x2, x3, h2, h3 := make([]float32, 2), make([]float32, 3), make([]uint16, 2), make([]uint16, 3)
	for name, f := range map[string]func(){
		"GELUHalf":       func() { GELUHalf(x2, h3) },
		"GELUGradHalf":   func() { GELUGradHalf(x2, x3, h2) },
		"GELUGradHalf x": func() { GELUGradHalf(x2, x2, h3) },
		"LayerNormHalf":  func() { LayerNormHalf(h2, x3, nil, nil, nil, nil, 1, 3, 1) },
		"one affine":     func() { LayerNormHalf(h3, x3, x3, nil, nil, nil, 1, 3, 1) },
		"mean alone":     func() { LayerNormHalf(h3, x3, nil, nil, x3, nil, 1, 3, 1) },
	} {
		require.Panics(t, f, name)
	}
	forEachISA(t, func(t *testing.T) {
		x, y, h := make([]float32, 83), make([]float32, 83), make([]uint16, 83)
		require.Zero(t, testing.AllocsPerRun(5, func() {
			LayerNormHalf(h, x, x, x, nil, nil, 1, 83, 1)
			GELUHalf(y, h)
			GELUGradHalf(y, y, h)
		}))
	})
}

// What storing as halves costs in accuracy: relative error of layer-normed activations, pre-activations and weights of
// deviation 0.02, root mean square and largest, for values that are not tiny. Half an ulp is 2^-11 at most; evenly spread
// mantissas give 2^-11/sqrt(3) * 0.72 on average.
func TestHalfStorageError(t *testing.T) {
	for name, scale := range map[string]float32{"activations": 1, "pre-activations": 3, "weights": 0.02} {
		x := filled(1<<14, kerneltest.Normal, 1)
		h, y := make([]uint16, len(x)), make([]float32, len(x))
		for i := range x {
			x[i] *= scale
		}
		check := func(round func(), least, most, worst float64) {
			round()
			fp.DecodeHalf(y, h)
			var sum, peak float64
			n := 0
			for i, v := range x {
				if abs(v) < 0x1p-14 {
					continue
				}
				e := math.Abs(float64(y[i]-v)) / math.Abs(float64(v))
				sum, peak, n = sum+e*e, max(peak, e), n+1
			}
			rms := math.Sqrt(sum / float64(n))
			t.Logf("%s: relative error %.3g rms, %.3g at most", name, rms, peak)
			require.Less(t, rms, most)
			require.Greater(t, rms, least)
			require.LessOrEqual(t, peak, worst)
		}
		check(func() { fp.EncodeHalf(h, x) }, 1.8e-4, 2.3e-4, 0x1p-11)
		check(func() { RoundHalf(h, x, noise.Stream{Key: 1}) }, 2.6e-4, 3.2e-4, 0x1p-10)
	}
}

// Nanoseconds for an element of layers 384 wide, halves beside float32.
func BenchmarkHalfLayers(b *testing.B) {
	const rows, cols = 64, 384
	x, y, gain := filled(rows*cols, kerneltest.Normal, 1), make([]float32, rows*cols), filled(cols, kerneltest.Normal, 2)
	h := make([]uint16, rows*cols)
	fp.EncodeHalf(h, x)
	for _, c := range []struct {
		name string
		run  func()
	}{
		{"LayerNorm", func() { LayerNorm(y, x, gain, gain, nil, nil, rows, cols, 1e-6) }},
		{"LayerNormHalf", func() { LayerNormHalf(h, x, gain, gain, nil, nil, rows, cols, 1e-6) }},
		{"GELU", func() { GELU(y, x) }},
		{"GELUHalf", func() { GELUHalf(y, h) }},
		{"GELUGrad", func() { GELUGrad(y, x, x) }},
		{"GELUGradHalf", func() { GELUGradHalf(y, x, h) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				c.run()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(rows*cols), "ns/elem")
		})
	}
}
