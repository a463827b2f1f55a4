package vit

import (
	"edgejepa/internal/rng"
	"edgejepa/kernels"
)

// DropPath is stochastic depth (Huang et al., arXiv 1603.09382), as timm's: in training, a sequence goes past a block's
// attention or MLP with a probability that rises evenly from 0 at the first block to Rate at the last. A branch that it
// goes through is divided by the probability of that, so that the mean stays what it is without. Each decision is a
// function of Seed, Step, the sequence's number in the step's batch, the block and the branch, and of nothing else.
//
// The zero DropPath leaves nothing out.
type DropPath struct {
	Rate  float64 // below 1
	Seed  uint64
	Step  int
	First int // number that the present first sequence has in the step's batch
}

// branch is one of a block's residual branches.
type branch byte

const (
	attentionBranch branch = iota
	mlpBranch
)

// chance is the probability that a sequence goes past a branch of block i of depth.
func (p DropPath) chance(i, depth int) float64 {
	if p.Rate == 0 || depth < 2 {
		return 0
	}
	return p.Rate * float64(i) / float64(depth-1)
}

// scale is what a branch is multiplied by for a sequence: 0, or the inverse of the probability that it is not.
func (p DropPath) scale(i, depth, sequence int, b branch) float32 {
	chance := p.chance(i, depth)
	s := rng.New(p.Seed, rng.PurposeDropPath, uint64(p.Step), uint64(p.First+sequence)*maxDepth+uint64(i))
	u := s.Float64()
	if b == mlpBranch {
		u = s.Float64()
	}
	if u < chance {
		return 0
	}
	return float32(1 / (1 - chance))
}

// SetDropPath decides what the next Forward, and the Backward after it, leave out.
func (ws *Workspace) SetDropPath(p DropPath) { ws.drop = p }

// dropped says whether a block's branches are to be scaled: those of a block that stands still are not.
func (ws *Workspace) dropped(block int) bool {
	return block >= ws.still && ws.drop.chance(block, len(ws.trunk.Blocks)) > 0
}

// scaleBranch multiplies the rows y of a chunk, a branch's output or the gradient of it, by the scales of their sequences.
func (ws *Workspace) scaleBranch(y []float32, c chunk, block int, b branch) {
	if !ws.dropped(block) {
		return
	}
	d := ws.trunk.Dim
	for q := c.seq0; q < c.seq1; q++ {
		rows := y[(int(ws.off[q])-c.row0)*d : (int(ws.off[q+1])-c.row0)*d]
		if s := ws.drop.scale(block, len(ws.trunk.Blocks), q, b); s == 0 {
			clear(rows)
		} else {
			kernels.Scale(rows, s)
		}
	}
}

// addBranch is y = x + branch, the branch being a product of in. y is not x.
func (ws *Workspace) addBranch(y, x, in []float32, c chunk, l *Linear, id layer, block int, b branch, w *scratch) {
	rows := c.row1 - c.row0
	if !ws.dropped(block) {
		ws.product(y, in, rows, l, id, kernels.Epilogue{Residual: x}, w)
		return
	}
	ws.product(y, in, rows, l, id, kernels.Epilogue{}, w)
	ws.scaleBranch(y[:rows*ws.trunk.Dim], c, block, b)
	kernels.Add(y[:rows*ws.trunk.Dim], x[:rows*ws.trunk.Dim])
}
