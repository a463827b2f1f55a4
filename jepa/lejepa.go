package jepa

import (
	"edgejepa/internal/arena"
	"edgejepa/vit"
)

// lejepa is the method of arXiv 2511.08544: random views of a picture, each of which the encoder may see only a part of,
// and the joint-embedding term on them.
//
// There is no predictor, no target encoder and nothing without a gradient. The target encoder follows all the same, for
// its average over the last steps may be better features; no step reads it. The monitor sees the context encoder's.
type lejepa struct {
	t         *Trainer
	params    vit.Params
	projector *mlp

	views *viewsPass
	joint *joint
}

func (o *lejepa) placeHead(a *arena.Arena) head {
	c := o.t.Config
	o.projector = addMLP(&o.params, "mlp", c.Encoder.Dim, c.Projector[0], c.Projector[1])
	o.params.Alloc(a, true, o.projector.linears)
	return head{params: &o.params, linears: o.projector.linears}
}

func (o *lejepa) placeStep(a *arena.Arena) {
	o.views = placeViews(a, o.t, func() { o.joint = placeJoint(a, o.t.pool, o.projector, o.t.Config, 1) })
}

func (o *lejepa) backward(px []float32) (loss, collapse float64) {
	t := o.t
	t.clearGradients()
	o.views.Forward(px)
	t.observeFirst(o.views.pooled)
	loss, collapse = o.joint.apply(o.views.dPooled, o.views.pooled, t.Config.Seed, t.step)
	clear(o.views.DTokens())
	o.views.Spread()
	o.views.Backward()
	return loss, collapse
}
