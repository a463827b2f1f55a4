// Package quant makes trained encoders small and fast: a vision transformer in fixed point, of one byte a weight.
//
// From the bytes of a picture to its pooled sums there are only integers. Patches and everything that enters a matrix
// product are int8, products are exact in int32, the residual stream is int32 with one scale for the whole network; layer
// norm, softmax and GELU are those of package fixed. Scales are static, found on pictures by Calibrate, and go into
// integer multipliers, which the file holds: a model gives the same bits on every machine, for any batch and any number
// of threads. The last step is one multiplication and one addition in float64 for each value, rounded once to float32.
//
// The parts follow Jacob et al. (arXiv 1712.05877) for products and multipliers, I-BERT (arXiv 2101.01321) for what lies
// between them and SmoothQuant (arXiv 2211.10438) for channels that are wider than others.
package quant

import (
	"fmt"

	"edgejepa/kernels/fixed"
	"edgejepa/kernels/i8"
	"edgejepa/vit"
)

// Encoder is a vit.Encoder in fixed point. Any number of passes may share it.
type Encoder struct {
	Config vit.Config

	patch  linear  // bytes less 128, in the order of a picture's rows, to the stream
	pos    []int32 // [N, D] in units of the stream
	blocks []block
	eps    []int64 // [1] of every norm: fixed.NormEps

	// The last norm: a token is sum*tokenGain + bias, the mean of all sum*poolGain + bias, from fixed.SumNorm's sums.
	tokenGain, poolGain, bias []float64 // [D]

	unit, none []float64 // [D] gain 1 and bias 0 of a norm without either: constants

	scales *scales // of an encoder that Calibrate made; a file does not have them
}

// block is x += proj(attention(qkv(norm1(x)))), then x += fc2(gelu(fc1(norm2(x)))).
type block struct {
	norm1, norm2        requant // [D] of a norm's output
	qkv, proj, fc1, fc2 linear
	scoreScale          []float64        // [heads] what a unit of q·k counts in the softmax's exponent
	means               requant          // [D] of what the weights of attention average
	geluScale           []float64        // [1] of GELU's output
	geluZero            []int32          // [1] its zero point
	kOf                 []fixed.Requant  // [heads] parts of qkv.to
	meansOf             []fixed.Requant  // [heads] parts of means
	softmax             []*fixed.Softmax // [heads]
	gelu                *fixed.GELU
	qTo, vTo            fixed.Requant // the parts of qkv.to for all heads
}

// linear is an int8 product and the requantisation of its sums.
type linear struct {
	name    string
	in, out int
	shape   []int  // of the weights in a file
	w       []int8 // [out, in], under the chain rule of i8.CheckChains; nil once a loaded model has packed them
	to      requant
	panels  i8.Panels
}

// requant is a fixed.Requant beside the form that files have it in.
type requant struct {
	fixed.Requant
	table []int32 // [2, n] multipliers, then addends
	shift []int8  // [1+n] Lift, then Shift
}

// set takes over q.
func (r *requant) set(q *fixed.Requant) {
	n := len(q.Mult)
	copy(r.table[:n], q.Mult)
	copy(r.table[n:], q.Add)
	r.shift[0] = int8(q.Lift)
	for i, s := range q.Shift {
		r.shift[1+i] = int8(s)
	}
	r.Requant = fixed.Requant{Lift: q.Lift, Mult: r.table[:n], Add: r.table[n:], Shift: q.Shift}
}

// parse makes the Requant from what a file had.
func (r *requant) parse() error {
	n := len(r.shift) - 1
	shift := make([]int32, n)
	for i, s := range r.shift[1:] {
		shift[i] = int32(s)
	}
	r.Requant = fixed.Requant{Lift: int(r.shift[0]), Mult: r.table[:n], Add: r.table[n:], Shift: shift}
	return r.Check(n)
}

// part is channels [lo, hi) of q.
func part(q *fixed.Requant, lo, hi int) fixed.Requant {
	return fixed.Requant{Lift: q.Lift, Mult: q.Mult[lo:hi], Add: q.Add[lo:hi], Shift: q.Shift[lo:hi]}
}

// newEncoder is an encoder of a valid configuration without its numbers.
func newEncoder(c vit.Config) *Encoder {
	e := &Encoder{Config: c, blocks: make([]block, c.Depth), none: make([]float64, c.Dim)}
	e.unit = fill(make([]float64, c.Dim), 1.0/(1<<fixed.RowFraction))
	e.patch = linear{name: "patch_embed.proj", in: c.PatchLen(), out: c.Dim, shape: []int{c.Dim, c.PatchSize, c.PatchSize, c.Channels}}
	line := func(name string, in, out int) linear {
		return linear{name: name, in: in, out: out, shape: []int{out, in}}
	}
	for i := range e.blocks {
		n := fmt.Sprintf("blocks.%d.", i)
		b := &e.blocks[i]
		b.qkv, b.proj = line(n+"attn.qkv", c.Dim, 3*c.Dim), line(n+"attn.proj", c.Dim, c.Dim)
		b.fc1, b.fc2 = line(n+"mlp.fc1", c.Dim, c.Hidden()), line(n+"mlp.fc2", c.Hidden(), c.Dim)
	}
	return e
}

// alloc makes room for all numbers.
func (e *Encoder) alloc() {
	for _, f := range e.fields() {
		switch {
		case f.f64 != nil:
			*f.f64 = make([]float64, f.len())
		case f.i64 != nil:
			*f.i64 = make([]int64, f.len())
		case f.i32 != nil:
			*f.i32 = make([]int32, f.len())
		case f.i8 != nil:
			*f.i8 = make([]int8, f.len())
		}
	}
}

// linears lists the products: the patch embedding, then qkv, proj, fc1 and fc2 of each block.
func (e *Encoder) linears() []*linear {
	ls := []*linear{&e.patch}
	for i := range e.blocks {
		b := &e.blocks[i]
		ls = append(ls, &b.qkv, &b.proj, &b.fc1, &b.fc2)
	}
	return ls
}

// headDim is the width of one attention head.
func (e *Encoder) headDim() int { return e.Config.Dim / e.Config.Heads }

// ready makes what inference wants beside the numbers of a file.
func (e *Encoder) ready() error {
	if err := e.derive(); err != nil {
		return err
	}
	for _, l := range e.linears() {
		l.panels.Pack(l.w, l.in, l.out)
	}
	return nil
}

// derive makes the parts of requantisations and the constants of softmax and GELU. They are a few integers for each head
// and block, from the file's scales by operations that are exact or correctly rounded, so no tables need to be stored.
func (e *Encoder) derive() error {
	d, hd := e.Config.Dim, e.headDim()
	for i := range e.blocks {
		b := &e.blocks[i]
		b.kOf, b.meansOf, b.softmax = nil, nil, nil
		for h := range e.Config.Heads {
			b.kOf = append(b.kOf, part(&b.qkv.to.Requant, d+h*hd, d+(h+1)*hd))
			b.meansOf = append(b.meansOf, part(&b.means.Requant, h*hd, (h+1)*hd))
			s, err := fixed.NewSoftmax(b.scoreScale[h], true)
			if err != nil {
				return fmt.Errorf("blocks.%d.attn: head %d: %w", i, h, err)
			}
			b.softmax = append(b.softmax, s)
		}
		b.qTo, b.vTo = part(&b.qkv.to.Requant, 0, d), part(&b.qkv.to.Requant, 2*d, 3*d)
		var err error
		if b.gelu, err = fixed.NewGELU(b.geluScale[0], int(b.geluZero[0])); err != nil {
			return fmt.Errorf("blocks.%d.mlp: %w", i, err)
		}
	}
	return nil
}
