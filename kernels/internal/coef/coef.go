// Package coef holds the coefficients that the Go kernels and the generated assembly share, so that they cannot drift
// apart. Every value is exact in float32.
package coef

// exp(x) for x <= 0. With n = round(x/ln 2) and r = x - n*ln 2 in two steps (n*Ln2Hi is exact for |n| < 2^13),
//
//	exp(r) = 1 + (r + r*r*(ExpC2 + ExpC3*r + ExpC4*r^2 + ExpC5*r^3 + ExpC6*r^4)),  |r| <= ln(2)/2
//
// is a relative minimax fit, off by at most 3.1e-9 before rounding, and exp(x) = 2^n * exp(r). Measured against float64
// with every operation rounded on its own: below 1 ulp. Below ExpMin, where the result leaves the normal range, it is 0.
const (
	ExpMin = -87

	Log2E = 0x1.715476p+0
	Magic = 0x1.8p+23 // v + Magic - Magic rounds v to an integer, to even; the sum's low bits hold it
	Ln2Hi = 0x1.63p-1
	Ln2Lo = -0x1.bd0106p-13

	ExpC2 = 0x1.fffffcp-2
	ExpC3 = 0x1.55549p-3
	ExpC4 = 0x1.5558f4p-5
	ExpC5 = 0x1.123a6cp-7
	ExpC6 = 0x1.6a2352p-10
)

// The upper tail of the normal distribution. For a >= 0 and t = 1/(1 + TailP*a),
//
//	1 - Phi(a) = exp(-a*a/2) * t*(TailQ0 + TailQ1*t + ... + TailQ7*t^7)
//
// where the polynomial is a relative minimax fit of (1-Phi(a))*exp(a*a/2)/t on 0 <= a <= 13.3, off by at most 9.4e-8
// before rounding.
const (
	TailP = 0x1.3851ecp-2

	TailQ0 = 0x1.f23c82p-4
	TailQ1 = 0x1.f59fc4p-4
	TailQ2 = 0x1.a79ca4p-4
	TailQ3 = 0x1.efb46ep-4
	TailQ4 = -0x1.371b3p-5
	TailQ5 = 0x1.7c5924p-3 // one unit below the fit, which makes 1-Phi(0) exactly 1/2
	TailQ6 = -0x1.3951fp-3
	TailQ7 = 0x1.2ca3cap-5
)

// InvSqrt2Pi is 1/sqrt(2 pi), the height of the normal density.
const InvSqrt2Pi = 0x1.988454p-2
