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

// placePanels lays out the panels of a block.
func (t *Trunk) placePanels(a *arena.Arena) (p blockPanels) {
	for i, l := range t.Blocks[0].linears() {
		if l != nil && t.perBlock && t.precision != I8 {
			p[i] = kernels.Panels{K: l.In, N: l.Out, Data: a.F32(kernels.PanelLen(l.In, l.Out))}
		}
	}
	return p
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
// these. A trunk that keeps its weights packed has none.
func (t *Trunk) packPieces(mode Mode) (ps []packPiece, ahead int) {
	layers := t.Blocks[0].linears()
	switch {
	case t.precision == I8:
		for _, i := range []layer{fc1, fc2, qkv, proj} {
			if layers[i] != nil {
				ps = append(ps, packPiece{layer: i})
			}
		}
		ahead = len(ps)
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
			panels, step := (l.Out+kernels.NR-1)/kernels.NR, max(1, packLen/(l.In*kernels.NR))
			for p := 0; p < panels; p += step {
				ps = append(ps, packPiece{layer(i), false, p, min(p+step, panels)})
			}
		}
		ahead = len(ps)
	}
	return ps, ahead
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
