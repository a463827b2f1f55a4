package jepa

import (
	"edgejepa/internal/arena"
	"edgejepa/vit"
)

// lejepa is the method of arXiv 2511.08544. Random views of a picture go through the encoder and a small MLP, the
// projector, to z; what is learned is to give the views of a picture the same z, and all z together a normal
// distribution, without which a constant would do:
//
//	(1-w) · mean over pictures, views and channels of (z_v - mean_v z)²  +  w · SIGReg(z)
//
// There is no predictor, no target encoder and nothing without a gradient. The target encoder follows all the same, for
// its average over the last steps may be better features; no step reads it. The monitor sees the context encoder's.
type lejepa struct {
	t         *Trainer
	params    vit.Params
	projector *mlp

	views  *viewsPass
	pass   *mlpPass
	sigreg *sigreg
	z, dz  []float32 // [B·V, K]
}

func (o *lejepa) placeHead(a *arena.Arena) head {
	c := o.t.Config
	o.projector = addMLP(&o.params, "mlp", c.Encoder.Dim, c.Projector[0], c.Projector[1])
	o.params.Alloc(a, true, o.projector.linears)
	return head{params: &o.params, linears: o.projector.linears}
}

func (o *lejepa) placeStep(a *arena.Arena) {
	t, c := o.t, o.t.Config
	rows, k := c.Batch*c.Views, c.Projector[1]
	o.views = placeViews(a, t, func() {
		a.Part("projector pass", func() {
			o.pass = o.projector.placePass(a, t.pool, rows, vit.Train)
			o.z, o.dz = a.F32(rows*k), a.F32(rows*k)
		})
		a.Part("sigreg", func() { o.sigreg = placeSIGReg(a, t.pool, c.SIGRegWeight, rows, c.Views, k) })
	})
}

func (o *lejepa) backward(px []float32) (loss, collapse float64) {
	t := o.t
	t.clearGradients()
	o.views.Forward(px)
	t.observeFirst(o.views.pooled)
	o.pass.Forward(o.z, o.views.pooled)
	collapse = o.sigreg.apply(o.z, t.Config.Seed, t.step)
	loss = o.invariance()
	o.pass.Backward(o.views.dPooled, o.dz)
	o.views.Backward()
	return loss, collapse
}

// invariance returns the first term and fills dz with the gradient of both.
func (o *lejepa) invariance() float64 {
	c, sum := o.t.Config, 0.0
	views, k := c.Views, c.Projector[1]
	weight := (1 - c.SIGRegWeight) / float64(len(o.z))
	for b := range c.Batch {
		for j := range k {
			at := b*views*k + j
			mean := 0.0
			for v := range views {
				mean += float64(o.z[at+v*k])
			}
			mean /= float64(views)
			for v := range views { // the mean's own gradient is 0: what is off it adds up to nothing
				off := float64(o.z[at+v*k]) - mean
				sum += float64(off * off)
				o.dz[at+v*k] = float32(2*weight*off) + o.sigreg.grad[at+v*k]
			}
		}
	}
	return weight * sum
}
