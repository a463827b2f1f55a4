package jepa

import (
	"edgejepa/fp"
	"edgejepa/internal/arena"
	"edgejepa/internal/noise"
	"edgejepa/internal/rng"
	"edgejepa/kernels"
	"edgejepa/vit"
)

// Below float32, what the optimiser and the target encoder keep from step to step are halves, in int8 as in f16: Adam's
// moments (kernels.AdamW.StepHalf says why 16 bits do) and the target's weights, which follow by stochastic rounding
// (kernels.LerpHalf). Halves take 6 bytes a parameter where float32 takes 12, and an update, which is all memory
// traffic, less time. The weights that learn stay float32: towards the end of a run a step moves them by a tenth of the
// distance of two halves and less, and what rounding by chance adds would outweigh it. The gradient, a sum over rows and
// micro-batches, stays float32 too.

// halves says that state is kept in halves.
func (c Config) halves() bool { return c.Precision != vit.F32 }

// moments are Adam's running means of one model's gradient and of its square, flat like the parameters: m and v, or as
// halves HalfMomentScale times m and the root of v.
type moments struct {
	m, v         []float32
	halfM, halfS []uint16
}

func placeMoments(a *arena.Arena, n int, halves bool) moments {
	if halves {
		return moments{halfM: a.Half(n), halfS: a.Half(n)}
	}
	return moments{m: a.F32(n), v: a.F32(n)}
}

func (m *moments) clear() {
	clear(m.m)
	clear(m.v)
	clear(m.halfM)
	clear(m.halfS)
}

// once says that the gradients of the context encoder are set by a step's one backward pass, and lie where it is done
// with what the forward pass saved (vit.Size.Once).
func (t *Trainer) once() bool { return !t.Config.halves() && t.Plan.Micro == t.Config.sequences() }

// placeEncoders lays out the context and the target encoder. In halves the target's weights are float32 only while it
// runs, which is before a step has gradients: the two share memory.
func (t *Trainer) placeEncoders(a *arena.Arena) {
	e, halves := t.Config.Encoder, t.Config.halves()
	a.Part("context encoder", func() { t.Context = vit.PlaceUnpacked(a, e, !halves && !t.once()) })
	a.Part("target encoder", func() {
		t.Target = vit.PlaceUnpacked(a, e, false)
		if halves {
			t.halfTarget = a.Half(int(t.Target.Params.Count()))
		}
	})
	t.Context.SetPrecision(t.Config.Precision)
	t.Target.SetPrecision(t.Config.Precision)
	if t.Plan.Strips {
		t.Context.Trunk().PackStrips()
		t.Target.Trunk().PackStrips()
	}
	if halves {
		t.Context.Params.SetGrad(t.Target.Params.Value)
	}
}

// setTarget sets the target encoder to weights, which in halves are rounded to the nearest.
func (t *Trainer) setTarget(weights []float32) {
	if t.halfTarget != nil {
		fp.EncodeHalf(t.halfTarget, weights)
		return
	}
	copy(t.Target.Params.Value, weights)
}

// widenTarget makes the target encoder ready to run.
func (t *Trainer) widenTarget() {
	if t.halfTarget == nil {
		return
	}
	t.run(taskWiden, (len(t.halfTarget)+updateChunk-1)/updateChunk)
	t.Target.Pack()
}

// span is a piece of a parameter that one optimiser task updates: elements [lo, hi) of model 0, the context encoder, or
// 1, the head.
type span struct {
	model, lo, hi int
	decay         bool
}

// spansOf cuts each parameter into pieces of at most updateChunk values.
func spansOf(models [2]*vit.Params) (spans []span) {
	for model, ps := range models {
		off := 0
		for _, p := range ps.List {
			for lo := 0; lo < p.Len(); lo += updateChunk {
				spans = append(spans, span{model, off + lo, off + min(lo+updateChunk, p.Len()), p.Decay})
			}
			off += p.Len()
		}
	}
	return spans
}

// updateSpan is AdamW over a span, and the target encoder's following.
func (t *Trainer) updateSpan(s span) {
	u := t.update
	if !s.decay {
		u.WeightDecay = 0
	}
	ps, mo, follows := t.trained()[s.model], &t.moments[s.model], s.model == 0
	p, g := ps.Value[s.lo:s.hi], ps.Grad[s.lo:s.hi]
	if !t.Config.halves() {
		m, v := mo.m[s.lo:s.hi], mo.v[s.lo:s.hi]
		if follows {
			u.StepEMA(p, g, m, v, t.Target.Params.Value[s.lo:s.hi], t.gscale, t.momentum)
		} else {
			u.Step(p, g, m, v, t.gscale)
		}
		return
	}
	m, r := mo.halfM[s.lo:s.hi], mo.halfS[s.lo:s.hi]
	bits := noise.Stream{Key: t.noiseKey(noiseUpdate + noisePurpose(s.model)), Index: uint32(s.lo)}
	if follows {
		u.StepHalfEMAHalf(p, g, m, r, t.halfTarget[s.lo:s.hi], t.gscale, t.momentum, bits)
	} else {
		u.StepHalf(p, g, m, r, t.gscale, bits)
	}
}

// noisePurpose says what the random bits of a stochastic rounding are for.
type noisePurpose uint64

const (
	noiseUpdate    noisePurpose = iota // of the context encoder
	_                                  // of the head
	noiseContext                       // gradients in the context encoder's backward pass
	noisePredictor                     // gradients in the predictor's, or MAE's decoder's
)

// noiseKey is the key of the random bits for a purpose in the present step. With the place in a tensor for an index they
// are the same for any number of threads and any plan.
func (t *Trainer) noiseKey(p noisePurpose) uint32 {
	s := rng.New(t.Config.Seed, rng.PurposeRound, uint64(t.step), uint64(p))
	return uint32(s.Uint64())
}

// halfGradientMax bounds the clipped gradient's norm where moments are halves: the square of an element must be finite
// after HalfMomentScale.
const halfGradientMax = 0x1p63 / kernels.HalfMomentScale
