package kernels

import "math"

// Add is
//
//	dst[i] += src[i]
func Add(dst, src []float32) {
	if len(dst) != len(src) {
		panic("kernels: Add: lengths differ")
	}
	n := addVector(dst, src)
	addGeneric(dst[n:], src[n:])
}

func addGeneric(dst, src []float32) {
	for i, v := range src {
		dst[i] += v
	}
}

// Scale is
//
//	x[i] *= s
func Scale(x []float32, s float32) {
	n := scaleVector(x, s)
	scaleGeneric(x[n:], s)
}

func scaleGeneric(x []float32, s float32) {
	for i := range x {
		x[i] *= s
	}
}

// Lerp is the step of an exponential moving average,
//
//	dst[i] = m*dst[i] + (1-m)*src[i]
//
// with the products and the sum rounded one by one.
func Lerp(dst, src []float32, m float32) {
	if len(dst) != len(src) {
		panic("kernels: Lerp: lengths differ")
	}
	n := lerpVector(dst, src, m, 1-m)
	lerpGeneric(dst[n:], src[n:], m, 1-m)
}

func lerpGeneric(dst, src []float32, m, m1 float32) {
	for i, v := range src {
		dst[i] = float32(m*dst[i]) + float32(m1*v)
	}
}

// SumSquares returns the sum of x[i]*x[i]. The squares are exact; they are added in float64, element i to lane i%16,
// and the lanes as a tree. The result is finite if and only if AllFinite(x): float64 holds any such sum.
func SumSquares(x []float32) float64 {
	var l lanes64
	n := sumSquaresVector(&l, x)
	sumSquaresGeneric(&l, x[n:])
	return l.sum()
}

func sumSquaresGeneric(l *lanes64, x []float32) {
	for ; len(x) >= len(l); x = x[len(l):] {
		for j, v := range (*lanes)(x) {
			l[j] += float64(float64(v) * float64(v))
		}
	}
	for j, v := range x {
		l[j] += float64(float64(v) * float64(v))
	}
}

// AllFinite reports whether x holds neither NaN nor ±Inf.
func AllFinite(x []float32) bool {
	const exponent = 0x7f800000
	for ; len(x) >= 4; x = x[4:] {
		// Four at a time: the largest of four magnitudes tells whether any has a full exponent.
		b := (*[4]float32)(x)
		if max(math.Float32bits(b[0])&exponent, math.Float32bits(b[1])&exponent,
			math.Float32bits(b[2])&exponent, math.Float32bits(b[3])&exponent) == exponent {
			return false
		}
	}
	for _, v := range x {
		if math.Float32bits(v)&exponent == exponent {
			return false
		}
	}
	return true
}
