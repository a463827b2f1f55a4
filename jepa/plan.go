package jepa

import (
	"fmt"
	"iter"
	"math"
	"strings"

	"edgejepa/internal/arena"
	"edgejepa/internal/parallel"
	"edgejepa/vit"
)

// Plan says how a trainer shares out memory. It changes the footprint and the speed of a run, and no bit of its result:
// a run may be resumed under another plan. The zero Plan takes the whole batch at once and keeps everything.
type Plan struct {
	Micro         int  // pictures that are with the encoders at a time; 0: the whole batch
	Head          int  // pictures of these that are with the predictor at a time; 0: all
	Recompute     int  // context encoder blocks, from the first on, whose activations are computed anew in the backward pass
	RecomputeHead bool // likewise all blocks of the predictor
	Segment       int  // rows that a backward pass aims to take at a time; 0: all
	Strips        bool // weights are packed by each task for itself, a few columns at a time (vit.Trunk.PackStrips)
}

// of fills in what the plan leaves to the configuration.
func (p Plan) of(c Config) Plan {
	if p.Micro <= 0 || c.Objective != IJEPA { // the others take whole batches
		p.Micro = c.sequences()
	}
	if c.Objective != IJEPA {
		p.Head = 0
	}
	whole, head := c.groups()
	p.Micro = min(roundUp(p.Micro, whole), c.sequences())
	if p.Head <= 0 {
		p.Head = p.Micro
	}
	p.Head = min(roundUp(p.Head, head), p.Micro)
	p.Recompute = min(p.Recompute, c.Encoder.Depth)
	return p
}

// groups are the numbers of pictures of which micro-batches, and the predictor's part of one, are to be multiples: with
// int8 products the gradients of weights are made of whole groups of sequences (vit.Group).
func (c Config) groups() (whole, head int) {
	if c.Precision != vit.I8 {
		return 1, 1
	}
	tokens := c.Masks.MaxTarget()
	if c.Predictor != PredictorMLP {
		tokens += c.Masks.MaxContext()
	}
	head = 1
	for g := vit.Group(tokens); head*c.Masks.Targets%g != 0; {
		head++
	}
	whole = vit.Group(c.Masks.MaxContext())
	for whole%head != 0 {
		whole += vit.Group(c.Masks.MaxContext())
	}
	return whole, head
}

// Previews says that the context encoder goes over a batch twice: it is cut into micro-batches, and there are terms of the
// whole of it, which must be known before the first part is trained on.
func (p Plan) Previews(c Config) bool { return c.pooledTerms() && p.of(c).Micro < c.sequences() }

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }

// Describe says in words what the plan does to a run.
func (p Plan) Describe(c Config) string {
	p = p.of(c)
	var b strings.Builder
	if p.Micro == c.sequences() {
		fmt.Fprintf(&b, "whole batches of %d", c.Batch)
	} else {
		fmt.Fprintf(&b, "micro-batches of %d of %d", p.Micro, c.sequences())
	}
	if p.Head < p.Micro {
		fmt.Fprintf(&b, ", predictor %d at a time", p.Head)
	}
	switch {
	case p.Recompute == c.Encoder.Depth && p.RecomputeHead:
		b.WriteString(", activations recomputed")
	case p.Recompute == c.Encoder.Depth:
		b.WriteString(", the encoder's activations recomputed")
	case p.Recompute > 0:
		fmt.Fprintf(&b, ", activations of %d of %d blocks recomputed", p.Recompute, c.Encoder.Depth)
	}
	return b.String()
}

const (
	threadRows = 256 // rows a thread wants from what is cut into tasks, so that the last ones to end are a small part
	leanRows   = 64  // fewer save little: a task's own memory is of that size
)

// Plans lists the plans for a run from the fastest to the leanest:
//
//  1. the predictor takes the pictures in small groups and backward passes go through their rows in segments, which
//     costs nothing;
//  2. without a variance term, micro-batches, which then cost nothing either as long as each keeps the threads busy;
//  3. activations of the context encoder's first block are recomputed, of the first two, … of all: about a tenth of the
//     speed in the end;
//  4. those of the predictor too, then groups and segments of half the size;
//  5. micro-batches that keep the threads busy. The variance term is one of the whole batch, so the context encoder runs
//     twice: a sixth of the speed; first with all activations kept, then with the encoder's recomputed;
//  6. everything recomputed in the smallest groups and segments, down to one picture at a time, where threads wait for
//     each other.
//
// Objectives other than I-JEPA take whole batches: wholePlans.
func Plans(c Config, threads int) iter.Seq[Plan] {
	if c.Objective != IJEPA {
		return wholePlans(c, threads)
	}
	return func(yield func(Plan) bool) {
		segment := threadRows * max(threads, 2)
		visible := c.Masks.MaxContext()
		sequence := c.Masks.MaxTarget()
		if c.Predictor != PredictorMLP {
			sequence += visible
		}
		p := Plan{Micro: c.sequences(), Head: upTo(c.sequences(), segment*3/2, c.Masks.Targets*sequence), Segment: segment}
		least := upTo(c.sequences(), segment, visible) // pictures that a micro-batch wants
		// micro tries p with micro-batches of half the size, a quarter, … of which least pictures are left.
		micro := func(p Plan, least int) bool {
			for p.Micro /= 2; p.Micro >= least; p.Micro /= 2 {
				if !yield(p.of(c)) {
					return false
				}
			}
			return true
		}
		if !yield(p) {
			return
		}
		if !c.pooledTerms() {
			if !micro(p, least) {
				return
			}
			for p.Micro/2 >= least {
				p.Micro /= 2
			}
			p = p.of(c)
		}
		kept := p
		for p.Recompute < c.Encoder.Depth {
			p.Recompute++
			if !yield(p) {
				return
			}
		}
		recomputed, smaller := p, p
		p.RecomputeHead = true
		smaller.Head, smaller.Segment = max(1, p.Head/2), p.Segment/2
		leaner := smaller
		leaner.RecomputeHead = true
		leanest := leaner
		leanest.Head, leanest.Segment, leanest.Strips = 1, leanRows, true
		_ = yield(p) && yield(leaner) &&
			micro(kept, least) && micro(recomputed, least) && micro(smaller, least) &&
			yield(leanest) && micro(leanest, 1)
	}
}

// thriftyCost is the share of a step's multiply-adds that Thrifty may add.
const thriftyCost = 0.025

// Thrifty is the leanest plan that is hardly slower than the fastest: what a run takes that has all the memory it wants.
func Thrifty(c Config, threads int) Plan {
	var best Plan
	least := int64(0)
	for p := range Plans(c, threads) {
		if p.extraMACs(c) > thriftyCost*MACs(c) {
			break
		}
		if bytes := Footprint(c, p, threads); least == 0 || bytes < least {
			best, least = p, bytes
		}
	}
	return best
}

// extraMACs is about what a plan adds to the multiply-adds of a step, by doing again what it has not kept.
func (p Plan) extraMACs(c Config) float64 {
	if c.Objective != IJEPA {
		return p.extraWholeMACs(c)
	}
	e, visible := c.Encoder, c.Masks.MaxContext()
	block := trunkMACs(visible, e.Dim, e.Hidden())
	again := block - int64(e.Dim*e.Hidden()) // not the last layer
	n := int64(c.sequences()*visible*p.of(c).Recompute) * again
	if p.Previews(c) {
		n += int64(c.sequences()*visible*e.Depth) * block
	}
	if w := c.PredictorDim; p.RecomputeHead {
		sequence := c.Masks.MaxTarget()
		if c.Predictor != PredictorMLP {
			sequence += visible
		}
		n += int64(c.sequences()*c.Masks.Targets*sequence*c.PredictorDepth) * (trunkMACs(sequence, w, 4*w) - int64(4*w*w))
	}
	return float64(n)
}

// trunkMACs is how many multiply-adds a row takes going forward through a block, among tokens: n in a linear layer of n
// weights, 2td in attention among t tokens of width d (q·kᵀ, p·v).
func trunkMACs(tokens, width, hidden int) int64 {
	return int64(4*width*width + 2*width*hidden + 2*tokens*width)
}

// MACs is how many multiply-adds the products of a step take if its masks are as large as they may be.
func MACs(c Config) float64 {
	if c.Objective != IJEPA {
		return wholeMACs(c)
	}
	off := make([]int32, c.sequences()+1)
	for b := range off {
		off[b] = int32(b * c.Masks.MaxContext())
	}
	return stepMACs(c, off, c.Masks.MaxTarget())
}

// stepMACs counts the products of a step of which picture b has off[b+1]-off[b] visible patches, and target blocks have
// block of them. The gradients by a layer's input and by its weights take as many as going forward, the backward pass of
// attention twice as many (dp, dv, dq, dk); what is done twice to save memory counts once.
func stepMACs(c Config, off []int32, block int) float64 {
	e := c.Encoder
	const forward, train = 1, 3
	trunk := func(rows, tokens, depth, width, hidden, passes int) int64 {
		return int64(rows*depth*passes) * trunkMACs(tokens, width, hidden)
	}
	all, context := c.sequences()*e.Tokens(), int(off[c.sequences()])
	n := trunk(all, e.Tokens(), e.Depth, e.Dim, e.Hidden(), forward) + int64(all)*int64(e.PatchLen()*e.Dim)
	for b := range c.sequences() {
		visible := int(off[b+1] - off[b])
		n += trunk(visible, visible, e.Depth, e.Dim, e.Hidden(), train)
		both := visible + block
		n += int64(c.Masks.Targets) * trunk(both, both, c.PredictorDepth, c.PredictorDim, 4*c.PredictorDim, train)
	}
	n += int64(2*context) * int64(e.PatchLen()*e.Dim) // no gradient by pixels
	n += int64(train*context) * int64(e.Dim*c.PredictorDim)
	n += int64(train*c.sequences()*c.Masks.Targets*block) * int64(c.predicted()*c.PredictorDim)
	return float64(n)
}

// upTo is how many pictures make so many rows, but no more than the batch.
func upTo(batch, rows, perPicture int) int {
	return min(batch, (rows+perPicture-1)/max(perPicture, 1))
}

// Fit returns the fastest plan whose trainer fits into a budget in bytes, and what it takes; ok is false if none does,
// bytes then being the least that would do. A budget of 0 has no limit.
func Fit(c Config, threads int, budget int64) (plan Plan, bytes int64, ok bool) {
	if budget <= 0 || budget > math.MaxInt { // which bounds the size of anything: 2 GiB on 32-bit machines
		budget = math.MaxInt
	}
	for p := range Plans(c, threads) {
		need := Footprint(c, p, threads)
		if need <= budget {
			return p, need, true
		}
		if bytes == 0 || need < bytes {
			plan, bytes = p, need
		}
	}
	return plan, bytes, false
}

// Footprint is what a trainer of a valid configuration allocates, in bytes, before it does.
func Footprint(c Config, plan Plan, threads int) int64 {
	bytes, _ := Layout(c, plan, threads)
	return bytes
}

// Layout is Footprint and what takes it, part by part. Parts overlap where they share memory.
func Layout(c Config, plan Plan, threads int) (int64, []arena.Part) {
	if rows := plan.of(c).Micro * c.Encoder.Tokens(); rows > math.MaxInt/max(c.Encoder.Hidden(), c.Encoder.PatchLen()) {
		return 1 << 60, nil // more than a 32-bit int can count
	}
	pool := parallel.New(threads)
	defer pool.Close()
	var a arena.Arena
	placeTrainer(&a, c, plan, pool)
	return a.Bytes(), a.Parts()
}
