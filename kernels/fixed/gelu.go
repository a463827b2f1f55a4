package fixed

import (
	"fmt"
	"math"
)

// GELU in integers. With a = |x|, x*Phi(x) = max(x, 0) - a*Phi(-a), and the last term, the dip, is a bump below 0.17
// that vanishes beyond a = 4: eight parabolas of width 1/2 give it within 5.1e-4, and 0 at 0. Each is
// c0 + f*(c1 + f*c2) in units of 2^-16, f in [0, 1) across the piece, fitted for the least error with the rounding of
// every product.
var geluDip = [8][3]int16{
	{0, 16204, -6112},
	{10142, 3766, -3544},
	{10421, -3181, -696},
	{6567, -4283, 690},
	{2978, -2745, 788},
	{1013, -1159, 415},
	{263, -352, 144},
	{53, -79, 34},
}

// GELU is the second half of RequantGELU for one scale of its output, in 16-bit arithmetic on x in units of
// 2^-Fraction. With · the rounded product (a*b + 2^14) >> 15,
//
//	a = min(|x|, 4<<Fraction - 1) << (12-Fraction)            // in units of 2^-12
//	i, f = a >> 11, (a & 2047) << 4                           // the piece, and where in it
//	g = max(x, 0) - (c0[i] + f·(c1[i] + f·c2[i]))·2^(Fraction-1)
//	v = (g·mult + add) >> shift                               // the sum saturating; add = zero<<shift + 2^(shift-1)
type GELU struct {
	// For vectors, and first for their alignment: limit, half, mult and add, then the shifts 12-Fraction and shift.
	wide        [4][16]int16
	left, right [2]int64

	Fraction         int // 5 to 12: as many bits as x has room for, up to the output's largest value
	mult, add, shift int16
	limit            uint16 // of a: 4<<Fraction - 1
	half             int16  // 2^(Fraction-1)
}

// NewGELU returns the GELU for outputs of the given scale, 2^-10 to 4, and zero point, -128 to 0. GELU is never
// below -0.17, so a zero point near -128 gives it twice the resolution of zero point 0, for nothing: the sums of the product
// that follows contain the constant zero * sum over k of w[j,k], which its bias takes off again.
func NewGELU(scale float64, zero int) (*GELU, error) {
	if !(scale >= 0x1p-10 && scale <= 4) || zero < -128 || zero > 0 {
		return nil, fmt.Errorf("scale %g or zero point %d of GELU is out of range: 2^-10 to 4, -128 to 0", scale, zero)
	}
	g := &GELU{Fraction: 12}
	for most := 127.5 - float64(zero); float64(most*scale) > math.Ldexp(math.MaxInt16, -g.Fraction); {
		g.Fraction--
	}
	f, x := math.Frexp(math.Ldexp(1/scale, -g.Fraction))
	if f >= 1-0x1p-16 { // would round to 2^15, a tie to even included
		f, x = 0.5, x+1
	}
	g.mult, g.shift = int16(math.RoundToEven(math.Ldexp(f, 15))), int16(-x)
	g.add = int16(zero<<g.shift + 1<<(g.shift-1))
	g.limit, g.half = 4<<g.Fraction-1, 1<<(g.Fraction-1)
	for i, v := range [4]int16{int16(g.limit), g.half, g.mult, g.add} {
		for j := range g.wide[i] {
			g.wide[i][j] = v
		}
	}
	g.left[0], g.right[0] = int64(12-g.Fraction), int64(g.shift)
	return g, nil
}

// RequantGELU requantises sums, applies GELU (exact form, Hendrycks and Gimpel, arXiv 1606.08415) with the precision of
// 16 bits and rounds once to int8: for every i < rows and j < cols
//
//	x = clamp(v, -32768, 32767),  v by q from acc[i*ldacc+j], in units of 2^-g.Fraction
//	dst[i*ldd+j] = int8(clamp(GELU(x)/scale + zero, -128, 127))
//
// so q has ratios of the sums' scale * 2^g.Fraction. But for the clamp, dst is within
// 1/2 + 1/128 + (5.1e-4 + 2.1*2^-g.Fraction)/scale of that for x before it was rounded. dst must not overlap acc.
func RequantGELU(dst []int8, ldd int, acc []int32, ldacc, rows, cols int, q *Requant, g *GELU) {
	if rows == 0 || cols == 0 {
		return
	}
	if !requantFits(len(dst), ldd, rows, cols) || !requantFits(len(acc), ldacc, rows, cols) || !q.covers(cols) {
		panic("fixed: RequantGELU: an operand is smaller than its shape")
	}
	n := requantGELUVector(dst, ldd, acc, ldacc, rows, cols, q, g)
	if n == cols {
		return
	}
	rest := q.from(n, cols)
	for i := range rows {
		requantGELUGeneric(dst[i*ldd+n:i*ldd+cols], acc[i*ldacc+n:i*ldacc+cols], &rest, g)
	}
}

func requantGELUGeneric(dst []int8, acc []int32, q *Requant, g *GELU) {
	dst, mult, add, shift := dst[:len(acc)], q.Mult[:len(acc)], q.Add[:len(acc)], q.Shift[:len(acc)]
	lift := uint(q.Lift) & 31
	for j, a := range acc {
		v := requant(a<<lift, mult[j], add[j], shift[j])
		dst[j] = g.apply(int16(max(min(v, math.MaxInt16), math.MinInt16)))
	}
}

func (g *GELU) apply(x int16) int8 {
	a := uint(min(uint16(max(x, -x)), g.limit)) << (uint(12-g.Fraction) & 15) // |-32768| as uint16
	p, f := &geluDip[a>>11&7], int16(a&2047<<4)
	dip := p[0] + mulRound(f, p[1]+mulRound(f, p[2]))
	y := int32(mulRound(max(x, 0)-mulRound(dip, g.half), g.mult)) + int32(g.add)
	v := max(min(y, math.MaxInt16), math.MinInt16) >> (uint(g.shift) & 15)
	return int8(max(min(v, 127), -128))
}
