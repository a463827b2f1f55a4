package heads

import (
	"iter"
	"math"
	"slices"

	"edgejepa/internal/arena"
	"edgejepa/internal/parallel"
	"edgejepa/kernels"
	"edgejepa/vit"
)

// Head is the network behind an encoder. Between changes of its weights it may be shared by any number of passes.
type Head struct {
	Config  Config
	Encoder vit.Config
	Params  vit.Params

	mean, scale *vit.Param // [W] what features are standardised by; never trained: they have no gradient
	net         network
}

// network is what lies between standardised features and outputs.
type network interface {
	linears(yield func(*vit.Linear) bool)
	place(a *arena.Arena, p *Pass) passes
}

// passes is a network's memory for batches: forward from Pass.in to Pass.Out, backward from Pass.DOut to Pass.din.
type passes interface {
	forward(batch int)
	backward(batch int)
}

// New allocates a head with zero weights for inference.
func New(c Config, e vit.Config) (*Head, error) {
	if err := c.Validate(e); err != nil {
		return nil, err
	}
	return arena.Build(func(a *arena.Arena) *Head { return Place(a, c, e, false) }), nil
}

// Place lays out a head of a valid configuration in an arena; grads says whether it will be trained.
func Place(a *arena.Arena, c Config, e vit.Config, grads bool) *Head {
	h := &Head{Config: c, Encoder: e}
	w := c.Width(e)
	norm := h.Params.Norm("features", w)
	h.scale, h.mean = norm.Gain, norm.Bias
	switch c.Task {
	case Classify:
		h.net = newClassifier(h)
	case Segment:
		h.net = newSegmenter(h)
	case Detect:
		h.net = newDetector(h)
	}
	h.Params.Alloc(a, grads, h.net.linears)
	return h
}

// Linears lists the head's linear layers, whose packed weights Pack renews after the values changed.
func (h *Head) Linears(yield func(*vit.Linear) bool) { h.net.linears(yield) }

// Pack renews the packed weights on the calling goroutine.
func (h *Head) Pack() {
	for l := range h.Linears {
		l.Pack()
	}
}

// Init sets the initial values by the seed. A detector starts out expecting an object in one cell of a hundred (Lin et al.,
// arXiv 1708.02002, section 3.3). What Standardize has set stays.
func (h *Head) Init(seed uint64) {
	scale, mean := slices.Clone(h.scale.Value), slices.Clone(h.mean.Value)
	h.Params.Init(seed)
	if slices.Max(scale) > 0 {
		copy(h.scale.Value, scale)
		copy(h.mean.Value, mean)
	}
	if d, ok := h.net.(*detector); ok {
		for _, out := range d.outs() {
			for c := range h.Config.Classes {
				out.B.Value[c] = -4.595 // ln(0.01/0.99)
			}
		}
	}
}

// Standardize makes the head take features less their mean and over their deviation, so that rates do not depend on how an
// encoder scales them; most bounds what that multiplies a feature by. It is for the features of the encoder as it is when tuning
// begins, which come in pieces [rows, W]; how they are cut makes no difference (Welford's running sums).
func (h *Head) Standardize(pieces iter.Seq[[]float32], most float64) {
	w, rows := len(h.mean.Value), 0.0
	mean, squares := make([]float64, w), make([]float64, w)
	for x := range pieces {
		for ; len(x) >= w; x = x[w:] {
			rows++
			for j, v := range x[:w] {
				d := float64(v) - mean[j]
				mean[j] += d / rows
				squares[j] += float64(d * (float64(v) - mean[j]))
			}
		}
	}
	for j := range mean {
		h.mean.Value[j] = float32(mean[j])
		h.scale.Value[j] = 1
		if s := math.Sqrt(squares[j] / max(rows, 1)); s > 1e-6 {
			h.scale.Value[j] = float32(min(1/s, most))
		}
	}
}

// Pass runs a head over batches up to a size. One goroutine uses it at a time.
type Pass struct {
	Out  []float32 // [B, OutLen] raw outputs of the last Forward
	DOut []float32 // Train: their gradient, filled by the caller of Backward

	h        *Head
	pool     *parallel.Pool
	batch    int
	train    bool
	rows     int       // of features a picture: its tokens, or 1
	in, din  []float32 // [B, rows, W] standardised, and the gradient of that
	net      passes
	features []float32
}

// NewPass allocates for inference on batches of up to batch pictures.
func (h *Head) NewPass(pool *parallel.Pool, batch int) *Pass {
	return arena.Build(func(a *arena.Arena) *Pass { return h.PlacePass(a, pool, batch, vit.Infer) })
}

// PlacePass lays out a pass.
func (h *Head) PlacePass(a *arena.Arena, pool *parallel.Pool, batch int, mode vit.Mode) *Pass {
	p := &Pass{h: h, pool: pool, batch: batch, train: mode == vit.Train, rows: 1}
	if !h.Config.Pooled() {
		p.rows = h.Encoder.Tokens()
	}
	n := batch * h.Config.InLen(h.Encoder)
	p.in, p.Out = a.F32(n), a.F32(batch*h.OutLen())
	if p.train {
		p.din, p.DOut = a.F32(n), a.F32(batch*h.OutLen())
	}
	p.net = h.net.place(a, p)
	return p
}

// OutLen is how many outputs a picture has.
func (h *Head) OutLen() int { return h.Config.OutLen(h.Encoder) }

// Forward fills Out from the features [B, N, W], or [B, D] of a head that is Pooled, of up to the pass's number of pictures.
func (p *Pass) Forward(features []float32, batch int) []float32 {
	p.features = features[:batch*p.h.Config.InLen(p.h.Encoder)]
	w := len(p.h.mean.Value)
	p.each(batch, func(b int) {
		mean, scale := p.h.mean.Value, p.h.scale.Value
		for r := b * p.rows; r < (b+1)*p.rows; r++ {
			dst, x := p.in[r*w:][:w], p.features[r*w:][:w]
			for j, v := range x {
				dst[j] = float32((v - mean[j]) * scale[j])
			}
		}
	})
	p.net.forward(batch)
	return p.Out[:batch*p.h.OutLen()]
}

// Backward adds to the gradients of the parameters, from DOut, and fills dx, unless that is nil, with the gradient of the
// features. It follows a Forward of a pass made for Train, of the same batch.
func (p *Pass) Backward(dx []float32, batch int) {
	p.net.backward(batch)
	if dx == nil {
		return
	}
	w := len(p.h.mean.Value)
	p.each(batch, func(b int) {
		scale := p.h.scale.Value
		for r := b * p.rows; r < (b+1)*p.rows; r++ {
			for j, v := range p.din[r*w:][:w] {
				dx[r*w+j] = float32(v * scale[j])
			}
		}
	})
}

// each runs f for every picture of the batch on the pool.
func (p *Pass) each(batch int, f func(b int)) { p.pool.Do(perPicture(f), batch) }

type perPicture func(b int)

// Run is one picture.
func (f perPicture) Run(b, _ int) { f(b) }

// dense is y = GELU(x·Wᵀ + b) over rows, which keeps what its backward pass needs.
type dense struct {
	op   *vit.LinearOp
	l    *vit.Linear
	z, y []float32 // [rows, Out] before GELU and after
	dz   []float32 // [rows, Out]
}

func (p *Pass) placeDense(a *arena.Arena, l *vit.Linear, rows int) dense {
	d := dense{op: vit.NewLinearOp(l, p.pool), l: l, z: a.F32(rows * l.Out)}
	d.y = d.z
	if p.train {
		d.y, d.dz = a.F32(rows*l.Out), a.F32(rows*l.Out)
	}
	return d
}

// forward returns y [rows, Out] of x [rows, In].
func (d *dense) forward(p *Pass, x []float32, batch, rows int) []float32 {
	d.op.Forward(d.z, x, batch*rows)
	n := rows * d.l.Out
	p.each(batch, func(b int) { kernels.GELU(d.y[b*n:][:n], d.z[b*n:][:n]) })
	return d.y
}

// backward fills dx [rows, In], unless it is nil, from dy [rows, Out].
func (d *dense) backward(p *Pass, dx, dy, x []float32, batch, rows int) {
	n := rows * d.l.Out
	p.each(batch, func(b int) { kernels.GELUGrad(d.dz[b*n:][:n], dy[b*n:][:n], d.z[b*n:][:n]) })
	d.op.Backward(dx, d.dz, x, batch*rows)
}
