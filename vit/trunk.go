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

// Linears lists the layers whose weights are packed.
func (t *Trunk) Linears(yield func(*Linear) bool) {
	for _, b := range t.Blocks {
		for _, l := range [...]*Linear{b.QKV, b.Proj, b.FC1, b.FC2} {
			if l != nil && !yield(l) {
				return
			}
		}
	}
}

// headDim is the width of one attention head.
func (t *Trunk) headDim() int { return t.Dim / max(t.Heads, 1) }

// saved is what a block's backward pass needs from its forward pass; rows are those of the whole batch.
type saved struct {
	x, mid       []float32 // [rows, D] input, and after the attention's residual
	qkv          []float32 // [rows, 3D]
	att          []float32 // [rows, D] heads' outputs, before proj
	h            []float32 // [rows, Hidden] before GELU
	probs        []float32 // attention weights: sequence s, head h at s.probOff + h*T*T, [T, T]
	mean1, rstd1 []float32 // [rows] of norm1
	mean2, rstd2 []float32 // [rows] of norm2
}

// forwardChunk runs the whole trunk over the rows of one chunk of sequences: every block, then the final norm. Nothing
// in it depends on other chunks, so a batch needs one barrier.
func (ws *Workspace) forwardChunk(c chunk, w *scratch) {
	t, d := ws.trunk, ws.trunk.Dim
	lo, hi := c.row0*d, c.row1*d
	if ws.mode == Infer {
		s := &w.infer
		x := ws.X[lo:hi]
		for _, b := range t.Blocks {
			ws.blockForward(b, s, c, c.row0, x, x, w)
		}
		t.Norm.apply(ws.Out[lo:hi], x, nil, nil, c.row1-c.row0, t.eps)
		return
	}
	for i, b := range t.Blocks {
		next := ws.final
		if i+1 < len(t.Blocks) {
			next = ws.saves[i+1].x
		}
		ws.blockForward(b, &ws.saves[i], c, 0, ws.saves[i].x[lo:hi], next[lo:hi], w)
	}
	t.Norm.apply(ws.Out[lo:hi], ws.final[lo:hi], ws.finalMean[c.row0:], ws.finalRstd[c.row0:], c.row1-c.row0, t.eps)
}

// blockForward computes out = block(x) for the chunk's rows and leaves in s what backward needs. s's rows start at
// row base of the batch. out may be x.
func (ws *Workspace) blockForward(b *Block, s *saved, c chunk, base int, x, out []float32, w *scratch) {
	t, d := ws.trunk, ws.trunk.Dim
	rows, r := c.row1-c.row0, c.row0-base
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
			probs := w.probs
			if ws.mode == Train {
				probs = s.probs[ws.probOff[q]:]
			}
			t.attention(att[r0*d:], qkv[r0*3*d:], probs, tokens, ws.mode == Train, w)
		}
		b.Proj.Apply(mid, att, rows)
		kernels.Add(mid, x)
	}

	b.Norm2.apply(n, mid, s.mean2[r:], s.rstd2[r:], rows, t.eps)
	b.FC1.Apply(h, n, rows)
	g := w.gelu[:rows*t.Hidden]
	kernels.GELU(g, h)
	b.FC2.Apply(out, g, rows)
	kernels.Add(out, mid)
}

// backwardChunk is the input gradient of one block for one chunk: dOut -> dMid -> dIn. Beside it, it packs what the
// weights' gradients need (the inputs of the four linear layers, recomputed from what was saved) while it is in cache.
func (ws *Workspace) backwardChunk(c chunk, w *scratch) {
	t, d := ws.trunk, ws.trunk.Dim
	b, s, g := t.Blocks[ws.block], &ws.saves[ws.block], ws.grads
	rows, r := c.row1-c.row0, c.row0
	dOut, dMid, dIn := g.dOut[r*d:][:rows*d], g.dMid[r*d:][:rows*d], g.dIn[r*d:][:rows*d]
	x, mid := s.x[r*d:][:rows*d], s.mid[r*d:][:rows*d]
	h, dh := s.h[r*t.Hidden:][:rows*t.Hidden], g.dh[r*t.Hidden:][:rows*t.Hidden]
	n, gelu := w.norm[:rows*d], w.gelu[:rows*t.Hidden]

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
	kernels.AddLayerNormGrad(dMid, dn2, mid, b.Norm2.Gain.Value, s.mean2[r:], s.rstd2[r:], rows, d)

	if b.QKV == nil {
		copy(dIn, dMid)
		return
	}
	// Attention: mid = x + proj(attention(qkv(norm1(x))))
	packRows(&g.xProj, s.att[r*d:][:rows*d], r, rows)
	dAtt, dqkv := w.dAtt[:rows*d], g.dqkv[r*3*d:][:rows*3*d]
	b.Proj.applyGrad(dAtt, dMid, rows)
	for q := c.seq0; q < c.seq1; q++ {
		r0, tokens := int(ws.off[q])-r, int(ws.off[q+1]-ws.off[q])
		t.attentionGrad(dqkv[r0*3*d:], dAtt[r0*d:], s.qkv[(r+r0)*3*d:], s.probs[ws.probOff[q]:], tokens, w)
	}
	b.Norm1.apply(n, x, nil, nil, rows, t.eps)
	packRows(&g.xQKV, n, r, rows)
	dn1 := g.dn1[r*d:][:rows*d]
	b.QKV.applyGrad(dn1, dqkv, rows)
	copy(dIn, dMid)
	kernels.AddLayerNormGrad(dIn, dn1, x, b.Norm1.Gain.Value, s.mean1[r:], s.rstd1[r:], rows, d)
}

// packRows packs rows [r, r+rows) of a product's right-hand operand from x [rows, N].
func packRows(p *kernels.Panels, x []float32, r, rows int) {
	n := p.N
	for j := 0; j*kernels.NR < n; j++ {
		p.PackRowsAt(x, n, j, r, rows)
	}
}
