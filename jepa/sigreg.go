package jepa

import (
	"math"

	"edgejepa/fp"
	"edgejepa/internal/arena"
	"edgejepa/internal/parallel"
	"edgejepa/internal/rng"
	"edgejepa/kernels"
)

// sigreg is the term of LeJEPA (arXiv 2511.08544) that draws features towards an isotropic normal distribution: sketched
// isotropic Gaussian regularisation. The features z [R, K] of a batch, R = B·V with the views of a picture one after
// another, are projected on random unit vectors a_s that are new in every step. Where z is normal, so is each x_s = z·a_s,
// and the distance from that is the one of Epps and Pulley between characteristic functions: for each view
//
//	B · ∫ [ (mean_b cos(t·x_b) - exp(-t²/2))² + (mean_b sin(t·x_b))² ] exp(-t²/2) dt
//
// over t from -3 to 3 by the trapezoid rule at 17 points from 0 on, the integrand being even; then the mean over views and
// slices. It is bounded, and so are its gradients: no feature can be pushed to infinity. A sample of the normal
// distribution itself has about 1, whatever B is; one collapsed to a point at 0, 0.4 B.
type sigreg struct {
	weight           float64
	rows, views, dim int
	pool             *parallel.Pool
	grad             []float32 // [R, K]
	directions       []float32 // [slices, K]
	x                []float32 // [slices, R] projections, then their gradient
	panels           kernels.Panels
	values           []float64 // [slices]
	angles           [][]turn  // [worker][R]
	seed             uint64
	step             int
	drawing          bool // what Run is about
}

const (
	sliceCount = 256 // random directions
	knotCount  = 17  // of the integral
	knotReach  = 3   // its upper end
)

// turn is a rotation of the plane: cosine and sine of an angle.
type turn struct{ cos, sin float64 }

// then is the rotation by both angles together.
func (a turn) then(b turn) turn {
	return turn{float64(a.cos*b.cos) - float64(a.sin*b.sin), float64(a.cos*b.sin) + float64(a.sin*b.cos)}
}

// knot k of the integral: where it is, its weight with the window, and the normal distribution's characteristic function.
type knot struct{ t, weight, normal float64 }

var integral = func() (ks [knotCount]knot) {
	const step = float64(knotReach) / (knotCount - 1)
	for k := range ks {
		t := float64(k) * step
		normal := fp.Exp(-0.5 * float64(t*t))
		ks[k] = knot{t, 2 * step * normal, normal} // twice: t stands for -t as well
	}
	ks[0].weight /= 2
	ks[knotCount-1].weight /= 2
	return ks
}()

func placeSIGReg(a *arena.Arena, pool *parallel.Pool, weight float64, rows, views, dim int) *sigreg {
	s := &sigreg{weight: weight, rows: rows, views: views, dim: dim, pool: pool}
	s.grad, s.directions, s.x = a.F32(rows*dim), a.F32(sliceCount*dim), a.F32(sliceCount*rows)
	s.panels.Data = a.F32(kernels.PanelLen(dim, rows))
	if a.Measuring() {
		return s
	}
	s.values, s.angles = make([]float64, sliceCount), make([][]turn, pool.Workers())
	for i := range s.angles {
		s.angles[i] = make([]turn, rows)
	}
	return s
}

// apply returns the weighted term of z [R, K] in a step, and leaves its gradient in grad.
func (s *sigreg) apply(z []float32, seed uint64, step int) float64 {
	s.seed, s.step = seed, step
	s.drawing = true
	s.pool.Do(s, sliceCount)
	s.panels.PackT(z, s.dim, s.dim, s.rows)
	kernels.Gemm(s.x, s.rows, s.directions, s.dim, sliceCount, &s.panels, nil, 0)
	s.drawing = false
	s.pool.Do(s, sliceCount)
	clear(s.grad)
	kernels.AddGemmTNView(s.grad, s.dim, s.x, s.rows, s.rows, &kernels.View{K: sliceCount, N: s.dim, X: s.directions, LD: s.dim})
	sum := 0.0
	for _, v := range s.values {
		sum += v
	}
	return s.weight * sum / float64(sliceCount*s.views)
}

// Run draws direction n, or measures slice n.
func (s *sigreg) Run(n, worker int) {
	if s.drawing {
		s.draw(s.directions[n*s.dim:][:s.dim], n)
		return
	}
	x := s.x[n*s.rows:][:s.rows]
	s.values[n] = 0
	for view := range s.views {
		s.values[n] += s.measure(x[view:], s.angles[worker])
	}
}

// draw fills a direction: normal numbers have no preferred one.
func (s *sigreg) draw(a []float32, n int) {
	r := rng.New(s.seed, rng.PurposeSlice, uint64(s.step), uint64(n))
	for i := range a {
		a[i] = float32(r.Norm())
	}
	length := math.Sqrt(kernels.SumSquares(a))
	for i := range a {
		a[i] = float32(float64(a[i]) / length)
	}
}

// measure returns the distance of the samples x[0], x[views], x[2·views], … from the normal distribution, and puts the
// weighted gradient in their place. Cosines and sines at knot k follow from those at knot 1 by the angle sum formulas, all
// in float64: 16 of them lose nothing.
func (s *sigreg) measure(x []float32, at []turn) (distance float64) {
	count := (len(x) + s.views - 1) / s.views
	n := float64(count)
	var c, d [knotCount]float64 // of each knot: mean cosine less the normal's, mean sine
	for i := range count {
		angle := float64(x[i*s.views]) * integral[1].t
		one := turn{fp.Cos(angle), fp.Sin(angle)}
		at[i] = one
		now := turn{1, 0}
		for k := range integral {
			c[k] += now.cos
			d[k] += now.sin
			now = now.then(one)
		}
	}
	for k, q := range integral {
		c[k], d[k] = c[k]/n-q.normal, d[k]/n
		distance += float64(q.weight * (float64(c[k]*c[k]) + float64(d[k]*d[k])))
	}
	distance = float64(n * distance)
	// d distance / d x_i = 2 · sum over k of weight · t · (d cos(t·x_i) - c sin(t·x_i))
	scale := 2 * s.weight / float64(sliceCount*s.views)
	for k, q := range integral {
		w := q.weight * q.t
		c[k], d[k] = float64(c[k]*w), float64(d[k]*w)
	}
	for i := range count {
		g, now := 0.0, turn{1, 0}
		for k := range integral {
			g += float64(d[k]*now.cos) - float64(c[k]*now.sin)
			now = now.then(at[i])
		}
		x[i*s.views] = float32(scale * g)
	}
	return distance
}
