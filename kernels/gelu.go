package kernels

import (
	"math"

	"edgejepa/kernels/internal/coef"
)

// GELU is
//
//	dst[i] = x[i] * Phi(x[i])
//
// with Phi the normal distribution function, the exact (erf) form of Hendrycks and Gimpel, arXiv 1606.08415. dst may be
// x. The error is at most 3e-7, and 3e-6 of the value where x > -10. NaN and ±Inf give NaN.
func GELU(dst, x []float32) {
	if len(dst) != len(x) {
		panic("kernels: GELU: lengths differ")
	}
	n := geluVector(dst, x)
	geluGeneric(dst[n:], x[n:])
}

func geluGeneric(dst, x []float32) {
	for i, v := range x {
		_, tail := normalTail(v)
		dst[i] = max(v, 0) - float32(abs(v)*tail)
	}
}

// GELUGrad is
//
//	dx[i] = dy[i] * (Phi(x[i]) + x[i]*phi(x[i]))
//
// with phi the normal density. dx may be dy. The error of the factor is at most 5e-7. NaN and ±Inf give NaN.
func GELUGrad(dx, dy, x []float32) {
	if len(dx) != len(x) || len(dy) != len(x) {
		panic("kernels: GELUGrad: lengths differ")
	}
	n := geluGradVector(dx, dy, x)
	geluGradGeneric(dx[n:], dy[n:], x[n:])
}

func geluGradGeneric(dx, dy, x []float32) {
	for i, v := range x {
		e, tail := normalTail(v)
		cdf := tail
		if v > 0 {
			cdf = 1 - tail
		}
		dx[i] = dy[i] * (cdf + float32(v*float32(e*coef.InvSqrt2Pi)))
	}
}

// normalTail returns e = exp(-x*x/2) and tail = Phi(-|x|). See package coef for the method.
func normalTail(x float32) (e, tail float32) {
	e = expNeg(float32(x*x) * -0.5)
	t := 1 / (1 + float32(abs(x)*coef.TailP))
	q := float32(coef.TailQ7*t) + coef.TailQ6
	q = float32(q*t) + coef.TailQ5
	q = float32(q*t) + coef.TailQ4
	q = float32(q*t) + coef.TailQ3
	q = float32(q*t) + coef.TailQ2
	q = float32(q*t) + coef.TailQ1
	q = float32(q*t) + coef.TailQ0
	return e, e * float32(q*t)
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }
