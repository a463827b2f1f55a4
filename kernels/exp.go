package kernels

import (
	"math"

	"edgejepa/kernels/internal/coef"
)

// expNeg returns exp(x) for x <= 0, within 1 ulp; 0 for x < -87; NaN for NaN. See package coef for the method.
func expNeg(x float32) float32 {
	if x < coef.ExpMin {
		return 0
	}
	z := float32(x*coef.Log2E) + coef.Magic
	n := z - coef.Magic
	r := x - float32(n*coef.Ln2Hi)
	r -= float32(n * coef.Ln2Lo)
	p := float32(coef.ExpC6*r) + coef.ExpC5
	p = float32(p*r) + coef.ExpC4
	p = float32(p*r) + coef.ExpC3
	p = float32(p*r) + coef.ExpC2
	p = float32(p*float32(r*r)) + r
	p += 1
	pow2 := math.Float32frombits(math.Float32bits(z)<<23 + 0x3f800000) // 2^n
	return p * pow2
}
