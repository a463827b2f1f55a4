package demoset

import (
	"math"

	"edgejepa/fp"
	"edgejepa/internal/rng"
)

// paint is what a figure shows at a point: nothing, its first colour or its second.
type paint uint8

const (
	nothing paint = iota
	first
	second
)

// figure says what is seen at (u, v), in coordinates in which the figure fits the circle of radius 1. Every product that
// feeds a sum is rounded on its own, so that a picture has the same pixels on every machine.
type figure func(u, v float64) paint

// class is a kind of figure with a few freedoms of its own, drawn by r.
type class struct {
	name string
	vary func(r *rng.Source) figure
}

// classes are told apart by their outline or, the last three, by what fills an outline that tells nothing. They ascend
// by name, as folders are numbered.
var classes = []class{
	{"checker", func(r *rng.Source) figure {
		f := between(r, 2, 3)
		return fill(r, func(u, v float64) bool { return odd(u*f) != odd(v*f) })
	}},
	{"crescent", func(r *rng.Source) figure {
		at, bite := between(r, 0.35, 0.55), between(r, 0.6, 0.7)
		return solid(func(u, v float64) bool { return norm2(u, v) < 0.9*0.9 && norm2(u-at, v) > bite*bite })
	}},
	{"cross", func(r *rng.Source) figure {
		arm := between(r, 0.2, 0.34)
		return solid(func(u, v float64) bool {
			u, v = math.Abs(u), math.Abs(v)
			return min(u, v) < arm && max(u, v) < 0.9
		})
	}},
	{"disc", func(*rng.Source) figure { return solid(disc) }},
	{"dots", func(r *rng.Source) figure {
		f, radius := between(r, 2, 3), between(r, 0.28, 0.36)
		return fill(r, func(u, v float64) bool {
			u, v = float64(u*f), float64(v*f)
			return norm2(u-math.Floor(u)-0.5, v-math.Floor(v)-0.5) < radius*radius
		})
	}},
	{"ring", func(r *rng.Source) figure {
		hole := between(r, 0.4, 0.6)
		return solid(func(u, v float64) bool { return disc(u, v) && norm2(u, v) > hole*hole })
	}},
	{"square", func(*rng.Source) figure { return solid(square) }},
	{"star", func(r *rng.Source) figure { return solid(star(5, between(r, 0.36, 0.46))) }},
	{"stripes", func(r *rng.Source) figure {
		f, duty := between(r, 1.5, 2.5), between(r, 0.4, 0.6)
		return fill(r, func(u, _ float64) bool {
			u = float64(u * f)
			return u-math.Floor(u) < duty
		})
	}},
	{"triangle", func(*rng.Source) figure { return solid(triangle) }},
}

// solid is an outline in one colour.
func solid(inside func(u, v float64) bool) figure {
	return func(u, v float64) paint {
		if inside(u, v) {
			return first
		}
		return nothing
	}
}

// fill is a pattern in two colours within an outline drawn by r.
func fill(r *rng.Source, pattern func(u, v float64) bool) figure {
	outline := []func(u, v float64) bool{disc, square, triangle, lozenge}[r.IntN(4)]
	return func(u, v float64) paint {
		switch {
		case !outline(u, v):
			return nothing
		case pattern(u, v):
			return first
		}
		return second
	}
}

func disc(u, v float64) bool   { return norm2(u, v) < 0.85*0.85 }
func square(u, v float64) bool { return max(math.Abs(u), math.Abs(v)) < 0.72 }

func lozenge(u, v float64) bool { return math.Abs(u)+float64(0.7*math.Abs(v)) < 0.7 }

// triangle is equilateral, its corners 0.95 from the centre.
func triangle(u, v float64) bool {
	const sqrt3 = 1.7320508075688772
	return v < 0.95/2 && float64(sqrt3*math.Abs(u)) < v+0.95
}

// star is a star polygon with points at 0.98 and notches at the given radius.
func star(points int, notch float64) func(u, v float64) bool {
	xs, ys := make([]float64, 2*points), make([]float64, 2*points)
	for i := range xs {
		radius := [2]float64{0.98, notch}[i%2]
		angle := math.Pi * float64(i) / float64(points)
		xs[i], ys[i] = float64(radius*fp.Sin(angle)), float64(-radius*fp.Cos(angle))
	}
	return func(u, v float64) bool {
		in := false
		for i, j := 0, len(xs)-1; i < len(xs); j, i = i, i+1 {
			if (ys[i] > v) != (ys[j] > v) && u < xs[i]+float64((xs[j]-xs[i])*((v-ys[i])/(ys[j]-ys[i]))) {
				in = !in
			}
		}
		return in
	}
}

// bar is clutter: a short line.
func bar(u, v float64) bool { return math.Abs(u) < 0.95 && math.Abs(v) < 0.16 }

func odd(x float64) bool { return int(math.Floor(x))&1 == 1 }

func norm2(u, v float64) float64 { return float64(u*u) + float64(v*v) }

func between(r *rng.Source, lo, hi float64) float64 { return lo + float64(r.Float64()*(hi-lo)) }
