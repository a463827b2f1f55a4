package vit

import (
	"fmt"

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

// linears are the block's layers, those of a residual MLP's attention nil.
func (b *Block) linears() [4]*Linear { return [...]*Linear{b.QKV, b.Proj, b.FC1, b.FC2} }

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

// headDim is the width of one attention head.
func (t *Trunk) headDim() int { return t.Dim / max(t.Heads, 1) }

// saved is what a block's backward pass needs from its forward pass.
type saved struct {
	x, mid       []float32 // [rows, D] input, and after the attention's residual
	qkv          []float32 // [rows, 3D]
	att          []float32 // [rows, D] heads' outputs, before proj
	h            []float32 // [rows, Hidden] before GELU
	probs        []float32 // attention weights: sequence s, head h at s.probOff + h*T*T, [T, T]; nil: not kept
	mean1, rstd1 []float32 // [rows] of norm1
	mean2, rstd2 []float32 // [rows] of norm2
}

// origin is where the rows and attention weights of a saved start in those of the batch.
type origin struct{ row, prob int }

// forwardChunk runs blocks [ws.block, ws.last) over the rows of one chunk of sequences, and the final norm behind the
// last. Nothing in it depends on other chunks.
func (ws *Workspace) forwardChunk(c chunk, w *scratch) {
	t, d := ws.trunk, ws.trunk.Dim
	lo, hi := c.row0*d, c.row1*d
	x, mean, rstd := ws.X[lo:hi], []float32(nil), []float32(nil)
	for i := ws.block; i < ws.last; i++ {
		s, at, out := &w.infer, origin{row: c.row0}, x
		if ws.mode == Train {
			s, at, x, out = &ws.saves[i], origin{}, ws.saves[i].x[lo:hi], ws.input(i + 1)[lo:hi]
			if i < ws.max.Recompute {
				s, at = &w.infer, origin{row: c.row0}
			}
		}
		ws.blockForward(t.Blocks[i], s, at, c, x, out, w)
	}
	if ws.last < len(t.Blocks) {
		return
	}
	if ws.mode == Train {
		x, mean, rstd = ws.final[lo:hi], ws.finalMean[c.row0:], ws.finalRstd[c.row0:]
	}
	t.Norm.apply(ws.Out[lo:hi], x, mean, rstd, c.row1-c.row0, t.eps)
}

// input is where block i reads, or the final norm if there is none.
func (ws *Workspace) input(i int) []float32 {
	if i == len(ws.saves) {
		return ws.final
	}
	return ws.saves[i].x
}

// blockForward computes out = block(x) for the chunk's rows and leaves in s what backward needs; out nil: that alone.
// out may be x.
func (ws *Workspace) blockForward(b *Block, s *saved, at origin, c chunk, x, out []float32, w *scratch) {
	t, d := ws.trunk, ws.trunk.Dim
	rows, r := c.row1-c.row0, c.row0-at.row
	n, mid := w.norm[:rows*d], s.mid[r*d:][:rows*d]
	h := s.h[r*t.Hidden:][:rows*t.Hidden]

	if b.QKV == nil {
		copy(mid, x)
	} else {
		qkv, att := s.qkv[r*3*d:], s.att[r*d:]
		b.Norm1.apply(n, x, s.mean1[r:], s.rstd1[r:], rows, t.eps)
		b.QKV.Apply(qkv, n, rows)
		for q := c.seq0; q < c.seq1; q++ {
			r0, tokens := int(ws.off[q])-c.row0, int(ws.off[q+1]-ws.off[q])
			probs, keep := w.probs, s.probs != nil
			if keep {
				probs = s.probs[ws.probOff[q]-at.prob:]
			}
			t.attention(att[r0*d:], qkv[r0*3*d:], probs, tokens, keep, w)
		}
		b.Proj.Apply(mid, att, rows)
		kernels.Add(mid, x)
	}

	b.Norm2.apply(n, mid, s.mean2[r:], s.rstd2[r:], rows, t.eps)
	b.FC1.Apply(h, n, rows)
	if out == nil {
		return
	}
	g := w.gelu[:rows*t.Hidden]
	kernels.GELU(g, h)
	b.FC2.Apply(out, g, rows)
	kernels.Add(out, mid)
}

// backwardChunk is the input gradient of the present block for one chunk of the present segment, in place of the
// gradient of its output in DOut. Beside it, it packs what the weights' gradients need (the inputs of the four linear
// layers, recomputed from what was saved) while it is in cache.
func (ws *Workspace) backwardChunk(c chunk, w *scratch) {
	t, d := ws.trunk, ws.trunk.Dim
	b, g := t.Blocks[ws.block], ws.grads
	s, at := ws.kept()
	rows, r, k := c.row1-c.row0, c.row0-ws.seg.row0, c.row0-at.row // r: in the segment, k: in s
	x := ws.saves[ws.block].x[c.row0*d:][:rows*d]
	if ws.recomputed() {
		ws.blockForward(b, s, at, c, x, nil, w)
	}
	chain := ws.DOut[c.row0*d:][:rows*d]
	dOut, dMid := g.dOut[r*d:][:rows*d], g.dMid[r*d:][:rows*d]
	mid := s.mid[k*d:][:rows*d]
	h, dh := s.h[k*t.Hidden:][:rows*t.Hidden], g.dh[r*t.Hidden:][:rows*t.Hidden]
	n, gelu := w.norm[:rows*d], w.gelu[:rows*t.Hidden]
	copy(dOut, chain)

	// MLP: out = mid + fc2(gelu(fc1(norm2(mid))))
	kernels.GELU(gelu, h)
	packRows(&g.xFC2, gelu, r, rows)
	b.FC2.applyGrad(dh, dOut, rows)
	kernels.GELUGrad(dh, dh, h)
	b.Norm2.apply(n, mid, nil, nil, rows, t.eps)
	packRows(&g.xFC1, n, r, rows)
	dn2 := g.dn2[r*d:][:rows*d]
	b.FC1.applyGrad(dn2, dh, rows)
	copy(dMid, dOut)
	kernels.AddLayerNormGrad(dMid, dn2, mid, b.Norm2.Gain.Value, s.mean2[k:], s.rstd2[k:], rows, d)

	copy(chain, dMid)
	if b.QKV == nil {
		return
	}
	// Attention: mid = x + proj(attention(qkv(norm1(x))))
	packRows(&g.xProj, s.att[k*d:][:rows*d], r, rows)
	dAtt, dqkv := w.dAtt[:rows*d], g.dqkv[r*3*d:][:rows*3*d]
	b.Proj.applyGrad(dAtt, dMid, rows)
	for q := c.seq0; q < c.seq1; q++ {
		r0, tokens := int(ws.off[q])-c.row0, int(ws.off[q+1]-ws.off[q])
		t.attentionGrad(dqkv[r0*3*d:], dAtt[r0*d:], s.qkv[(k+r0)*3*d:], s.probs[ws.probOff[q]-at.prob:], tokens, w)
	}
	b.Norm1.apply(n, x, nil, nil, rows, t.eps)
	packRows(&g.xQKV, n, r, rows)
	dn1 := g.dn1[r*d:][:rows*d]
	b.QKV.applyGrad(dn1, dqkv, rows)
	kernels.AddLayerNormGrad(chain, dn1, x, b.Norm1.Gain.Value, s.mean1[k:], s.rstd1[k:], rows, d)
}

// packRows packs rows [r, r+rows) of a product's right-hand operand from x [rows, N].
func packRows(p *kernels.Panels, x []float32, r, rows int) {
	n := p.N
	for j := 0; j*kernels.NR < n; j++ {
		p.PackRowsAt(x, n, j, r, rows)
	}
}
