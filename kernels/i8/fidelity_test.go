package i8

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the chain rule costs, beside plain int8 and beside 7-bit weights, as the signal-to-noise ratio of the weights: 400
// channels of 384. The limits are a quarter of a decibel around what 400 channels of another seed give; the spread between
// seeds is below 0.1.
func TestChainRuleFidelity(t *testing.T) {
	const n, k = 400, 384
	for _, c := range []struct {
		name               string
		draw               func(r *rand.Rand) float64
		plain, chain, bits float64 // dB
	}{
		{"gaussian", func(r *rand.Rand) float64 { return r.NormFloat64() }, 42.8, 42.1, 36.8},
		{"laplace", func(r *rand.Rand) float64 { return r.ExpFloat64() - r.ExpFloat64() }, 39.4, 39.4, 33.5},
		{"uniform", func(r *rand.Rand) float64 { return 2*r.Float64() - 1 }, 48.1, 43.5, 42.1},
	} {
		r := rand.New(rand.NewPCG(1, 9))
		w := make([]float32, n*k)
		for i := range w {
			w[i] = float32(c.draw(r))
		}
		q, scale := make([]int8, n*k), make([]float32, n)
		QuantizeWeights(q, scale, w, n, k)
		chain := snr(w, func(i int) float64 { return float64(q[i]) * float64(scale[i/k]) })
		symmetric := func(most float64) float64 {
			step := make([]float64, n)
			for i, v := range w {
				step[i/k] = max(step[i/k], math.Abs(float64(v))/most)
			}
			return snr(w, func(i int) float64 { return math.RoundToEven(float64(w[i])/step[i/k]) * step[i/k] })
		}
		plain, bits := symmetric(127), symmetric(63)
		t.Logf("%-8s plain %.1f dB, chains %.1f dB, 7 bits %.1f dB", c.name, plain, chain, bits)
		require.InDelta(t, c.plain, plain, 0.25, c.name)
		require.InDelta(t, c.chain, chain, 0.25, c.name)
		require.InDelta(t, c.bits, bits, 0.25, c.name)
	}
}

// snr is the power of w over that of its error, in dB.
func snr(w []float32, got func(i int) float64) float64 {
	var signal, noise float64
	for i, v := range w {
		e := float64(v) - got(i)
		signal, noise = signal+float64(v)*float64(v), noise+e*e
	}
	return 10 * math.Log10(signal/noise)
}
