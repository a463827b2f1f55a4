package jepa

import (
	"errors"
	"math"

	"edgejepa/fp"
	"edgejepa/internal/arena"
	"edgejepa/internal/parallel"
	"edgejepa/jepa/optim"
	"edgejepa/kernels"
	"edgejepa/vit"
)

// Trainer holds a run: the context encoder and predictor that learn, the target encoder that follows, the optimiser's
// moments, and all the memory that a step takes. Its state is a function of the configuration, the pictures and the
// number of steps done; nothing else is hidden in it.
type Trainer struct {
	Config    Config
	Plan      Plan
	Context   *vit.Encoder
	Target    *vit.Encoder // EMA of Context; below float32 its weights are there only while it runs
	Predictor *Predictor

	step    int // optimiser steps done
	skipped int // steps passed over because a gradient was not finite

	pool       *parallel.Pool
	repack     *vit.Repacker
	context    *vit.Pass
	preview    *vit.Pass // of Context, forward only: where the variance term must be known before a micro-batch is trained on
	target     *vit.Pass
	predict    *predictorPass
	variance   *variance
	sampler    *Sampler
	schedule   optim.Schedule
	drawn      Masks  // the sampler's
	masks      *Masks // of the present step
	part       Masks  // of the present micro-batch
	head       Masks  // of the part of it that is with the predictor
	partAt     int    // its first picture
	headAt     int    // likewise, within the micro-batch
	monitor    monitor
	ahead      int       // pictures whose tokens the target encoder has ready
	wantedAt   int       // the first of them
	wanted     []float32 // [ahead·M·K, D] layer-normed target tokens of the hidden blocks
	guess      []float32 // [head·M·K, D] predictions, then their gradient
	tokens     []float32 // target tokens of the present micro-batch, [micro, N, D]
	moments    [2]moments
	halfTarget []uint16 // the target encoder's weights, below float32
	spans      []span
	losses     []float64 // per picture
	squares    []float64
	update     kernels.AdamW
	gscale     float32
	momentum   float32
	lossScale  float32
	what       trainerTask
}

type trainerTask byte

const (
	taskWiden trainerTask = iota
	taskWanted
	taskLoss
	taskSquares
	taskUpdate
	taskVariance
)

// Elements that one task takes: fixed, so that sums are the same for any number of workers.
const (
	squareChunk = 1 << 16
	updateChunk = 1 << 14
)

// Stats says what a step did.
type Stats struct {
	Step        int
	Loss        float64 // the prediction loss, mean over everything predicted
	Variance    float64 // the variance term, weighted
	GradNorm    float64 // before clipping
	LR          float64
	WeightDecay float64
	EMA         float64
	Skipped     bool // the gradient was not finite: nothing was updated
}

// NewTrainer allocates a run of a valid configuration and starts it at its initial weights. The plan decides what memory
// it takes and how fast it is, and nothing else.
func NewTrainer(c Config, plan Plan, pool *parallel.Pool) (*Trainer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	t := arena.Build(func(a *arena.Arena) *Trainer { return placeTrainer(a, c, plan, pool) })
	t.Init()
	return t, nil
}

func placeTrainer(a *arena.Arena, c Config, plan Plan, pool *parallel.Pool) *Trainer {
	e, d := c.Encoder, c.Encoder.Dim
	plan = plan.of(c)
	visible, block := c.Masks.MaxContext(), c.Masks.MaxTarget()
	hidden := c.Masks.Targets * block // predicted tokens of a picture
	t := &Trainer{Config: c, Plan: plan, pool: pool, sampler: NewSampler(c.Masks), schedule: c.schedule()}
	a.Part("models", func() {
		t.placeEncoders(a)
		a.Part("predictor", func() { t.Predictor = placePredictor(a, c) })
		a.Part("moments", func() {
			for i, ps := range t.trained() {
				t.moments[i] = placeMoments(a, int(ps.Count()), c.halves())
			}
		})
		a.Part("monitor", func() { t.monitor = placeMonitor(a, c.Batch, d) })
	})
	a.Part("step", func() {
		if t.ahead = plan.Micro; c.halves() { // gradients will take the place of its weights
			t.ahead = c.Batch
		}
		t.wanted = a.F32(t.ahead * hidden * d)
		t.variance = placeVariance(a, c.VarianceWeight, c.Batch, d)
		whole := vit.Size{Seqs: plan.Micro, Rows: plan.Micro * visible, Tokens: visible, Recompute: plan.Recompute, Segment: plan.Segment}
		a.Union(
			func() {
				a.Part("target pass", func() { t.target = t.Target.PlacePass(a, pool, plan.Micro, plan.Micro*e.Tokens(), vit.Infer) })
			},
			func() {
				if c.VarianceWeight > 0 && plan.Micro < c.Batch {
					a.Part("variance preview", func() { t.preview = t.Context.PlacePass(a, pool, plan.Micro, whole.Rows, vit.Infer) })
				}
			},
			func() {
				a.Part("context pass", func() {
					t.context = t.Context.PlaceTraining(a, pool, whole, func() {
						a.Union(
							func() { a.Part("variance term", func() { t.variance.placeWork(a) }) },
							func() {
								a.Part("predictor pass", func() {
									t.predict = t.Predictor.placePass(a, pool, predictorSize{
										batch: plan.Head, targets: c.Masks.Targets, contextRows: plan.Head * visible, contextTokens: visible,
										targetTokens: block, recompute: plan.RecomputeHead, segment: plan.Segment,
									})
									t.guess = a.F32(plan.Head * hidden * d)
								})
							},
						)
					})
				})
			},
		)
	})
	if a.Measuring() {
		return t
	}
	t.losses = make([]float64, c.Batch)
	for _, ps := range t.trained() {
		t.squares = append(t.squares, make([]float64, (len(ps.Grad)+squareChunk-1)/squareChunk)...)
	}
	t.spans = spansOf(t.trained())
	t.repack = vit.NewRepacker(pool)
	t.repack.Include(t.Context.Linears)
	if !c.halves() {
		t.repack.Include(t.Target.Linears)
	}
	t.repack.Include(t.Predictor.linears)
	return t
}

// trained lists the parameters that the optimiser updates.
func (t *Trainer) trained() [2]*vit.Params {
	return [2]*vit.Params{&t.Context.Params, &t.Predictor.Params}
}

// Init sets the run to its start: initial weights by the seed, the target encoder equal to the context encoder.
func (t *Trainer) Init() {
	t.Context.Params.Init(t.Config.Seed)
	t.Predictor.Params.Init(t.Config.Seed)
	t.setTarget(t.Context.Params.Value)
	for i := range t.moments {
		t.moments[i].clear()
	}
	t.step, t.skipped = 0, 0
	t.monitor.reset()
	t.repack.Repack()
}

// Restart sets the run to its start under a configuration that differs only in rates and length.
func (t *Trainer) Restart(c Config) {
	t.Config, t.schedule = c, c.schedule()
	t.Init()
}

// InitFrom takes over the weights of an encoder of the same shape, for both the context and the target encoder.
func (t *Trainer) InitFrom(e *vit.Encoder) error {
	if e.Config != t.Config.Encoder {
		return errors.New("jepa: InitFrom: the encoder has another configuration")
	}
	copy(t.Context.Params.Value, e.Params.Value)
	t.setTarget(e.Params.Value)
	t.repack.Repack()
	return nil
}

// Done is how many optimiser steps the run has made.
func (t *Trainer) Done() int { return t.step }

// Skipped is how many of them were passed over.
func (t *Trainer) Skipped() int { return t.skipped }

// Step trains on one batch of normalised pictures px [B, C, S, S]: the method, in its order (arXiv 2301.08243).
func (t *Trainer) Step(px []float32) Stats {
	t.sampler.Sample(&t.drawn, t.Config.Seed, t.step, t.Config.Batch)
	r := rates{t.schedule.LR(t.step), t.schedule.WeightDecay(t.step), t.schedule.EMA(t.step)}
	return t.stepWith(px, &t.drawn, r, nil)
}

// rates are what the schedules say for one step.
type rates struct{ lr, weightDecay, ema float64 }

// stage is a point of a step at which tests look.
type stage byte

const (
	stageTarget    stage = iota // tokens and wanted are there
	stageGuess                  // the context's tokens and guess are there
	stageGradients              // gradients are there and weights are still what they were
)

// stepWith is Step with given masks and rates. inspect, if not nil, is called at each stage.
//
// What is in a step is in the order of its pictures, and a sum over pictures is one over ascending pictures. So the
// micro-batches of the plan change nothing.
func (t *Trainer) stepWith(px []float32, masks *Masks, r rates, inspect func(stage)) Stats {
	c, d := t.Config, t.Config.Encoder.Dim
	t.masks = masks
	if inspect == nil {
		inspect = func(stage) {}
	}
	st := Stats{Step: t.step + 1, LR: r.lr, WeightDecay: r.weightDecay, EMA: r.ema}
	n := c.Masks.Targets * c.Batch * t.masks.TargetLen * d // values predicted
	t.lossScale = float32(1 / float64(n))

	if t.preview != nil { // the variance term is one of the whole batch
		for b := 0; b < c.Batch; b += t.Plan.Micro {
			pics := t.micro(px, b)
			t.preview.Forward(pics, t.pictures(), t.part.Context, t.part.ContextOff)
			t.preview.Mean(t.variance.pooled[b*d:])
		}
		st.Variance = t.variance.apply()
	}

	features := t.monitor.next()
	for b := 0; b < c.Batch; b += t.Plan.Micro {
		if b%t.ahead == 0 {
			t.lookAt(px, b, features, inspect)
		}
		if b == 0 {
			clear(t.Context.Params.Grad)
			clear(t.Predictor.Params.Grad)
		}
		// The context encoder sees the visible patches, the predictor guesses from them.
		pics := t.micro(px, b)
		z := t.context.Forward(pics, t.pictures(), t.part.Context, t.part.ContextOff)
		if c.VarianceWeight > 0 && t.preview == nil {
			t.context.Mean(t.variance.pooled)
			st.Variance = t.variance.apply()
		}
		dz := t.context.DTokens()
		for t.headAt = 0; t.headAt < t.pictures(); t.headAt += t.Plan.Head {
			end := min(t.headAt+t.Plan.Head, t.pictures())
			t.part.slice(&t.head, t.headAt, end, c.Masks.Targets)
			lo, hi := int(t.part.ContextOff[t.headAt])*d, int(t.part.ContextOff[end])*d
			t.predict.Forward(t.guess, z[lo:hi], &t.head, end-t.headAt)
			inspect(stageGuess)
			t.run(taskLoss, end-t.headAt)
			t.predict.SetNoise(t.noiseKey(noisePredictor), t.partAt+t.headAt)
			t.predict.Backward(dz[lo:hi], t.guess)
		}
		if c.VarianceWeight > 0 {
			t.run(taskVariance, t.pictures())
		}
		t.context.SetNoise(t.noiseKey(noiseContext), t.partAt)
		t.context.Backward()
	}
	for _, l := range t.losses {
		st.Loss += l
	}
	st.Loss /= float64(n)
	inspect(stageGradients)
	t.optimise(&st)
	t.step++
	return st
}

// lookAt runs the target encoder over the pictures from first on, as many as it takes at a time. It sees all patches; its
// tokens at the hidden blocks, layer-normed, are to be guessed.
func (t *Trainer) lookAt(px []float32, first int, features []float32, inspect func(stage)) {
	t.widenTarget()
	t.wantedAt = first
	for b := first; b < min(first+t.ahead, t.Config.Batch); b += t.Plan.Micro {
		pics := t.micro(px, b)
		t.tokens = t.target.Forward(pics, t.pictures(), nil, nil)
		t.run(taskWanted, t.pictures()*t.Config.Masks.Targets)
		t.target.Mean(features[b*t.Config.Encoder.Dim:])
		inspect(stageTarget)
	}
}

// micro turns to the micro-batch that begins at picture b, and returns its pixels.
func (t *Trainer) micro(px []float32, b int) []float32 {
	end := min(b+t.Plan.Micro, t.Config.Batch)
	t.partAt = b
	t.masks.slice(&t.part, b, end, t.Config.Masks.Targets)
	return px[b*t.Config.Encoder.PixelLen() : end*t.Config.Encoder.PixelLen()]
}

// pictures is how many the present micro-batch has.
func (t *Trainer) pictures() int { return len(t.part.ContextOff) - 1 }

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

// optimise clips the gradient, updates the weights by AdamW and lets the target encoder follow.
func (t *Trainer) optimise(st *Stats) {
	c := t.Config
	t.run(taskSquares, len(t.squares))
	sum := 0.0
	for _, s := range t.squares {
		sum += s
	}
	st.GradNorm = math.Sqrt(sum)
	clip := optim.ClipScale(st.GradNorm, c.Clip)
	if math.IsNaN(sum) || math.IsInf(sum, 0) || math.IsNaN(st.Loss) || c.halves() && st.GradNorm*clip > halfGradientMax {
		st.Skipped = true
		t.skipped++
		return
	}
	t.gscale = float32(clip)
	t.momentum = float32(st.EMA)
	t.update = optim.AdamW(st.LR, st.WeightDecay, t.step+1)
	t.run(taskUpdate, len(t.spans))
	t.repack.Repack()
}

func (t *Trainer) run(what trainerTask, tasks int) {
	t.what = what
	t.pool.Do(t, tasks)
}

// Run is one task of the present phase.
func (t *Trainer) Run(n, _ int) {
	c, d := t.Config, t.Config.Encoder.Dim
	switch t.what {
	case taskWiden: // piece n of the target encoder's weights
		w, lo := t.Target.Params.Value, n*updateChunk
		hi := min(lo+updateChunk, len(w))
		fp.DecodeHalf(w[lo:hi], t.halfTarget[lo:hi])
	case taskWanted: // sequence n of the micro-batch: a block of a picture
		k, b := t.part.TargetLen, n/c.Masks.Targets
		for i, patch := range t.part.Targets[n*k:][:k] {
			token := t.tokens[(b*c.Encoder.Tokens()+int(patch))*d:][:d]
			at := ((t.partAt-t.wantedAt)*c.Masks.Targets+n)*k + i
			kernels.LayerNorm(t.wanted[at*d:][:d], token, nil, nil, nil, nil, 1, d, targetEps)
		}
	case taskLoss: // picture n of those with the predictor
		values := c.Masks.Targets * t.head.TargetLen * d
		guess, wanted := t.guess[n*values:][:values], t.wanted[(t.partAt-t.wantedAt+t.headAt+n)*values:][:values]
		loss := kernels.SmoothL1
		if c.Loss == LossL2 {
			loss = kernels.SquaredError
		}
		t.losses[t.partAt+t.headAt+n] = loss(guess, guess, wanted, t.lossScale)
	case taskVariance: // picture n of the micro-batch: the pooled gradient spreads evenly over its tokens
		r0, r1 := int(t.part.ContextOff[n]), int(t.part.ContextOff[n+1])
		g := t.variance.grad[(t.partAt+n)*d:][:d]
		kernels.Scale(g, 1/float32(r1-r0))
		for r := r0; r < r1; r++ {
			kernels.Add(t.context.DTokens()[r*d:(r+1)*d], g)
		}
	case taskSquares:
		t.squares[n] = kernels.SumSquares(t.gradient(n))
	case taskUpdate:
		t.updateSpan(t.spans[n])
	}
}

// targetEps is the epsilon of the layer norm over target tokens.
const targetEps = 1e-5

// gradient is piece n of both models' gradients.
func (t *Trainer) gradient(n int) []float32 {
	for _, ps := range t.trained() {
		pieces := (len(ps.Grad) + squareChunk - 1) / squareChunk
		if n < pieces {
			return ps.Grad[n*squareChunk : min((n+1)*squareChunk, len(ps.Grad))]
		}
		n -= pieces
	}
	panic("jepa: gradient: no such piece")
}

// schedule is the run's rates as functions of the step.
func (c Config) schedule() optim.Schedule {
	return optim.Schedule{
		Steps: c.Steps, Warmup: c.Warmup, StartLR: c.StartLR, PeakLR: c.LR, FinalLR: c.FinalLR,
		StartWD: c.WeightDecay[0], FinalWD: c.WeightDecay[1], StartEMA: c.EMA[0], FinalEMA: c.EMA[1],
	}
}
