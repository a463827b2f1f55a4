// Package vit is a plain pre-norm Vision Transformer with explicit forward and backward passes: patch embedding, fixed
// 2-D sine-cosine positions, blocks, final norm, mean pooling (Dosovitskiy et al., arXiv 2010.11929, as I-JEPA,
// arXiv 2301.08243, uses it: erf-GELU, biases on q, k and v, layer-norm eps 1e-6, no class token).
//
// Shapes: pictures [B, C, H, W], tokens [rows, D], where the rows of a batch are its sequences one after another; a
// sequence is the tokens of one picture, all of them or the visible ones. Backward passes overwrite the gradients of
// activations and add to those of parameters.
package vit

import (
	"edgejepa/internal/arena"
	"edgejepa/internal/parallel"
	"edgejepa/kernels"
)

// Encoder is a ViT: pictures in, tokens out. Between changes of its weights it may be shared by any number of passes.
type Encoder struct {
	Config Config
	Params Params // in the order and with the names of the official code
	patch  *Linear
	trunk  *Trunk
	pos    []float32 // [N, D]
}

// NewEncoder allocates an encoder with zero weights for inference.
func NewEncoder(c Config) (*Encoder, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return arena.Build(func(a *arena.Arena) *Encoder { return PlaceEncoder(a, c, false) }), nil
}

// PlaceEncoder lays out an encoder of a valid configuration in an arena; grads says whether it will be trained.
func PlaceEncoder(a *arena.Arena, c Config, grads bool) *Encoder {
	return placeEncoder(a, c, grads, false)
}

// PlaceUnpacked is PlaceEncoder for an encoder whose weights change often and shall take little memory: it packs them
// block by block (Trunk.PackBlocks).
func PlaceUnpacked(a *arena.Arena, c Config, grads bool) *Encoder {
	return placeEncoder(a, c, grads, true)
}

func placeEncoder(a *arena.Arena, c Config, grads, perBlock bool) *Encoder {
	e := &Encoder{Config: c}
	if !a.Measuring() {
		e.pos = c.positions()
	}
	e.patch = e.Params.Linear("patch_embed.proj", c.PatchLen(), c.Dim)
	e.patch.W.Shape = []int{c.Dim, c.Channels, c.PatchSize, c.PatchSize} // a convolution, as files hold it
	e.trunk = NewTrunk(&e.Params, "blocks", "norm", c.Dim, c.Depth, c.Heads, c.Hidden(), c.NormEps)
	if perBlock {
		e.trunk.PackBlocks()
	}
	e.Params.Alloc(a, grads, e.Linears)
	return e
}

// At returns an encoder of the same weights, not a copy of them, for inputs of h by w pixels (Config.At). The error says what
// is wrong with the size.
func (e *Encoder) At(h, w int) (*Encoder, error) {
	other := *e
	other.Config = e.Config.At(h, w)
	if err := other.Config.Validate(); err != nil {
		return nil, err
	}
	other.pos = other.Config.positions()
	return &other, nil
}

func (c Config) positions() []float32 {
	return sinCos2D(c.Dim, c.Grid(), c.GridWidth(), c.PositionGrid)
}

// Linears lists the encoder's linear layers, whose packed weights Repack renews after the values changed.
func (e *Encoder) Linears(yield func(*Linear) bool) {
	if yield(e.patch) {
		e.trunk.Linears(yield)
	}
}

// SetPrecision decides what the passes over the encoder compute with. It precedes them.
func (e *Encoder) SetPrecision(p Precision) { e.trunk.SetPrecision(p) }

// Trunk is the encoder's stack of blocks.
func (e *Encoder) Trunk() *Trunk { return e.trunk }

// Patch is the patch embedding.
func (e *Encoder) Patch() *Linear { return e.patch }

// Positions is the fixed position embedding [N, D].
func (e *Encoder) Positions() []float32 { return e.pos }

// Pass runs an encoder over batches up to a size. It holds all the memory that takes, so that calls allocate nothing.
// One goroutine uses it at a time.
type Pass struct {
	enc     *Encoder
	ws      *Workspace
	pool    *parallel.Pool
	all     []int32     // 0..N-1, repeated for each picture: the patches when none is hidden
	allOff  []int32     // 0, N, 2N, …
	patches [][]float32 // [worker] of [embedRows, PatchLen]
	seen    []float32   // Train: [rows, PatchLen] every patch seen, for the patch embedding's gradient
	what    passTask
	px      []float32
	keep    []int32 // patch of each row
	off     []int32
	dst     []float32
	per     int
	width   int // of a feature
	column  int // the part of it that is filled
}

type passTask byte

const (
	passEmbed passTask = iota
	passPatches
	passPatchGrad
	passMean
	passTap
	passTokens
)

// embedRows is how many patches one task embeds.
const embedRows = 96

// NewPass allocates for inference on batches of up to batch pictures.
func (e *Encoder) NewPass(pool *parallel.Pool, batch int) *Pass {
	return arena.Build(func(a *arena.Arena) *Pass { return e.PlacePass(a, pool, batch, batch*e.Config.Tokens(), Infer) })
}

// PlacePass lays out a pass for batches of up to batch pictures and rows tokens in all.
func (e *Encoder) PlacePass(a *arena.Arena, pool *parallel.Pool, batch, rows int, mode Mode) *Pass {
	size := Size{Seqs: batch, Rows: rows, Tokens: min(e.Config.Tokens(), rows)}
	if mode == Train {
		return e.PlaceTraining(a, pool, size, func() {})
	}
	p := e.newPass(a, pool, size, mode)
	p.placeWork(a)
	return p
}

// PlaceTraining lays out a pass for training on batches within size. meanwhile lays out what is in use between Forward
// and Backward only: it shares memory with what the pass uses only inside of them.
func (e *Encoder) PlaceTraining(a *arena.Arena, pool *parallel.Pool, size Size, meanwhile func()) *Pass {
	p := e.newPass(a, pool, size, Train)
	a.Union(func() { p.placeWork(a) }, meanwhile)
	return p
}

func (e *Encoder) newPass(a *arena.Arena, pool *parallel.Pool, size Size, mode Mode) *Pass {
	n := e.Config.Tokens()
	p := &Pass{enc: e, pool: pool}
	place := func() { p.ws = newWorkspace(a, e.trunk, pool, size, mode) }
	if size.Once {
		start := a.Bytes()
		a.Union(place, func() {
			a.F32(int(e.gradientsFrom(p.ws.ends)-start) / 4)
			e.Params.SetGrad(a.F32(int(e.Params.Count())))
		})
	} else {
		place()
	}
	p.allOff = make([]int32, size.Seqs+1)
	for b := range size.Seqs {
		p.allOff[b+1] = int32((b + 1) * n)
		if (b+1)*n <= size.Rows {
			for i := range n {
				p.all = append(p.all, int32(i))
			}
		}
	}
	return p
}

// gradientsFrom is where in the arena the gradients of the parameters, which are flat, may begin. A backward pass comes
// to a block's gradient when it needs no more of what later blocks saved, and comes to the patch embedding's last: so
// they may lie over that, and of the gradients only about one block's take memory of their own. ends are a Workspace's.
func (e *Encoder) gradientsFrom(ends []int64) (from int64) {
	after := func(ps ...*Param) { // ends[0] is the end of what is needed beside the gradients ps
		off := int64(0)
		for _, p := range e.Params.List {
			if p == ps[0] {
				from = max(from, ends[0]-4*off)
			}
			off += int64(p.Len())
		}
		ends = ends[1:]
	}
	after(e.patch.W)
	for _, b := range e.trunk.Blocks {
		after(b.Norm1.Gain)
	}
	after(e.trunk.Norm.Gain)
	return from
}

func (p *Pass) placeWork(a *arena.Arena) {
	p.ws.placeWork(a)
	n := p.enc.Config.PatchLen()
	p.patches = make([][]float32, p.pool.Workers())
	for w := range p.patches {
		p.patches[w] = a.F32(embedRows * n)
	}
	if p.ws.mode == Train {
		p.seen = a.F32(p.ws.max.Rows * n)
	}
}

// Forward returns the tokens [rows, D] after the final norm, valid until the next call. Picture b of px [B, C, H, W]
// has the patches keep[off[b]:off[b+1]] (row-major indices); keep nil means all of them.
func (p *Pass) Forward(px []float32, batch int, keep, off []int32) []float32 {
	p.start(px, batch, keep, off)
	p.ws.Forward()
	return p.Tokens()
}

// start fills the trunk's input.
func (p *Pass) start(px []float32, batch int, keep, off []int32) {
	c := p.enc.Config
	if keep == nil {
		keep, off = p.all[:batch*c.Tokens()], p.allOff[:batch+1]
	}
	if len(off) != batch+1 || len(px) < batch*c.PixelLen() {
		panic("vit: Forward: pictures and sequences do not match")
	}
	p.ws.SetSequences(off)
	p.what, p.px, p.keep, p.off = passEmbed, px, keep, off
	p.pool.Do(p, (p.ws.Rows()+embedRows-1)/embedRows)
}

// Tokens are what the last Forward returned.
func (p *Pass) Tokens() []float32 { return p.ws.Out[:p.ws.Rows()*p.enc.Config.Dim] }

// DTokens is where the caller of Backward puts the gradient of the tokens, [rows, D].
func (p *Pass) DTokens() []float32 { return p.ws.DOut[:p.ws.Rows()*p.enc.Config.Dim] }

// SetNoise is that of the pass's Workspace.
func (p *Pass) SetNoise(key uint32, first int) { p.ws.SetNoise(key, first) }

// SetDropPath is that of the pass's Workspace.
func (p *Pass) SetDropPath(d DropPath) { p.ws.SetDropPath(d) }

// Freeze makes the patch embedding and the blocks before number first stand still: Backward ends there and leaves their
// gradients as they are. 0 is none.
func (p *Pass) Freeze(first int) { p.ws.still = first }

// Backward adds to the gradient of every parameter, from DTokens, or sets it (Size.Once); Tokens may be gone then. It
// follows a Forward of a pass made for Train, whose pictures it reads again.
func (p *Pass) Backward() {
	p.ws.Backward()
	if p.ws.still > 0 {
		return
	}
	rows := p.ws.Rows()
	if p.ws.max.Once {
		p.enc.patch.clearGrad()
	}
	p.what = passPatches
	p.pool.Do(p, (rows+embedRows-1)/embedRows)
	p.what, p.per = passPatchGrad, p.enc.patch.gradRows()
	p.pool.Do(p, (p.enc.Config.Dim+p.per-1)/p.per)
}

// Embed fills dst [B, D] with the mean of each picture's tokens over all patches.
func (p *Pass) Embed(dst, px []float32, batch int) {
	p.Forward(px, batch, nil, nil)
	p.Mean(dst)
}

// Mean fills dst [B, D] with the mean over each sequence's tokens of the last Forward.
func (p *Pass) Mean(dst []float32) {
	p.what, p.dst = passMean, dst
	p.pool.Do(p, len(p.off)-1)
}

// Run is one task of the present pass.
func (p *Pass) Run(n, worker int) {
	d := p.enc.Config.Dim
	switch p.what {
	case passEmbed:
		p.embed(n*embedRows, min((n+1)*embedRows, p.ws.Rows()), p.patches[worker])
	case passPatches:
		r0, r1 := n*embedRows, min((n+1)*embedRows, p.ws.Rows())
		p.gather(r0, r1, p.seen[r0*p.enc.Config.PatchLen():])
	case passPatchGrad:
		m0 := n * p.per
		p.enc.patch.addParamGrad(p.ws.DX, p.seen, p.ws.Rows(), m0, min(m0+p.per, d))
	case passTap, passTokens:
		p.tap(n)
	case passMean:
		r0, r1 := int(p.off[n]), int(p.off[n+1])
		kernels.MeanRows(p.dst[n*d:][:d], p.ws.Out[r0*d:r1*d], r1-r0, d)
	}
}

// gather copies the patches of rows [r0, r1) side by side.
func (p *Pass) gather(r0, r1 int, patches []float32) {
	c := p.enc.Config
	b := 0
	for r := r0; r < r1; r++ {
		for p.off[b+1] <= int32(r) {
			b++
		}
		c.Patchify(patches[(r-r0)*c.PatchLen():], p.px[b*c.PixelLen():], int(p.keep[r]))
	}
}

// embed fills rows [r0, r1) of the trunk's input: x = patch·Wᵀ + b + position.
func (p *Pass) embed(r0, r1 int, patches []float32) {
	c := p.enc.Config
	p.gather(r0, r1, patches)
	x := p.ws.X[r0*c.Dim : r1*c.Dim]
	p.enc.patch.Apply(x, patches, r1-r0)
	for r := r0; r < r1; r++ {
		kernels.Add(x[(r-r0)*c.Dim:][:c.Dim], p.enc.pos[int(p.keep[r])*c.Dim:][:c.Dim])
	}
}

// Patchify copies one patch of a picture [C, H, W] to dst [C, P, P].
func (c Config) Patchify(dst, px []float32, patch int) {
	h, w, n := c.ImageSize, c.Width(), c.PatchSize
	y0, x0 := patch/c.GridWidth()*n, patch%c.GridWidth()*n
	for ch := range c.Channels {
		for y := range n {
			copy(dst[(ch*n+y)*n:][:n], px[(ch*h+y0+y)*w+x0:])
		}
	}
}

// Repacker renews packed weights on a pool after the values of some models changed.
type Repacker struct {
	linears []*Linear
	pool    *parallel.Pool
}

// NewRepacker lists the linear layers that Repack is to renew.
func NewRepacker(pool *parallel.Pool) *Repacker { return &Repacker{pool: pool} }

// Include adds layers.
func (r *Repacker) Include(linears func(yield func(*Linear) bool)) {
	for l := range linears {
		r.linears = append(r.linears, l)
	}
}

// Repack renews all of them.
func (r *Repacker) Repack() { r.pool.Do(r, len(r.linears)) }

// Run renews one layer.
func (r *Repacker) Run(n, _ int) { r.linears[n].Pack() }

// Pack renews the encoder's packed weights on the calling goroutine, for those who load weights once.
func (e *Encoder) Pack() {
	for l := range e.Linears {
		l.Pack()
	}
}

// CountParams is how many parameters an encoder of a valid configuration has.
func CountParams(c Config) int64 {
	var a arena.Arena
	return PlaceEncoder(&a, c, false).Params.Count()
}
