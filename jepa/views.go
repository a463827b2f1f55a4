package jepa

import (
	"edgejepa/internal/arena"
	"edgejepa/kernels"
	"edgejepa/vit"
)

// viewsPass is the context encoder on all patches of the R = B·V views of a batch, down to one feature vector a view: the
// mean of its tokens.
type viewsPass struct {
	t               *Trainer
	pass            *vit.Pass
	views           int       // R
	pooled, dPooled []float32 // [R, D]
}

// placeViews lays out the pass; meanwhile is that of vit.Encoder.PlaceTraining.
func placeViews(a *arena.Arena, t *Trainer, meanwhile func()) *viewsPass {
	e, views := t.Config.Encoder, t.Config.Batch*t.Config.PictureViews()
	p := &viewsPass{t: t, views: views, pooled: a.F32(views * e.Dim), dPooled: a.F32(views * e.Dim)}
	size := vit.Size{Seqs: views, Rows: views * e.Tokens(), Tokens: e.Tokens(), Recompute: t.Plan.Recompute, Segment: t.Plan.Segment, Once: t.once()}
	a.Part("context pass", func() { p.pass = t.Context.PlaceTraining(a, t.pool, size, meanwhile) })
	return p
}

// Forward fills pooled.
func (p *viewsPass) Forward(px []float32) {
	p.pass.SetDropPath(p.t.dropPath(0))
	p.pass.Forward(px, p.views, nil, nil)
	p.pass.Mean(p.pooled)
}

// Backward adds to the context encoder's gradients, from dPooled.
func (p *viewsPass) Backward() {
	kernels.Scale(p.dPooled, 1/float32(p.t.Config.Encoder.Tokens()))
	p.t.pool.Do(p, p.views)
	p.pass.SetNoise(p.t.noiseKey(noiseContext), 0)
	p.pass.Backward()
}

// Run spreads the gradient of view n evenly over its tokens.
func (p *viewsPass) Run(n, _ int) {
	d, tokens := p.t.Config.Encoder.Dim, p.t.Config.Encoder.Tokens()
	for r := range tokens {
		copy(p.pass.DTokens()[(n*tokens+r)*d:][:d], p.dPooled[n*d:])
	}
}

// observeFirst gives the monitor the first view of each picture out of features [B·V, D].
func (t *Trainer) observeFirst(features []float32) {
	d, views := t.Config.Encoder.Dim, t.Config.PictureViews()
	dst := t.monitor.next()
	for b := range t.Config.Batch {
		copy(dst[b*d:(b+1)*d], features[b*views*d:])
	}
}
