package main

import (
	"cmp"
	"math"
	"slices"

	"edgejepa/jepa/probe"
)

// cosines are those between the rows of two sets of features, with a common part taken off both.
func cosines(a, b probe.Features, common []float64) []float64 {
	out := make([]float64, a.N)
	for i := range out {
		var xy, xx, yy float64
		for j := range a.D {
			x, y := float64(a.X[i*a.D+j])-common[j], float64(b.X[i*a.D+j])-common[j]
			xy, xx, yy = xy+float64(x*y), xx+float64(x*x), yy+float64(y*y)
		}
		if out[i] = 1; xx != yy || xy != xx { // equal rows, zeros among them, have cosine 1
			out[i] = xy / math.Sqrt(max(float64(xx*yy), 1e-300))
		}
	}
	return out
}

// centre is the mean row.
func centre(f probe.Features) []float64 {
	mu := make([]float64, f.D)
	for i, v := range f.X {
		mu[i%f.D] += float64(v) / float64(f.N)
	}
	return mu
}

func dot(a, b []float32) (s float64) {
	for i := range a {
		s += float64(float64(a[i]) * float64(b[i]))
	}
	return s
}

func mean(x []float64) (m float64) {
	for _, v := range x {
		m += v / float64(len(x))
	}
	return m
}

// directions are the rows of f, mean-centred and of length one: cosines are then dot products, as k-NN takes them.
func directions(f probe.Features) []float32 {
	mu := centre(f)
	unit := make([]float32, len(f.X))
	for i := range f.N {
		x, s := f.X[i*f.D:(i+1)*f.D], 0.0
		for j, v := range x {
			c := float64(v) - mu[j]
			s += float64(c * c)
		}
		s = math.Sqrt(s) + 1e-12
		for j, v := range x {
			unit[i*f.D+j] = float32((float64(v) - mu[j]) / s)
		}
	}
	return unit
}

// nearest is each row's nearest other row.
func nearest(f probe.Features) []int {
	unit, d := directions(f), f.D
	out := make([]int, f.N)
	for i := range out {
		best := math.Inf(-1)
		for j := range f.N {
			if j == i {
				continue
			}
			if s := dot(unit[i*d:(i+1)*d], unit[j*d:(j+1)*d]); s > best {
				best, out[i] = s, j
			}
		}
	}
	return out
}

// rank lists the n rows nearest to row q, the nearest first.
func rank(f probe.Features, q, n int) []int {
	unit, d := directions(f), f.D
	score := make([]float64, f.N)
	order := make([]int, 0, f.N)
	for j := range f.N {
		score[j] = dot(unit[q*d:(q+1)*d], unit[j*d:(j+1)*d])
		if j != q {
			order = append(order, j)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(score[b], score[a]), a-b) })
	return order[:min(n, len(order))]
}
