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
type Workspace struct {
	X, Out  []float32 // [rows, D] input and output of Forward; in Infer mode X is overwritten
	DOut    []float32 // [rows, D] gradient of Out: filled by the caller of Backward
	DX      []float32 // [rows, D] gradient of X: valid after Backward
	trunk   *Trunk
	pool    *parallel.Pool
	mode    Mode
	max     Size
	off     []int32 // sequence s has rows off[s]..off[s+1]
	probOff []int   // where sequence s's attention weights start
	chunks  []chunk
	scratch []scratch

	saves                []saved
	final                []float32 // [rows, D] input of the final norm
	finalMean, finalRstd []float32
	grads                *gradients

	what  trunkTask
	block int // which block a backward task is about
	parts []part
}

// Size bounds the batches of a workspace.
type Size struct {
	Seqs   int // sequences
	Rows   int // tokens of all sequences together
	Tokens int // tokens of one sequence
}

// chunk is the sequences that one task takes.
type chunk struct{ seq0, seq1, row0, row1 int }

// scratch is one worker's own memory.
type scratch struct {
	norm           []float32 // [chunk rows, D]
	gelu           []float32 // [chunk rows, Hidden]
	dAtt           []float32 // [chunk rows, D]
	probs          []float32 // [T, T]
	panelA, panelB kernels.Panels
	infer          saved // Infer mode: the buffers of one block for one chunk
}

// gradients is what the backward pass of one block hands to that of its weights, and on to the block below.
type gradients struct {
	dOut, dMid, dIn         []float32 // [rows, D]
	dn1, dn2                []float32 // [rows, D] gradients of the norms' outputs
	dqkv                    []float32 // [rows, 3D]
	dh                      []float32 // [rows, Hidden]
	xQKV, xProj, xFC1, xFC2 kernels.Panels
}

type trunkTask byte

const (
	taskForward trunkTask = iota
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

// NewWorkspace lays out the memory for batches within size.
func NewWorkspace(a *arena.Arena, t *Trunk, pool *parallel.Pool, size Size, mode Mode) *Workspace {
	ws := &Workspace{trunk: t, pool: pool, mode: mode, max: size}
	d, rows := t.Dim, size.Rows
	f32 := a.F32
	block := func(rows int) saved {
		s := saved{mid: f32(rows * d), h: f32(rows * t.Hidden), mean2: f32(rows), rstd2: f32(rows)}
		if t.Heads > 0 {
			s.qkv, s.att, s.mean1, s.rstd1 = f32(rows*3*d), f32(rows*d), f32(rows), f32(rows)
		}
		return s
	}
	ws.X, ws.Out = f32(rows*d), f32(rows*d)
	ws.off = make([]int32, 1, size.Seqs+1)
	ws.probOff = make([]int, 0, size.Seqs)
	ws.chunks = make([]chunk, 0, size.Seqs)

	most := min(rows, chunkRows(d)+size.Tokens) // rows of the largest chunk
	ws.scratch = make([]scratch, pool.Workers())
	panel := max(kernels.PanelLen(t.headDim(), size.Tokens), kernels.PanelLen(size.Tokens, t.headDim()))
	for i := range ws.scratch {
		w := &ws.scratch[i]
		w.norm, w.gelu, w.probs = f32(most*d), f32(most*t.Hidden), f32(size.Tokens*size.Tokens)
		w.panelA.Data, w.panelB.Data = f32(panel), f32(panel)
		if mode == Infer {
			w.infer = block(most)
			continue
		}
		w.dAtt = f32(most * d)
	}
	if mode == Infer {
		return ws
	}

	// The most attention weights: sequences as long as they may be, until the rows are used up.
	long := rows / size.Tokens
	rest := rows - long*size.Tokens
	probs := t.Heads * (long*size.Tokens*size.Tokens + rest*rest)
	ws.saves = make([]saved, len(t.Blocks))
	for i := range ws.saves {
		ws.saves[i] = block(rows)
		ws.saves[i].probs = f32(probs)
		ws.saves[i].x = ws.X
		if i > 0 {
			ws.saves[i].x = f32(rows * d)
		}
	}
	ws.final, ws.finalMean, ws.finalRstd = f32(rows*d), f32(rows), f32(rows)
	panels := func(n int) kernels.Panels { return kernels.Panels{Data: f32(kernels.PanelLen(rows, n))} }
	ws.grads = &gradients{
		dOut: f32(rows * d), dMid: f32(rows * d), dIn: f32(rows * d), dn2: f32(rows * d), dh: f32(rows * t.Hidden),
		xFC1: panels(d), xFC2: panels(t.Hidden),
	}
	if g := ws.grads; t.Heads > 0 {
		g.dn1, g.dqkv, g.xQKV, g.xProj = f32(rows*d), f32(rows*3*d), panels(d), panels(d)
	}
	ws.DOut = f32(rows * d)
	ws.parts = t.parts()
	return ws
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
	ws.probOff, ws.chunks = ws.probOff[:0], ws.chunks[:0]
	target, probs := chunkRows(ws.trunk.Dim), 0
	c := chunk{}
	for s := range seqs {
		t := int(off[s+1] - off[s])
		if t < 1 || t > ws.max.Tokens {
			panic("vit: SetSequences: a sequence is empty or too long")
		}
		ws.probOff = append(ws.probOff, probs)
		probs += ws.trunk.Heads * t * t
		c.seq1, c.row1 = s+1, int(off[s+1])
		if c.row1-c.row0 >= target || s+1 == seqs {
			ws.chunks = append(ws.chunks, c)
			c = chunk{seq0: s + 1, row0: c.row1}
		}
	}
}

// Rows is how many rows the present sequences have together.
func (ws *Workspace) Rows() int { return int(ws.off[len(ws.off)-1]) }

// Forward fills Out from X.
func (ws *Workspace) Forward() {
	ws.what = taskForward
	ws.pool.Do(ws, len(ws.chunks))
}

// Backward fills DX from DOut and adds to every parameter's gradient. It follows a Forward in Train mode.
func (ws *Workspace) Backward() {
	g, rows := ws.grads, ws.Rows()
	ws.what = taskFinalNorm
	ws.pool.Do(ws, len(ws.chunks)+1)
	g.xFC1.SetShape(rows, ws.trunk.Dim)
	g.xFC2.SetShape(rows, ws.trunk.Hidden)
	if ws.trunk.Heads > 0 {
		g.xQKV.SetShape(rows, ws.trunk.Dim)
		g.xProj.SetShape(rows, ws.trunk.Dim)
	}
	for ws.block = len(ws.trunk.Blocks) - 1; ws.block >= 0; ws.block-- {
		ws.what = taskBlock
		ws.pool.Do(ws, len(ws.chunks))
		ws.what = taskWeights
		ws.pool.Do(ws, len(ws.parts))
		g.dOut, g.dIn = g.dIn, g.dOut
	}
	ws.DX = g.dOut
}

// Run is one task of the present pass.
func (ws *Workspace) Run(n, worker int) {
	w := &ws.scratch[worker]
	t, d := ws.trunk, ws.trunk.Dim
	switch ws.what {
	case taskForward:
		ws.forwardChunk(ws.chunks[n], w)
	case taskBlock:
		ws.backwardChunk(ws.chunks[n], w)
	case taskFinalNorm:
		if n == len(ws.chunks) {
			kernels.AddLayerNormParamGrad(t.Norm.Gain.Grad, t.Norm.Bias.Grad, ws.DOut, ws.final, ws.finalMean, ws.finalRstd,
				ws.Rows(), d, 0, d)
			return
		}
		c := ws.chunks[n]
		lo, hi := c.row0*d, c.row1*d
		dx := ws.grads.dOut[lo:hi]
		clear(dx)
		kernels.AddLayerNormGrad(dx, ws.DOut[lo:hi], ws.final[lo:hi], t.Norm.Gain.Value, ws.finalMean[c.row0:],
			ws.finalRstd[c.row0:], c.row1-c.row0, d)
	case taskWeights:
		ws.weights(ws.parts[n])
	}
}

// weights adds one part of the present block's parameter gradients.
func (ws *Workspace) weights(p part) {
	b, s, g := ws.trunk.Blocks[ws.block], &ws.saves[ws.block], ws.grads
	d, rows := ws.trunk.Dim, ws.Rows()
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
		kernels.AddLayerNormParamGrad(b.Norm1.Gain.Grad, b.Norm1.Bias.Grad, g.dn1, s.x, s.mean1, s.rstd1, rows, d, 0, d)
	case partNorm2:
		kernels.AddLayerNormParamGrad(b.Norm2.Gain.Grad, b.Norm2.Bias.Grad, g.dn2, s.mid, s.mean2, s.rstd2, rows, d, 0, d)
	}
}
