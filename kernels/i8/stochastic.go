package i8

import "edgejepa/internal/noise"

// Stochastic quantisation, for training in int8: rounding to nearest loses what is below half a step, which gradients
// mostly are, while a value rounded by chance is right in expectation (Gupta et al., arXiv 1502.02551).

// The assembly's names for the multipliers of package noise.
const (
	//lint:ignore U1000 read by the listings for AVX2 and NEON
	noiseMul1 = noise.Mul1
	//lint:ignore U1000 read by the listings for AVX2 and NEON
	noiseMul2 = noise.Mul2
)

// QuantizeRowsStochastic is QuantizeRows, but for the rounding, which is by chance:
//
//	t := clamp(x[i,j] * (127/absmax), -127, 127)
//	u := noise.Word(i*cols+j) / 2^32, cut off to 24 bits                // in [0, 1)
//	q[i*ldq+j] = floor(t), and 1 more where u < t-floor(t)
//
// The expectation of q is t, to 2^-24. An integer t stays as it is, with any noise.
func QuantizeRowsStochastic(q []int8, scale []float32, x []float32, rows, cols, ldq int, bits noise.Stream) {
	if rows == 0 || cols == 0 {
		return
	}
	if ldq < cols || len(x) < rows*cols || len(scale) < rows || len(q) < (rows-1)*ldq+cols {
		panic("i8: QuantizeRowsStochastic: an operand is smaller than its shape")
	}
	for i := range rows {
		qi, xi := q[i*ldq:i*ldq+cols], x[i*cols:(i+1)*cols]
		var inv float32
		if scale[i], inv = symmetricScale(maxAbsBits(xi)); inv == 0 {
			clear(qi)
		} else {
			quantizeStochastic(qi, xi, inv, bits.At(i*cols))
		}
	}
}

// quantizeStochasticGeneric is a row of QuantizeRowsStochastic.
func quantizeStochasticGeneric(q []int8, x []float32, inv float32, bits noise.Stream) {
	q = q[:len(x)]
	key, at := bits.Key, bits.Lane()
	for i, v := range x {
		q[i] = roundByChance(float32(v*inv), noise.FromLane(key, at+uint32(i)))
	}
}

// roundByChance is the rounding of QuantizeRowsStochastic, of t by a random word.
func roundByChance(t float32, word uint32) int8 {
	t = min(max(t, -127), 127)
	floor := int32(t)
	if float32(floor) > t {
		floor--
	}
	if float32(word>>8) < (t-float32(floor))*(1<<24) {
		floor++
	}
	return int8(floor)
}
