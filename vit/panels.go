package vit

import (
	"edgejepa/internal/arena"
	"edgejepa/kernels"
)

// A trunk that packs its weights block by block keeps none of them packed: every pass has room for those of one block
// and packs a block's weights when it comes to it. The weights then take once their size, not three times it, and in a
// step over one undivided batch that is no more packing than after each update.

// PackBlocks makes the trunk pack its weights block by block. It precedes Alloc.
func (t *Trunk) PackBlocks() {
	t.perBlock = true
	t.Linears(func(l *Linear) bool {
		l.passing = true
		return true
	})
}

// blockPanels is a pass's room for the packed weights of one block.
type blockPanels struct{ forward, backward [4]kernels.Panels }

// placePanels lays out the panels of a block; grads says whether its gradients will be wanted.
func (t *Trunk) placePanels(a *arena.Arena, grads bool) (p blockPanels) {
	for i, l := range t.Blocks[0].linears() {
		if l == nil || !t.perBlock {
			continue
		}
		p.forward[i] = kernels.Panels{K: l.In, N: l.Out, Data: a.F32(kernels.PanelLen(l.In, l.Out))}
		if grads {
			p.backward[i] = kernels.Panels{K: l.Out, N: l.In, Data: a.F32(kernels.PanelLen(l.Out, l.In))}
		}
	}
	return p
}

// lend gives block b the panels.
func (p *blockPanels) lend(b *Block) {
	for i, l := range b.linears() {
		if l != nil {
			l.forward, l.backward = p.forward[i], p.backward[i]
		}
	}
}

// packPiece is panels [p0, p1) of a layer's packed weights: what one task packs.
type packPiece struct {
	layer    int
	backward bool
	p0, p1   int
}

// packLen is about how many weights one task packs.
const packLen = 1 << 14

// packPieces cuts the packing of a block's weights into tasks, those for the forward products first; there are ahead of
// these. A trunk that keeps its weights packed has none.
func (t *Trunk) packPieces() (ps []packPiece, ahead int) {
	if !t.perBlock {
		return nil, 0
	}
	for _, backward := range []bool{false, true} {
		ahead = len(ps)
		for i, l := range t.Blocks[0].linears() {
			if l == nil {
				continue
			}
			k, n := l.In, l.Out
			if backward {
				k, n = n, k
			}
			panels, step := (n+kernels.NR-1)/kernels.NR, max(1, packLen/(k*kernels.NR))
			for p := 0; p < panels; p += step {
				ps = append(ps, packPiece{i, backward, p, min(p+step, panels)})
			}
		}
	}
	return ps, ahead
}
