package fixed

import (
	"fmt"
	"math"
	"math/bits"
)

// ResidualMax bounds the magnitude of a fixed-point residual stream: AddRequant saturates there. Outliers of a thousand
// standard deviations still leave 14 bits for one, and a row of 4096 squares fits 60 bits.
const ResidualMax = 1<<24 - 1

// Requant turns int32 sums into integers of another scale, channel by channel, without floating point:
//
//	t = (int64(acc<<Lift) * Mult[j]) >> 31                      // an int32
//	v = (t + Add[j]) >> Shift[j]
//
// which is acc*ratio + bias, rounded half up, since Add holds the bias and the half: floor of a floor being one floor,
// v = (acc*2^Lift*Mult + Add*2^31) >> (31+Shift) exactly. Multiplier and shift follow Jacob et al., arXiv 1712.05877;
// the product's upper half is NEON's SQDMULH. Shifts to the left drop bits beyond int32 on every machine alike.
type Requant struct {
	Lift             int     // 0 to 30
	Mult, Add, Shift []int32 // [channels]: |Mult| < 2^30, |Add| <= 2^30, Shift 1 to 29
}

// requantFraction is how many bits below the output's unit t should keep, where the sums leave room.
const requantFraction = 8

// NewRequant returns the Requant of v = acc*ratio[j] + bias[j] for sums with |acc| <= bound. Ratios may have any sign and
// a magnitude of up to 2^27/bound; bias counts in units of the output. With s = Shift[j],
//
//	|v - (acc*ratio + bias)| <= 1/2 + 3/2*2^-s + |acc*ratio|*2^-30
//
// where s is at least 8 unless a large bias, or large ratios of large sums, need the bits. (A large bias or a tiny ratio
// also shortens Mult; the last term then is |acc|*2^(Lift-s-32).) Every operation is exact or correctly rounded, so that
// all machines derive the same integers.
func NewRequant(ratio, bias []float64, bound int) (*Requant, error) {
	n := len(ratio)
	if len(bias) != n || bound < 1 {
		panic("fixed: NewRequant: ratio and bias differ in length, or bound below 1")
	}
	q := &Requant{Mult: make([]int32, n), Add: make([]int32, n), Shift: make([]int32, n)}
	most := 30 - bits.Len(uint(bound)) // |acc|<<most < 2^30
	for j, r := range ratio {
		if b := bias[j]; !(math.Abs(r) < 1<<30) || !(math.Abs(b) < 1<<28) {
			return nil, fmt.Errorf("channel %d: ratio %g or bias %g is out of range", j, r, b)
		}
		_, x := math.Frexp(r)
		if r != 0 {
			q.Lift = max(q.Lift, min(most, x+1+requantFraction))
		}
	}
	for j, r := range ratio {
		f, x := math.Frexp(r)
		switch {
		case r == 0:
			x = -30 // any multiplier will do
		case math.Abs(f) >= 1-0x1p-31:
			x++ // the multiplier would round to 2^30, a tie to even included
		}
		s := min(q.Lift-1-x, 29)
		for s > 0 && math.Abs(bias[j])+1 > math.Ldexp(1, 30-s) {
			s--
		}
		if s < 1 {
			return nil, fmt.Errorf("channel %d: ratio %g is too large for sums up to %d", j, r, bound)
		}
		q.Mult[j] = int32(math.RoundToEven(math.Ldexp(r, 31+s-q.Lift)))
		q.Add[j] = int32(math.RoundToEven(math.Ldexp(bias[j], s))) + 1<<(s-1)
		q.Shift[j] = int32(s)
	}
	return q, nil
}

// Check says whether q, read from somewhere, is a Requant of n channels.
func (q *Requant) Check(n int) error {
	if len(q.Mult) != n || len(q.Add) != n || len(q.Shift) != n {
		return fmt.Errorf("requantisation of %d, %d and %d channels; want %d", len(q.Mult), len(q.Add), len(q.Shift), n)
	}
	if q.Lift < 0 || q.Lift > 30 {
		return fmt.Errorf("requantisation shifts left by %d; the range is 0 to 30", q.Lift)
	}
	for j := range n {
		m, a, s := q.Mult[j], q.Add[j], q.Shift[j]
		if m <= -1<<30 || m >= 1<<30 || a < -1<<30 || a > 1<<30 || s < 1 || s > 29 {
			return fmt.Errorf("requantisation of channel %d: multiplier %d, addend %d or shift %d is out of range", j, m, a, s)
		}
	}
	return nil
}

// from is q without its first n channels, up to channel cols.
func (q *Requant) from(n, cols int) Requant {
	return Requant{q.Lift, q.Mult[n:cols], q.Add[n:cols], q.Shift[n:cols]}
}

// RequantI8 is, for every i < rows and j < cols,
//
//	dst[i*ldd+j] = int8(clamp(v, -127, 127)),  v by q from acc[i*ldacc+j]
//
// Nothing between the rows is touched. dst must not overlap acc.
func RequantI8(dst []int8, ldd int, acc []int32, ldacc, rows, cols int, q *Requant) {
	if rows == 0 || cols == 0 {
		return
	}
	if !requantFits(len(dst), ldd, rows, cols) || !requantFits(len(acc), ldacc, rows, cols) || !q.covers(cols) {
		panic("fixed: RequantI8: an operand is smaller than its shape")
	}
	n := requantI8Vector(dst, ldd, acc, ldacc, rows, cols, q)
	if n == cols {
		return
	}
	rest := q.from(n, cols)
	for i := range rows {
		requantI8Generic(dst[i*ldd+n:i*ldd+cols], acc[i*ldacc+n:i*ldacc+cols], &rest)
	}
}

// covers says whether q has cols channels or more.
func (q *Requant) covers(cols int) bool {
	return len(q.Mult) >= cols && len(q.Add) >= cols && len(q.Shift) >= cols
}

// requantFits says whether size elements hold rows rows of cols, ld apart.
func requantFits(size, ld, rows, cols int) bool { return ld >= cols && size >= (rows-1)*ld+cols }

func requantI8Generic(dst []int8, acc []int32, q *Requant) {
	dst, mult, add, shift := dst[:len(acc)], q.Mult[:len(acc)], q.Add[:len(acc)], q.Shift[:len(acc)]
	lift := uint(q.Lift) & 31
	for j, a := range acc {
		dst[j] = clampI8(requant(a<<lift, mult[j], add[j], shift[j]))
	}
}

// requant is v of Requant, from the lifted sum.
func requant(a, mult, add, shift int32) int32 {
	return (mulHigh(a, mult) + add) >> (uint(shift) & 31)
}

// mulHigh is floor(a*b / 2^31) for |b| < 2^30.
func mulHigh(a, b int32) int32 { return int32(int64(a) * int64(b) >> 31) }

func clampI8(v int32) int8 { return int8(max(min(v, 127), -127)) }

// AddRequant adds requantised sums to a residual stream, with saturation: for every i < rows and j < cols
//
//	res[i*ldr+j] = clamp(res[i*ldr+j] + v, -ResidualMax, ResidualMax),  v by q from acc[i*ldacc+j]
//
// The stream is int32 because that of a vision transformer grows outliers, which int16 with one scale could not hold
// beside the small values. The sum itself wraps, which cannot happen to a stream within its bounds. res must not
// overlap acc.
func AddRequant(res []int32, ldr int, acc []int32, ldacc, rows, cols int, q *Requant) {
	if rows == 0 || cols == 0 {
		return
	}
	if !requantFits(len(res), ldr, rows, cols) || !requantFits(len(acc), ldacc, rows, cols) || !q.covers(cols) {
		panic("fixed: AddRequant: an operand is smaller than its shape")
	}
	n := addRequantVector(res, ldr, acc, ldacc, rows, cols, q)
	if n == cols {
		return
	}
	rest := q.from(n, cols)
	for i := range rows {
		addRequantGeneric(res[i*ldr+n:i*ldr+cols], acc[i*ldacc+n:i*ldacc+cols], &rest)
	}
}

func addRequantGeneric(res, acc []int32, q *Requant) {
	res, mult, add, shift := res[:len(acc)], q.Mult[:len(acc)], q.Add[:len(acc)], q.Shift[:len(acc)]
	lift := uint(q.Lift) & 31
	for j, a := range acc {
		res[j] = max(min(res[j]+requant(a<<lift, mult[j], add[j], shift[j]), ResidualMax), -ResidualMax)
	}
}

// RowFraction is the number of bits behind the binary point in what comes out of a row's own scaling, before Requant:
// the ratios for RequantMeans and LayerNorm carry a factor 2^-RowFraction.
const RowFraction = 20

// rowScale is the scaling of one row by a factor and an offset that belong to it:
//
//	u = (int64(x<<lift - mean) * mult) >> (31+shift)            // an int32, in units of 2^-RowFraction
type rowScale struct {
	lift, mean, mult, shift int32
}

func (s *rowScale) apply(x int32) int32 {
	return mulHigh(x<<(uint(s.lift)&31)-s.mean, s.mult) >> (uint(s.shift) & 31)
}

// maxRowScales is how many rows are scaled at a time.
const maxRowScales = 32

// RequantMeans divides each row by a sum of weights and requantises the quotient: for every i < rows and j < cols
//
//	u = floor(2^RowFraction * (acc[i*ldacc+j]-base[j]) / sum[i])   // within 2
//	dst[i*ldd+j] = int8(clamp(v, -127, 127)),  v by q from u
//
// It is the second half of attention: acc is P·V with the int8 weights P of SoftmaxI8, sum the sums of its rows. base is
// nil, or if weights are stored less 128 the row of the product for a row of P that is all -128: no weight at all.
//
// q is made for a bound of 128<<RowFraction with ratios of v's scale / dst's scale * 2^-RowFraction. |acc-base| may be at
// most 128*sum; the division is by a multiplier of 29 bits, made by an integer division. Where sum[i] <= 0 u is 0.
func RequantMeans(dst []int8, ldd int, acc []int32, ldacc, rows, cols int, sum, base []int32, q *Requant) {
	if rows == 0 || cols == 0 {
		return
	}
	if !requantFits(len(dst), ldd, rows, cols) || !requantFits(len(acc), ldacc, rows, cols) || !q.covers(cols) ||
		len(sum) < rows || (base != nil && len(base) < cols) {
		panic("fixed: RequantMeans: an operand is smaller than its shape")
	}
	var scales [maxRowScales]rowScale
	for i := 0; i < rows; i += maxRowScales {
		m := min(maxRowScales, rows-i)
		for r := range m {
			scales[r] = meanScale(sum[i+r])
		}
		scaleRowsI8(dst[i*ldd:], ldd, acc[i*ldacc:], ldacc, cols, scales[:m], base, q)
	}
}

// meanScale is the division by sum. With b bits in it, |x| <= 128*sum < 2^(7+b), so that x << (23-b) stays below 2^30.
func meanScale(sum int32) rowScale {
	if sum <= 0 {
		return rowScale{}
	}
	b := bits.Len32(uint32(sum))
	return rowScale{lift: int32(max(23-b, 0)), mult: int32(uint64(1) << (51 - max(23-b, 0)) / uint64(sum))}
}

// scaleRowsI8 is, for every row i of scales, u by scales[i] from x[i*ldx+j] - base[j], then dst[i*ldd+j] by q from u.
func scaleRowsI8(dst []int8, ldd int, x []int32, ldx, cols int, scales []rowScale, base []int32, q *Requant) {
	n := scaleRowsI8Vector(dst, ldd, x, ldx, cols, scales, base, q)
	if n == cols {
		return
	}
	rest := q.from(n, cols)
	if base != nil {
		base = base[n:cols]
	}
	for i := range scales {
		scaleRowI8Generic(dst[i*ldd+n:i*ldd+cols], x[i*ldx+n:i*ldx+cols], &scales[i], base, &rest)
	}
}

func scaleRowI8Generic(dst []int8, x []int32, s *rowScale, base []int32, q *Requant) {
	dst, mult, add, shift := dst[:len(x)], q.Mult[:len(x)], q.Add[:len(x)], q.Shift[:len(x)]
	lift, row := uint(q.Lift)&31, *s
	for j, v := range x {
		if base != nil {
			v -= base[j]
		}
		dst[j] = clampI8(requant(row.apply(v)<<lift, mult[j], add[j], shift[j]))
	}
}
