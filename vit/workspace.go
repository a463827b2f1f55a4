package vit

import (
	"edgejepa/internal/arena"
	"edgejepa/internal/parallel"
	"edgejepa/kernels"
)

// Mode says what a workspace keeps.
type Mode byte

const (
	Infer Mode = iota // forward only: each worker reuses one block's buffers
	Train             // forward saves what backward needs
)

// Workspace is the memory and the tasks of a Trunk for batches up to a size: allocated once, then reused by every
// call. One goroutine uses it at a time.
//
// A backward pass goes through the blocks from the last to the first, and in each through the rows segment by segment:
// the gradient by the input of a segment's rows, then what they add to the gradients of the weights. So the memory for
// gradients, and for activations that are computed anew, is that of one segment. Since every parameter's gradient is a
// sum over ascending rows, neither segments nor further batches change a bit of it.
type Workspace struct {
	X, Out  []float32 // [rows, D] input and output of Forward; in Infer mode they are one
	DOut    []float32 // [rows, D] gradient of Out: filled by the caller of Backward
	DX      []float32 // [rows, D] gradient of X: valid after Backward, in the place of DOut
	trunk   *Trunk
	pool    *parallel.Pool
	mode    Mode
	max     Size
	off     []int32 // sequence s has rows off[s]..off[s+1]
	probOff []int   // where sequence s's attention weights start
	chunks  []chunk
	segs    []segment
	scratch []scratch

	saves                []saved
	again                saved     // what backward computes anew, of one segment
	final                []float32 // [rows, D] input of the final norm
	finalMean, finalRstd []float32
	grads                *gradients

	what   trunkTask
	block  int     // which block a task is about
	last   int     // taskForward: the block behind the last one
	seg    segment // which rows a backward task is about
	first  int     // the number of a Do's first task in its list
	parts  []part
	panels blockPanels
	packs  []packPiece
	ahead  int // how many of packs are for the forward products
}

// Size bounds the batches of a workspace, and says what Train keeps of them.
type Size struct {
	Seqs   int // sequences
	Rows   int // tokens of all sequences together
	Tokens int // tokens of one sequence

	Recompute int // blocks, from the first on, of which only the input is kept and the rest computed anew by Backward
	Segment   int // rows that Backward aims to take at a time; 0: all
}

// chunk is the sequences that one task takes.
type chunk struct{ seq0, seq1, row0, row1 int }

// segment is the chunks that a backward pass takes at a time.
type segment struct {
	chunk0, chunk1 int
	row0, row1     int
	prob0          int // where the first sequence's attention weights start
}

// scratch is one worker's own memory.
type scratch struct {
	norm           []float32 // [chunk rows, D]
	gelu           []float32 // [chunk rows, Hidden]
	dAtt           []float32 // [chunk rows, D]
	probs          []float32 // [T, T]
	panelA, panelB kernels.Panels
	infer          saved // the buffers of one block for one chunk, where nothing of it is kept
}

// gradients is what the input gradient of one block and segment hands to the gradients of its weights.
type gradients struct {
	dOut, dMid              []float32 // [segment rows, D]
	dn1, dn2                []float32 // [segment rows, D] gradients of the norms' outputs
	dqkv                    []float32 // [segment rows, 3D]
	dh                      []float32 // [segment rows, Hidden]
	xQKV, xProj, xFC1, xFC2 kernels.Panels
}

type trunkTask byte

const (
	taskPack trunkTask = iota
	taskForward
	taskFinalNormParams
	taskFinalNorm
	taskBlock
	taskWeights
)

// part is a piece of a block's parameter gradient: channels [m0, m1) of a linear layer, or a layer norm.
type part struct {
	layer  byte
	m0, m1 int
}

const (
	partQKV byte = iota
	partProj
	partFC1
	partFC2
	partNorm1
	partNorm2
)

// chunkRows is how many rows a chunk aims at: enough for the product kernels to run at speed, few enough that a
// batch has chunks for many cores and a chunk's activations stay in a second-level cache.
func chunkRows(dim int) int {
	if dim >= 384 {
		return 128
	}
	return 64
}

// normColumns is how many columns of the final norm's parameter gradients one task takes.
const normColumns = 64

// NewWorkspace lays out the memory for batches within size.
func NewWorkspace(a *arena.Arena, t *Trunk, pool *parallel.Pool, size Size, mode Mode) *Workspace {
	ws := newWorkspace(a, t, pool, size, mode)
	ws.placeWork(a)
	return ws
}

// newWorkspace lays out what must last from Forward to Backward, or to the reading of Out.
func newWorkspace(a *arena.Arena, t *Trunk, pool *parallel.Pool, size Size, mode Mode) *Workspace {
	ws := &Workspace{trunk: t, pool: pool, mode: mode, max: size}
	rows := size.Rows
	ws.off = make([]int32, 1, size.Seqs+1)
	ws.probOff = make([]int, 0, size.Seqs)
	ws.chunks = make([]chunk, 0, size.Seqs)
	ws.segs = make([]segment, 0, size.Seqs)
	ws.X = a.F32(rows * t.Dim)
	ws.Out = ws.X
	if mode == Infer {
		return ws
	}
	ws.Out, ws.DOut = a.F32(rows*t.Dim), a.F32(rows*t.Dim)
	ws.saves = make([]saved, len(t.Blocks))
	for i := range ws.saves {
		if i >= size.Recompute {
			ws.saves[i] = t.placeSaved(a, rows, size.probs(t, rows))
		}
		ws.saves[i].x = ws.X
		if i > 0 {
			ws.saves[i].x = a.F32(rows * t.Dim)
		}
	}
	ws.final, ws.finalMean, ws.finalRstd = a.F32(rows*t.Dim), a.F32(rows), a.F32(rows)
	return ws
}

// placeWork lays out what is in use only inside Forward and Backward.
func (ws *Workspace) placeWork(a *arena.Arena) {
	t, size, d := ws.trunk, ws.max, ws.trunk.Dim
	chunk := min(size.Rows, chunkRows(d)+size.Tokens) // rows of the largest
	ws.scratch = make([]scratch, ws.pool.Workers())
	panel := max(kernels.PanelLen(t.headDim(), size.Tokens), kernels.PanelLen(size.Tokens, t.headDim()))
	for i := range ws.scratch {
		w := &ws.scratch[i]
		w.norm, w.gelu, w.probs = a.F32(chunk*d), a.F32(chunk*t.Hidden), a.F32(size.Tokens*size.Tokens)
		w.panelA.Data, w.panelB.Data = a.F32(panel), a.F32(panel)
		if ws.mode == Infer || size.Recompute > 0 {
			w.infer = t.placeSaved(a, chunk, 0)
		}
		if ws.mode == Train {
			w.dAtt = a.F32(chunk * d)
		}
	}
	ws.panels = t.placePanels(a, ws.mode == Train)
	ws.packs, ws.ahead = t.packPieces()
	if ws.mode == Infer {
		return
	}
	rows := size.Rows
	if size.Segment > 0 {
		rows = min(rows, size.Segment+chunk)
	}
	if size.Recompute > 0 {
		ws.again = t.placeSaved(a, rows, size.probs(t, rows))
	}
	panels := func(n int) kernels.Panels { return kernels.Panels{Data: a.F32(kernels.PanelLen(rows, n))} }
	ws.grads = &gradients{
		dOut: a.F32(rows * d), dMid: a.F32(rows * d), dn2: a.F32(rows * d), dh: a.F32(rows * t.Hidden),
		xFC1: panels(d), xFC2: panels(t.Hidden),
	}
	if g := ws.grads; t.Heads > 0 {
		g.dn1, g.dqkv, g.xQKV, g.xProj = a.F32(rows*d), a.F32(rows*3*d), panels(d), panels(d)
	}
	ws.parts = t.parts()
}

// placeSaved lays out a block's activations but for x, with room for probs attention weights.
func (t *Trunk) placeSaved(a *arena.Arena, rows, probs int) saved {
	d := t.Dim
	s := saved{mid: a.F32(rows * d), h: a.F32(rows * t.Hidden), mean2: a.F32(rows), rstd2: a.F32(rows)}
	if t.Heads > 0 {
		s.qkv, s.att, s.mean1, s.rstd1 = a.F32(rows*3*d), a.F32(rows*d), a.F32(rows), a.F32(rows)
	}
	if probs > 0 {
		s.probs = a.F32(probs)
	}
	return s
}

// probs is the most attention weights of rows tokens: sequences as long as they may be, until the rows are used up.
func (s Size) probs(t *Trunk, rows int) int {
	long := rows / s.Tokens
	rest := rows - long*s.Tokens
	return t.Heads * (long*s.Tokens*s.Tokens + rest*rest)
}

// parts cuts a block's parameter gradients into tasks, the largest first so that the last to finish is small.
func (t *Trunk) parts() (ps []part) {
	b := t.Blocks[0]
	for _, l := range []struct {
		id byte
		*Linear
	}{{partFC2, b.FC2}, {partFC1, b.FC1}, {partQKV, b.QKV}, {partProj, b.Proj}} {
		if l.Linear == nil {
			continue
		}
		step := l.gradRows()
		for m := 0; m < l.Out; m += step {
			ps = append(ps, part{l.id, m, min(m+step, l.Out)})
		}
	}
	if t.Heads > 0 {
		ps = append(ps, part{layer: partNorm1})
	}
	return append(ps, part{layer: partNorm2})
}

// SetSequences says which rows belong together: sequence s has rows off[s]..off[s+1], off[0] = 0.
func (ws *Workspace) SetSequences(off []int32) {
	seqs := len(off) - 1
	if seqs < 1 || seqs > ws.max.Seqs || int(off[seqs]) > ws.max.Rows {
		panic("vit: SetSequences: more than the workspace was made for")
	}
	ws.off = append(ws.off[:0], off...)
	ws.probOff, ws.chunks, ws.segs = ws.probOff[:0], ws.chunks[:0], ws.segs[:0]
	target, probs := chunkRows(ws.trunk.Dim), 0
	c, g := chunk{}, segment{}
	for s := range seqs {
		t := int(off[s+1] - off[s])
		if t < 1 || t > ws.max.Tokens {
			panic("vit: SetSequences: a sequence is empty or too long")
		}
		ws.probOff = append(ws.probOff, probs)
		probs += ws.trunk.Heads * t * t
		c.seq1, c.row1 = s+1, int(off[s+1])
		if c.row1-c.row0 < target && s+1 < seqs {
			continue
		}
		ws.chunks = append(ws.chunks, c)
		g.chunk1, g.row1 = len(ws.chunks), c.row1
		c = chunk{seq0: s + 1, row0: c.row1}
		if s+1 == seqs || ws.max.Segment > 0 && g.row1-g.row0 >= ws.max.Segment {
			ws.segs = append(ws.segs, g)
			g = segment{chunk0: g.chunk1, row0: g.row1, prob0: probs}
		}
	}
}

// Rows is how many rows the present sequences have together.
func (ws *Workspace) Rows() int { return int(ws.off[len(ws.off)-1]) }

// do runs tasks [first, end) of a kind.
func (ws *Workspace) do(what trunkTask, first, end int) {
	ws.what, ws.first = what, first
	ws.pool.Do(ws, end-first)
}

// Forward fills Out from X. A chunk goes through the whole trunk in one task, unless the weights are packed block by
// block: then all chunks go through a block before the next one's weights take its place.
func (ws *Workspace) Forward() {
	depth := len(ws.trunk.Blocks)
	if len(ws.packs) == 0 {
		ws.block, ws.last = 0, depth
		ws.do(taskForward, 0, len(ws.chunks))
		return
	}
	for i := range depth {
		ws.block, ws.last = i, i+1
		ws.pack(0, ws.ahead)
		ws.do(taskForward, 0, len(ws.chunks))
	}
}

// pack packs the present block's weights, pieces [first, end), if the trunk does not keep them packed.
func (ws *Workspace) pack(first, end int) {
	if len(ws.packs) > 0 {
		ws.panels.lend(ws.trunk.Blocks[ws.block])
		ws.do(taskPack, first, end)
	}
}

// Backward fills DX from DOut and adds to every parameter's gradient. It follows a Forward in Train mode.
func (ws *Workspace) Backward() {
	g, d := ws.grads, ws.trunk.Dim
	ws.do(taskFinalNormParams, 0, (d+normColumns-1)/normColumns)
	ws.do(taskFinalNorm, 0, len(ws.chunks))
	for ws.block = len(ws.trunk.Blocks) - 1; ws.block >= 0; ws.block-- {
		first := ws.ahead
		if ws.recomputed() {
			first = 0
		}
		ws.pack(first, len(ws.packs))
		for _, ws.seg = range ws.segs {
			rows := ws.seg.row1 - ws.seg.row0
			g.xFC1.SetShape(rows, d)
			g.xFC2.SetShape(rows, ws.trunk.Hidden)
			if ws.trunk.Heads > 0 {
				g.xQKV.SetShape(rows, d)
				g.xProj.SetShape(rows, d)
			}
			ws.do(taskBlock, ws.seg.chunk0, ws.seg.chunk1)
			ws.do(taskWeights, 0, len(ws.parts))
		}
	}
	ws.DX = ws.DOut
}

// recomputed says that of the present block only the input was kept.
func (ws *Workspace) recomputed() bool { return ws.block < ws.max.Recompute }

// kept is what backward needs of the present block: of the whole batch, or computed anew for the present segment.
func (ws *Workspace) kept() (*saved, origin) {
	if ws.recomputed() {
		return &ws.again, origin{ws.seg.row0, ws.seg.prob0}
	}
	return &ws.saves[ws.block], origin{}
}

// Run is one task of the present pass.
func (ws *Workspace) Run(n, worker int) {
	n += ws.first
	w := &ws.scratch[worker]
	t, d := ws.trunk, ws.trunk.Dim
	switch ws.what {
	case taskPack:
		p := ws.packs[n]
		t.Blocks[ws.block].linears()[p.layer].packPanels(p.backward, p.p0, p.p1)
	case taskForward:
		ws.forwardChunk(ws.chunks[n], w)
	case taskFinalNormParams:
		c0 := n * normColumns
		kernels.AddLayerNormParamGrad(t.Norm.Gain.Grad, t.Norm.Bias.Grad, ws.DOut, ws.final, ws.finalMean, ws.finalRstd,
			ws.Rows(), d, c0, min(c0+normColumns, d))
	case taskFinalNorm:
		c := ws.chunks[n]
		lo, hi := c.row0*d, c.row1*d
		dx := w.norm[:hi-lo]
		clear(dx)
		kernels.AddLayerNormGrad(dx, ws.DOut[lo:hi], ws.final[lo:hi], t.Norm.Gain.Value, ws.finalMean[c.row0:],
			ws.finalRstd[c.row0:], c.row1-c.row0, d)
		copy(ws.DOut[lo:hi], dx)
	case taskBlock:
		ws.backwardChunk(ws.chunks[n], w)
	case taskWeights:
		ws.weights(ws.parts[n])
	}
}

// weights adds one part of the present block's parameter gradients, for the rows of the present segment.
func (ws *Workspace) weights(p part) {
	b, g := ws.trunk.Blocks[ws.block], ws.grads
	d, rows := ws.trunk.Dim, ws.seg.row1-ws.seg.row0
	s, at := ws.kept()
	r := ws.seg.row0 - at.row
	switch p.layer {
	case partQKV:
		b.QKV.addParamGrad(g.dqkv[:rows*3*d], &g.xQKV, p.m0, p.m1)
	case partProj:
		b.Proj.addParamGrad(g.dMid[:rows*d], &g.xProj, p.m0, p.m1)
	case partFC1:
		b.FC1.addParamGrad(g.dh[:rows*ws.trunk.Hidden], &g.xFC1, p.m0, p.m1)
	case partFC2:
		b.FC2.addParamGrad(g.dOut[:rows*d], &g.xFC2, p.m0, p.m1)
	case partNorm1:
		x := ws.saves[ws.block].x[ws.seg.row0*d:]
		kernels.AddLayerNormParamGrad(b.Norm1.Gain.Grad, b.Norm1.Bias.Grad, g.dn1, x, s.mean1[r:], s.rstd1[r:], rows, d, 0, d)
	case partNorm2:
		kernels.AddLayerNormParamGrad(b.Norm2.Gain.Grad, b.Norm2.Bias.Grad, g.dn2, s.mid[r*d:], s.mean2[r:], s.rstd2[r:], rows, d, 0, d)
	}
}
