package jepa

import (
	"fmt"
	"iter"
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
}

// of fills in what the plan leaves to the configuration.
func (p Plan) of(c Config) Plan {
	if p.Micro <= 0 {
		p.Micro = c.Batch
	}
	whole, head := c.groups()
	p.Micro = min(roundUp(p.Micro, whole), c.Batch)
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

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }

// Describe says in words what the plan does to a run.
func (p Plan) Describe(c Config) string {
	p = p.of(c)
	var b strings.Builder
	if p.Micro == c.Batch {
		fmt.Fprintf(&b, "whole batches of %d", c.Batch)
	} else {
		fmt.Fprintf(&b, "micro-batches of %d of %d", p.Micro, c.Batch)
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
	leanRows   = 128 // fewer save little: a task's own memory is of that size
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
func Plans(c Config, threads int) iter.Seq[Plan] {
	return func(yield func(Plan) bool) {
		segment := threadRows * max(threads, 2)
		visible := c.Masks.MaxContext()
		sequence := c.Masks.MaxTarget()
		if c.Predictor != PredictorMLP {
			sequence += visible
		}
		p := Plan{Micro: c.Batch, Head: upTo(c.Batch, segment*3/2, c.Masks.Targets*sequence), Segment: segment}
		least := upTo(c.Batch, segment, visible) // pictures that a micro-batch wants
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
		if c.VarianceWeight == 0 {
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
		leanest.Head, leanest.Segment = 1, leanRows
		_ = yield(p) && yield(leaner) &&
			micro(kept, least) && micro(recomputed, least) && micro(smaller, least) &&
			yield(leanest) && micro(leanest, 1)
	}
}

// upTo is how many pictures make so many rows, but no more than the batch.
func upTo(batch, rows, perPicture int) int {
	return min(batch, (rows+perPicture-1)/max(perPicture, 1))
}

// Fit returns the fastest plan whose trainer fits into a budget in bytes, and what it takes; ok is false if none does,
// bytes then being the least that would do. A budget of 0 has no limit.
func Fit(c Config, threads int, budget int64) (plan Plan, bytes int64, ok bool) {
	for p := range Plans(c, threads) {
		need := Footprint(c, p, threads)
		if budget <= 0 || need <= budget {
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
	pool := parallel.New(threads)
	defer pool.Close()
	var a arena.Arena
	placeTrainer(&a, c, plan, pool)
	return a.Bytes(), a.Parts()
}
