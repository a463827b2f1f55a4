package fp

import "math"

// Elementary functions in float64 that give the same bits on every machine. The standard library's differ: some
// are assembly on some machines, and the compiler fuses products into sums where the machine can. Here every
// product that feeds a sum is rounded on its own, and only operations that IEEE 754 rounds correctly are used.
// Errors are below 1e-15, relative to a normal result (Sin and Cos: absolute), which the tests hold against math's.

const (
	ln2Hi = 6.93147180369123816490e-01 // upper 33 bits of ln 2, so that n*ln2Hi is exact for |n| < 2^20
	ln2Lo = 1.90821492927058770002e-10
	log2e = 1.44269504088896338700
)

// Exp returns e^x: x = n ln 2 + r, |r| <= ln 2 / 2, and the Taylor series of e^r to r^13 by Horner's rule.
func Exp(x float64) float64 {
	switch {
	case x != x:
		return x
	case x > 709.782712893384:
		return math.Inf(1)
	case x < -745.1332191019412:
		return 0
	}
	n := math.RoundToEven(x * log2e)
	r := x - float64(n*ln2Hi) - float64(n*ln2Lo)
	y := 1.0
	for k := 13; k >= 1; k-- {
		y = 1 + float64(float64(r*y)/float64(k))
	}
	return math.Ldexp(y, int(n))
}

// Log returns the natural logarithm: x = m 2^n with m in [sqrt(1/2), sqrt 2), s = (m-1)/(m+1), and
// ln m = 2 (s + s^3/3 + s^5/5 + ...). It is NaN for x < 0 and -Inf for 0.
func Log(x float64) float64 {
	switch {
	case x != x || x < 0:
		return math.NaN()
	case x == 0:
		return math.Inf(-1)
	case math.IsInf(x, 1):
		return x
	}
	m, n := math.Frexp(x)
	if m < math.Sqrt2/2 {
		m, n = float64(m*2), n-1
	}
	s := (m - 1) / (m + 1)
	z := s * s
	y := 0.0
	for k := 23; k >= 3; k -= 2 {
		y = float64(z * (1/float64(k) + y))
	}
	return float64(float64(n)*ln2Hi) + (float64(float64(n)*ln2Lo) + float64(2*(s+float64(s*y))))
}

// Sin returns the sine of x in radians, for |x| up to 1e5.
func Sin(x float64) float64 {
	q, s, c := sinCos(x)
	switch q & 3 {
	case 0:
		return s
	case 1:
		return c
	case 2:
		return -s
	}
	return -c
}

// Cos returns the cosine of x in radians, for |x| up to 1e5.
func Cos(x float64) float64 {
	q, s, c := sinCos(x)
	switch q & 3 {
	case 0:
		return c
	case 1:
		return -s
	case 2:
		return -c
	}
	return s
}

// sinCos reduces x to r = x - q pi/2, |r| <= pi/4, by Cody and Waite's three-part pi/2, and sums both series.
func sinCos(x float64) (q int64, sin, cos float64) {
	const ( // pi/2 in parts of 33 bits, so that n times a part is exact for n < 2^20
		p1 = 1.57079632673412561417e+00
		p2 = 6.07710050630396597660e-11
		p3 = 2.02226624879595063154e-21
	)
	if !(math.Abs(x) <= 1e5) {
		return 0, math.NaN(), math.NaN()
	}
	n := math.RoundToEven(x * (2 / math.Pi))
	r := x - float64(n*p1) - float64(n*p2) - float64(n*p3)
	z := r * r
	sin, cos = 1, 1
	for k := 16; k >= 2; k -= 2 {
		sin = 1 - float64(float64(z*sin)/float64(k*(k+1)))
		cos = 1 - float64(float64(z*cos)/float64(k*(k-1)))
	}
	return int64(n), r * sin, cos
}

// PowInt returns x^n for n >= 0 by repeated squaring.
func PowInt(x float64, n int) float64 {
	y := 1.0
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			y *= x
		}
		x *= x
	}
	return y
}
