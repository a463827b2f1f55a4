package main

import (
	"context"
	"errors"
	"io"
	"math"

	"edgejepa/internal/parallel"
	"edgejepa/kernels"
	"edgejepa/quant"
	"edgejepa/vit/pixels"
)

// run embeds everything that the options name.
func (o *options) run(ctx context.Context) error {
	return o.over(ctx, func(m *quant.Model, on machine) (job, error) {
		c := m.Config()
		b := newBatch(m, on.pool, o.batchSize(c), o.tokens, o.normalize == "l2")
		b.format, b.file = o.format, o.output
		spec := pixels.Spec{Size: c.ImageSize, Width: c.ImageWidth, Mean: c.Mean, Std: c.Std}
		return job{sink: b, minSide: spec.MinSide(), did: "embedded", input: func() input {
			pre := pixels.NewPreprocessor(spec)
			return func(dst []uint8, src pixels.Image) { copy(dst, pre.Crop(src).Pix) }
		}}, nil
	})
}

// batch collects pictures and turns them into rows. After the first batch it allocates nothing.
type batch struct {
	queue
	shape        shape
	l2           bool
	format, file string
	rows         rows

	pass quant.Embedder
	out  []float32 // [size, shape]
}

func newBatch(m *quant.Model, pool *parallel.Pool, size int, tokens, l2 bool) *batch {
	c := m.Config()
	b := &batch{queue: newQueue(c, size), shape: shape{Dim: c.Dim}, l2: l2, pass: m.NewEmbedder(pool, size)}
	if tokens {
		b.shape.Tokens = c.Tokens()
	}
	b.out = make([]float32, size*b.shape.len())
	return b
}

func (b *batch) open(w io.Writer) (err error) {
	b.rows, err = newRows(w, b.format, b.file, b.shape)
	return err
}

func (b *batch) finish() error { return b.rows.finish() }
func (b *batch) close()        { b.rows.close() }

func (b *batch) flush(yield func(error) bool) {
	n := b.n
	b.n = 0
	if b.shape.Tokens > 0 {
		b.pass.Tokens(b.out, b.pix, n)
	} else {
		b.pass.Embed(b.out, b.pix, n)
	}
	for i, path := range b.paths[:n] {
		v := b.out[i*b.shape.len():][:b.shape.len()]
		if !kernels.AllFinite(v) {
			if !yield(&pixels.FileError{Path: path, Err: errNotFinite}) {
				return
			}
			continue
		}
		if b.l2 {
			for t := 0; t < len(v); t += b.shape.Dim {
				normalizeL2(v[t:][:b.shape.Dim])
			}
		}
		if err := b.rows.row(path, v); err != nil {
			yield(err)
			return
		}
		b.done++
	}
}

var errNotFinite = errors.New("the model gives numbers that are not finite: its weights are too large")

// normalizeL2 scales v to length 1: the squares are added in float64 in order, and each quotient is rounded once. A
// vector of zeros stays.
func normalizeL2(v []float32) {
	sum := 0.0
	for _, x := range v {
		sum += float64(float64(x) * float64(x))
	}
	if sum == 0 {
		return
	}
	length := math.Sqrt(sum)
	for i, x := range v {
		v[i] = float32(float64(x) / length)
	}
}
