package jepa

import (
	"edgejepa/internal/arena"
	"edgejepa/kernels"
	"edgejepa/vit"
)

// ijepa is the method of arXiv 2301.08243. The target encoder sees a picture, the context encoder a part of it, and the
// predictor guesses from that the target's features of hidden blocks: its tokens, or their mean with the outputs of the
// blocks before the last, each layer-normed (data2vec, arXiv 2202.03555). It may have to guess the pixels of those blocks as
// well, normalised as in MAE: they tie features that move to what stands still. Terms against collapse may be added, on
// the mean-pooled context tokens of a batch.
type ijepa struct {
	t         *Trainer
	predictor *Predictor
	projector *mlp // of views; nil: there is one view

	sampler  *Sampler
	context  *vit.Pass
	preview  *vit.Pass // of the context encoder, forward only: where the pooled terms must be known before a micro-batch is trained on
	target   *vit.Pass
	predict  *predictorPass
	variance *variance // with the room of pooled tokens and of their gradient, whichever terms there are
	sigreg   *sigreg   // nil: off
	joint    *joint    // nil: off
	features []float32 // [B·V, D] of the target encoder, where there are views

	drawn       Masks     // the sampler's
	masks       *Masks    // of the present step
	part        Masks     // of the present micro-batch
	head        Masks     // of the part of it that is with the predictor
	partAt      int       // its first picture
	headAt      int       // likewise, within the micro-batch
	ahead       int       // pictures whose tokens the target encoder has ready
	wantedAt    int       // the first of them
	wanted      []float32 // [ahead·M·K, D] layer-normed target tokens of the hidden blocks
	guess       []float32 // [head·M·K, D] predictions, then their gradient
	tokens      []float32 // target tokens of the present micro-batch, [micro, N, D]
	px          []float32 // pixels of the present micro-batch
	losses      []float64 // of features, per picture
	lossScale   float32
	pixelLosses []float64
	pixelScale  float32
	what        ijepaTask
}

type ijepaTask byte

const (
	taskWanted ijepaTask = iota
	taskLoss
	taskPooled
)

// targetEps is the epsilon of the layer norm over target tokens.
const targetEps = 1e-5

// pooledTerms says that I-JEPA has terms of the whole batch, whatever micro-batches it goes through the network in.
func (c Config) pooledTerms() bool {
	return c.Objective == IJEPA && (c.VarianceWeight > 0 || c.SIGRegWeight > 0 || c.Views > 0)
}

func (o *ijepa) placeHead(a *arena.Arena) head {
	c := o.t.Config
	o.predictor = newPredictor(c, a.Measuring())
	if c.Views > 0 {
		o.projector = addMLP(&o.predictor.Params, "projector", c.Encoder.Dim, c.Projector[0], c.Projector[1])
	}
	o.predictor.Params.Alloc(a, true, o.linears)
	if o.t.Plan.Strips {
		o.predictor.trunk.PackStrips()
	}
	return head{params: &o.predictor.Params, linears: o.linears}
}

func (o *ijepa) linears(yield func(*vit.Linear) bool) {
	if o.projector == nil || yield(o.projector.fc1) && yield(o.projector.fc2) {
		o.predictor.linears(yield)
	}
}

func (o *ijepa) placeStep(a *arena.Arena) {
	t, c, plan := o.t, o.t.Config, o.t.Plan
	e, d := c.Encoder, c.Encoder.Dim
	visible, block := c.Masks.MaxContext(), c.Masks.MaxTarget()
	hidden := c.Masks.Targets * block // predicted tokens of a picture
	width := c.predicted()
	o.sampler = NewSampler(c.Masks)
	if o.ahead = plan.Micro; c.halves() { // gradients will take the place of its weights
		o.ahead = c.sequences()
	}
	o.wanted = a.F32(o.ahead * hidden * width)
	o.variance = placeVariance(a, c.VarianceWeight, c.sequences(), d)
	if c.Views > 0 {
		o.features = a.F32(c.sequences() * d)
	} else if c.SIGRegWeight > 0 {
		o.sigreg = placeSIGReg(a, t.pool, c.SIGRegWeight, c.sequences(), 1, d)
	}
	whole := vit.Size{Seqs: plan.Micro, Rows: plan.Micro * visible, Tokens: visible, Recompute: plan.Recompute, Segment: plan.Segment, Once: t.once()}
	a.Union(
		func() {
			a.Part("target pass", func() {
				o.target = t.Target.PlacePass(a, t.pool, plan.Micro, plan.Micro*e.Tokens(), vit.Infer)
				if c.TargetLayers > 1 {
					o.target.PlaceInner(a, c.TargetLayers-1, targetEps)
				}
			})
		},
		func() {
			if plan.Previews(c) {
				a.Part("variance preview", func() { o.preview = t.Context.PlacePass(a, t.pool, plan.Micro, whole.Rows, vit.Infer) })
			}
		},
		func() {
			a.Part("context pass", func() {
				o.context = t.Context.PlaceTraining(a, t.pool, whole, func() {
					a.Union(
						func() {
							a.Part("pooled terms", func() {
								o.variance.placeWork(a)
								if c.Views > 0 {
									o.joint = placeJoint(a, t.pool, o.projector, c, c.ViewWeight)
								}
							})
						},
						func() {
							a.Part("predictor pass", func() {
								o.predict = o.predictor.placePass(a, t.pool, predictorSize{
									batch: plan.Head, targets: c.Masks.Targets, contextRows: plan.Head * visible, contextTokens: visible,
									targetTokens: block, recompute: plan.RecomputeHead, segment: plan.Segment,
								})
								o.guess = a.F32(plan.Head * hidden * width)
							})
						},
					)
				})
			})
		},
	)
	if !a.Measuring() {
		o.losses, o.pixelLosses = make([]float64, c.sequences()), make([]float64, c.sequences())
	}
}

func (o *ijepa) backward(px []float32) (loss, collapse float64) {
	o.sampler.Sample(&o.drawn, o.t.Config.Seed, o.t.step, o.t.Config.sequences())
	return o.backwardWith(px, &o.drawn, func(stage) {})
}

// stage is a point of a step at which tests look.
type stage byte

const (
	stageTarget stage = iota // tokens and wanted are there
	stageGuess               // the context's tokens and guess are there
)

// backwardWith is backward with given masks: the method, in its order. inspect is called at each stage.
//
// What is in a step is in the order of its pictures, and a sum over pictures is one over ascending pictures. So the
// micro-batches of the plan change nothing.
func (o *ijepa) backwardWith(px []float32, masks *Masks, inspect func(stage)) (loss, collapse float64) {
	t, c, d := o.t, o.t.Config, o.t.Config.Encoder.Dim
	o.masks = masks
	tokens := c.Masks.Targets * c.sequences() * o.masks.TargetLen // predicted
	n := tokens * d
	o.lossScale = float32(1 / float64(n))
	o.pixelScale = float32(c.PixelWeight / float64(tokens*c.Encoder.PatchLen()))

	clear(t.head.params.Grad)
	if o.preview != nil { // the pooled terms are of the whole batch
		for b := 0; b < c.sequences(); b += t.Plan.Micro {
			pics := o.micro(px, b)
			o.preview.SetDropPath(t.dropPath(b))
			o.preview.Forward(pics, o.pictures(), o.part.Context, o.part.ContextOff)
			o.preview.Mean(o.variance.pooled[b*d:])
		}
		collapse = o.pooledTerms()
	}

	features := o.features
	if features == nil {
		features = t.monitor.next()
	}
	for b := 0; b < c.sequences(); b += t.Plan.Micro {
		if b%o.ahead == 0 {
			o.lookAt(px, b, features, inspect)
		}
		if b == 0 {
			t.clearEncoder()
		}
		// The context encoder sees the visible patches, the predictor guesses from them.
		pics := o.micro(px, b)
		o.context.SetDropPath(t.dropPath(b))
		z := o.context.Forward(pics, o.pictures(), o.part.Context, o.part.ContextOff)
		if c.pooledTerms() && o.preview == nil {
			o.context.Mean(o.variance.pooled)
			collapse = o.pooledTerms()
		}
		dz := o.context.DTokens()
		for o.headAt = 0; o.headAt < o.pictures(); o.headAt += t.Plan.Head {
			end := min(o.headAt+t.Plan.Head, o.pictures())
			o.part.slice(&o.head, o.headAt, end, c.Masks.Targets)
			lo, hi := int(o.part.ContextOff[o.headAt])*d, int(o.part.ContextOff[end])*d
			o.predict.Forward(o.guess, z[lo:hi], &o.head, end-o.headAt)
			inspect(stageGuess)
			o.run(taskLoss, end-o.headAt)
			o.predict.SetNoise(t.noiseKey(noisePredictor), o.partAt+o.headAt)
			o.predict.Backward(dz[lo:hi], o.guess)
		}
		if c.pooledTerms() {
			o.run(taskPooled, o.pictures())
		}
		o.context.SetNoise(t.noiseKey(noiseContext), o.partAt)
		o.context.Backward()
	}
	if o.features != nil {
		t.observeFirst(o.features)
	}
	pixels := 0.0
	for i, l := range o.losses {
		loss += l
		pixels += o.pixelLosses[i]
	}
	return loss/float64(n) + float64(pixels*float64(o.pixelScale)), collapse
}

// predicted is how many values the predictor gives for a hidden patch: the target's features, and with a term on them the
// patch's pixels.
func (c Config) predicted() int {
	if c.PixelWeight > 0 {
		return c.Encoder.Dim + c.Encoder.PatchLen()
	}
	return c.Encoder.Dim
}

// pooledTerms returns the terms against collapse of the pooled tokens of a batch, and leaves their gradient in
// o.variance.grad.
func (o *ijepa) pooledTerms() (sum float64) {
	c := o.t.Config
	if o.joint != nil {
		invariance, sigreg := o.joint.apply(o.variance.grad, o.variance.pooled, c.Seed, o.t.step)
		return invariance + sigreg
	}
	if o.sigreg != nil { // first: the other centres the tokens
		sum = o.sigreg.apply(o.variance.pooled, c.Seed, o.t.step)
	}
	if c.VarianceWeight > 0 {
		sum += o.variance.apply()
	} else {
		clear(o.variance.grad)
	}
	if o.sigreg != nil {
		kernels.Add(o.variance.grad, o.sigreg.grad)
	}
	return sum
}

// lookAt runs the target encoder over the pictures from first on, as many as it takes at a time. It sees all patches; its
// tokens at the hidden blocks, layer-normed, are to be guessed.
func (o *ijepa) lookAt(px []float32, first int, features []float32, inspect func(stage)) {
	t := o.t
	t.widenTarget()
	o.wantedAt = first
	for b := first; b < min(first+o.ahead, t.Config.sequences()); b += t.Plan.Micro {
		pics := o.micro(px, b)
		o.px = pics
		o.tokens = o.target.Forward(pics, o.pictures(), nil, nil)
		o.run(taskWanted, o.pictures()*t.Config.Masks.Targets)
		o.target.Mean(features[b*t.Config.Encoder.Dim:])
		inspect(stageTarget)
	}
}

// micro turns to the micro-batch that begins at picture b, and returns its pixels.
func (o *ijepa) micro(px []float32, b int) []float32 {
	c := o.t.Config
	end := min(b+o.t.Plan.Micro, c.sequences())
	o.partAt = b
	o.masks.slice(&o.part, b, end, c.Masks.Targets)
	return px[b*c.Encoder.PixelLen() : end*c.Encoder.PixelLen()]
}

// pictures is how many the present micro-batch has.
func (o *ijepa) pictures() int { return len(o.part.ContextOff) - 1 }

// slice sets dst to the masks of pictures [b0, b1), which have the given number of target blocks each.
func (m *Masks) slice(dst *Masks, b0, b1, targets int) {
	first := m.ContextOff[b0]
	dst.Context, dst.TargetLen = m.Context[first:m.ContextOff[b1]], m.TargetLen
	dst.Targets = m.Targets[b0*targets*m.TargetLen : b1*targets*m.TargetLen]
	dst.ContextOff = dst.ContextOff[:0]
	for _, off := range m.ContextOff[b0 : b1+1] {
		dst.ContextOff = append(dst.ContextOff, off-first)
	}
}

func (o *ijepa) run(what ijepaTask, tasks int) {
	o.what = what
	o.t.pool.Do(o, tasks)
}

// Run is one task of the present phase.
func (o *ijepa) Run(n, _ int) {
	c, d := o.t.Config, o.t.Config.Encoder.Dim
	switch o.what {
	case taskWanted: // sequence n of the micro-batch: a block of a picture
		k, b := o.part.TargetLen, n/c.Masks.Targets
		for i, patch := range o.part.Targets[n*k:][:k] {
			token := o.tokens[(b*c.Encoder.Tokens()+int(patch))*d:][:d]
			at := ((o.partAt-o.wantedAt)*c.Masks.Targets+n)*k + i
			wanted := o.wanted[at*c.predicted():][:d]
			kernels.LayerNorm(wanted, token, nil, nil, nil, nil, 1, d, targetEps)
			if c.TargetLayers > 1 {
				kernels.Add(wanted, o.target.Inner()[(b*c.Encoder.Tokens()+int(patch))*d:][:d])
				kernels.Scale(wanted, 1/float32(c.TargetLayers))
			}
			if c.PixelWeight > 0 {
				pixelsOf(o.wanted[at*c.predicted()+d:][:c.Encoder.PatchLen()], c.Encoder, o.px[b*c.Encoder.PixelLen():], int(patch))
			}
		}
	case taskLoss: // picture n of those with the predictor
		width := c.predicted()
		values := c.Masks.Targets * o.head.TargetLen * width
		guess, wanted := o.guess[n*values:][:values], o.wanted[(o.partAt-o.wantedAt+o.headAt+n)*values:][:values]
		at := o.partAt + o.headAt + n
		if c.PixelWeight == 0 {
			o.losses[at] = c.lossOf()(guess, guess, wanted, o.lossScale)
			return
		}
		o.losses[at], o.pixelLosses[at] = 0, 0
		for ; len(guess) > 0; guess, wanted = guess[width:], wanted[width:] { // token by token
			o.losses[at] += c.lossOf()(guess[:d], guess[:d], wanted[:d], o.lossScale)
			o.pixelLosses[at] += kernels.SquaredError(guess[d:width], guess[d:width], wanted[d:width], o.pixelScale)
		}
	case taskPooled: // picture n of the micro-batch: the pooled gradient spreads evenly over its tokens
		r0, r1 := int(o.part.ContextOff[n]), int(o.part.ContextOff[n+1])
		spread(o.context.DTokens()[r0*d:r1*d], o.variance.grad[(o.partAt+n)*d:][:d])
	}
}

// lossOf is the function of a prediction and what was to be predicted that the configuration names.
func (c Config) lossOf() func(d, pred, target []float32, scale float32) float64 {
	if c.Loss == LossL2 {
		return kernels.SquaredError
	}
	return kernels.SmoothL1
}
