package vit

import (
	"edgejepa/fp"
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
	X, Out  []float32 // [rows, D] input and output of Forward; in Infer mode and below float32 they are one
	DOut    []float32 // [rows, D] gradient of Out: filled by the caller of Backward
	DX      []float32 // [rows, D] gradient of X: valid after Backward, in the place of DOut
	trunk   *Trunk
	pool    *parallel.Pool
	mode    Mode
	max     Size
	off     []int32 // sequence s has rows off[s]..off[s+1]
	chunks  []chunk
	segs    []segment
	scratch []scratch

	saves                []saved       // Train, float32: of each block
	halves               []savedHalves // Train, below
	ends                 []int64       // float32: where in the arena end DX and the like, what each block saves, and final
	final                []float32     // [rows, D] input of the final norm
	finalHalves          []uint16
	finalMean, finalRstd []float32
	again                saved // what backward computes anew or widens, of one segment, but for qkv and h
	kept                 saved // what backward needs of the present block: of the whole batch, or again
	keptRow              int   // its first row
	grads                *gradients
	int8                 *int8Block // nil unless products are those of int8 operands
	drop                 DropPath
	inner                inner
	taps                 []tap
	still                int // blocks before it stand still: see Pass.Freeze

	what   trunkTask
	block  int     // which block a task is about
	last   int     // taskForward: the block behind the last one
	seg    segment // which rows a backward task is about
	first  int     // the number of a Do's first task in its list
	parts  []part
	panels blockPanels
	packs  []packPiece
	ahead  int // how many of packs are for the forward products
	anew   int // how many of packs computing a block anew takes
}

// Size bounds the batches of a workspace, and says what Train keeps of them.
type Size struct {
	Seqs   int // sequences
	Rows   int // tokens of all sequences together
	Tokens int // tokens of one sequence

	Recompute int  // blocks, from the first on, of which only the input is kept and the rest computed anew by Backward
	Segment   int  // rows that Backward aims to take at a time; 0: all
	Once      bool // float32: a Backward sets the parameters' gradients, which lie over activations: see Encoder.gradientsFrom
}

// chunk is the sequences that one task takes.
type chunk struct{ seq0, seq1, row0, row1 int }

// segment is the chunks that a backward pass takes at a time.
type segment struct {
	chunk0, chunk1 int
	row0, row1     int
}

// scratch is one worker's own memory.
type scratch struct {
	norm      []float32 // [chunk rows, D] output of a norm; between those of a backward pass, the gradient of att
	gelu      []float32 // [chunk rows, Hidden]
	attention []float32
	block     saved          // the activations of one block for one chunk, where they do not stay or stay as halves
	strip     kernels.Panels // some columns of a layer's packed weights: see PackStrips
	int8      []int8         // an operand: of a chunk, or a layer's weights
	scale     []float32      // of its rows or columns
}

// gradients is what the input gradient of one block and segment hands to the gradients of its weights.
type gradients struct {
	dOut, dMid []float32    // [segment rows, D]
	dn1, dn2   []float32    // [segment rows, D] gradients of the norms' outputs
	dqkv       []float32    // [segment rows, 3D]
	dh         []float32    // [segment rows, Hidden]
	x          [4][]float32 // [segment rows, In] inputs of the layers, but for proj's, which was kept, and int8 ones
}

type trunkTask byte

const (
	taskPack trunkTask = iota
	taskForward
	taskFinalNorm
	taskFinalNormParams
	taskBlock
	taskWeights
)

// part is a piece of a block's parameter gradient: channels [m0, m1) of a linear layer, or a layer norm.
type part struct {
	what   partKind
	layer  layer
	m0, m1 int
}

type partKind byte

const (
	partLinear partKind = iota
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
	ws.chunks = make([]chunk, 0, size.Seqs)
	ws.segs = make([]segment, 0, size.Seqs)
	ws.X = a.F32(rows * t.Dim)
	ws.Out = ws.X
	if mode == Infer {
		return ws
	}
	ws.DOut, ws.finalMean, ws.finalRstd = a.F32(rows*t.Dim), a.F32(rows), a.F32(rows)
	ws.ends = append(ws.ends, a.Bytes())
	if ws.inHalves() {
		for i := range t.Blocks {
			ws.halves = append(ws.halves, t.placeHalves(a, rows, i < size.Recompute))
		}
		ws.finalHalves = a.Half(rows * t.Dim)
		return ws
	}
	ws.saves = make([]saved, len(t.Blocks))
	for i := range ws.saves {
		if i >= size.Recompute {
			t.placeSaved(a, &ws.saves[i], rows)
			t.placeWide(a, &ws.saves[i], rows, true)
		}
		ws.saves[i].x = ws.X
		if i > 0 {
			ws.saves[i].x = a.F32(rows * t.Dim)
		}
		ws.ends = append(ws.ends, a.Bytes())
	}
	ws.final = a.F32(rows * t.Dim)
	ws.ends = append(ws.ends, a.Bytes())
	ws.Out = a.F32(rows * t.Dim)
	return ws
}

// inHalves says that what waits for the backward pass are halves.
func (ws *Workspace) inHalves() bool { return ws.trunk.precision != F32 }

// placeWork lays out what is in use only inside Forward and Backward. What one of them has for itself shares memory with
// what the other has.
func (ws *Workspace) placeWork(a *arena.Arena) {
	t, d := ws.trunk, ws.trunk.Dim
	chunk, train, anew := ws.largestChunk(), ws.mode == Train, ws.mode == Train && ws.max.Recompute > 0
	passing := !train || anew || ws.inHalves()                          // activations of a block that do not stay as they are
	early := train && ws.inHalves() && ws.max.Recompute < len(t.Blocks) // of these, h in a forward pass
	ws.scratch = make([]scratch, ws.pool.Workers())
	used := ws.scratch
	if ws.max.Seqs == 1 && t.precision != I8 { // a single chunk is worker 0's, and nothing else needs scratch
		used = ws.scratch[:1]
	}
	for i := range used {
		w := &used[i]
		w.norm = a.F32(chunk * d)
		if t.Heads > 0 {
			w.attention = a.F32(kernels.AttentionScratch(ws.max.Tokens, d, t.Heads))
		}
		if t.precision == I8 {
			wide := max(t.Hidden, 3*d)
			w.int8, w.scale = a.Int8(max(chunk, d)*wide), a.F32(max(chunk, wide))
			w.gelu = a.F32(chunk * t.Hidden)
		}
		if passing {
			t.placeWide(a, &w.block, chunk, early)
		}
		if t.strips {
			w.strip.Data = a.F32(t.stripLen())
		}
	}
	ws.packs, ws.ahead, ws.anew = t.packPieces(ws.mode)
	if t.precision == I8 {
		ws.int8 = t.placeInt8(a)
	}
	if anew {
		t.placePanels(a, &ws.panels, qkv, proj, fc1)
	}
	a.Union(func() {
		for i := range used {
			w := &used[i]
			if t.precision != I8 {
				w.gelu = a.F32(chunk * t.Hidden)
			}
			if passing {
				t.placeSaved(a, &w.block, chunk)
			}
		}
		if anew {
			t.placePanels(a, &ws.panels, fc2)
		} else {
			t.placePanels(a, &ws.panels, qkv, proj, fc1, fc2)
		}
	}, func() {
		if !train {
			return
		}
		for i := range used {
			if w := &used[i]; passing && !early {
				w.block.h = a.F32(chunk * t.Hidden)
			}
		}
		ws.placeGradients(a, chunk)
	})
}

// placeGradients lays out what is in use only inside Backward, beside scratch.
func (ws *Workspace) placeGradients(a *arena.Arena, chunk int) {
	t, d := ws.trunk, ws.trunk.Dim
	rows := ws.max.Rows
	if ws.max.Segment > 0 {
		rows = min(rows, ws.largestSegment(chunk))
	}
	if ws.max.Recompute > 0 || ws.inHalves() {
		t.placeSaved(a, &ws.again, rows)
	}
	if ws.inHalves() {
		ws.again.x = a.F32(rows * d)
	}
	g := &gradients{dOut: a.F32(rows * d), dMid: a.F32(rows * d), dn2: a.F32(rows * d), dh: a.F32(rows * t.Hidden)}
	if t.Heads > 0 {
		g.dn1, g.dqkv = a.F32(rows*d), a.F32(rows*3*d)
	}
	for i, l := range t.Blocks[0].linears() {
		if l != nil && layer(i) != proj && !ws.usesInt8(l) {
			g.x[i] = a.F32(rows * l.In)
		}
	}
	if ws.int8 != nil {
		t.placeInt8Gradients(a, ws.int8, ws.segmentChunks(), chunk)
	}
	ws.grads = g
	ws.placeParts()
}

// largestChunk is how many rows a chunk has at most.
func (ws *Workspace) largestChunk() int {
	if g := ws.group(); g > 0 {
		return min(ws.max.Rows, g*ws.max.Tokens)
	}
	return min(ws.max.Rows, max(ws.max.Tokens, 2*chunkRows(ws.trunk.Dim)))
}

// largestSegment is how many rows a segment has at most, a chunk having up to chunk rows: the one that fills it may
// overfill it by half.
func (ws *Workspace) largestSegment(chunk int) int {
	return max(chunk, ws.max.Segment+ws.max.Segment/2)
}

// group is how many sequences a chunk has if it is a group of int8 weight gradients; 0: it is not.
func (ws *Workspace) group() int {
	if ws.trunk.precision != I8 || ws.mode == Infer || !ws.trunk.int8Gradients() {
		return 0
	}
	return Group(ws.max.Tokens)
}

// segmentChunks is how many groups a segment has at most: enough to fill it if sequences are half as long as they may be.
func (ws *Workspace) segmentChunks() int {
	g := ws.group()
	if g == 0 {
		return 0
	}
	n := (ws.max.Seqs + g - 1) / g
	most, workers := max(1, 2*ws.max.Segment/(g*ws.max.Tokens)), ws.pool.Workers()
	if ws.max.Segment == 0 || n <= most {
		return n
	}
	if most > workers { // as many for one worker as for another
		most -= most % workers
	}
	return most
}

// placeParts cuts a block's parameter gradients into tasks, the largest first so that the last to finish is small.
func (ws *Workspace) placeParts() {
	layers := ws.trunk.Blocks[0].linears()
	for _, id := range []layer{fc2, fc1, qkv, proj} {
		l := layers[id]
		if l == nil {
			continue
		}
		step := l.gradRows()
		if ws.usesInt8(l) {
			step = l.int8Rows()
		}
		for m := 0; m < l.Out; m += step {
			ws.parts = append(ws.parts, part{partLinear, id, m, min(m+step, l.Out)})
		}
	}
	if ws.trunk.Heads > 0 {
		ws.parts = append(ws.parts, part{what: partNorm1})
	}
	ws.parts = append(ws.parts, part{what: partNorm2})
}

// SetSequences says which rows belong together: sequence s has rows off[s]..off[s+1], off[0] = 0.
func (ws *Workspace) SetSequences(off []int32) {
	seqs := len(off) - 1
	if seqs < 1 || seqs > ws.max.Seqs || int(off[seqs]) > ws.max.Rows {
		panic("vit: SetSequences: more than the workspace was made for")
	}
	ws.off = append(ws.off[:0], off...)
	ws.chunks, ws.segs = ws.chunks[:0], ws.segs[:0]
	target, group := chunkRows(ws.trunk.Dim), ws.group()
	c := chunk{}
	for s := range seqs {
		t := int(off[s+1] - off[s])
		if t < 1 || t > ws.max.Tokens {
			panic("vit: SetSequences: a sequence is empty or too long")
		}
		full := c.row1-c.row0 >= target || c.row1-c.row0+t > max(ws.max.Tokens, 2*target)
		if group > 0 {
			full = c.seq1-c.seq0 == group
		}
		if full {
			ws.chunks = append(ws.chunks, c)
			c = chunk{seq0: s, row0: int(off[s])}
		}
		c.seq1, c.row1 = s+1, int(off[s+1])
	}
	ws.chunks = append(ws.chunks, c)
	ws.setSegments()
}

// setSegments puts chunks together: as many for one worker as for another, where the bound on a segment allows.
func (ws *Workspace) setSegments() {
	aim, most, chunks := ws.max.Segment, ws.largestSegment(ws.largestChunk()), ws.segmentChunks()
	workers := ws.pool.Workers()
	g := segment{}
	for i, c := range ws.chunks {
		rows, n := g.row1-g.row0, g.chunk1-g.chunk0
		round := ws.chunks[min(i+workers, len(ws.chunks))-1]
		even := n%workers == 0 && (rows >= aim || round.row1-g.row0 > most)
		if n > 0 && (aim > 0 && (even || c.row1-g.row0 > most) || n == chunks) {
			ws.segs = append(ws.segs, g)
			g = segment{chunk0: i, row0: c.row0}
		}
		g.chunk1, g.row1 = i+1, c.row1
	}
	ws.segs = append(ws.segs, g)
}

// SetNoise names the rounding by chance of the next Backward: a key, fresh for every step and workspace, and the number
// that the first sequence has in the step's batch, a multiple of Group. Only int8 gradients are rounded by chance.
func (ws *Workspace) SetNoise(key uint32, first int) {
	if ws.group() == 0 {
		return
	}
	if first%ws.group() != 0 {
		panic("vit: SetNoise: a batch begins inside a group")
	}
	ws.int8.noise, ws.int8.first = key, first
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
func (ws *Workspace) Forward() { ws.forward(0, len(ws.trunk.Blocks)) }

// forward runs blocks [first, end), and the final norm if they are the last.
func (ws *Workspace) forward(first, end int) {
	if first == end {
		return
	}
	if len(ws.packs) == 0 {
		ws.block, ws.last = first, end
		ws.do(taskForward, 0, len(ws.chunks))
		return
	}
	for i := first; i < end; i++ {
		ws.block, ws.last = i, i+1
		ws.pack(0, ws.ahead)
		ws.do(taskForward, 0, len(ws.chunks))
	}
}

// pack packs the present block's weights, pieces [first, end), if the trunk does not keep them packed.
func (ws *Workspace) pack(first, end int) {
	if end > first {
		if ws.int8 == nil {
			ws.panels.lend(ws.trunk.Blocks[ws.block])
		}
		ws.do(taskPack, first, end)
	}
}

// Backward fills DX from DOut and adds to every parameter's gradient, or sets it (Size.Once). It follows a Forward in
// Train mode.
func (ws *Workspace) Backward() {
	if ws.max.Once {
		ws.trunk.Norm.clearGrad()
	}
	for _, ws.seg = range ws.segs {
		ws.do(taskFinalNorm, ws.seg.chunk0, ws.seg.chunk1)
		ws.do(taskFinalNormParams, 0, (ws.trunk.Dim+normColumns-1)/normColumns)
	}
	for ws.block = len(ws.trunk.Blocks) - 1; ws.block >= ws.still; ws.block-- {
		if ws.max.Once {
			ws.trunk.Blocks[ws.block].clearGrad()
		}
		if ws.recomputed() {
			ws.pack(0, ws.anew)
		}
		ws.pack(ws.ahead, len(ws.packs))
		for _, ws.seg = range ws.segs {
			ws.turn()
			ws.do(taskBlock, ws.seg.chunk0, ws.seg.chunk1)
			ws.do(taskWeights, 0, len(ws.parts))
		}
		ws.addTaps()
	}
	ws.DX, ws.taps = ws.DOut, ws.taps[:0]
}

// recomputed says that of the present block only the input was kept.
func (ws *Workspace) recomputed() bool { return ws.block < ws.max.Recompute }

// turn sets kept for the present block and segment.
func (ws *Workspace) turn() {
	switch {
	case ws.inHalves():
		ws.kept, ws.keptRow = ws.again, ws.seg.row0
	case ws.recomputed():
		ws.kept, ws.keptRow = ws.again, ws.seg.row0
		ws.kept.x = ws.saves[ws.block].x[ws.seg.row0*ws.trunk.Dim:]
	default:
		ws.kept, ws.keptRow = ws.saves[ws.block], 0
	}
}

// Run is one task of the present pass.
func (ws *Workspace) Run(n, worker int) {
	n += ws.first
	w := &ws.scratch[worker]
	switch ws.what {
	case taskPack:
		ws.packPiece(ws.packs[n], w)
	case taskForward:
		ws.forwardChunk(ws.chunks[n], w)
	case taskFinalNorm:
		ws.finalNormGrad(ws.chunks[n])
	case taskFinalNormParams:
		t, c0 := ws.trunk, n*normColumns
		r0, rows := ws.seg.row0, ws.seg.row1-ws.seg.row0
		kernels.AddLayerNormParamGrad(t.Norm.Gain.Grad, t.Norm.Bias.Grad, ws.grads.dn2, ws.finalInput(r0), ws.finalMean[r0:],
			ws.finalRstd[r0:], rows, t.Dim, c0, min(c0+normColumns, t.Dim))
	case taskBlock:
		ws.backwardChunk(ws.chunks[n], n-ws.seg.chunk0, w)
	case taskWeights:
		ws.weightPart(ws.parts[n], w)
	}
}

// finalInput is the final norm's input from a row of the present segment on.
func (ws *Workspace) finalInput(row int) []float32 {
	if ws.inHalves() {
		return ws.again.x[(row-ws.seg.row0)*ws.trunk.Dim:]
	}
	return ws.final[row*ws.trunk.Dim:]
}

// finalNormGrad turns a chunk of DOut into the gradient by the final norm's input; dn2 gets what it was.
func (ws *Workspace) finalNormGrad(c chunk) {
	t, d := ws.trunk, ws.trunk.Dim
	lo, hi := c.row0*d, c.row1*d
	x, dx, dy := ws.finalInput(c.row0)[:hi-lo], ws.DOut[lo:hi], ws.grads.dn2[(c.row0-ws.seg.row0)*d:][:hi-lo]
	if ws.inHalves() {
		fp.DecodeHalf(x, ws.finalHalves[lo:hi])
	}
	copy(dy, dx)
	clear(dx)
	kernels.AddLayerNormGrad(dx, dy, x, t.Norm.Gain.Value, ws.finalMean[c.row0:], ws.finalRstd[c.row0:], c.row1-c.row0, d)
}

// weightPart adds one part of the present block's parameter gradients, for the rows of the present segment.
func (ws *Workspace) weightPart(p part, w *scratch) {
	b, g, s := ws.trunk.Blocks[ws.block], ws.grads, &ws.kept
	d, rows, r := ws.trunk.Dim, ws.seg.row1-ws.seg.row0, ws.seg.row0-ws.keptRow
	switch p.what {
	case partNorm1:
		kernels.AddLayerNormParamGrad(b.Norm1.Gain.Grad, b.Norm1.Bias.Grad, g.dn1, s.x[r*d:], s.mean1[r:], s.rstd1[r:], rows, d, 0, d)
		return
	case partNorm2:
		kernels.AddLayerNormParamGrad(b.Norm2.Gain.Grad, b.Norm2.Bias.Grad, g.dn2, s.mid[r*d:], s.mean2[r:], s.rstd2[r:], rows, d, 0, d)
		return
	}
	x := g.x[p.layer]
	if p.layer == proj {
		x = s.att[r*d:]
	}
	dy := [...][]float32{qkv: g.dqkv, proj: g.dMid, fc1: g.dh, fc2: g.dOut}[p.layer]
	ws.weights(dy, x, b.linears()[p.layer], p.layer, p.m0, p.m1, w)
}
