package kerneltest

import "math"

// Kind is a distribution of test inputs.
type Kind int

const (
	Normal     Kind = iota // standard normal
	Cancelling             // pairs x, -x(1+tiny) of mixed magnitude: sums that cancel
	Extreme                // magnitudes from 1e-38 to 1e38: overflow and underflow
	Denormal               // below the normal range
	Special                // normal values among zeros of both signs, infinities and NaN
	numKinds
)

// Kinds lists every kind; Finite those without infinities, NaN or values that overflow when squared.
var (
	Kinds  = []Kind{Normal, Cancelling, Extreme, Denormal, Special}
	Finite = []Kind{Normal, Cancelling, Denormal}
)

func (k Kind) String() string {
	return [numKinds]string{"normal", "cancelling", "extreme", "denormal", "special"}[k]
}

// Fill sets x to values of kind k, a pure function of (k, seed, index).
func Fill(x []float32, k Kind, seed uint64) {
	for i := range x {
		u := uniform(seed, uint64(i), 0)
		n := float32(math.Sqrt(-2*math.Log(1-u)) * math.Cos(2*math.Pi*uniform(seed, uint64(i), 1)))
		switch k {
		case Cancelling:
			n *= float32(math.Pow(10, 8*uniform(seed, uint64(i/2), 2)-4))
			if i%2 == 1 {
				n = -x[i-1] * (1 + 1e-6*n)
			}
		case Extreme:
			n *= float32(math.Pow(10, 76*u-38))
		case Denormal:
			n *= 1e-40
		case Special:
			specials := [...]float32{0, float32(math.Copysign(0, -1)), float32(math.Inf(1)), float32(math.Inf(-1)),
				float32(math.NaN()), math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32}
			if j := int(uniform(seed, uint64(i), 3) * 64); j < len(specials) {
				n = specials[j]
			}
		}
		x[i] = n
	}
}

// uniform returns a number in [0, 1): SplitMix64 of its arguments.
func uniform(seed, i, stream uint64) float64 {
	z := seed*0x9e3779b97f4a7c15 + i*0xbf58476d1ce4e5b9 + stream*0x94d049bb133111eb + 0x2545f4914f6cdd1d
	for range 2 {
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		z ^= z >> 31
	}
	return float64(z>>11) / (1 << 53)
}
