package kerneltest

import "math"

// Kind is a distribution of test inputs.
type Kind int

const (
	Normal     Kind = iota // standard normal
	Cancelling             // pairs x, -x(1+2^-20) of mixed magnitude: sums that cancel
	Extreme                // magnitudes from 2^-125 to 2^125: overflow and underflow
	Denormal               // below the normal range
	Special                // normal values among zeros of both signs, infinities and NaN
	numKinds
)

// Kinds lists every kind.
var Kinds = []Kind{Normal, Cancelling, Extreme, Denormal, Special}

func (k Kind) String() string {
	return [numKinds]string{"normal", "cancelling", "extreme", "denormal", "special"}[k]
}

// Fill sets x to values of kind k, a pure function of (k, seed, index), the same on every machine.
func Fill(x []float32, k Kind, seed uint64) {
	for i := range x {
		at := uint64(i)
		n := -6.0 // the sum of twelve uniform numbers is close to normal, and exact
		for j := range uint64(12) {
			n += uniform(seed, at, j)
		}
		switch k {
		case Cancelling:
			if i%2 == 1 {
				n = -float64(x[i-1]) * (1 + math.Ldexp(n, -20))
			} else {
				n = math.Ldexp(n, int(27*uniform(seed, at, 12))-13)
			}
		case Extreme:
			n = math.Ldexp(n, int(250*uniform(seed, at, 12))-125)
		case Denormal:
			n = math.Ldexp(n, -133)
		case Special:
			specials := [...]float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(),
				math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32}
			if j := int(uniform(seed, at, 12) * 64); j < len(specials) {
				n = specials[j]
			}
		}
		x[i] = float32(n)
	}
}

// uniform returns a multiple of 2^-32 in [0, 1): SplitMix64 of its arguments.
func uniform(seed, i, stream uint64) float64 {
	z := seed*0x9e3779b97f4a7c15 + i*0xbf58476d1ce4e5b9 + stream*0x94d049bb133111eb + 0x2545f4914f6cdd1d
	for range 2 {
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		z ^= z >> 31
	}
	return float64(z>>32) / (1 << 32)
}
