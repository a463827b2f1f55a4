package kernels

import (
	"math"

	"edgejepa/fp"
	"edgejepa/internal/noise"
)

// RoundHalf is
//
//	dst[i] = one of the two halves next to src[i], so that the expectation of dst[i] is src[i]
//
// by 13 random bits each. A value that is a half already stays as it is, with any noise. The expectation is exact down to
// 2^-14; below, where halves are 2^-24 apart, it is off by at most 2^-38. Finite values beyond ±65504 become ±65504, so
// that rounding alone never makes an infinity; NaN and ±Inf are as in fp.EncodeHalf.
func RoundHalf(dst []uint16, src []float32, bits noise.Stream) {
	if len(dst) != len(src) {
		panic("kernels: RoundHalf: lengths differ")
	}
	n := roundHalfVector(dst, src, bits)
	roundHalfGeneric(dst[n:], src[n:], bits.At(n))
}

func roundHalfGeneric(dst []uint16, src []float32, bits noise.Stream) {
	key, x := bits.Key, bits.Lane()
	for i, v := range src {
		dst[i] = fp.ToHalf(roundHalf(v, lowBits(noise.FromLane(key, x+uint32(i)))))
	}
}

// LerpHalf is the step of an exponential moving average kept in halves,
//
//	dst[i] = RoundHalf(m*dst[i] + (1-m)*src[i])
//
// with the values of Lerp before the rounding. At a momentum near 1 the steps are smaller than half the distance of two
// halves, and rounding to nearest would lose every one of them; rounded by chance the average moves as it should in
// expectation, and by about sqrt(|src-dst| * distance/2) around it, whatever the momentum. At m = 1 it stands still.
func LerpHalf(dst []uint16, src []float32, m float32, bits noise.Stream) {
	if len(dst) != len(src) {
		panic("kernels: LerpHalf: lengths differ")
	}
	n := lerpHalfVector(dst, src, m, 1-m, bits)
	lerpHalfGeneric(dst[n:], src[n:], m, 1-m, bits.At(n))
}

func lerpHalfGeneric(dst []uint16, src []float32, m, m1 float32, bits noise.Stream) {
	key, x := bits.Key, bits.Lane()
	for i, v := range src {
		y := float32(m*fp.FromHalf(dst[i])) + float32(m1*v)
		dst[i] = fp.ToHalf(roundHalf(y, lowBits(noise.FromLane(key, x+uint32(i)))))
	}
}

// lowBits and highBits are two draws of 13 bits from one random word.
func lowBits(w uint32) uint32  { return w & (1<<13 - 1) }
func highBits(w uint32) uint32 { return w >> (32 - 13) }

// roundHalf returns x rounded to a half by the 13 random bits r, as a float32. What a float32 has more than a half are 13
// bits: with r added to them and all cut off, the carry comes in as many of 2^13 cases as those bits count. A subnormal
// half has fewer; 2^-14 added to the magnitude moves its last bit to where that of a normal half is.
func roundHalf(x float32, r uint32) float32 {
	const least = 0x1p-14 // the smallest normal half
	a := abs(x)
	if !(a <= math.MaxFloat32) {
		return x
	}
	if a > fp.HalfMax {
		a = fp.HalfMax
	}
	var bias float32
	if a < least {
		bias = least
	}
	a = math.Float32frombits((math.Float32bits(a+bias)+r)&^(1<<13-1)) - bias
	return math.Float32frombits(math.Float32bits(a) ^ math.Float32bits(x)&(1<<31))
}
