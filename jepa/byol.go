package jepa

import (
	"math"

	"edgejepa/internal/arena"
	"edgejepa/kernels"
	"edgejepa/vit"
)

// byol is the joint-embedding method of arXiv 2006.07733. Of two views of a picture, the context encoder, a projector and
// a predictor make q; the target encoder and a projector that follows its own make y, without a gradient. What is learned
// is to guess the other view's y, each way:
//
//	mean over pictures and views of 2 - 2·cos(q_v, y_other)
//
// Nothing in it pushes features apart: that they do not collapse is owed to the slow targets and the predictor.
type byol struct {
	t         *Trainer
	params    vit.Params // of projector and predictor
	projector *mlp
	predictor *mlp
	following vit.Params // of the target projector
	targeted  *mlp

	target           *vit.Pass
	targetPass       *mlpPass
	views            *viewsPass
	project, predict *mlpPass
	features         []float32 // [2B, D] of the target encoder
	y                []float32 // [2B, K] of unit length
	z, dz, q         []float32 // [2B, K]; q becomes its own gradient
}

// byolViews is how many views a picture has.
const byolViews = 2

func (o *byol) placeHead(a *arena.Arena) head {
	c := o.t.Config
	d, hidden, k := c.Encoder.Dim, c.Projector[0], c.Projector[1]
	o.projector = addMLP(&o.params, "projector", d, hidden, k) // first: what follows has the same place
	o.predictor = addMLP(&o.params, "predictor", k, hidden, k)
	o.params.Alloc(a, true, o.linears)
	o.targeted = addMLP(&o.following, "mlp", d, hidden, k)
	o.following.Alloc(a, false, o.targeted.linears)
	return head{params: &o.params, linears: o.linears, target: &o.following, targetLinears: o.targeted.linears}
}

func (o *byol) linears(yield func(*vit.Linear) bool) {
	for _, m := range []*mlp{o.projector, o.predictor} {
		if !yield(m.fc1) || !yield(m.fc2) {
			return
		}
	}
}

func (o *byol) placeStep(a *arena.Arena) {
	t, c := o.t, o.t.Config
	rows, k := c.Batch*byolViews, c.Projector[1]
	o.y = a.F32(rows * k)
	a.Union(
		func() {
			a.Part("target pass", func() {
				o.target = t.Target.PlacePass(a, t.pool, rows, rows*c.Encoder.Tokens(), vit.Infer)
				o.targetPass = o.targeted.placePass(a, t.pool, rows, vit.Infer)
				o.features = a.F32(rows * c.Encoder.Dim)
			})
		},
		func() {
			o.views = placeViews(a, t, func() {
				a.Part("heads' passes", func() {
					o.project = o.projector.placePass(a, t.pool, rows, vit.Train)
					o.predict = o.predictor.placePass(a, t.pool, rows, vit.Train)
					o.z, o.dz, o.q = a.F32(rows*k), a.F32(rows*k), a.F32(rows*k)
				})
			})
		},
	)
}

func (o *byol) backward(px []float32) (loss, collapse float64) {
	t := o.t
	t.widenTarget()
	o.target.Forward(px, o.views.views, nil, nil)
	o.target.Mean(o.features)
	t.observeFirst(o.features)
	o.targetPass.Forward(o.y, o.features)
	k := t.Config.Projector[1]
	for r := range o.views.views {
		y := o.y[r*k:][:k]
		kernels.Scale(y, float32(1/length(y)))
	}

	t.clearGradients()
	o.views.Forward(px)
	o.project.Forward(o.z, o.views.pooled)
	o.predict.Forward(o.q, o.z)
	loss = o.cosines()
	o.predict.Backward(o.dz, o.q)
	o.project.Backward(o.views.dPooled, o.dz)
	clear(o.views.DTokens())
	o.views.Spread()
	o.views.Backward()
	return loss, 0
}

// length is |x|, and never 0.
func length(x []float32) float64 { return math.Sqrt(kernels.SumSquares(x) + 1e-12) }

// cosines returns the loss and turns q into its gradient: with the unit vector u = q/|q|,
//
//	d (2 - 2 u·y) / dq = 2 ((u·y) u - y) / |q|
func (o *byol) cosines() float64 {
	rows, k, sum := o.views.views, o.t.Config.Projector[1], 0.0
	for r := range rows {
		q, y := o.q[r*k:][:k], o.y[(r^1)*k:][:k] // views of a picture are neighbours
		long, cos := length(q), 0.0
		for j := range q {
			cos += float64(float64(q[j]) * float64(y[j]))
		}
		cos /= long
		sum += 2 - float64(2*cos)
		scale := 2 / (long * float64(rows))
		for j := range q {
			q[j] = float32(scale * (float64(cos*float64(q[j])/long) - float64(y[j])))
		}
	}
	return sum / float64(rows)
}
