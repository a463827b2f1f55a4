package fp

import (
	"math"

	"github.com/x448/float16"
)

// Half is an IEEE 754 binary16 number: 1 sign, 5 exponent and 10 mantissa bits. It stores values; arithmetic is done in
// float32.
type Half = float16.Float16

const (
	// HalfMax is the largest finite Half. Values from 65520 on round to infinity.
	HalfMax = 65504
	// halfRebias is the difference of the exponent biases of float32 and Half, in Half's exponent field.
	halfRebias = (127 - 15) << 10
)

// ToHalf is float16.Fromfloat32: rounding to nearest, ties to even, overflow to infinity. A NaN becomes quiet and keeps
// its sign and the top ten bits of its payload, as F16C and Advanced SIMD have it.
func ToHalf(x float32) uint16 {
	u := math.Float32bits(x)
	sign := uint16(u >> 16 & 0x8000)
	u &= 0x7fffffff
	const (
		normal   = 0x38800000 // 2^-14
		overflow = 0x477ff000 // 65520, the first float32 that rounds to infinity
		infinity = 0x7f800000
	)
	switch {
	case u-normal < overflow-normal:
		u += 0xfff + u>>13&1 // half of what is cut off, a bit more if the last kept bit is odd
		return sign | uint16(u>>13-halfRebias)
	case u < normal: // the last bit of a sum near 1/2 is worth 2^-24, as that of a subnormal half
		const half = 0.5
		return sign | uint16(math.Float32bits(math.Float32frombits(u)+half)-math.Float32bits(half))
	case u > infinity:
		return sign | 0x7e00 | uint16(u>>13&0x3ff)
	}
	return sign | 0x7c00
}

// FromHalf is float16.Frombits(h).Float32(), which is exact. A NaN becomes quiet and keeps its sign and payload.
func FromHalf(h uint16) float32 {
	sign, u := uint32(h&0x8000)<<16, uint32(h&0x7fff)
	switch {
	case u-0x400 < 0x7c00-0x400:
		return math.Float32frombits(sign | (u+halfRebias)<<13)
	case u < 0x400:
		return math.Float32frombits(sign | math.Float32bits(float32(u)*0x1p-24))
	case u > 0x7c00:
		u |= 0x200
	}
	return math.Float32frombits(sign | 0x7f800000 | u&0x3ff<<13)
}

// EncodeHalf is
//
//	for i, x := range src { dst[i] = ToHalf(x) }
//
// dst and src have equal length and do not overlap.
func EncodeHalf(dst []uint16, src []float32) {
	if len(dst) != len(src) {
		panic("fp: EncodeHalf: lengths differ")
	}
	n := encodeHalfVector(dst, src)
	encodeHalfGeneric(dst[n:], src[n:])
}

func encodeHalfGeneric(dst []uint16, src []float32) {
	dst = dst[:len(src)]
	for i, x := range src {
		dst[i] = ToHalf(x)
	}
}

// DecodeHalf is
//
//	for i, h := range src { dst[i] = FromHalf(h) }
//
// dst and src have equal length and do not overlap.
func DecodeHalf(dst []float32, src []uint16) {
	if len(dst) != len(src) {
		panic("fp: DecodeHalf: lengths differ")
	}
	n := decodeHalfVector(dst, src)
	decodeHalfGeneric(dst[n:], src[n:])
}

func decodeHalfGeneric(dst []float32, src []uint16) {
	dst = dst[:len(src)]
	for i, h := range src {
		dst[i] = FromHalf(h)
	}
}
