package jepa

import (
	"edgejepa/internal/arena"
	"edgejepa/internal/parallel"
	"edgejepa/kernels"
	"edgejepa/vit"
)

// Predictor guesses the target encoder's tokens of a hidden block from the context encoder's tokens of the visible
// patches (arXiv 2301.08243, section 3). It is a narrow ViT: context tokens are embedded to its width, positions are
// added, a mask token with the position of each hidden patch is appended, and what comes out at the mask tokens is
// projected back to the encoder's width.
//
// The MLP variant has no attention: each hidden patch is a mask token with its position plus the mean of the embedded
// context tokens, and goes through residual MLP blocks alone.
type Predictor struct {
	Params vit.Params // official names: predictor_embed, mask_token, predictor_blocks.0…, predictor_norm, predictor_proj

	embed, proj *vit.Linear
	mask        *vit.Param
	trunk       *vit.Trunk
	pos         []float32 // [grid², width]
	mlp         bool
	width       int
}

// newPredictor is a predictor for an encoder whose parameters have no memory yet; measuring says that nobody will want it.
func newPredictor(c Config, measuring bool) *Predictor {
	return newNarrow(c, measuring, "predictor", "_proj", c.predicted())
}

// newDecoder is MAE's decoder: a predictor of pixels instead of features, under the names of the official code.
func newDecoder(c Config, measuring bool) *Predictor {
	return newNarrow(c, measuring, "decoder", "_pred", c.Encoder.PatchLen())
}

func newNarrow(c Config, measuring bool, name, proj string, out int) *Predictor {
	e, w := c.Encoder, c.PredictorDim
	p := &Predictor{width: w, mlp: c.Predictor == PredictorMLP}
	if !measuring {
		p.pos = vit.SinCos2D(w, e.Grid(), e.Grid())
	}
	heads := c.PredictorHeads
	if p.mlp {
		heads = 0
	}
	p.embed = p.Params.Linear(name+"_embed", e.Dim, w)
	p.mask = p.Params.Token("mask_token", w)
	p.trunk = vit.NewTrunk(&p.Params, name+"_blocks", name+"_norm", w, c.PredictorDepth, heads, 4*w, e.NormEps)
	p.trunk.PackBlocks()
	p.trunk.SetPrecision(c.Precision)
	p.proj = p.Params.Linear(name+proj, w, out)
	return p
}

func (p *Predictor) linears(yield func(*vit.Linear) bool) {
	if yield(p.embed) && yield(p.proj) {
		p.trunk.Linears(yield)
	}
}

// predictorPass runs a predictor over batches up to a size: one sequence per picture and target block, the context
// tokens first and the block's mask tokens after them. Sequences are in the order of the pictures, those of a picture in
// that of its blocks, so that the rows of a batch are those of its micro-batches one after another. (The official code
// has block 0 of every picture first; only the order of sums differs.)
type predictorPass struct {
	p               *Predictor
	pool            *parallel.Pool
	ws              *vit.Workspace
	embedOp, projOp *vit.LinearOp
	context         []float32 // [context rows, width] embedded, with positions
	dContext        []float32
	hidden          []float32 // [B·M·K, width] trunk outputs at mask tokens
	dHidden         []float32
	off             []int32

	m       *Masks
	z       []float32 // [context rows, D] as given to Forward
	batch   int
	targets int // M
	what    predictorTask
}

type predictorTask byte

const (
	predictorMean    predictorTask = iota // MLP: the mean of a picture's embedded context
	predictorFill                         // sequences from embedded context and mask tokens
	predictorGather                       // outputs at mask tokens
	predictorScatter                      // their gradients back
	predictorContext                      // gradient of the embedded context: the sum over blocks
)

// predictorSize bounds the batches of a predictor pass.
type predictorSize struct {
	batch, targets, contextRows, contextTokens, targetTokens int
	recompute                                                bool // activations of blocks, rather than keep them
	segment                                                  int  // as in vit.Size
}

func (p *Predictor) placePass(a *arena.Arena, pool *parallel.Pool, s predictorSize) *predictorPass {
	seqs, hidden := s.targets*s.batch, s.targets*s.batch*s.targetTokens
	size := vit.Size{Seqs: seqs, Rows: hidden, Tokens: s.targetTokens, Segment: s.segment}
	if !p.mlp {
		size.Rows, size.Tokens = hidden+s.targets*s.contextRows, s.targetTokens+s.contextTokens
	}
	if s.recompute {
		size.Recompute = len(p.trunk.Blocks)
	}
	return &predictorPass{
		p: p, pool: pool,
		ws:       vit.NewWorkspace(a, p.trunk, pool, size, vit.Train),
		embedOp:  vit.NewLinearOp(p.embed, pool),
		projOp:   vit.NewLinearOp(p.proj, pool),
		context:  a.F32(s.contextRows * p.width),
		dContext: a.F32(s.contextRows * p.width),
		hidden:   a.F32(hidden * p.width),
		dHidden:  a.F32(hidden * p.width),
		off:      make([]int32, 0, seqs+1),
		targets:  s.targets,
	}
}

// visible is how many of a sequence's rows are context.
func (q *predictorPass) visible(b int) int {
	if q.p.mlp {
		return 0
	}
	return int(q.m.ContextOff[b+1] - q.m.ContextOff[b])
}

// Forward fills pred [B·M·K, out] from the context tokens z [context rows, D].
func (q *predictorPass) Forward(pred, z []float32, m *Masks, batch int) {
	q.m, q.z, q.batch = m, z, batch
	rows := int(m.ContextOff[batch])
	q.embedOp.Forward(q.context, z, rows)
	w := q.p.width
	for r, patch := range m.Context[:rows] {
		kernels.Add(q.context[r*w:][:w], q.p.pos[int(patch)*w:][:w])
	}
	q.off = append(q.off[:0], 0)
	for b := range batch {
		for range q.targets {
			q.off = append(q.off, q.off[len(q.off)-1]+int32(q.visible(b)+m.TargetLen))
		}
	}
	q.ws.SetSequences(q.off)
	if q.p.mlp {
		q.run(predictorMean, batch)
	}
	q.run(predictorFill, q.targets*batch)
	q.ws.Forward()
	q.run(predictorGather, q.targets*batch)
	q.projOp.Forward(pred, q.hidden, q.targets*batch*m.TargetLen)
}

// SetNoise is that of vit.Workspace for a batch that begins at a picture of the step's.
func (q *predictorPass) SetNoise(key uint32, picture int) { q.ws.SetNoise(key, picture*q.targets) }

// Backward adds to every parameter's gradient and fills dz [context rows, D], from dpred [B·M·K, out].
func (q *predictorPass) Backward(dz, dpred []float32) {
	q.projOp.Backward(q.dHidden, dpred, q.hidden, q.targets*q.batch*q.m.TargetLen)
	q.run(predictorScatter, q.targets*q.batch)
	q.ws.Backward()
	w := q.p.width
	for s := range q.targets * q.batch { // every mask token is the same parameter
		hidden := int(q.off[s]) + q.visible(s/q.targets)
		kernels.AddColumnSums(q.p.mask.Grad, q.ws.DX[hidden*w:], q.m.TargetLen, w, 0, w)
	}
	q.run(predictorContext, q.batch)
	q.embedOp.Backward(dz, q.dContext, q.z, int(q.m.ContextOff[q.batch]))
}

func (q *predictorPass) run(what predictorTask, tasks int) {
	q.what = what
	q.pool.Do(q, tasks)
}

// Run is one task: a picture for predictorMean and predictorContext, else a sequence.
func (q *predictorPass) Run(s, _ int) {
	w, k := q.p.width, q.m.TargetLen
	b := s / q.targets
	if q.what == predictorMean || q.what == predictorContext {
		b = s
	}
	c0, c1 := int(q.m.ContextOff[b]), int(q.m.ContextOff[b+1])
	switch q.what {
	case predictorContext:
		q.contextGrad(b, c0, c1)
		return
	case predictorMean: // kept where the context's gradient will be: that is free until Backward
		kernels.MeanRows(q.dContext[c0*w:][:w], q.context[c0*w:c1*w], c1-c0, w)
		return
	}
	row, visible := int(q.off[s]), q.visible(b)
	first := (row + visible) * w // the sequence's first mask token
	switch q.what {
	case predictorFill:
		x := q.ws.X
		copy(x[row*w:], q.context[c0*w:(c0+visible)*w])
		for i, patch := range q.m.Targets[s*k:][:k] {
			t := x[first+i*w:][:w]
			copy(t, q.p.mask.Value)
			kernels.Add(t, q.p.pos[int(patch)*w:][:w])
			if q.p.mlp {
				kernels.Add(t, q.dContext[c0*w:][:w])
			}
		}
	case predictorGather:
		copy(q.hidden[s*k*w:(s+1)*k*w], q.ws.Out[first:])
	case predictorScatter:
		clear(q.ws.DOut[row*w : first])
		copy(q.ws.DOut[first:first+k*w], q.dHidden[s*k*w:])
	}
}

// contextGrad sums the gradient of picture b's embedded context tokens, rows [c0, c1), over the target blocks.
func (q *predictorPass) contextGrad(b, c0, c1 int) {
	w, k := q.p.width, q.m.TargetLen
	d := q.dContext[c0*w : c1*w]
	clear(d)
	for t := range q.targets {
		row := int(q.off[b*q.targets+t])
		if !q.p.mlp {
			kernels.Add(d, q.ws.DX[row*w:][:len(d)])
			continue
		}
		kernels.AddColumnSums(d[:w], q.ws.DX[row*w:], k, w, 0, w)
	}
	if q.p.mlp { // the mean spreads its gradient evenly
		kernels.Scale(d[:w], 1/float32(c1-c0))
		for i := 1; i < c1-c0; i++ {
			copy(d[i*w:(i+1)*w], d[:w])
		}
	}
}
