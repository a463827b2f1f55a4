package fixed

import (
	"fmt"
	"math"
)

// MaxSoftmaxCols is the longest row of SoftmaxI8.
const MaxSoftmaxCols = 4096

// 2^-f = 1 + f*(c1 + f*(c2 + f*c3)) for 0 <= f < 1, in units of 2^-14: the fit of least relative error, 2.5e-4 with the
// rounding of every product, that is exact at 0.
const (
	exp2C1 = -11349
	exp2C2 = 3837
	exp2C3 = -682
)

// Softmax is the exponential of SoftmaxI8 for one scale of scores, in 16-bit arithmetic. With · the rounded product
// (a*b + 2^14) >> 15 (VPMULHRSW, SQRDMULH), every sum saturating, and d = max - score,
//
//	x = min(min(d, limit) >> right << left, 32767)
//	z = x + x·mult                                // octaves below the maximum, in units of 2^-11
//	i, f = z >> 11, (z & 2047) << 4               // whole octaves, and the fraction in units of 2^-15
//	y = 2^14 + f·(c1 + f·(c2 + f·c3))             // 2^-f in units of 2^-14
//	weight = (y·powers[i] + half) >> bits         // powers[i] = first >> i, but 0 from nine octaves on
//
// Weights go from 0 to 127, or with wide from 0 to 255.
type Softmax struct {
	// For vectors, and first for their alignment: mult, half and zero in each byte, then the shifts left and bits.
	wide          [3][16]int16
	powers        [16]int16 // first >> i for i < 9, then 0
	lefts, rights [2]int64

	limit       uint32
	right, left int32
	mult        int16 // the factor of x, less one: -0.4375 to 0.125 in units of 2^-15
	first       int16 // twice the largest weight, << bits
	half, bits  int16
	zero        int16 // what SoftmaxI8 subtracts
}

// NewSoftmax returns the exponential for scores of which a unit counts scale in the exponent: the product of the
// scales of q and k, over the square root of the head's width. With wide weights go to 255 and are stored less 128,
// which halves their rounding error: some 6 dB in what attention returns. RequantMeans makes up for the 128.
func NewSoftmax(scale float64, wide bool) (*Softmax, error) {
	unit := math.Ldexp(float64(scale*math.Log2E), 11)
	if !(unit >= 0 && unit <= 1<<13) {
		return nil, fmt.Errorf("scale of scores %g is out of range: 0 to 2.7", scale)
	}
	s := &Softmax{first: 127 << 7, half: 1 << 5, bits: 6}
	if wide {
		s.first, s.half, s.bits, s.zero = 255<<6, 1<<4, 5, 128
	}
	f, x := math.Frexp(unit)
	if f < 0.5625 {
		f, x = float64(2*f), x-1
	}
	if unit > 0 && x >= -31 { // else no difference of scores counts
		s.mult = int16(math.RoundToEven(math.Ldexp(f-1, 15)))
		s.left, s.right = int32(max(x, 0)), int32(max(-x, 0))
		s.limit = uint32(min(uint64(32767)<<s.right, math.MaxUint32))
		if x > 0 {
			s.limit = 32767>>x + 1
		}
	}
	for j := range s.powers {
		if j < 9 {
			s.powers[j] = s.first >> j
		}
		s.wide[0][j], s.wide[1][j], s.wide[2][j] = s.mult, s.half, s.zero<<8|s.zero
	}
	s.lefts[0], s.rights[0] = int64(s.left), int64(s.bits)
	return s, nil
}

// SoftmaxI8 turns each row of int32 scores, the sums of q·k, into int8 weights relative to its largest: for i < rows and
// j < cols <= MaxSoftmaxCols, with weight(d) = 127*exp(-scale*d), or 255*exp(-scale*d) if s is wide, rounded,
//
//	p[i*ldp+j] = weight(max(scores[i]) - scores[i*lds+j])      // less 128 if s is wide
//	sum[i]     = sum over j of weight(max(scores[i]) - scores[i*lds+j])
//
// The division by sum is left to RequantMeans, after the product with V, so that rows of many small probabilities lose
// nothing. A weight is within 0.5 + 0.3 (0.2 if not wide) of its value; any scores will do, their differences counting
// as uint32. p must not overlap scores.
func SoftmaxI8(p []int8, ldp int, sum, scores []int32, lds, rows, cols int, s *Softmax) {
	if rows == 0 || cols == 0 {
		return
	}
	if !requantFits(len(p), ldp, rows, cols) || !requantFits(len(scores), lds, rows, cols) || len(sum) < rows || cols > MaxSoftmaxCols {
		panic("fixed: SoftmaxI8: an operand is smaller than its shape, or rows are too long")
	}
	if softmaxI8Vector(p, ldp, sum, scores, lds, rows, cols, s) {
		return
	}
	for i := range rows {
		sum[i] = softmaxI8Generic(p[i*ldp:i*ldp+cols], scores[i*lds:i*lds+cols], s)
	}
}

func softmaxI8Generic(p []int8, scores []int32, s *Softmax) (sum int32) {
	p = p[:len(scores)]
	most := scores[0]
	for _, v := range scores {
		most = max(most, v)
	}
	for j, v := range scores {
		w := s.weight(uint32(most) - uint32(v))
		p[j] = int8(w - s.zero)
		sum += int32(w)
	}
	return sum
}

func (s *Softmax) weight(d uint32) int16 {
	x := int16(min(min(d, s.limit)>>(uint(s.right)&31)<<(uint(s.left)&31), math.MaxInt16))
	z := int16(min(int32(x)+int32(mulRound(x, s.mult)), math.MaxInt16))
	f := z & 2047 << 4
	y := 1<<14 + mulRound(f, exp2C1+mulRound(f, exp2C2+mulRound(f, exp2C3)))
	return (mulRound(y, s.powers[z>>11&15]) + s.half) >> (uint(s.bits) & 15)
}

// mulRound is the rounded product of numbers in units of 2^-15: VPMULHRSW, SQRDMULH.
func mulRound(a, b int16) int16 { return int16((int32(a)*int32(b) + 1<<14) >> 15) }
