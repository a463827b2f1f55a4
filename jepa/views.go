package jepa

import (
	"edgejepa/internal/arena"
	"edgejepa/kernels"
	"edgejepa/vit"
)

// viewsPass is the context encoder on the R = B·V views of a batch, down to one feature vector a view: the mean of its
// tokens. It sees T patches of each: all, or those that a random mask leaves.
type viewsPass struct {
	t               *Trainer
	pass            *vit.Pass
	masks           Masks
	views, tokens   int       // R, T
	pooled, dPooled []float32 // [R, D]
}

// placeViews lays out the pass; meanwhile is that of vit.Encoder.PlaceTraining.
func placeViews(a *arena.Arena, t *Trainer, meanwhile func()) *viewsPass {
	e, views := t.Config.Encoder, t.Config.sequences()
	tokens := t.Config.visiblePatches()
	p := &viewsPass{t: t, views: views, tokens: tokens, pooled: a.F32(views * e.Dim), dPooled: a.F32(views * e.Dim)}
	size := vit.Size{Seqs: views, Rows: views * tokens, Tokens: tokens, Recompute: t.Plan.Recompute, Segment: t.Plan.Segment, Once: t.once()}
	a.Part("context pass", func() { p.pass = t.Context.PlaceTraining(a, t.pool, size, meanwhile) })
	return p
}

// Forward returns the tokens [R·T, D] and fills pooled.
func (p *viewsPass) Forward(px []float32) (tokens []float32) {
	p.pass.SetDropPath(p.t.dropPath(0))
	if p.t.Config.MaskRatio > 0 {
		p.masks.scatter(p.t.Config, p.t.step)
	}
	tokens = p.pass.Forward(px, p.views, p.masks.Context, p.masks.ContextOff)
	p.pass.Mean(p.pooled)
	return tokens
}

// DTokens is where the gradient of the tokens goes, [R·T, D]; Forward leaves it at anything.
func (p *viewsPass) DTokens() []float32 { return p.pass.DTokens() }

// Spread adds the gradient of pooled, which is in dPooled, to that of the tokens.
func (p *viewsPass) Spread() { p.t.pool.Do(p, p.views) }

// Backward adds to the context encoder's gradients, from DTokens.
func (p *viewsPass) Backward() {
	p.pass.SetNoise(p.t.noiseKey(noiseContext), 0)
	p.pass.Backward()
}

// Run is Spread for view n.
func (p *viewsPass) Run(n, _ int) {
	d := p.t.Config.Encoder.Dim
	spread(p.DTokens()[n*p.tokens*d:(n+1)*p.tokens*d], p.dPooled[n*d:(n+1)*d])
}

// spread adds to each of the rows d [n, D] the gradient g [D] of their mean, which it divides by n.
func spread(d, g []float32) {
	kernels.Scale(g, 1/float32(len(d)/len(g)))
	for ; len(d) > 0; d = d[len(g):] {
		kernels.Add(d[:len(g)], g)
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
