package vit

import (
	"edgejepa/internal/arena"
	"edgejepa/kernels"
)

// A trunk that packs its weights block by block keeps none of them packed: every pass has room for those of one block
// and packs a block's weights when it comes to it. The weights then take once their size, not twice, and in a step over
// one undivided batch that is no more packing than after each update.
//
// Backward products need no packing in float32: they read the weights as they stand.

// PackBlocks makes the trunk pack its weights block by block. It precedes Alloc.
func (t *Trunk) PackBlocks() {
	t.perBlock = true
	t.Linears(func(l *Linear) bool {
		l.passing = true
		return true
	})
}

// blockPanels is a pass's room for the packed weights of one block.
type blockPanels [4]kernels.Panels

// placePanels lays out the panels of some of a block's layers.
func (t *Trunk) placePanels(a *arena.Arena, p *blockPanels, layers ...layer) {
	for _, i := range layers {
		if l := t.Blocks[0].linears()[i]; l != nil && t.perBlock && !t.strips && t.precision != I8 {
			p[i] = kernels.Panels{K: l.In, N: l.Out, Data: a.F32(kernels.PanelLen(l.In, l.Out))}
		}
	}
}

// PackStrips makes a trunk that packs block by block go without room for a block: every task packs what it is about to
// multiply with, a few columns at a time. That is as much packing where a batch is a single chunk, and more the more
// chunks there are. It precedes the passes over the trunk; int8 operands, a quarter of the size, are not concerned.
func (t *Trunk) PackStrips() { t.strips = t.perBlock && t.precision != I8 }

const (
	stripWeights = 1 << 15 // of a strip, about
	stripPanels  = 3       // at least: what the widest tiles take
)

// stripPanels is how many panels a strip of the layer has.
func (l *Linear) stripPanels() int { return max(stripPanels, stripWeights/(l.In*kernels.NR)) }

// stripLen is the size of the largest strip.
func (t *Trunk) stripLen() (n int) {
	for _, l := range t.Blocks[0].linears() {
		if l != nil {
			n = max(n, min(l.stripPanels()*kernels.NR*l.In, kernels.PanelLen(l.In, l.Out)))
		}
	}
	return n
}

// applyStrips is y = x·Wᵀ, then e, strip by strip. Each element is the sum that the whole product would make.
func (l *Linear) applyStrips(y, x []float32, rows int, e *kernels.Epilogue, strip *kernels.Panels) {
	width := l.stripPanels() * kernels.NR
	for n := 0; n < l.Out; n += width {
		strip.SetShape(l.In, min(width, l.Out-n))
		for p := 0; p*kernels.NR < strip.N; p++ {
			strip.PackPanelT(l.W.Value[n*l.In:], l.In, p)
		}
		part := *e
		part.Bias = e.Bias[n:]
		if e.Pre != nil {
			part.Pre = e.Pre[n:]
		}
		if e.Residual != nil {
			part.Residual = e.Residual[n:]
		}
		kernels.GemmFused(y[n:], l.Out, x, l.In, rows, strip, &part)
	}
}

// lend gives block b the panels.
func (p *blockPanels) lend(b *Block) {
	for i, l := range b.linears() {
		if l != nil {
			l.forward = p[i]
		}
	}
}

// packPiece is panels [p0, p1) of a layer's packed weights, or a whole int8 operand: what one task packs.
type packPiece struct {
	layer    layer
	backward bool // int8: the operand of the input's gradient
	p0, p1   int
}

// packLen is about how many weights one task packs.
const packLen = 1 << 14

// packPieces cuts the packing of a block's weights into tasks, those for the forward products first; there are ahead of
// these, the first anew of which are for what precedes the last layer. A trunk that keeps its weights packed has none.
func (t *Trunk) packPieces(mode Mode) (ps []packPiece, ahead, anew int) {
	layers := t.Blocks[0].linears()
	switch {
	case t.strips:
	case t.precision == I8:
		for _, i := range []layer{fc1, qkv, proj, fc2} {
			if layers[i] != nil {
				ps = append(ps, packPiece{layer: i})
			}
		}
		ahead = len(ps)
		anew = ahead - 1
		for _, p := range ps {
			if mode == Train && layers[p.layer].int8Gradients() {
				p.backward = true
				ps = append(ps, p)
			}
		}
	case t.perBlock:
		for i, l := range layers {
			if l == nil {
				continue
			}
			anew = len(ps)
			panels, step := (l.Out+kernels.NR-1)/kernels.NR, max(1, packLen/(l.In*kernels.NR))
			for p := 0; p < panels; p += step {
				ps = append(ps, packPiece{layer(i), false, p, min(p+step, panels)})
			}
		}
		ahead = len(ps)
	}
	return ps, ahead, anew
}

// packPiece does one task of packing.
func (ws *Workspace) packPiece(p packPiece, w *scratch) {
	l := ws.trunk.Blocks[ws.block].linears()[p.layer]
	if ws.int8 != nil {
		ws.int8.pack(l, p, w)
		return
	}
	for i := p.p0; i < p.p1; i++ {
		l.forward.PackPanelT(l.W.Value, l.In, i)
	}
}
