package tune

import (
	"context"
	"errors"
	"slices"

	"edgejepa/internal/parallel"
	"edgejepa/vit/heads"
	"edgejepa/vit/pixels"
)

// Model answers for pictures: quant.Predictor does, for a network of whatever precision. pix is [B, H, W, 3], dst [B, OutLen].
type Model interface {
	Predict(dst []float32, pix []uint8, batch int)
}

// evaluated is how many pictures are decoded and answered for at a time.
const evaluated = 16

// Evaluate judges a model, which has that head, on examples, going the way that edge-embed predict goes from a picture to an
// answer. Pictures that cannot be read go to skip and do not count.
func Evaluate(ctx context.Context, m Model, h *heads.Head, x *Examples, pool *parallel.Pool, limits pixels.Limits, skip func(error), progress func(done int)) (Figures, error) {
	if x.Task() != h.Config.Task || !slices.Equal(x.Classes, h.Config.Classes) {
		return Figures{}, errors.New("the labels are of another task or other classes than the model's")
	}
	limits.MinSide = h.Config.MinSide(h.Encoder)
	e := &evaluation{x: x, h: h, limits: limits, pix: make([]uint8, evaluated*h.Encoder.PixelLen()), errs: make([]error, evaluated),
		resizers: make([]pixels.Resizer, pool.Workers()), inputs: make([]pixels.Image, pool.Workers())}
	j, per := newJudge(h, x), h.OutLen()
	out := make([]float32, evaluated*per)
	for e.at = 0; e.at < x.Len(); e.at += evaluated {
		if ctx.Err() != nil {
			return Figures{}, context.Cause(ctx)
		}
		n := min(evaluated, x.Len()-e.at)
		pool.Do(e, n)
		m.Predict(out, e.pix, n)
		for i := range n {
			err := e.errs[i]
			if err == nil {
				err = j.answered(e.at+i, out[i*per:][:per])
			}
			if err != nil {
				skip(err)
			}
		}
		progress(e.at + n)
	}
	return j.figures(false)
}

// evaluation is the memory and the tasks of Evaluate.
type evaluation struct {
	x        *Examples
	h        *heads.Head
	limits   pixels.Limits
	at       int
	pix      []uint8
	errs     []error
	resizers []pixels.Resizer // [worker]
	inputs   []pixels.Image   // [worker]
}

// Run reads picture n of the batch.
func (e *evaluation) Run(n, worker int) {
	img, err := pixels.Load(e.x.Paths[e.at+n], e.limits)
	if e.errs[n] = err; err == nil {
		e.h.Config.Input(&e.inputs[worker], &e.resizers[worker], img, e.h.Encoder)
		copy(e.pix[n*e.h.Encoder.PixelLen():], e.inputs[worker].Pix)
	}
}
