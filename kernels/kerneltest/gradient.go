package kerneltest

import "math"

// Gradient compares grad, claimed to be df/dx, with central differences of f and returns the worst disagreement, relative
// to grad's length, over four directions: each the gradient, along which f32 rounding hurts least, plus a random vector
// as long, without which elements that the gradient wrongly holds at zero would never be moved. f reads x, which is
// back at its values on return. A zero gradient gives 1: nothing was shown.
//
// Two steps h and h/2 with Richardson's extrapolation leave an error of order h^4; h is 2^-8 of the tensor's size, so
// that is 2^-32 times the fifth derivative, and the rounding of f, a sum in float64 of f32 values near 1, is of order
// 2^-24 / h = 2^-16: both are below a tolerance of 1e-3, a plain step's error at this h (7e-3) is not.
func Gradient(x, grad []float32, f func() float64) (worst float64) {
	norm := math.Sqrt(dot(grad, grad))
	if norm == 0 {
		return 1
	}
	was := append([]float32(nil), x...)
	n := float64(len(x))
	h := (math.Sqrt(dot(x, x)/n) + 0.05) * math.Sqrt(n) / 256
	u := make([]float64, len(x))
	for try := range uint64(4) {
		want := 0.0
		for i, g := range grad {
			u[i] = float64(g)/norm + math.Copysign(math.Sqrt(1/n), uniform(try, uint64(i), 99)-0.5)
			want += u[i] * float64(g)
		}
		at := func(h float64) float64 {
			for i := range x {
				x[i] = was[i] + float32(h*u[i])
			}
			return f()
		}
		slope := func(h float64) float64 { return (at(h) - at(-h)) / (2 * h) }
		got := (4*slope(h/2) - slope(h)) / 3
		if off := math.Abs(got-want) / norm; !(off <= worst) { // NaN counts as the worst
			worst = off
		}
	}
	copy(x, was)
	return worst
}

func dot(a, b []float32) (s float64) {
	for i := range a {
		s += float64(a[i]) * float64(b[i])
	}
	return s
}
