package quant

import (
	"edgejepa/internal/arena"
	"edgejepa/internal/parallel"
	"edgejepa/kernels"
	"edgejepa/vit"
)

// network is an encoder as this package runs it: the float one and its int8 copy differ in nothing but their layers.
type network struct {
	config vit.Config
	patch  *vit.Linear
	pos    []float32 // [N, D]
	blocks []block
	norm   *vit.Norm
}

// block is qkv, proj, fc1, fc2. The norms belong to qkv and fc1.
type block [4]layer

// layer is y [rows, Out] = linear(norm(x)), x [rows, In], on the calling goroutine. row is the number of the first row
// in the whole batch.
type layer interface {
	apply(y, x []float32, row, rows int, s *scratch)
}

// stripRows is how many rows go through a linear layer, or through a whole MLP, at a time.
const stripRows = 64

// Pass runs an encoder. It holds all the memory that takes, so that calls allocate nothing. One goroutine uses it at a
// time.
type Pass struct {
	net      *network
	pool     *parallel.Pool
	pictures int // of one task
	workers  []scratch

	dst, px []float32
	batch   int
	tokens  bool
}

// scratch is one worker's memory.
type scratch struct {
	patches   []float32 // [strip, PatchLen]
	x, att    []float32 // [rows, D], rows those of one task
	qkv       []float32 // [rows, 3D]
	norm      []float32 // [strip, D]
	h         []float32 // [strip, Hidden]
	attention *vit.Attention

	q     []int8    // [strip, Hidden]
	scale []float32 // [strip]
	acc   []int32   // [strip, max(3D, Hidden)]
}

// NewPass allocates for batches of up to batch pictures. Larger ones work too; what the batch saves is memory where one
// task would take several small pictures.
func (e *Encoder) NewPass(pool *parallel.Pool, batch int) *Pass { return e.net.newPass(pool, batch) }

func (net *network) newPass(pool *parallel.Pool, batch int) *Pass {
	c := net.config
	n := c.Tokens()
	p := &Pass{net: net, pool: pool, pictures: max(1, min(batch, (stripRows+n-1)/n))}
	return arena.Build(func(a *arena.Arena) *Pass {
		p.workers = make([]scratch, pool.Workers())
		for w := range p.workers {
			p.workers[w] = placeScratch(a, c, p.pictures*n)
		}
		return p
	})
}

func placeScratch(a *arena.Arena, c vit.Config, rows int) scratch {
	d, strip, hidden := c.Dim, min(stripRows, rows), c.Hidden()
	s := scratch{
		patches: a.F32(strip * c.PatchLen()),
		x:       a.F32(rows * d), att: a.F32(rows * d), qkv: a.F32(rows * 3 * d),
		norm: a.F32(strip * d), h: a.F32(strip * hidden), scale: a.F32(strip),
		attention: vit.NewAttention(a, d, c.Heads, c.Tokens()),
	}
	if !a.Measuring() {
		s.q, s.acc = make([]int8, strip*max(d, hidden)), make([]int32, strip*max(3*d, hidden))
	}
	return s
}

// Embed fills dst [B, D] with the mean of each picture's tokens; px is [B, C, S, S], normalised.
func (p *Pass) Embed(dst, px []float32, batch int) { p.run(dst, px, batch, false) }

// Tokens fills dst [B, N, D] with each picture's tokens after the final norm, patches in row-major order.
func (p *Pass) Tokens(dst, px []float32, batch int) { p.run(dst, px, batch, true) }

func (p *Pass) run(dst, px []float32, batch int, tokens bool) {
	c := p.net.config
	want := batch * c.Dim
	if tokens {
		want *= c.Tokens()
	}
	if len(px) < batch*c.PixelLen() || len(dst) < want {
		panic("quant: Pass: a slice is smaller than its batch")
	}
	p.dst, p.px, p.batch, p.tokens = dst, px, batch, tokens
	p.pool.Do(p, (batch+p.pictures-1)/p.pictures)
	p.dst, p.px = nil, nil
}

// Run takes one task's pictures from pixels to the result.
func (p *Pass) Run(task, worker int) {
	c, s := p.net.config, &p.workers[worker]
	d, n := c.Dim, c.Tokens()
	b0 := task * p.pictures
	b1 := min(b0+p.pictures, p.batch)
	p.net.embed(p.px[b0*c.PixelLen():], b1-b0, s)
	for _, b := range p.net.blocks {
		b.forward(c, b0*n, b1-b0, s)
	}
	rows := (b1 - b0) * n
	if p.tokens {
		p.net.norm.Apply(p.dst[b0*n*d:], s.x, rows, float32(c.NormEps))
		return
	}
	p.net.norm.Apply(s.x, s.x, rows, float32(c.NormEps))
	for b := b0; b < b1; b++ {
		kernels.MeanRows(p.dst[b*d:][:d], s.x[(b-b0)*n*d:], n, d)
	}
}

// embed is x = patch·Wᵀ + b + position for the patches of some pictures.
func (net *network) embed(px []float32, pictures int, s *scratch) {
	c := net.config
	n, rows := c.Tokens(), pictures*c.Tokens()
	for r0 := 0; r0 < rows; r0 += stripRows {
		r1 := min(r0+stripRows, rows)
		for r := r0; r < r1; r++ {
			c.Patchify(s.patches[(r-r0)*c.PatchLen():], px[r/n*c.PixelLen():], r%n)
		}
		net.patch.Apply(s.x[r0*c.Dim:], s.patches, r1-r0)
		for r := r0; r < r1; r++ {
			kernels.Add(s.x[r*c.Dim:][:c.Dim], net.pos[r%n*c.Dim:][:c.Dim])
		}
	}
}

// forward is x += proj(attention(qkv(norm1(x)))), then x += fc2(gelu(fc1(norm2(x)))), for the rows of some pictures.
func (b *block) forward(c vit.Config, row, pictures int, s *scratch) {
	qkv, proj, fc1, fc2 := b[0], b[1], b[2], b[3]
	d, n, rows := c.Dim, c.Tokens(), pictures*c.Tokens()
	x := s.x[:rows*d]

	qkv.apply(s.qkv, x, row, rows, s)
	for q := range pictures {
		s.attention.Apply(s.att[q*n*d:], s.qkv[q*n*3*d:], n)
	}
	out := s.qkv[:rows*d] // q, k and v have served
	proj.apply(out, s.att, row, rows, s)
	kernels.Add(x, out)

	for r := 0; r < rows; r += stripRows {
		m := min(stripRows, rows-r)
		h, out := s.h[:m*c.Hidden()], s.norm[:m*d]
		fc1.apply(h, x[r*d:], row+r, m, s)
		kernels.GELU(h, h)
		fc2.apply(out, h, row+r, m, s)
		kernels.Add(x[r*d:][:m*d], out)
	}
}
