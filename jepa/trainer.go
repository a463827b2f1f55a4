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

// Trainer holds a run: the context encoder and the objective's head that learn, the target encoder that follows, the
// optimiser's moments, and all the memory that a step takes. Its state is a function of the configuration, the pictures
// and the number of steps done; nothing else is hidden in it.
type Trainer struct {
	Config  Config
	Plan    Plan
	Context *vit.Encoder
	Target  *vit.Encoder // EMA of Context; below float32 its weights are there only while it runs

	// Unsound is how many steps in a row, up to the last one, had a gradient that is not sound. Step leaves it alone: it is
	// for who judges that, and part of the state so that a run which goes on from a checkpoint goes on counting.
	Unsound int

	step     int // optimiser steps done
	skipped  int // steps passed over because a gradient was not finite
	halvings int // of the learning rate, after divergence

	pool       *parallel.Pool
	repack     *vit.Repacker
	objective  objective
	head       head
	schedule   optim.Schedule
	monitor    monitor
	moments    [2]moments
	halfTarget []uint16 // the target encoder's weights, below float32
	spans      []span
	squares    []float64
	update     kernels.AdamW
	gscale     float32
	momentum   float32
	what       trainerTask
}

type trainerTask byte

const (
	taskWiden trainerTask = iota
	taskSquares
	taskUpdate
)

// Elements that one task takes: fixed, so that sums are the same for any number of workers.
const (
	squareChunk = 1 << 16
	updateChunk = 1 << 14
)

// Stats says what a step did.
type Stats struct {
	Step        int
	Loss        float64 // without the term against collapse: Config.Terms names both
	Variance    float64 // the term against collapse, weighted
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
	t := &Trainer{Config: c, Plan: plan.of(c), pool: pool, schedule: c.schedule()}
	t.objective = newObjective(t)
	a.Part("models", func() {
		t.placeEncoders(a)
		a.Part(c.Objective.Head(), func() { t.head = t.objective.placeHead(a) })
		a.Part("moments", func() {
			for i, ps := range t.trained() {
				t.moments[i] = placeMoments(a, int(ps.Count()), c.halves())
			}
		})
		a.Part("monitor", func() { t.monitor = placeMonitor(a, c.Batch, c.Encoder.Dim) })
	})
	a.Part("step", func() { t.objective.placeStep(a) })
	if a.Measuring() {
		return t
	}
	for _, ps := range t.trained() {
		t.squares = append(t.squares, make([]float64, (len(ps.Grad)+squareChunk-1)/squareChunk)...)
	}
	t.spans = spansOf(t.trained())
	t.repack = vit.NewRepacker(pool)
	t.repack.Include(t.Context.Linears)
	if !c.halves() {
		t.repack.Include(t.Target.Linears)
	}
	t.repack.Include(t.head.linears)
	if t.head.target != nil {
		t.repack.Include(t.head.targetLinears)
	}
	return t
}

// trained lists the parameters that the optimiser updates.
func (t *Trainer) trained() [2]*vit.Params {
	return [2]*vit.Params{&t.Context.Params, t.head.params}
}

// Init sets the run to its start: initial weights by the seed, the target encoder equal to the context encoder.
func (t *Trainer) Init() {
	t.Context.Params.Init(t.Config.Seed)
	t.head.params.Init(t.Config.Seed)
	t.setTarget(t.Context.Params.Value)
	if x := t.head.target; x != nil {
		copy(x.Value, t.head.params.Value)
	}
	for i := range t.moments {
		t.moments[i].clear()
	}
	t.step, t.skipped, t.halvings, t.Unsound = 0, 0, 0, 0
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

// rates are what the schedules say for one step.
type rates struct{ lr, weightDecay, ema float64 }

// Step trains on one batch of normalised pictures px [B, V, C, S, S], V being Config.PictureViews.
func (t *Trainer) Step(px []float32) Stats {
	loss, collapse := t.objective.backward(px)
	return t.optimise(loss, collapse, t.rates())
}

// clearGradients sets the gradients of everything trained to 0.
func (t *Trainer) clearGradients() {
	t.clearEncoder()
	clear(t.head.params.Grad)
}

// clearEncoder sets those of the context encoder to 0. Below float32 that ends the target encoder's weights.
func (t *Trainer) clearEncoder() {
	if !t.once() {
		clear(t.Context.Params.Grad)
	}
}

// optimise ends a step: it clips the gradient, updates the weights by AdamW and lets the targets follow.
func (t *Trainer) optimise(loss, collapse float64, r rates) Stats {
	st := Stats{Step: t.step + 1, Loss: loss, Variance: collapse, LR: r.lr, WeightDecay: r.weightDecay, EMA: r.ema}
	t.run(taskSquares, len(t.squares))
	sum := 0.0
	for _, s := range t.squares {
		sum += s
	}
	st.GradNorm = math.Sqrt(sum)
	clip := optim.ClipScale(st.GradNorm, t.Config.Clip)
	if math.IsNaN(sum) || math.IsInf(sum, 0) || math.IsNaN(loss) || t.Config.halves() && st.GradNorm*clip > halfGradientMax {
		st.Skipped = true
		t.skipped++
	} else {
		t.gscale, t.momentum = float32(clip), float32(r.ema)
		t.update = optim.AdamW(r.lr, r.weightDecay, t.step+1)
		t.run(taskUpdate, len(t.spans))
		t.follow(t.momentum)
		t.repack.Repack()
	}
	t.step++
	return st
}

// follow is what the head's target does when the target encoder follows the context encoder.
func (t *Trainer) follow(momentum float32) {
	if x := t.head.target; x != nil {
		kernels.Lerp(x.Value, t.head.params.Value[:len(x.Value)], momentum)
	}
}

func (t *Trainer) run(what trainerTask, tasks int) {
	t.what = what
	t.pool.Do(t, tasks)
}

// Run is one task of the present phase.
func (t *Trainer) Run(n, _ int) {
	switch t.what {
	case taskWiden: // piece n of the target encoder's weights
		w, lo := t.Target.Params.Value, n*updateChunk
		hi := min(lo+updateChunk, len(w))
		fp.DecodeHalf(w[lo:hi], t.halfTarget[lo:hi])
	case taskSquares:
		t.squares[n] = kernels.SumSquares(t.gradient(n))
	case taskUpdate:
		t.updateSpan(t.spans[n])
	}
}

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

// dropPath is what the context encoder leaves out of the present step, for a batch that begins at a picture or view of it.
func (t *Trainer) dropPath(first int) vit.DropPath {
	return vit.DropPath{Rate: t.Config.DropPath, Seed: t.Config.Seed, Step: t.step, First: first}
}

// schedule is the run's rates as functions of the step.
func (c Config) schedule() optim.Schedule {
	return optim.Schedule{
		Steps: c.Steps, Warmup: c.Warmup, StartLR: c.StartLR, PeakLR: c.LR, FinalLR: c.FinalLR,
		StartWD: c.WeightDecay[0], FinalWD: c.WeightDecay[1], StartEMA: c.EMA[0], FinalEMA: c.EMA[1],
	}
}
