package jepa

import (
	"math"

	"edgejepa/internal/arena"
	"edgejepa/internal/rng"
	"edgejepa/kernels"
	"edgejepa/vit"
)

// mae is the generative method of arXiv 2111.06377. The encoder sees a few patches of a picture at random; the decoder, a
// narrow ViT, sees those features and a mask token for each hidden patch, and draws the hidden patches: their pixels, less
// the patch's own mean and over its own deviation. The loss is the mean over hidden pixels.
//
// With several views of a picture each is masked and drawn for itself, and the joint-embedding term makes their pooled
// features equal: pixels alone leave the mean of the features to itself, and that is what probes and searches read.
//
// The target encoder follows all the same, so that export and probe find it; no step reads it. The monitor sees the
// context encoder's features of what is visible.
type mae struct {
	t         *Trainer
	decoder   *Predictor
	projector *mlp // of views; nil: there is one view

	views     *viewsPass
	decode    *predictorPass
	joint     *joint // nil: there is one view
	px        []float32
	wanted    []float32 // [B·V·K, patch] normalised pixels of the hidden patches
	guess     []float32 // [B·V·K, patch] the decoder's, then their gradient
	losses    []float64 // [B·V]
	lossScale float32
}

// pixelEps is the epsilon of the normalisation of a patch.
const pixelEps = 1e-6

// pixelsOf sets x [patch] to what is to be drawn of a picture's patch: its pixels, less their mean, over their deviation.
func pixelsOf(x []float32, e vit.Config, px []float32, patch int) {
	e.Patchify(x, px, patch)
	kernels.LayerNorm(x, x, nil, nil, nil, nil, 1, len(x), pixelEps)
}

// visiblePatches is how many patches of a picture or view are left by a mask ratio.
func (c Config) visiblePatches() int {
	n := c.Encoder.Tokens()
	if c.MaskRatio == 0 {
		return n
	}
	return min(max(1, int(math.RoundToEven(float64(n)*(1-c.MaskRatio)))), n-1)
}

func (o *mae) placeHead(a *arena.Arena) head {
	o.decoder = newDecoder(o.t.Config, a.Measuring())
	if c := o.t.Config; c.Views > 0 {
		o.projector = addMLP(&o.decoder.Params, "projector", c.Encoder.Dim, c.Projector[0], c.Projector[1])
	}
	o.decoder.Params.Alloc(a, true, o.linears)
	if o.t.Plan.Strips {
		o.decoder.trunk.PackStrips()
	}
	return head{params: &o.decoder.Params, linears: o.linears}
}

func (o *mae) linears(yield func(*vit.Linear) bool) {
	if o.projector == nil || yield(o.projector.fc1) && yield(o.projector.fc2) {
		o.decoder.linears(yield)
	}
}

func (o *mae) placeStep(a *arena.Arena) {
	t, c := o.t, o.t.Config
	visible := c.visiblePatches()
	hidden := c.Encoder.Tokens() - visible
	pixels := c.sequences() * hidden * c.Encoder.PatchLen()
	o.views = placeViews(a, t, func() {
		a.Union(
			func() {
				if c.Views > 0 {
					o.joint = placeJoint(a, t.pool, o.projector, c, c.ViewWeight)
				}
			},
			func() {
				a.Part("decoder pass", func() {
					o.decode = o.decoder.placePass(a, t.pool, predictorSize{
						batch: c.sequences(), targets: 1, contextRows: c.sequences() * visible, contextTokens: visible, targetTokens: hidden,
						recompute: t.Plan.RecomputeHead, segment: t.Plan.Segment,
					})
					o.wanted, o.guess = a.F32(pixels), a.F32(pixels)
				})
			},
		)
	})
	if !a.Measuring() {
		o.losses = make([]float64, c.sequences())
	}
}

func (o *mae) backward(px []float32) (loss, collapse float64) {
	t, c := o.t, o.t.Config
	t.clearGradients()
	z := o.views.Forward(px)
	t.observeFirst(o.views.pooled)
	if o.joint != nil {
		invariance, sigreg := o.joint.apply(o.views.dPooled, o.views.pooled, c.Seed, t.step)
		collapse = invariance + sigreg
	}
	masks := &o.views.masks
	o.decode.Forward(o.guess, z, masks, c.sequences())
	o.px, o.lossScale = px, float32(1/float64(len(o.guess)))
	t.pool.Do(o, c.sequences())
	o.decode.SetNoise(t.noiseKey(noisePredictor), 0)
	o.decode.Backward(o.views.DTokens(), o.guess)
	if o.joint != nil {
		o.views.Spread()
	}
	o.views.Backward()
	for _, l := range o.losses {
		loss += l
	}
	return loss / float64(len(o.guess)), collapse
}

// Run is the loss of view n.
func (o *mae) Run(n, _ int) {
	masks := &o.views.masks
	e, k := o.t.Config.Encoder, masks.TargetLen
	patch := e.PatchLen()
	lo, hi := n*k*patch, (n+1)*k*patch
	for i, hidden := range masks.Targets[n*k:][:k] {
		pixelsOf(o.wanted[lo+i*patch:][:patch], e, o.px[n*e.PixelLen():], int(hidden))
	}
	o.losses[n] = o.t.Config.lossOf()(o.guess[lo:hi], o.guess[lo:hi], o.wanted[lo:hi], o.lossScale)
}

// scatter draws which patches each picture of a step shows, or each view, all sets of that size being equally likely; the
// others are its one target, in ascending order as well.
func (m *Masks) scatter(c Config, step int) {
	n, visible := c.Encoder.Tokens(), c.visiblePatches()
	m.reset(n - visible)
	for b := range c.sequences() {
		r := rng.New(c.Seed, rng.PurposeMask, uint64(step), uint64(b)+1)
		for patch, need := 0, visible; patch < n; patch++ { // selection sampling (Knuth, TAOCP 2, 3.4.2, algorithm S)
			if r.IntN(n-patch) < need {
				m.Context = append(m.Context, int32(patch))
				need--
			} else {
				m.Targets = append(m.Targets, int32(patch))
			}
		}
		m.ContextOff = append(m.ContextOff, int32(len(m.Context)))
	}
}
