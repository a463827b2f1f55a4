package kernels

import (
	"edgejepa/fp"

	"edgejepa/internal/noise"
)

// Moments in halves.
//
// Not v is stored but its root s, and both m and s as HalfMomentScale times their value. A squared gradient spans twice
// the exponents of a gradient: as a half it would be lost for gradients below 2^-12. The root has the range of m and of
// the gradient, and at this scale a half's 30 binades of full precision are 2^-27 to 8: from just below the usual
// Eps = 1e-8, where a smaller s no longer matters beside it, to eight times the norm to which gradients are
// commonly clipped. Beyond that m and s stay at their largest, which leaves the step m/s bounded; below it they
// are multiples of 2^-37, 7e-4 of that Eps. A scale for each block of elements, as in 8-bit states (Dettmers et al.,
// arXiv 2110.02861), is what eight bits need; sixteen do without.
//
// Rounding is stochastic. One step changes v by (1-Beta2)(g²/v-1), of the order of 1e-3, and s by half of that: not more
// than half the distance of two halves, so that rounding to nearest would leave s where it is for good. By chance it
// follows in expectation, and wanders by some 1 % around: less than the 1.6 % that the estimate itself has from
// averaging 1/(1-Beta2) = 1000 gradients. The step is computed from the moments before they are rounded.

// HalfMomentScale is what m and sqrt(v) are multiplied by before they are stored as halves.
const HalfMomentScale = 1 << 13

// StepHalf is Step with the moments in halves: m as HalfMomentScale*m, s as HalfMomentScale*sqrt(v), both rounded as by
// RoundHalf with the noise of bits. Zeros are the moments to begin with. Eps should not be below 1e-9. The square of a
// gradient overflows from 2e15 on, not from 2e19 as with Step.
func (c AdamW) StepHalf(p, g []float32, m, s []uint16, gscale float32, bits noise.Stream) {
	if len(g) != len(p) || len(m) != len(p) || len(s) != len(p) {
		panic("kernels: AdamW.StepHalf: lengths differ")
	}
	k := c.halfScalars(gscale, 0)
	n := adamwHalfVector(p, g, m, s, &k, bits)
	adamwHalfGeneric(p[n:], g[n:], m[n:], s[n:], &k, bits.At(n))
}

// StepHalfEMA is StepHalf, followed in the same pass by Lerp(target, p, momentum).
func (c AdamW) StepHalfEMA(p, g []float32, m, s []uint16, target []float32, gscale, momentum float32, bits noise.Stream) {
	if len(g) != len(p) || len(m) != len(p) || len(s) != len(p) || len(target) != len(p) {
		panic("kernels: AdamW.StepHalfEMA: lengths differ")
	}
	k := c.halfScalars(gscale, momentum)
	n := adamwHalfEMAVector(p, g, m, s, target, &k, bits)
	p, target = p[n:], target[n:]
	adamwHalfGeneric(p, g[n:], m[n:], s[n:], &k, bits.At(n))
	lerpGeneric(target, p, k.m, k.m1)
}

// StepHalfEMAHalf is StepHalf, followed in the same pass by LerpHalf(target, p, momentum) with noise of its own.
func (c AdamW) StepHalfEMAHalf(p, g []float32, m, s, target []uint16, gscale, momentum float32, bits noise.Stream) {
	if len(g) != len(p) || len(m) != len(p) || len(s) != len(p) || len(target) != len(p) {
		panic("kernels: AdamW.StepHalfEMAHalf: lengths differ")
	}
	k := c.halfScalars(gscale, momentum)
	n := adamwHalfEMAHalfVector(p, g, m, s, target, &k, bits)
	adamwHalfEMAHalfGeneric(p[n:], g[n:], m[n:], s[n:], target[n:], &k, bits.At(n))
}

// halfScalars are the scalars for gradients, moments and Eps that are HalfMomentScale times as large, which changes
// nothing in m/(s/Corr2 + Eps).
func (c AdamW) halfScalars(gscale, momentum float32) adamw {
	c.Eps = float32(c.Eps * HalfMomentScale)
	return c.scalars(float32(gscale*HalfMomentScale), momentum)
}

func adamwHalfGeneric(p, g []float32, m, s []uint16, k *adamw, bits noise.Stream) {
	x := bits.Lane()
	for i := range p {
		p[i] = adamwHalfOne(p[i], g[i], &m[i], &s[i], k, noise.FromLane(bits.Key, x+uint32(i)))
	}
}

func adamwHalfEMAHalfGeneric(p, g []float32, m, s, target []uint16, k *adamw, bits noise.Stream) {
	x := bits.Lane()
	for i := range p {
		w := noise.FromLane(bits.Key, x+uint32(i))
		p[i] = adamwHalfOne(p[i], g[i], &m[i], &s[i], k, w)
		t := float32(k.m*fp.FromHalf(target[i])) + float32(k.m1*p[i])
		target[i] = fp.ToHalf(roundHalf(t, highBits(w*noise.Mul1)))
	}
}

// adamwHalfOne steps one parameter's moments and returns its new value; w is its random word.
func adamwHalfOne(p, g float32, m, s *uint16, k *adamw, w uint32) float32 {
	g = float32(g * k.gscale)
	mi, si := fp.FromHalf(*m), fp.FromHalf(*s)
	mi += float32(k.b1 * (g - mi))
	si = sqrt(float32(k.b2*float32(si*si)) + float32(k.a2*float32(g*g)))
	*m = fp.ToHalf(roundHalf(mi, lowBits(w)))
	*s = fp.ToHalf(roundHalf(si, highBits(w)))
	return float32(p*k.decay) - float32(k.rate*(mi/(float32(si*k.inv2)+k.eps)))
}
