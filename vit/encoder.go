// Package vit is a plain pre-norm Vision Transformer with explicit forward and backward passes: patch embedding, fixed
// 2-D sine-cosine positions, blocks, final norm, mean pooling (Dosovitskiy et al., arXiv 2010.11929, as I-JEPA,
// arXiv 2301.08243, uses it: erf-GELU, biases on q, k and v, layer-norm eps 1e-6, no class token).
//
// Shapes: pictures [B, C, S, S], tokens [rows, D], where the rows of a batch are its sequences one after another; a
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
	e := &Encoder{Config: c}
	if !a.Measuring() {
		e.pos = SinCos2D(c.Dim, c.Grid(), c.Grid())
	}
	e.patch = e.Params.Linear("patch_embed.proj", c.PatchLen(), c.Dim)
	e.patch.W.Shape = []int{c.Dim, c.Channels, c.PatchSize, c.PatchSize} // a convolution, as files hold it
	e.trunk = NewTrunk(&e.Params, "blocks", "norm", c.Dim, c.Depth, c.Heads, c.Hidden(), c.NormEps)
	e.Params.Alloc(a, grads, e.Linears)
	return e
}

// Linears lists the encoder's linear layers, whose packed weights Repack renews after the values changed.
func (e *Encoder) Linears(yield func(*Linear) bool) {
	if yield(e.patch) {
		e.trunk.Linears(yield)
	}
}

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
	all     []int32        // 0..N-1, repeated for each picture: the patches when none is hidden
	allOff  []int32        // 0, N, 2N, …
	patches [][]float32    // [worker] of [embedRows, PatchLen]
	packed  kernels.Panels // Train: every patch seen, for the patch embedding's gradient
	what    passTask
	px      []float32
	keep    []int32 // patch of each row
	off     []int32
	dst     []float32
	per     int
}

type passTask byte

const (
	passEmbed passTask = iota
	passPatchGrad
	passMean
)

// embedRows is how many patches one task embeds.
const embedRows = 96

// NewPass allocates for inference on batches of up to batch pictures.
func (e *Encoder) NewPass(pool *parallel.Pool, batch int) *Pass {
	return arena.Build(func(a *arena.Arena) *Pass { return e.PlacePass(a, pool, batch, batch*e.Config.Tokens(), Infer) })
}

// PlacePass lays out a pass for batches of up to batch pictures and rows tokens in all.
func (e *Encoder) PlacePass(a *arena.Arena, pool *parallel.Pool, batch, rows int, mode Mode) *Pass {
	c := e.Config
	n := c.Tokens()
	p := &Pass{enc: e, pool: pool}
	p.ws = NewWorkspace(a, e.trunk, pool, Size{Seqs: batch, Rows: rows, Tokens: n}, mode)
	p.allOff = make([]int32, batch+1)
	for b := range batch {
		p.allOff[b+1] = int32((b + 1) * n)
		if (b+1)*n <= rows {
			for i := range n {
				p.all = append(p.all, int32(i))
			}
		}
	}
	p.patches = make([][]float32, pool.Workers())
	for w := range p.patches {
		p.patches[w] = a.F32(embedRows * c.PatchLen())
	}
	if mode == Train {
		p.packed.Data = a.F32(kernels.PanelLen(rows, c.PatchLen()))
	}
	return p
}

// Forward returns the tokens [rows, D] after the final norm, valid until the next call. Picture b of px [B, C, S, S]
// has the patches keep[off[b]:off[b+1]] (row-major indices); keep nil means all of them.
func (p *Pass) Forward(px []float32, batch int, keep, off []int32) []float32 {
	c := p.enc.Config
	if keep == nil {
		keep, off = p.all[:batch*c.Tokens()], p.allOff[:batch+1]
	}
	if len(off) != batch+1 || len(px) < batch*c.PixelLen() {
		panic("vit: Forward: pictures and sequences do not match")
	}
	p.ws.SetSequences(off)
	p.what, p.px, p.keep, p.off = passEmbed, px, keep, off
	rows := p.ws.Rows()
	if p.ws.mode == Train {
		p.packed.SetShape(rows, c.PatchLen())
	}
	p.pool.Do(p, (rows+embedRows-1)/embedRows)
	p.ws.Forward()
	return p.Tokens()
}

// Tokens are what the last Forward returned.
func (p *Pass) Tokens() []float32 { return p.ws.Out[:p.ws.Rows()*p.enc.Config.Dim] }

// DTokens is where the caller of Backward puts the gradient of the tokens, [rows, D].
func (p *Pass) DTokens() []float32 { return p.ws.DOut[:p.ws.Rows()*p.enc.Config.Dim] }

// Backward adds to the gradient of every parameter, from DTokens. It follows a Forward of a pass made for Train.
func (p *Pass) Backward() {
	p.ws.Backward()
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
	case passPatchGrad:
		m0 := n * p.per
		p.enc.patch.addParamGrad(p.ws.DX[:p.ws.Rows()*d], &p.packed, m0, min(m0+p.per, d))
	case passMean:
		r0, r1 := int(p.off[n]), int(p.off[n+1])
		kernels.MeanRows(p.dst[n*d:][:d], p.ws.Out[r0*d:r1*d], r1-r0, d)
	}
}

// embed fills rows [r0, r1) of the trunk's input: x = patch·Wᵀ + b + position.
func (p *Pass) embed(r0, r1 int, patches []float32) {
	c := p.enc.Config
	b := 0
	for p.off[b+1] <= int32(r0) {
		b++
	}
	for r := r0; r < r1; r++ {
		for p.off[b+1] <= int32(r) {
			b++
		}
		c.Patchify(patches[(r-r0)*c.PatchLen():], p.px[b*c.PixelLen():], int(p.keep[r]))
	}
	if p.ws.mode == Train {
		packRows(&p.packed, patches, r0, r1-r0)
	}
	x := p.ws.X[r0*c.Dim : r1*c.Dim]
	p.enc.patch.Apply(x, patches, r1-r0)
	for r := r0; r < r1; r++ {
		kernels.Add(x[(r-r0)*c.Dim:][:c.Dim], p.enc.pos[int(p.keep[r])*c.Dim:][:c.Dim])
	}
}

// Patchify copies one patch of a picture [C, S, S] to dst [C, P, P].
func (c Config) Patchify(dst, px []float32, patch int) {
	s, n := c.ImageSize, c.PatchSize
	y0, x0 := patch/c.Grid()*n, patch%c.Grid()*n
	for ch := range c.Channels {
		for y := range n {
			copy(dst[(ch*n+y)*n:][:n], px[(ch*s+y0+y)*s+x0:])
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
