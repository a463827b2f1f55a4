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

// EncodeHalf is
//
//	for i, x := range src { dst[i] = uint16(float16.Fromfloat32(x)) }
//
// that is rounding to nearest, ties to even, overflow to infinity. NaN stays NaN. dst and src have equal length.
func EncodeHalf(dst []uint16, src []float32) {
	if len(dst) != len(src) {
		panic("fp: EncodeHalf: lengths differ")
	}
	dst = dst[:len(src)]
	for i, x := range src {
		u := math.Float32bits(x)
		// Normal halves, up to the last float32 that does not round to infinity: [2^-14, 65520).
		const low, high = 0x38800000, 0x477ff000
		if u&0x7fffffff-low < high-low {
			u += 0xfff + u>>13&1 // half of what is cut off, a bit more if the last kept bit is odd
			dst[i] = uint16(u>>16&0x8000 | ((u&0x7fffffff)>>13 - halfRebias))
			continue
		}
		dst[i] = uint16(float16.Fromfloat32(x))
	}
}

// DecodeHalf is
//
//	for i, h := range src { dst[i] = float16.Frombits(h).Float32() }
//
// which is exact. dst and src have equal length.
func DecodeHalf(dst []float32, src []uint16) {
	if len(dst) != len(src) {
		panic("fp: DecodeHalf: lengths differ")
	}
	dst = dst[:len(src)]
	for i, h := range src {
		if e := h & 0x7c00; e != 0 && e != 0x7c00 {
			u := uint32(h)
			dst[i] = math.Float32frombits(u&0x8000<<16 | (u&0x7fff+halfRebias)<<13)
			continue
		}
		dst[i] = float16.Frombits(h).Float32()
	}
}
