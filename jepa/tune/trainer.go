package tune

import (
	"math"
	"strconv"
	"strings"

	"edgejepa/internal/arena"
	"edgejepa/internal/parallel"
	"edgejepa/internal/rng"
	"edgejepa/jepa/optim"
	"edgejepa/kernels"
	"edgejepa/vit"
	"edgejepa/vit/heads"
)

// Trainer holds a run: the encoder and the head that learn, the optimiser's moments, and the memory that a step takes.
type Trainer struct {
	Config  Config
	Encoder *vit.Encoder
	Head    *heads.Head

	step    int // optimiser steps done
	skipped int // of them, those whose gradient was not finite

	pool     *parallel.Pool
	repack   *vit.Repacker
	schedule optim.Schedule
	chunk    int // pictures that go through the network at a time
	net      *network
	moments  [2]moments // of encoder and head
	spans    []span
	squares  []float64
	update   kernels.AdamW
	gscale   float32
	what     task
}

type moments struct{ m, v []float32 }

type task byte

const (
	taskSquares task = iota
	taskUpdate
)

// network runs encoder and head over the pictures of a chunk.
type network struct {
	c     Config
	pass  *vit.Pass
	taps  *vit.Taps
	head  *heads.Pass
	x, dx []float32 // [chunk, InLen] features and their gradient
	probs []float64 // scratch of the segmenter's loss
}

// NewTrainer allocates a run of a valid configuration that starts from an encoder of it, and from an untrained head.
// It takes chunk pictures at a time, at most a batch; the result does not depend on it.
func NewTrainer(c Config, from *vit.Encoder, chunk int, pool *parallel.Pool) (*Trainer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	t := arena.Build(func(a *arena.Arena) *Trainer { return placeTrainer(a, c, chunk, pool) })
	copy(t.Encoder.Params.Value, from.Params.Value)
	t.Head.Init(c.Seed)
	t.repack.Repack()
	return t, nil
}

// Bytes is what a trainer takes, with the batches of pictures that it learns from and is judged on.
func Bytes(c Config, chunk, workers int) int64 {
	pool := parallel.New(workers)
	defer pool.Close()
	n := arena.Measure(func(a *arena.Arena) *Trainer { return placeTrainer(a, c, chunk, pool) })
	n += 4 * int64(c.Batch+chunk) * int64(c.Encoder.PixelLen())
	if c.Cached() {
		n += 4*int64(c.Batch)*int64(c.Head.InLen(c.Encoder)) + 4*int64(chunk)*int64(c.Encoder.PixelLen())
	}
	if c.Head.Task == heads.Segment {
		n += int64(c.Batch+chunk)*int64(maskLen(c.Head, c.Encoder)) + 8*int64(c.Head.OutLen(c.Encoder))
	}
	return n
}

func placeTrainer(a *arena.Arena, c Config, chunk int, pool *parallel.Pool) *Trainer {
	t := &Trainer{Config: c, pool: pool, schedule: c.schedule(), chunk: whole(c, chunk)}
	t.Encoder = vit.PlaceEncoder(a, c.Encoder, !c.wholeFrozen())
	t.Encoder.SetPrecision(c.Precision)
	t.Head = heads.Place(a, c.Head, c.Encoder, true)
	for i, ps := range t.params() {
		if i == 0 && c.wholeFrozen() {
			continue
		}
		n := int(ps.Count())
		t.moments[i] = moments{a.F32(n), a.F32(n)}
	}
	t.net = placeNetwork(a, c, t.Encoder, t.Head, t.chunk, pool)
	if a.Measuring() {
		return t
	}
	for _, ps := range t.params() {
		t.squares = append(t.squares, make([]float64, (len(ps.Grad)+squareChunk-1)/squareChunk)...)
	}
	t.spans = t.cut()
	t.repack = vit.NewRepacker(pool)
	t.repack.Include(t.Encoder.Linears)
	t.repack.Include(t.Head.Linears)
	return t
}

// whole is a number of pictures that go through the network at a time: with int8 products the gradients of weights are made
// of whole groups of sequences (vit.Group).
func whole(c Config, chunk int) int {
	if c.Precision == vit.I8 {
		g := vit.Group(c.Encoder.Tokens())
		chunk = max(1, chunk/g) * g
	}
	return min(chunk, c.Batch)
}

func (t *Trainer) params() [2]*vit.Params { return [2]*vit.Params{&t.Encoder.Params, &t.Head.Params} }

func placeNetwork(a *arena.Arena, c Config, e *vit.Encoder, h *heads.Head, chunk int, pool *parallel.Pool) *network {
	n := &network{c: c}
	tokens := c.Encoder.Tokens()
	n.pass = e.PlaceTraining(a, pool, vit.Size{Seqs: chunk, Rows: chunk * tokens, Tokens: tokens}, func() {})
	n.pass.Freeze(c.Frozen)
	n.taps = n.pass.PlaceTaps(a, c.Head.Taps)
	n.head = h.PlacePass(a, pool, chunk, vit.Train)
	n.x, n.dx = a.F32(chunk*c.Head.InLen(c.Encoder)), a.F32(chunk*c.Head.InLen(c.Encoder))
	if c.Head.Task == heads.Segment && !a.Measuring() {
		n.probs = make([]float64, h.OutLen())
	}
	return n
}

// Elements that one task takes: fixed, so that sums are the same for any number of workers.
const (
	squareChunk = 1 << 16
	updateChunk = 1 << 14
)

// span is a piece of a parameter that one optimiser task updates.
type span struct {
	model, lo, hi int
	decay         bool
	rate          float64 // of the run's
}

// cut lists the spans of all that learns.
func (t *Trainer) cut() (spans []span) {
	for model, ps := range t.params() {
		off := 0
		for _, p := range ps.List {
			if rate := t.rate(model, p.Name); rate > 0 {
				for lo := 0; lo < p.Len(); lo += updateChunk {
					spans = append(spans, span{model, off + lo, off + min(lo+updateChunk, p.Len()), p.Decay, rate})
				}
			}
			off += p.Len()
		}
	}
	return spans
}

// rate is a parameter's learning rate as a share of the head's: layer-wise decay, a block's LayerDecay times the next one's;
// 0 for what stands still.
func (t *Trainer) rate(model int, name string) float64 {
	c := t.Config
	if model == 1 {
		if strings.HasPrefix(name, "features.") {
			return 0
		}
		return 1
	}
	layer := 0 // behind the patch embedding
	switch {
	case strings.HasPrefix(name, "norm."):
		layer = c.Encoder.Depth + 1
	case strings.HasPrefix(name, "blocks."):
		number, _, _ := strings.Cut(strings.TrimPrefix(name, "blocks."), ".")
		i, err := strconv.Atoi(number)
		if err != nil {
			panic("tune: a block without a number: " + name)
		}
		layer = i + 1
	}
	if c.wholeFrozen() || c.Frozen > 0 && layer <= c.Frozen {
		return 0
	}
	rate := 1.0
	for range c.Encoder.Depth + 1 - layer {
		rate *= c.LayerDecay
	}
	return rate
}

// Done is how many optimiser steps the run has made.
func (t *Trainer) Done() int { return t.step }

// Stats says what a step did.
type Stats struct {
	Step     int
	Loss     float64
	GradNorm float64 // before clipping
	LR       float64
	Skipped  bool // the gradient was not finite: nothing was updated
	Pictures int
}

// Step trains on one batch.
func (t *Trainer) Step(b *batch) Stats { return t.optimise(t.backward(b, nil), b.n) }

// stepOn trains the head on features that are there already, [B, InLen].
func (t *Trainer) stepOn(b *batch, features []float32) Stats {
	return t.optimise(t.backward(b, features), b.n)
}

// backward sets the gradients of a batch and returns its loss.
func (t *Trainer) backward(b *batch, features []float32) (loss float64) {
	for _, ps := range t.params() {
		clear(ps.Grad)
	}
	whole := t.share(b)
	in := t.Config.Head.InLen(t.Config.Encoder)
	for at := 0; at < b.n; at += t.chunk {
		n := min(t.chunk, b.n-at)
		var x []float32
		if features != nil {
			x = features[at*in:][:n*in]
		} else {
			t.drop(at)
			x = t.net.features(b.px[at*t.Config.Encoder.PixelLen():], n)
		}
		out := t.net.head.Forward(x, n)
		loss += t.loss(out, b, at, n, whole)
		if features != nil || t.Config.wholeFrozen() {
			t.net.head.Backward(nil, n)
			continue
		}
		t.net.head.Backward(t.net.dx, n)
		t.net.back(n)
	}
	return loss
}

// drop sets the stochastic depth of the pictures from the first of a chunk on.
func (t *Trainer) drop(first int) {
	t.net.pass.SetDropPath(vit.DropPath{Rate: t.Config.DropPath, Seed: t.Config.Seed, Step: t.step, First: first})
	s := rng.New(t.Config.Seed, rng.PurposeRound, uint64(t.step), 0)
	t.net.pass.SetNoise(uint32(s.Uint64()), first)
}

// features runs the encoder over n pictures.
func (n *network) features(px []float32, pictures int) []float32 {
	n.pass.Forward(px, pictures, nil, nil)
	if n.c.Head.Pooled() {
		n.pass.Mean(n.x)
	} else {
		n.taps.Features(n.x)
	}
	return n.x[:pictures*n.c.Head.InLen(n.c.Encoder)]
}

// back takes the gradient of the features, dx, through the encoder.
func (n *network) back(pictures int) {
	if !n.c.Head.Pooled() {
		n.taps.SetGrad(n.dx)
		n.pass.Backward()
		return
	}
	d, tokens := n.c.Encoder.Dim, n.c.Encoder.Tokens()
	dst, share := n.pass.DTokens(), 1/float32(tokens)
	for r := range pictures * tokens {
		row, dx := dst[r*d:][:d], n.dx[r/tokens*d:][:d]
		for j, v := range dx {
			row[j] = float32(v * share)
		}
	}
	n.pass.Backward()
}

// share is 1 over what a batch's loss is a mean of: pictures by weight, or cells with an object.
func (t *Trainer) share(b *batch) float64 {
	sum := 0.0
	switch t.Config.Head.Task {
	case heads.Classify:
		for _, y := range b.labels[:b.n] {
			sum += t.weight(y)
		}
	case heads.Segment:
		sum = float64(b.n)
	case heads.Detect:
		for _, o := range b.objects[:b.n] {
			sum += float64(t.Head.Positives(o))
		}
		sum = max(sum, 1)
	}
	if sum == 0 {
		return 0
	}
	return 1 / sum
}

func (t *Trainer) weight(class int) float64 {
	if t.Config.ClassWeight == nil {
		return 1
	}
	return t.Config.ClassWeight[class]
}

// loss fills the gradient of the outputs of pictures [at, at+n) of a batch and returns their part of its loss.
func (t *Trainer) loss(out []float32, b *batch, at, n int, share float64) (loss float64) {
	d, per := t.net.head.DOut, t.Head.OutLen()
	switch t.Config.Head.Task {
	case heads.Classify:
		loss = heads.CrossEntropy(d, out, b.labels[at:at+n], t.Config.ClassWeight, t.Config.Smooth, share)
	case heads.Segment:
		for i := range n {
			loss += float64(share * heads.SegmentLoss(d[i*per:][:per], out[i*per:][:per], b.masks[at+i], len(t.Config.Head.Classes), t.Config.ClassWeight, share, t.net.probs))
		}
	case heads.Detect:
		for i := range n {
			classes, boxes := t.Head.DetectLoss(d[i*per:][:per], out[i*per:][:per], b.objects[at+i], share)
			loss += classes + boxes
		}
	}
	return loss
}

// optimise ends a step: it clips the gradient and updates the weights by AdamW.
func (t *Trainer) optimise(loss float64, pictures int) Stats {
	st := Stats{Step: t.step + 1, Loss: loss, LR: t.schedule.LR(t.step), Pictures: pictures}
	t.what = taskSquares
	t.pool.Do(t, len(t.squares))
	sum := 0.0
	for _, s := range t.squares {
		sum += s
	}
	st.GradNorm = math.Sqrt(sum)
	if math.IsNaN(sum) || math.IsInf(sum, 0) || math.IsNaN(loss) || pictures == 0 {
		st.Skipped = true
		t.skipped++
	} else {
		t.gscale = float32(optim.ClipScale(st.GradNorm, t.Config.Clip))
		t.update = optim.AdamW(st.LR, t.schedule.WeightDecay(t.step), t.step+1)
		t.what = taskUpdate
		t.pool.Do(t, len(t.spans))
		t.repack.Repack()
	}
	t.step++
	return st
}

// Run is one task of the present phase.
func (t *Trainer) Run(n, _ int) {
	if t.what == taskSquares {
		for _, ps := range t.params() {
			pieces := (len(ps.Grad) + squareChunk - 1) / squareChunk
			if n < pieces {
				t.squares[t.index(n, ps)] = kernels.SumSquares(ps.Grad[n*squareChunk : min((n+1)*squareChunk, len(ps.Grad))])
				return
			}
			n -= pieces
		}
		return
	}
	s := t.spans[n]
	u := t.update
	u.LR *= float32(s.rate)
	if !s.decay {
		u.WeightDecay = 0
	}
	ps, mo := t.params()[s.model], t.moments[s.model]
	u.Step(ps.Value[s.lo:s.hi], ps.Grad[s.lo:s.hi], mo.m[s.lo:s.hi], mo.v[s.lo:s.hi], t.gscale)
}

// index is where the sum of piece n of a model's gradient goes.
func (t *Trainer) index(n int, ps *vit.Params) int {
	if ps == &t.Head.Params {
		return (len(t.Encoder.Params.Grad)+squareChunk-1)/squareChunk + n
	}
	return n
}
