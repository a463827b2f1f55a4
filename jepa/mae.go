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
// The target encoder follows all the same, so that export and probe find it; no step reads it. The monitor sees the
// context encoder's features of what is visible.
type mae struct {
	t       *Trainer
	decoder *Predictor

	context   *vit.Pass
	decode    *predictorPass
	masks     Masks
	px        []float32
	wanted    []float32 // [B·K, patch] normalised pixels of the hidden patches
	guess     []float32 // [B·K, patch] the decoder's, then their gradient
	losses    []float64 // [B]
	lossScale float32
}

// pixelEps is the epsilon of the normalisation of a patch.
const pixelEps = 1e-6

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
	o.decoder.Params.Alloc(a, true, o.decoder.linears)
	if o.t.Plan.Strips {
		o.decoder.trunk.PackStrips()
	}
	return head{params: &o.decoder.Params, linears: o.decoder.linears}
}

func (o *mae) placeStep(a *arena.Arena) {
	t, c := o.t, o.t.Config
	visible := c.visiblePatches()
	hidden := c.Encoder.Tokens() - visible
	pixels := c.Batch * hidden * c.Encoder.PatchLen()
	size := vit.Size{Seqs: c.Batch, Rows: c.Batch * visible, Tokens: visible, Recompute: t.Plan.Recompute, Segment: t.Plan.Segment, Once: t.once()}
	a.Part("context pass", func() {
		o.context = t.Context.PlaceTraining(a, t.pool, size, func() {
			a.Part("decoder pass", func() {
				o.decode = o.decoder.placePass(a, t.pool, predictorSize{
					batch: c.Batch, targets: 1, contextRows: c.Batch * visible, contextTokens: visible, targetTokens: hidden,
					recompute: t.Plan.RecomputeHead, segment: t.Plan.Segment,
				})
				o.wanted, o.guess = a.F32(pixels), a.F32(pixels)
			})
		})
	})
	if !a.Measuring() {
		o.losses = make([]float64, c.Batch)
	}
}

func (o *mae) backward(px []float32) (loss, collapse float64) {
	t, c := o.t, o.t.Config
	o.masks.scatter(c, t.step)
	t.clearGradients()
	o.context.SetDropPath(t.dropPath(0))
	z := o.context.Forward(px, c.Batch, o.masks.Context, o.masks.ContextOff)
	o.context.Mean(t.monitor.next())
	o.decode.Forward(o.guess, z, &o.masks, c.Batch)
	o.px, o.lossScale = px, float32(1/float64(len(o.guess)))
	t.pool.Do(o, c.Batch)
	o.decode.SetNoise(t.noiseKey(noisePredictor), 0)
	o.decode.Backward(o.context.DTokens(), o.guess)
	o.context.SetNoise(t.noiseKey(noiseContext), 0)
	o.context.Backward()
	for _, l := range o.losses {
		loss += l
	}
	return loss / float64(len(o.guess)), 0
}

// Run is the loss of picture n.
func (o *mae) Run(n, _ int) {
	e, k := o.t.Config.Encoder, o.masks.TargetLen
	patch := e.PatchLen()
	lo, hi := n*k*patch, (n+1)*k*patch
	for i, hidden := range o.masks.Targets[n*k:][:k] {
		x := o.wanted[lo+i*patch:][:patch]
		e.Patchify(x, o.px[n*e.PixelLen():], int(hidden))
		kernels.LayerNorm(x, x, nil, nil, nil, nil, 1, patch, pixelEps)
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
