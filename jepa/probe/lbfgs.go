package probe

import "math"

// lbfgs minimises a smooth function of n parameters by limited-memory BFGS with a strong Wolfe line search (Nocedal and
// Wright, Numerical Optimization, algorithms 7.4, 7.5, 3.5 and 3.6). All sums are ascending.
type lbfgs struct {
	eval       func(x, grad []float64) float64 // the value, and the gradient into grad
	iterations int                             // at most this many, and a quarter more evaluations
	history    int                             // pairs kept
}

const (
	decrease  = 1e-4 // c1, the sufficient decrease
	curvature = 0.9  // c2
	flatGrad  = 1e-7 // a largest gradient component that counts as 0
	flatStep  = 1e-9 // a change of value or parameters that counts as none
)

// point is a place on the line x + t*d.
type point struct {
	t, value, slope float64
	x, grad         []float64
}

// minimize improves x in place.
func (o lbfgs) minimize(x []float64) {
	n := len(x)
	evals := 0
	at := point{x: x, grad: make([]float64, n)}
	at.value = o.eval(at.x, at.grad)
	d := make([]float64, n)
	spare := [3]point{}
	for i := range spare {
		spare[i].x, spare[i].grad = make([]float64, n), make([]float64, n)
	}
	var s, y [][]float64 // steps and changes of gradient, oldest first
	var rho []float64
	alpha := make([]float64, o.history)
	for it := 0; it < o.iterations && evals < o.iterations*5/4 && largest(at.grad) > flatGrad; it++ {
		copy(d, at.grad)
		for i := len(s) - 1; i >= 0; i-- {
			alpha[i] = float64(rho[i] * dot(s[i], d))
			axpy(d, -alpha[i], y[i])
		}
		if k := len(s) - 1; k >= 0 {
			scale(d, 1/(rho[k]*dot(y[k], y[k])))
		}
		for i := range s {
			axpy(d, alpha[i]-float64(rho[i]*dot(y[i], d)), s[i])
		}
		scale(d, -1)
		if at.slope = dot(at.grad, d); !(at.slope < 0) {
			return // rounding is all that is left
		}
		first := 1.0
		if it == 0 {
			first = min(1, 1/sumAbs(at.grad))
		}
		line := search{eval: o.eval, d: d, from: at, spare: &spare, left: 25}
		best, ok := line.run(first)
		evals += 25 - line.left
		if !ok {
			return
		}
		var sk, yk []float64 // the memory of the oldest pair serves the newest
		if len(s) == o.history {
			sk, yk = s[0], y[0]
			s, y, rho = append(s[:0], s[1:]...), append(y[:0], y[1:]...), append(rho[:0], rho[1:]...)
		} else {
			sk, yk = make([]float64, n), make([]float64, n)
		}
		for i := range n {
			sk[i], yk[i] = best.x[i]-at.x[i], best.grad[i]-at.grad[i]
		}
		if sy := dot(sk, yk); sy > 1e-10 {
			s, y, rho = append(s, sk), append(y, yk), append(rho, 1/sy)
		}
		done := math.Abs(best.value-at.value) < flatStep || largest(sk) <= flatStep
		copy(at.x, best.x)
		copy(at.grad, best.grad)
		at.value = best.value
		if done {
			return
		}
	}
}

// search looks along d from a point for one that meets the strong Wolfe conditions.
type search struct {
	eval  func(x, grad []float64) float64
	d     []float64
	from  point
	spare *[3]point // memory for the two ends of a bracket and one trial
	left  int       // evaluations allowed
}

// run returns the best point found, and whether it is lower than where the search began.
func (l *search) run(t float64) (point, bool) {
	prev := l.from
	prev.t = 0
	for {
		p := l.at(t, prev)
		switch {
		case !(p.value <= l.from.value+float64(decrease*p.t*l.from.slope)) || prev.t > 0 && p.value >= prev.value:
			return l.zoom(prev, p)
		case math.Abs(p.slope) <= -curvature*l.from.slope:
			return p, true
		case p.slope >= 0:
			return l.zoom(p, prev)
		case l.left == 0:
			return p, true
		}
		least, most := p.t+float64(0.01*(p.t-prev.t)), 10*p.t
		if t = min(interpolate(prev, p), most); !(t >= least) {
			t = least
		}
		prev = p
	}
}

// zoom narrows a bracket: lo is the lower end, and the function falls from it towards hi.
func (l *search) zoom(lo, hi point) (point, bool) {
	for l.left > 0 && math.Abs(hi.t-lo.t)*largest(l.d) > flatStep {
		a, b := min(lo.t, hi.t), max(lo.t, hi.t)
		t := interpolate(lo, hi)
		if margin := float64(0.1 * (b - a)); !(t > a+margin && t < b-margin) {
			t = a + float64((b-a)/2)
		}
		p := l.at(t, lo, hi)
		if !(p.value <= l.from.value+float64(decrease*p.t*l.from.slope)) || p.value >= lo.value {
			hi = p
			continue
		}
		if math.Abs(p.slope) <= -curvature*l.from.slope {
			return p, true
		}
		if p.slope*(hi.t-lo.t) >= 0 {
			hi = lo
		}
		lo = p
	}
	return lo, lo.t > 0
}

// at evaluates the point t, in memory that none of the points kept uses.
func (l *search) at(t float64, keep ...point) point {
	var p point
	for _, free := range l.spare {
		used := false
		for _, k := range keep {
			used = used || &k.x[0] == &free.x[0]
		}
		if !used {
			p = free
		}
	}
	p.t = t
	for i, v := range l.from.x {
		p.x[i] = v + float64(t*l.d[i])
	}
	p.value = l.eval(p.x, p.grad)
	p.slope = dot(p.grad, l.d)
	l.left--
	return p
}

// interpolate is the minimum of the cubic through two points' values and slopes, NaN where there is none.
func interpolate(a, b point) float64 {
	w := b.t - a.t
	d1 := a.slope + b.slope - float64(3*(a.value-b.value)/(a.t-b.t))
	root := float64(d1*d1) - float64(a.slope*b.slope)
	if root < 0 {
		return math.NaN()
	}
	d2 := math.Copysign(math.Sqrt(root), w)
	return b.t - float64(w*((b.slope+d2-d1)/(b.slope-a.slope+float64(2*d2))))
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += float64(v * b[i])
	}
	return sum
}

func axpy(y []float64, a float64, x []float64) {
	for i, v := range x {
		y[i] += float64(a * v)
	}
}

func scale(x []float64, a float64) {
	for i := range x {
		x[i] *= a
	}
}

func sumAbs(x []float64) (sum float64) {
	for _, v := range x {
		sum += math.Abs(v)
	}
	return sum
}

func largest(x []float64) (m float64) {
	for _, v := range x {
		m = max(m, math.Abs(v))
	}
	return m
}
