package vit

import (
	"fmt"

	"edgejepa/fp"
	"edgejepa/kernels"
)

// Trunk is a stack of pre-norm transformer blocks and a final layer norm, the part that an encoder and a predictor
// share (Dosovitskiy et al., arXiv 2010.11929). It has no idea of pictures or positions: rows in, rows out.
type Trunk struct {
	Dim, Heads, Hidden int
	Blocks             []*Block
	Norm               *Norm
	eps                float32
	perBlock           bool // weights are packed block by block: see PackBlocks
	strips             bool // or strip by strip: see PackStrips
	precision          Precision
}

// Block is x + attention(norm1(x)), then + mlp(norm2(·)). In a trunk of 0 heads it is the second half alone, a residual
// MLP, and Norm1, QKV and Proj are nil.
type Block struct {
	Norm1, Norm2        *Norm
	QKV, Proj, FC1, FC2 *Linear
}

// NewTrunk adds the parameters of depth blocks, named blocks+".0.norm1.weight" and so on, and the final norm's.
func NewTrunk(ps *Params, blocks, norm string, dim, depth, heads, hidden int, eps float64) *Trunk {
	t := &Trunk{Dim: dim, Heads: heads, Hidden: hidden, eps: float32(eps)}
	for i := range depth {
		n := fmt.Sprintf("%s.%d.", blocks, i)
		b := &Block{}
		if heads > 0 {
			b.Norm1 = ps.Norm(n+"norm1", dim)
			b.QKV = ps.Linear(n+"attn.qkv", dim, 3*dim)
			b.Proj = ps.Linear(n+"attn.proj", dim, dim)
		}
		b.Norm2 = ps.Norm(n+"norm2", dim)
		b.FC1 = ps.Linear(n+"mlp.fc1", dim, hidden)
		b.FC2 = ps.Linear(n+"mlp.fc2", hidden, dim)
		t.Blocks = append(t.Blocks, b)
	}
	t.Norm = ps.Norm(norm, dim)
	return t
}

// SetPrecision decides what the passes over the trunk compute with. It precedes them.
func (t *Trunk) SetPrecision(p Precision) { t.precision = p }

// layer names one of a block's linear layers.
type layer byte

const (
	qkv layer = iota
	proj
	fc1
	fc2
)

// linears are the block's layers by name, those of a residual MLP's attention nil.
func (b *Block) linears() [4]*Linear { return [...]*Linear{b.QKV, b.Proj, b.FC1, b.FC2} }

// clearGrad sets the gradients of the block's parameters to zero.
func (b *Block) clearGrad() {
	for _, n := range []*Norm{b.Norm1, b.Norm2} {
		if n != nil {
			n.clearGrad()
		}
	}
	for _, l := range b.linears() {
		if l != nil {
			l.clearGrad()
		}
	}
}

// Linears lists the layers whose weights are packed.
func (t *Trunk) Linears(yield func(*Linear) bool) {
	for _, b := range t.Blocks {
		for _, l := range b.linears() {
			if l != nil && !yield(l) {
				return
			}
		}
	}
}

// forwardChunk runs blocks [ws.block, ws.last) over the rows of one chunk of sequences, and the final norm behind the
// last. Nothing in it depends on other chunks.
func (ws *Workspace) forwardChunk(c chunk, w *scratch) {
	t, d := ws.trunk, ws.trunk.Dim
	lo, hi := c.row0*d, c.row1*d
	x := ws.X[lo:hi]
	for i := ws.block; i < ws.last; i++ {
		s, out, keep := w.block, x, ws.mode == Train && i >= ws.max.Recompute
		if !keep {
			s.h = nil
		}
		switch {
		case ws.inHalves():
			ws.roundInput(i, c, x)
		case ws.mode == Train:
			x, out = ws.input(i)[lo:hi], ws.input(i + 1)[lo:hi]
			if keep {
				s = ws.saves[i].from(t, c.row0)
			}
		}
		ws.blockForward(i, &s, c, x, out, w)
		ws.addInner(out, c, i, w)
		if keep && ws.inHalves() {
			ws.halves[i].encode(&s, t, c.row0, c.row1-c.row0)
		}
	}
	if ws.last < len(t.Blocks) {
		return
	}
	var mean, rstd []float32
	if ws.inHalves() {
		ws.roundInput(len(t.Blocks), c, x)
	} else if ws.mode == Train {
		x = ws.final[lo:hi]
	}
	if ws.mode == Train {
		mean, rstd = ws.finalMean[c.row0:], ws.finalRstd[c.row0:]
	}
	t.Norm.apply(ws.Out[lo:hi], x, mean, rstd, c.row1-c.row0, t.eps)
}

// roundInput rounds x, the chunk's input of block i or of the final norm, and keeps it if there will be a backward pass.
func (ws *Workspace) roundInput(i int, c chunk, x []float32) {
	if ws.mode == Infer {
		roundHalves(x)
		return
	}
	h := ws.inputHalves(i)[c.row0*ws.trunk.Dim:][:len(x)]
	fp.EncodeHalf(h, x)
	fp.DecodeHalf(x, h)
}

// input is where block i reads, or the final norm if there is none.
func (ws *Workspace) input(i int) []float32 {
	if i == len(ws.saves) {
		return ws.final
	}
	return ws.saves[i].x
}

// inputHalves is input in halves.
func (ws *Workspace) inputHalves(i int) []uint16 {
	if i == len(ws.halves) {
		return ws.finalHalves
	}
	return ws.halves[i].x
}

// product is y = x·Wᵀ + b for rows rows, then e.
func (ws *Workspace) product(y, x []float32, rows int, l *Linear, id layer, e kernels.Epilogue, w *scratch) {
	e.Bias, e.LDPre, e.LDResidual = l.B.Value, l.Out, l.Out
	if ws.int8 != nil {
		ws.int8.forward(y, x, rows, l, id, &e, w)
	} else if ws.trunk.strips {
		l.applyStrips(y, x, rows, &e, &w.strip)
	} else {
		kernels.GemmFused(y, l.Out, x, l.In, rows, &l.forward, &e)
	}
}

// blockForward computes out = block i(x) for the chunk's rows and leaves in s, which begins with them, what backward needs;
// out nil: that alone. out may be x.
func (ws *Workspace) blockForward(i int, s *saved, c chunk, x, out []float32, w *scratch) {
	t, b, d := ws.trunk, ws.trunk.Blocks[i], ws.trunk.Dim
	rows := c.row1 - c.row0
	n, mid := w.norm[:rows*d], s.mid[:rows*d]

	if b.QKV == nil {
		copy(mid, x)
	} else {
		b.Norm1.apply(n, x, s.mean1, s.rstd1, rows, t.eps)
		ws.product(s.qkv, n, rows, b.QKV, qkv, kernels.Epilogue{}, w)
		for q := c.seq0; q < c.seq1; q++ {
			r0, tokens := int(ws.off[q])-c.row0, int(ws.off[q+1]-ws.off[q])
			kernels.AttentionForward(s.att[r0*d:], s.qkv[r0*3*d:], nil, tokens, d, t.Heads, w.attention)
		}
		ws.addBranch(mid, x, s.att, c, b.Proj, proj, i, attentionBranch, w)
	}

	b.Norm2.apply(n, mid, s.mean2, s.rstd2, rows, t.eps)
	if out == nil {
		ws.product(s.h, n, rows, b.FC1, fc1, kernels.Epilogue{}, w)
		return
	}
	g := w.gelu[:rows*t.Hidden]
	ws.product(g, n, rows, b.FC1, fc1, kernels.Epilogue{GELU: true, Pre: s.h}, w)
	ws.addBranch(out, mid, g, c, b.FC2, fc2, i, mlpBranch, w)
}

// backwardChunk is the input gradient of the present block for one chunk of the present segment, in place of the
// gradient of its output in DOut. Beside it, it keeps what the weights' gradients need, the inputs of the four linear
// layers: recomputed from what was saved.
func (ws *Workspace) backwardChunk(c chunk, slot int, w *scratch) {
	t, d := ws.trunk, ws.trunk.Dim
	b, g := t.Blocks[ws.block], ws.grads
	rows, r := c.row1-c.row0, c.row0-ws.seg.row0 // r: in the segment
	s := ws.recall(c, w)
	x := s.x[:rows*d]
	chain := ws.DOut[c.row0*d:][:rows*d]
	dOut, dMid := g.dOut[r*d:][:rows*d], g.dMid[r*d:][:rows*d]
	mid := s.mid[:rows*d]
	h, dh := s.h[:rows*t.Hidden], g.dh[r*t.Hidden:][:rows*t.Hidden]
	copy(dOut, chain)
	ws.scaleBranch(dOut, c, ws.block, mlpBranch)

	// MLP: out = mid + fc2(gelu(fc1(norm2(mid))))
	gelu := ws.inputRoom(b.FC2, fc2, r, rows, w.gelu)
	kernels.GELU(gelu, h)
	ws.keepInput(gelu, rows, b.FC2, fc2, slot, w)
	ws.inputGrad(dh, dOut, b.FC2, fc2, c, w)
	kernels.GELUGrad(dh, dh, h)
	n := ws.inputRoom(b.FC1, fc1, r, rows, w.norm)
	b.Norm2.apply(n, mid, nil, nil, rows, t.eps)
	ws.keepInput(n, rows, b.FC1, fc1, slot, w)
	dn2 := g.dn2[r*d:][:rows*d]
	ws.inputGrad(dn2, dh, b.FC1, fc1, c, w)
	copy(dMid, chain)
	kernels.AddLayerNormGrad(dMid, dn2, mid, b.Norm2.Gain.Value, s.mean2, s.rstd2, rows, d)
	copy(chain, dMid)
	if b.QKV == nil {
		return
	}
	// Attention: mid = x + proj(attention(qkv(norm1(x))))
	ws.scaleBranch(dMid, c, ws.block, attentionBranch)
	dAtt, dqkv := w.norm[:rows*d], g.dqkv[r*3*d:][:rows*3*d]
	ws.keepInput(s.att, rows, b.Proj, proj, slot, w)
	ws.inputGrad(dAtt, dMid, b.Proj, proj, c, w)
	for q := c.seq0; q < c.seq1; q++ {
		r0, tokens := int(ws.off[q])-c.row0, int(ws.off[q+1]-ws.off[q])
		kernels.AttentionBackward(dqkv[r0*3*d:], dAtt[r0*d:], s.qkv[r0*3*d:], nil, tokens, d, t.Heads, w.attention)
	}
	n = ws.inputRoom(b.QKV, qkv, r, rows, w.norm)
	b.Norm1.apply(n, x, nil, nil, rows, t.eps)
	ws.keepInput(n, rows, b.QKV, qkv, slot, w)
	dn1 := g.dn1[r*d:][:rows*d]
	ws.inputGrad(dn1, dqkv, b.QKV, qkv, c, w)
	kernels.AddLayerNormGrad(chain, dn1, x, b.Norm1.Gain.Value, s.mean1, s.rstd1, rows, d)
}

// recall returns what forward left of the present block for a chunk of the present segment: what was kept, or what it
// widens or computes anew.
func (ws *Workspace) recall(c chunk, w *scratch) saved {
	t, d := ws.trunk, ws.trunk.Dim
	s, rows := ws.kept.from(t, c.row0-ws.keptRow), c.row1-c.row0
	if !ws.inHalves() && !ws.recomputed() {
		return s
	}
	s.qkv, s.h = w.block.qkv, w.block.h // no weight's gradient reads them
	if ws.inHalves() {
		fp.DecodeHalf(s.x[:rows*d], ws.halves[ws.block].x[c.row0*d:][:rows*d])
	}
	if !ws.recomputed() {
		ws.halves[ws.block].decode(&s, t, c.row0, rows)
		return s
	}
	ws.blockForward(ws.block, &s, c, s.x[:rows*d], nil, w)
	if ws.inHalves() {
		s.round(t, rows)
	}
	return s
}

// usesInt8 says whether a layer's gradients are products of int8 operands.
func (ws *Workspace) usesInt8(l *Linear) bool { return ws.int8 != nil && l.int8Gradients() }

// inputRoom is where a layer's input is to be computed anew: where the weight's gradient will read it, or in scratch if
// it reads int8.
func (ws *Workspace) inputRoom(l *Linear, id layer, r, rows int, scratch []float32) []float32 {
	if ws.usesInt8(l) {
		return scratch[:rows*l.In]
	}
	return ws.grads.x[id][r*l.In:][:rows*l.In]
}

// keepInput keeps a layer's input for the weight's gradient if that is a product of int8 operands.
func (ws *Workspace) keepInput(x []float32, rows int, l *Linear, id layer, slot int, w *scratch) {
	if ws.usesInt8(l) {
		ws.int8.keep(x, rows, l, id, slot, w)
	}
}

// inputGrad is dx = dy·W for a chunk's rows.
func (ws *Workspace) inputGrad(dx, dy []float32, l *Linear, id layer, c chunk, w *scratch) {
	rows := c.row1 - c.row0
	if ws.usesInt8(l) {
		ws.int8.applyGrad(dx, dy, rows, l, id, ws.stream(id, c, false), w)
	} else {
		l.applyGrad(dx, dy, rows)
	}
}

// weights adds output channels [m0, m1) of a layer's parameter gradients, for the rows of the present segment; dy and x
// begin with them.
func (ws *Workspace) weights(dy, x []float32, l *Linear, id layer, m0, m1 int, w *scratch) {
	rows := ws.seg.row1 - ws.seg.row0
	if !ws.usesInt8(l) {
		l.addParamGrad(dy, x, rows, m0, m1)
		return
	}
	for slot, c := range ws.chunks[ws.seg.chunk0:ws.seg.chunk1] {
		dy := dy[(c.row0-ws.seg.row0)*l.Out:]
		ws.int8.addParamGrad(dy, c.row1-c.row0, l, id, slot, m0, m1, ws.stream(id, c, true), w)
	}
	l.addBiasGrad(dy, rows, m0, m1)
}
