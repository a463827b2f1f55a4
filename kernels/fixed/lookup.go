package fixed

import (
	"math"

	"edgejepa/fp"
)

// GELUTable returns the int8 GELU of every int8 input, for Lookup:
//
//	table[uint8(q)] = int8(clamp(roundHalfUp(GELU(q*in) / out), -127, 127))
//
// in float64, from operations that every machine rounds alike. in and out are positive and finite.
func GELUTable(in, out float64) *[256]int8 {
	t := new([256]int8)
	for i := range t {
		y := math.Floor(float64(gelu64(float64(float64(int8(i))*in))/out) + 0.5)
		t[i] = int8(max(min(y, 127), -127))
	}
	return t
}

// gelu64 is x*Phi(x), within 1e-15: Phi(-a) = exp(-a*a/2)/sqrt(2 pi) times a series where a is small (Marsaglia,
// "Evaluating the normal distribution", 2004) or Laplace's continued fraction.
func gelu64(x float64) float64 {
	const invSqrt2Pi = 0.39894228040143267794
	a := math.Abs(x)
	if a > 38 {
		return max(x, 0)
	}
	density := float64(fp.Exp(-float64(a*a)/2) * invSqrt2Pi)
	var tail float64
	if a < 3 {
		sum, term := a, a
		for k := 3; sum+term != sum; k += 2 {
			term = float64(term*float64(a*a)) / float64(k)
			sum += term
		}
		tail = 0.5 - float64(density*sum)
	} else {
		t := a
		for k := 200; k > 0; k-- {
			t = a + float64(k)/t
		}
		tail = density / t
	}
	return max(x, 0) - float64(a*tail)
}

// Lookup is dst[i] = table[uint8(src[i])]. dst may be src.
func Lookup(dst, src []int8, table *[256]int8) {
	if len(dst) != len(src) {
		panic("fixed: Lookup: lengths differ")
	}
	n := lookupI8Vector(dst, src, table)
	lookupI8Generic(dst[n:], src[n:], table)
}

func lookupI8Generic(dst, src []int8, table *[256]int8) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = table[uint8(v)]
	}
}
