package quant

import (
	"errors"
	"fmt"
	"math"

	"edgejepa/internal/parallel"
	"edgejepa/kernels"
	"edgejepa/kernels/fixed"
	"edgejepa/vit"
)

// Calibration is what Calibrate did.
type Calibration struct {
	Pictures    int           `json:"pictures"`
	Rows        int           `json:"rows"`         // tokens that each layer was fitted to
	StreamScale float64       `json:"stream_scale"` // of the residual stream
	StreamPeak  float64       `json:"stream_peak"`  // its largest value, as a share of its range
	Layers      []LayerChoice `json:"layers"`
}

// LayerChoice is what one linear layer was given, and the ratio of its error's power to that without migration and
// clipping.
type LayerChoice struct {
	Name      string  `json:"name"`
	Migration float64 `json:"migration"` // alpha of SmoothQuant, 0 for none
	Clip      float64 `json:"clip"`      // share of the input's range that is kept
	Error     float64 `json:"error"`
}

// scales are the real numbers behind the integers of a calibrated encoder.
type scales struct {
	stream    float64
	fits      []*fit // in the order of linears
	attention []attentionScales
}

// attentionScales are those of q and k, v, and the output, [D] each. In each head the products of those of q and k are equal.
type attentionScales struct{ q, k, v, out []float64 }

// headroom is how many times the largest value that calibration saw fits into the residual stream.
const headroom = 4

// Calibrate rounds e to fixed point, with scales that are measured on pictures pix [n, S, S, 3] like those to be embedded
// (64 will do). For every linear layer it finds, by the error of the layer's output:
//
//   - how much range moves from the channels of the input to the weights (Xiao et al., SmoothQuant, arXiv 2211.10438), by
//     way of the norm's or the average's multipliers;
//   - which share of the input's range is worth keeping, the rest being cut off;
//   - the same for the weights of each output channel;
//
// then takes the mean error of each output channel off its bias (Nagel et al., arXiv 1906.04721), and, block by block, the
// mean drift of the residual stream as the integers before it have made it.
func Calibrate(e *vit.Encoder, pool *parallel.Pool, pix []uint8, n int) (*Encoder, Calibration, error) {
	if n < 1 || len(pix) < n*e.Config.PixelLen() {
		panic("quant: Calibrate: no pictures")
	}
	to := newEncoder(e.Config)
	to.alloc()
	to.scales = &scales{}
	c := &calibrator{from: e, to: to, pool: pool, sample: newSample(e, to, pool.Workers(), pix, n)}
	traceAll(e, pool, pix, n, c.seen)
	peak := 0.0
	for _, v := range c.peak {
		peak = max(peak, v)
	}
	if !(peak > 0 && peak < math.MaxFloat32) {
		return nil, Calibration{}, errors.New("the network's numbers are zero or not finite: it cannot be quantised")
	}
	c.even, c.all = c.merge()
	c.to.scales.stream = float64(peak*headroom) / fixed.ResidualMax
	c.chooseFits()
	if err := c.chooseAttention(); err != nil {
		return nil, Calibration{}, err
	}
	if err := c.assemble(); err != nil {
		return nil, Calibration{}, err
	}
	if err := c.correctDrift(); err != nil {
		return nil, Calibration{}, err
	}
	report := Calibration{Pictures: n, Rows: c.rows, StreamScale: c.to.scales.stream, StreamPeak: 1.0 / headroom}
	for _, f := range c.fits() {
		report.Layers = append(report.Layers, f.report)
		f.want = nil
	}
	return c.to, report, nil
}

type calibrator struct {
	sample
	from *vit.Encoder
	to   *Encoder
	pool *parallel.Pool

	even, all *ranges // of the pictures

	streams [][]int32 // [picture] of [N, D]
	spots   []picture // [worker]
	work    []work    // [worker]
	block   int
	second  bool // half of the block
	sums    []int64
}

func (c *calibrator) fits() []*fit { return c.to.scales.fits }

// chooseFits fits every linear layer on its own.
func (c *calibrator) chooseFits() {
	from := floatLinears(c.from)
	fits := make([]*fit, len(from))
	for i, l := range c.to.linears() {
		f := &fit{kind: layerPatch, l: l, rows: c.rows, x: c.inputs[i], want: c.embed,
			most: c.even.inputs[i], all: c.all.inputs[i], perPicture: c.perPicture}
		c.inputs[i] = nil // each is let go of when its layer is fitted
		if i == 0 {
			f.w, f.from = foldPatch(c.from.Config, from[0])
		} else {
			f.kind, f.w, f.from = layerKind(1+(i-1)%4), from[i].W.Value, make([]float64, l.out)
			for o, b := range from[i].B.Value {
				f.from[o] = float64(b)
			}
		}
		fits[i] = f
	}
	c.to.scales.fits = fits
	c.pool.Do(&fitTask{fits, from}, len(fits))
}

type fitTask struct {
	fits []*fit
	from []*vit.Linear
}

// Run fits layer i.
func (t *fitTask) Run(i, _ int) {
	f := t.fits[i]
	if f.kind != layerPatch {
		f.want = make([]float32, f.rows*f.l.out)
		t.from[i].Apply(f.want, f.x, f.rows)
	}
	f.search()
	f.x = nil
	if f.kind != layerQKV { // whose v chooseAttention looks at
		f.want = nil
	}
}

// Shares of the range of q and k that chooseAttention tries, and on how many pictures.
var attentionClips = []float64{1, 0.9, 0.8, 0.7, 0.6, 0.5}

const attentionPictures = 16

// chooseAttention finds the scales of q, k and v. Range moves between the channels of q and k until both have as much,
// which leaves their products as they are; what of it is kept is tried on whole pictures, for each head. v has a share for
// each channel.
func (c *calibrator) chooseAttention() error {
	cfg := c.from.Config
	d, heads := cfg.Dim, cfg.Heads
	try := make([][]attentionScales, cfg.Depth) // [block][clip]
	bs := make([][]block, cfg.Depth)
	for i := range try {
		qkv := c.fits()[1+4*i]
		v := make([]float64, d)
		for j := range v {
			clip := qkv.leastSquares(2*d+j, float64(c.even.qkv[i][2*d+j]))
			v[j] = positive(float64(clip*float64(c.all.qkv[i][2*d+j])) / 127)
		}
		for _, clip := range attentionClips {
			a := attentionScales{q: make([]float64, d), k: make([]float64, d), v: v, out: c.fits()[2+4*i].scale}
			for h := range heads {
				a.balance(c.all.qkv[i], h, d/heads, clip)
			}
			b, err := c.to.attentionBlock(i, &a)
			if err != nil {
				return err
			}
			try[i], bs[i] = append(try[i], a), append(bs[i], b)
		}
	}
	n, per := min(c.n, attentionPictures), len(attentionClips)*heads
	errs := make([]float64, n*cfg.Depth*per)
	spots, work := c.to.spots(c.pool), c.to.works(c.pool)
	traceAll(c.from, c.pool, c.pix, n, func(picture, i, worker int, t *trace) {
		for k := range attentionClips {
			at := errs[(picture*cfg.Depth+i)*per+k*heads:][:heads]
			c.to.attentionError(at, &spots[worker], &work[worker], &bs[i][k], &try[i][k], t)
		}
	})
	for i := range try {
		best := attentionScales{q: make([]float64, d), k: make([]float64, d), v: try[i][0].v, out: try[i][0].out}
		for h := range heads {
			least, share := math.Inf(1), 1.0
			for k, clip := range attentionClips {
				sum := 0.0
				for p := range n {
					sum += errs[(p*cfg.Depth+i)*per+k*heads+h]
				}
				if sum < least {
					least, share = sum, clip
				}
			}
			best.balance(c.all.qkv[i], h, d/heads, share)
		}
		c.to.scales.attention = append(c.to.scales.attention, best)
	}
	return nil
}

// balance sets the scales of q and k of head h from the largest magnitudes most [3D], a share clip of which is kept.
func (a *attentionScales) balance(most []float32, h, hd int, clip float64) {
	d := len(a.q)
	largest := 0.0
	for j := h * hd; j < (h+1)*hd; j++ {
		largest = max(largest, float64(float64(most[j])*float64(most[d+j])))
	}
	unit := positive(math.Sqrt(largest) * clip / 127)
	for j := h * hd; j < (h+1)*hd; j++ {
		ratio := math.Sqrt(float64(most[j])) / math.Sqrt(float64(most[d+j]))
		if !(ratio > 1e-3 && ratio < 1e3) {
			ratio = 1
		}
		a.q[j], a.k[j] = unit*ratio, unit/ratio
	}
}

// attentionBlock is the part of block i that attention needs.
func (e *Encoder) attentionBlock(i int, a *attentionScales) (b block, err error) {
	d, hd := e.Config.Dim, e.headDim()
	ratio := make([]float64, d)
	for j := range ratio {
		ratio[j] = a.v[j] / a.out[j] * 0x1p-20
	}
	means, err := fixed.NewRequant(ratio, make([]float64, d), 128<<fixed.RowFraction)
	if err != nil {
		return b, fmt.Errorf("blocks.%d.attn: %w", i, err)
	}
	for h := range e.Config.Heads {
		scale := float64(a.q[h*hd]*a.k[h*hd]) / math.Sqrt(float64(hd))
		s, err := fixed.NewSoftmax(scale, true)
		if err != nil {
			return b, fmt.Errorf("blocks.%d.attn: head %d: %w", i, h, err)
		}
		b.scoreScale = append(b.scoreScale, scale)
		b.softmax = append(b.softmax, s)
		b.meansOf = append(b.meansOf, part(means, h*hd, (h+1)*hd))
	}
	b.means = requant{Requant: *means}
	return b, nil
}

// attentionError adds to sum [heads] the error's power of the integers' attention for the float q, k and v of t.
func (e *Encoder) attentionError(sum []float64, s *picture, w *work, b *block, a *attentionScales, t *trace) {
	d, hd, kv := e.Config.Dim, e.headDim(), &s.kv[0]
	for r := range s.n {
		row := t.qkv[r*3*d:][:3*d]
		for j := range d {
			s.q[r*d+j] = roundI8(float64(row[j]) / a.q[j])
			kv.k[(j/hd*s.n+r)*hd+j%hd] = roundI8(float64(row[d+j]) / a.k[j])
			kv.vt[j*s.n+r] = roundI8(float64(row[2*d+j]) / a.v[j])
		}
	}
	for h := range sum {
		e.head(s, w, kv, b, h, 0, s.n)
		for r := range s.n {
			for j := h * hd; j < (h+1)*hd; j++ {
				diff := float64(t.att[r*d+j]) - float64(float64(s.att[r*d+j])*a.out[j])
				sum[h] += float64(diff * diff)
			}
		}
	}
}

func roundI8(x float64) int8 { return int8(min(max(math.Floor(x+0.5), -127), 127)) }

func (e *Encoder) spots(pool *parallel.Pool) []picture {
	s := make([]picture, pool.Workers())
	for i := range s {
		s[i] = e.newPicture()
	}
	return s
}

func (e *Encoder) works(pool *parallel.Pool) []work {
	w := make([]work, pool.Workers())
	for i := range w {
		w[i] = e.newWork()
	}
	return w
}

// assemble turns scales into the integers of the encoder.
func (c *calibrator) assemble() error {
	e, t := c.to, c.from.Trunk()
	cfg, stream := e.Config, e.scales.stream
	for i, v := range c.from.Positions() {
		e.pos[i] = int32(min(max(math.RoundToEven(float64(v)/stream), -fixed.ResidualMax), fixed.ResidualMax))
	}
	e.eps[0] = int64(fixed.NormEps(cfg.NormEps, stream))
	for j := range cfg.Dim {
		gain := float64(t.Norm.Gain.Value[j])
		e.tokenGain[j] = gain / (1 << fixed.RowFraction)
		e.poolGain[j] = gain / float64(cfg.Tokens()<<fixed.RowFraction)
		e.bias[j] = float64(t.Norm.Bias.Value[j])
	}
	if err := c.setLinear(0); err != nil {
		return err
	}
	for i := range e.blocks {
		b, a, from := &e.blocks[i], &e.scales.attention[i], t.Blocks[i]
		made, err := e.attentionBlock(i, a)
		if err != nil {
			return err
		}
		copy(b.scoreScale, made.scoreScale)
		b.means.set(&made.means.Requant)
		fc2 := c.fits()[4+4*i]
		b.geluScale[0], b.geluZero[0] = fc2.step, int32(fc2.zero)
		for k := range 4 {
			if err := c.setLinear(1 + 4*i + k); err != nil {
				return err
			}
		}
		if err := setNorm(&b.norm1, from.Norm1, c.fits()[1+4*i]); err != nil {
			return fmt.Errorf("blocks.%d.norm1: %w", i, err)
		}
		if err := setNorm(&b.norm2, from.Norm2, c.fits()[3+4*i]); err != nil {
			return fmt.Errorf("blocks.%d.norm2: %w", i, err)
		}
	}
	return e.ready()
}

func setNorm(r *requant, n *vit.Norm, f *fit) error {
	ratio, bias := make([]float64, n.Dim), make([]float64, n.Dim)
	for j := range ratio {
		ratio[j] = float64(n.Gain.Value[j]) / f.scale[j] / (1 << fixed.RowFraction)
		bias[j] = float64(n.Bias.Value[j]) / f.scale[j]
	}
	q, err := fixed.NewRequant(ratio, bias, 1<<26)
	if err == nil {
		r.set(q)
	}
	return err
}

// setLinear takes weights and requantisation of a layer over from its fit.
func (c *calibrator) setLinear(i int) error {
	f := c.fits()[i]
	copy(f.l.w, f.wq)
	unit := []float64{c.to.scales.stream}
	switch f.kind {
	case layerQKV:
		a := c.to.scales.attention[(i-1)/4]
		unit = append(append(append([]float64(nil), a.q...), a.k...), a.v...)
	case layerFC1:
		next := c.fits()[i+1]
		g, err := fixed.NewGELU(next.step, next.zero)
		if err != nil {
			return fmt.Errorf("%s: %w", f.l.name, err)
		}
		unit = []float64{math.Ldexp(1, -g.Fraction)}
	}
	q, err := f.requant(unit)
	if err != nil {
		return fmt.Errorf("%s: %w", f.l.name, err)
	}
	f.l.to.set(q)
	return nil
}

// correctDrift compares the mean of the residual stream behind each half of each block with the float network's, and
// takes the difference off the bias there; at last that of the embedding.
func (c *calibrator) correctDrift() error {
	e, cfg := c.to, c.from.Config
	d := cfg.Dim
	c.spots, c.work = e.spots(c.pool), e.works(c.pool)
	c.streams = make([][]int32, c.n)
	for i := range c.streams {
		c.streams[i] = make([]int32, cfg.Tokens()*d)
	}
	c.sums = make([]int64, c.n*d)
	drift := make([]float64, d)
	for c.block = range cfg.Depth {
		for half := range 2 {
			c.second = half == 1
			c.pool.Do(c, c.n)
			for j := range drift {
				want, sum := 0.0, int64(0)
				for p := range c.n {
					want += c.means[((p*cfg.Depth+c.block)*2+half)*d+j]
					sum += c.sums[p*d+j]
				}
				got := float64(float64(sum)*e.scales.stream) / float64(cfg.Tokens())
				drift[j] = (want - got) / float64(c.n)
			}
			at := 1 + 4*c.block + 1 + 2*half
			f := c.fits()[at]
			before := append([]float64(nil), f.bias...)
			for j, v := range drift {
				f.bias[j] += v
			}
			if err := c.setLinear(at); err != nil {
				return err
			}
			f.bias = before // what the layer by itself is fitted to
			for _, x := range c.streams {
				for i := range x {
					x[i] += int32(math.RoundToEven(drift[i%d] / e.scales.stream))
				}
			}
		}
	}
	return c.correctMean()
}

// Run takes picture i through half a block.
func (c *calibrator) Run(i, worker int) {
	e, w, s := c.to, &c.work[worker], &c.spots[worker]
	d, b := e.Config.Dim, &c.to.blocks[c.block]
	s.x = c.streams[i]
	for r := 0; r < s.n; r += strip {
		m := min(strip, s.n-r)
		switch {
		case c.second:
			e.mlp(s, w, b, r, m)
			continue
		case c.block == 0:
			e.embed(s, w, c.pix[i*e.Config.PixelLen():], r, m)
		}
		e.qkv(s, w, &s.kv[0], b, r, m)
	}
	if !c.second {
		for h := range e.Config.Heads {
			e.head(s, w, &s.kv[0], b, h, 0, s.n)
		}
		for r := 0; r < s.n; r += strip {
			e.project(s, w, b, r, min(strip, s.n-r))
		}
	}
	sums := c.sums[i*d:][:d]
	clear(sums)
	for j, v := range s.x {
		sums[j%d] += int64(v)
	}
}

// correctMean takes the mean error of the embedding off the last bias.
func (c *calibrator) correctMean() error {
	e, d := c.to, c.from.Config.Dim
	got := make([]float32, c.n*d)
	e.NewPass(c.pool).Embed(got, c.pix, c.n)
	if !kernels.AllFinite(got) {
		return errors.New("the network's numbers are not finite: it cannot be quantised")
	}
	for j := range d {
		sum := 0.0
		for p := range c.n {
			sum += c.pooled[p*d+j] - float64(got[p*d+j])
		}
		e.bias[j] += sum / float64(c.n)
	}
	return nil
}
