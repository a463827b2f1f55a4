package kernels

// SmoothL1 is, with u = pred[i]-target[i] and the elbow at 1,
//
//	d[i] = scale * clamp(u, -1, 1)
//
// and returns the sum of |u| < 1 ? u*u/2 : |u|-1/2, unscaled: each term is rounded to float32, and the terms are added
// in float64, element i to lane i%16, the lanes as a tree. d may be pred.
func SmoothL1(d, pred, target []float32, scale float32) float64 {
	if len(d) != len(pred) || len(target) != len(pred) {
		panic("kernels: SmoothL1: lengths differ")
	}
	var l lanes64
	n := smoothL1Vector(&l, d, pred, target, scale)
	smoothL1Generic(&l, d[n:], pred[n:], target[n:], scale)
	return l.sum()
}

func smoothL1Generic(l *lanes64, d, pred, target []float32, scale float32) {
	for i, p := range pred {
		u := p - target[i]
		c := u
		if c > 1 {
			c = 1
		}
		if c < -1 {
			c = -1
		}
		d[i] = scale * c
		l[i%len(l)] += float64(float32(c * (u - float32(0.5*c)))) // c*(u-c/2) is both branches at once
	}
}

// SquaredError is, with u = pred[i]-target[i],
//
//	d[i] = scale * 2*u
//
// and returns the sum of u*u, unscaled: the squares are exact, added in float64, element i to lane i%16, the lanes as a
// tree. d may be pred.
func SquaredError(d, pred, target []float32, scale float32) float64 {
	if len(d) != len(pred) || len(target) != len(pred) {
		panic("kernels: SquaredError: lengths differ")
	}
	var l lanes64
	n := squaredErrorVector(&l, d, pred, target, 2*scale)
	squaredErrorGeneric(&l, d[n:], pred[n:], target[n:], 2*scale)
	return l.sum()
}

func squaredErrorGeneric(l *lanes64, d, pred, target []float32, scale2 float32) {
	for i, p := range pred {
		u := p - target[i]
		d[i] = scale2 * u
		l[i%len(l)] += float64(float64(u) * float64(u))
	}
}
