package vit

import (
	"edgejepa/internal/arena"
	"edgejepa/internal/noise"
	"edgejepa/kernels"
	"edgejepa/kernels/i8"
)

// Products of int8 operands, quantised on the fly: the forward product x·Wᵀ with a scale for each row of x and each
// output channel of W, the input's gradient dy·W with a scale for each row of dy and each input channel, the weight's
// gradient dyᵀ·x with a scale for each column of both. x and W are rounded to nearest, dy by chance: most of a gradient
// is below half a step, and to nearest that would be lost (Gupta et al., arXiv 1502.02551; Banner et al., 1805.11046).
// Sums are int32 and exact; scaled to float32 they are added to a float32 gradient.
//
// The contraction of a weight's gradient runs over rows, so that its scales are those of a set of rows. That set is a
// group: as many neighbouring sequences as Group says, counted from the batch's first. Nothing else decides it, so
// segments and micro-batches of whole groups change no bit. The noise is a function of the step, the layer, the group
// and the place in it.

// groupRows is how many rows a group has at least when its sequences are as long as they may be: enough that the scaling
// of an int32 sum is a small part of making it.
const groupRows = 128

// Group is how many sequences of up to tokens rows int8 weight gradients take together: a power of two.
func Group(tokens int) int {
	g := 1
	for g*tokens < groupRows {
		g *= 2
	}
	return g
}

// int8Gradients says whether the layer's gradient products are worth quantising. A row costs In + Out roundings by
// chance and saves a share of In*Out multiply-adds: narrow layers are faster in float32, and exact.
func (l *Linear) int8Gradients() bool { return l.In*l.Out >= int8Width*(l.In+l.Out) }

// int8Gradients says whether those of any layer are.
func (t *Trunk) int8Gradients() bool {
	for _, l := range t.Blocks[0].linears() {
		if l != nil && l.int8Gradients() {
			return true
		}
	}
	return false
}

// int8Width is the harmonic width below which gradient products stay float32.
const int8Width = 60

// int8Block is what a pass over int8 operands has beside its activations, for one block.
type int8Block struct {
	weights [4]int8Weights
	x       [4][]int8Input // by layer and chunk of the segment
	noise   uint32         // this step's and workspace's
	first   int            // the batch's number of the present first sequence
}

// int8Weights is W by output channel, and Wᵀ by input channel.
type int8Weights struct {
	forward, backward           i8.Panels
	forwardScale, backwardScale []float32
}

// int8Input is the input of a layer for one group, [rows, In] by column.
type int8Input struct {
	x     i8.Panels
	scale []float32
}

func placeInt8Panels(a *arena.Arena, p *i8.Panels, k, n int) {
	data, start := i8.PanelsLen(k, n)
	p.SetMemory(a.Int8(data), a.Int32(start))
}

// placeInt8 lays out the operands of a block's forward products.
func (t *Trunk) placeInt8(a *arena.Arena) *int8Block {
	q := &int8Block{}
	for i, l := range t.Blocks[0].linears() {
		if l == nil {
			continue
		}
		o := &q.weights[i]
		placeInt8Panels(a, &o.forward, l.In, l.Out)
		o.forwardScale = a.F32(l.Out)
	}
	return q
}

// placeInt8Gradients lays out those of its gradients; a segment has up to chunks chunks of up to rows rows.
func (t *Trunk) placeInt8Gradients(a *arena.Arena, q *int8Block, chunks, rows int) {
	for i, l := range t.Blocks[0].linears() {
		if l == nil || !l.int8Gradients() {
			continue
		}
		o := &q.weights[i]
		placeInt8Panels(a, &o.backward, l.Out, l.In)
		o.backwardScale = a.F32(l.In)
		q.x[i] = make([]int8Input, chunks)
		for c := range q.x[i] {
			placeInt8Panels(a, &q.x[i][c].x, rows, l.In)
			q.x[i][c].scale = a.F32(l.In)
		}
	}
}

// pack quantises and packs one layer's weights.
func (q *int8Block) pack(l *Linear, p packPiece, w *scratch) {
	o := &q.weights[p.layer]
	if p.backward {
		i8.QuantizeColumns(w.int8, l.Out, o.backwardScale, l.W.Value, l.Out, l.In, l.In)
		o.backward.Pack(w.int8, l.Out, l.In)
		return
	}
	i8.QuantizeWeights(w.int8, o.forwardScale, l.W.Value, l.Out, l.In)
	o.forward.Pack(w.int8, l.In, l.Out)
}

// forward is y = x·Wᵀ, then e.
func (q *int8Block) forward(y, x []float32, rows int, l *Linear, id layer, e *kernels.Epilogue, w *scratch) {
	o := &q.weights[id]
	i8.QuantizeRows(w.int8, w.scale, x, rows, l.In, l.In)
	i8.GemmF32(y, l.Out, w.int8, l.In, rows, &o.forward, w.scale, o.forwardScale, e)
}

// applyGrad is dx = dy·W for the rows of a chunk.
func (q *int8Block) applyGrad(dx, dy []float32, rows int, l *Linear, id layer, bits noise.Stream, w *scratch) {
	o := &q.weights[id]
	i8.QuantizeRowsStochastic(w.int8, w.scale, dy, rows, l.Out, l.Out, bits)
	i8.GemmF32(dx, l.In, w.int8, l.Out, rows, &o.backward, w.scale, o.backwardScale, nil)
}

// keep quantises the input of a layer for chunk slot of the segment.
func (q *int8Block) keep(x []float32, rows int, l *Linear, id layer, slot int, w *scratch) {
	in := &q.x[id][slot]
	i8.QuantizeColumns(w.int8, rows, in.scale, x, rows, l.In, l.In)
	in.x.Pack(w.int8, rows, l.In)
}

// addParamGrad adds chunk slot's part of dyᵀ·x to output channels [m0, m1); dy are the chunk's rows.
func (q *int8Block) addParamGrad(dy []float32, rows int, l *Linear, id layer, slot, m0, m1 int, bits noise.Stream, w *scratch) {
	in := &q.x[id][slot]
	i8.QuantizeColumnsStochastic(w.int8, rows, w.scale, dy[m0:], rows, m1-m0, l.Out, bits.At(rows*m0))
	dw := l.W.Grad[m0*l.In:]
	i8.GemmF32(dw, l.In, w.int8, rows, m1-m0, &in.x, w.scale, in.scale, &kernels.Epilogue{Residual: dw, LDResidual: l.In})
}

// stream is the noise of a gradient of a layer for a chunk.
func (ws *Workspace) stream(id layer, c chunk, weights bool) noise.Stream {
	tensor := uint32(ws.block)<<3 | uint32(id)<<1
	if weights {
		tensor |= 1
	}
	q := ws.int8
	return noise.Stream{Key: noise.Word(noise.Word(q.noise, tensor), uint32((q.first+c.seq0)/ws.group()))}
}

// int8Rows is how many output channels one task of a weight's gradient takes: whole blocks of the product.
func (l *Linear) int8Rows() int { return max(1, 24576/l.In/48) * 48 }
