package fixed

import (
	"math"
	"math/bits"
)

// MaxNormCols is the longest row of LayerNorm.
const MaxNormCols = 4096

// epsFraction is the number of bits behind the binary point of NormEps.
const epsFraction = 16

// NormEps is layer normalisation's epsilon for a residual stream of the given scale: eps/scale^2 in units of 2^-16,
// the variance counting in squares of the stream's unit.
func NormEps(eps, scale float64) uint64 {
	e := math.RoundToEven(math.Ldexp(eps/float64(scale*scale), epsFraction))
	if !(e > 0) {
		return 0
	}
	return uint64(min(e, 1<<50))
}

// LayerNorm is layer normalisation of a fixed-point residual stream: for each row x[i*ldx:][:cols], in exact integers,
//
//	S = sum(x), Q = sum(x^2), W = cols*Q - S^2 + cols^2*eps            // W = cols^2 * (variance + eps)
//	u[j] = (cols*x[j] - S) / sqrt(W)                                   // in units of 2^-RowFraction
//	dst[i*ldd+j] = int8(clamp(v, -127, 127)),  v by q from u[j]
//
// Widths: with |x| <= ResidualMax and cols <= MaxNormCols, |S| < 2^36, Q < 2^60, W < 2^72 (128-bit arithmetic);
// |u| < sqrt(cols)*2^20 <= 2^26. The reciprocal root is the exact floor of sqrt(floor(cols^2*2^k/W)), of 29 or 30 bits, and
// the mean is rounded to 24 or more bits of the row's largest deviation, so u is within 3/2 units of its value.
//
// q is made for a bound of 1<<26 with ratios gain[j]/scale*2^-RowFraction and biases bias[j]/scale, scale that of dst;
// then |dst - (LN(x)*gain+bias)/scale| is at most 1/2 + 3/2*2^-20*|gain|/scale and what NewRequant adds, but for the
// clamp. A row of equal values gives u = 0. eps is from NormEps. Larger x give the same bits everywhere, but no norm.
func LayerNorm(dst []int8, ldd int, x []int32, ldx, rows, cols int, q *Requant, eps uint64) {
	if rows == 0 || cols == 0 {
		return
	}
	if !requantFits(len(dst), ldd, rows, cols) || !requantFits(len(x), ldx, rows, cols) || !q.covers(cols) || cols > MaxNormCols {
		panic("fixed: LayerNorm: an operand is smaller than its shape, or rows are too long")
	}
	var scales [maxRowScales]rowScale
	for i := 0; i < rows; i += maxRowScales {
		m := min(maxRowScales, rows-i)
		normScales(scales[:m], x[i*ldx:], ldx, cols, eps)
		scaleRowsI8(dst[i*ldd:], ldd, x[i*ldx:], ldx, cols, scales[:m], nil, q)
	}
}

// SumNorm adds normalised rows, without gain, bias or rounding to int8, to exact sums: for j < cols
//
//	for i := range rows { sum[j] += int64(u[i,j]) }            // u as in LayerNorm
//
// The mean over tokens of a last layer normalisation is then ScaleSums of it: the one step in floating point.
func SumNorm(sum []int64, x []int32, ldx, rows, cols int, eps uint64) {
	if rows == 0 || cols == 0 {
		return
	}
	if len(sum) < cols || !requantFits(len(x), ldx, rows, cols) || cols > MaxNormCols {
		panic("fixed: SumNorm: an operand is smaller than its shape, or rows are too long")
	}
	sum = sum[:cols]
	var scales [maxRowScales]rowScale
	for i := 0; i < rows; i += maxRowScales {
		m := min(maxRowScales, rows-i)
		normScales(scales[:m], x[i*ldx:], ldx, cols, eps)
		n := sumScaledRowsVector(sum, x[i*ldx:], ldx, scales[:m])
		for r := range m {
			sumScaledRowGeneric(sum[n:], x[(i+r)*ldx+n:(i+r)*ldx+cols], &scales[r])
		}
	}
}

func sumScaledRowGeneric(sum []int64, x []int32, s *rowScale) {
	for j, v := range x {
		sum[j] += int64(s.apply(v))
	}
}

// ScaleSums is
//
//	dst[j] = float32(float64(sum[j])*factor[j] + bias[j])
//
// with product and sum rounded on their own. For the pooled output of n tokens after SumNorm factor is
// gain[j]/(n*2^RowFraction); the sums are below 2^53, so that their conversion is exact.
func ScaleSums(dst []float32, sum []int64, factor, bias []float64) {
	if len(sum) != len(dst) || len(factor) < len(dst) || len(bias) < len(dst) {
		panic("fixed: ScaleSums: lengths differ")
	}
	for j, s := range sum {
		dst[j] = float32(float64(float64(s)*factor[j]) + bias[j])
	}
}

// normScales finds the scaling of each of len(scales) rows.
func normScales(scales []rowScale, x []int32, ldx, cols int, eps uint64) {
	for i := range scales {
		row := x[i*ldx : i*ldx+cols]
		sum, squares, n := rowMomentsVector(row)
		s, q := rowMomentsGeneric(row[n:])
		scales[i] = normScale(sum+s, squares+q, cols, eps)
	}
}

// rowMomentsGeneric returns the sum and the sum of squares, the latter modulo 2^64.
func rowMomentsGeneric(x []int32) (sum int64, squares uint64) {
	for _, v := range x {
		sum += int64(v)
		squares += uint64(int64(v) * int64(v))
	}
	return sum, squares
}

// normScale is the scaling by mean and standard deviation of a row of n values. Below, L is the length of W in bits.
func normScale(sum int64, squares uint64, n int, eps uint64) rowScale {
	cols := uint64(n)
	abs := uint64(max(sum, -sum))

	// W, in 128 bits.
	hi, lo := bits.Mul64(cols, squares)
	sqHi, sqLo := bits.Mul64(abs, abs)
	lo, borrow := bits.Sub64(lo, sqLo, 0)
	hi, borrow = bits.Sub64(hi, sqHi, borrow)
	if borrow != 0 || hi|lo == 0 { // below 0 only where squares overflowed
		return rowScale{}
	}
	eHi, eLo := bits.Mul64(cols*cols, eps)
	lo, carry := bits.Add64(lo, eHi<<(64-epsFraction)|eLo>>epsFraction, 0)
	hi += eHi>>epsFraction + carry

	// w = W * 2^(64-L), in [2^63, 2^64).
	length := bits.Len64(lo)
	w := lo << (64 - length)
	if hi != 0 {
		length = 64 + bits.Len64(hi)
		w = hi<<(128-length) | lo>>(length-64)
	}

	// mult = floor(n/sqrt(W) * 2^half), 2*half = a+L: the quotient lies between 2^56 and 2^59.
	a := 57 - (bits.Len64(cols*cols) - 1)
	a -= (a + length) & 1
	quotient, _ := bits.Div64(cols*cols<<a, 0, w)
	half := (a + length) / 2

	// |x-mean| <= sqrt(W/n), so that x-mean stays below 2^30 when shifted left by lift.
	lift := min(max(30-(length+1)/2+(bits.Len64(cols)-1)/2, 0), 30)
	return rowScale{
		lift:  int32(lift),
		mean:  liftedMean(sum, int64(n), lift),
		mult:  int32(isqrt(quotient)),
		shift: int32(min(max(lift+half-31-RowFraction, 0), 31)),
	}
}

// liftedMean is sum*2^lift/n, rounded half up, modulo 2^32; lift is at most 30, and n at most MaxNormCols.
func liftedMean(sum, n int64, lift int) int32 {
	q, r := sum/n, sum%n
	if r < 0 {
		q, r = q-1, r+n
	}
	return int32(q<<lift + (r<<lift+n/2)/n)
}

// isqrt is floor(sqrt(x)) for x < 2^62, by three steps of Newton's method. The start is the tangent of the square root at
// 2*2^(2k), for x in [1, 4)*2^(2k): above the root by 6% at most. A step halves the square of the relative error (1.8e-3,
// 1.6e-6, 1.3e-12) and never falls below floor(sqrt(x)), so the last is that or one more.
func isqrt(x uint64) uint64 {
	if x == 0 {
		return 0
	}
	k := (bits.Len64(x) - 1) / 2
	r := x>>(k+1)*46341>>16 + 46341<<k>>16 + 2 // 46341 = ceil(sqrt(2) * 2^15)
	r = (r + x/r) / 2
	r = (r + x/r) / 2
	r = (r + x/r) / 2
	if r*r > x {
		r--
	}
	return r
}
