package quant

import (
	"edgejepa/internal/arena"
	"edgejepa/internal/parallel"
	"edgejepa/kernels"
	"edgejepa/vit"
)

// floatEmbedder is the Embedder of a float encoder.
type floatEmbedder struct {
	config vit.Config
	pass   *vit.Pass
	px     []float32 // [batch, 3, S, S]
	most   int
	table  *[3][256]float32
}

// NewFloatEmbedder allocates what running a float encoder on batches of up to batch pictures takes. Larger batches work too.
func NewFloatEmbedder(e *vit.Encoder, pool *parallel.Pool, batch int) Embedder {
	return newFloatEmbedder(e, pool, batch)
}

func newFloatEmbedder(e *vit.Encoder, pool *parallel.Pool, batch int) *floatEmbedder {
	batch = max(batch, 1)
	return &floatEmbedder{config: e.Config, pass: e.NewPass(pool, batch), px: make([]float32, batch*e.Config.PixelLen()),
		most: batch, table: pixelTable(e.Config)}
}

func (f *floatEmbedder) Embed(dst []float32, pix []uint8, batch int) {
	f.run(pix, batch, func(b, n int) { f.pass.Embed(dst[b*f.config.Dim:], f.px, n) })
}

func (f *floatEmbedder) Tokens(dst []float32, pix []uint8, batch int) {
	per := f.config.Tokens() * f.config.Dim
	f.run(pix, batch, func(b, n int) { copy(dst[b*per:], f.pass.Forward(f.px, n, nil, nil)) })
}

func (f *floatEmbedder) Features(dst []float32, pix []uint8, blocks []int, batch int) {
	per := f.config.Tokens() * (len(blocks) + 1) * f.config.Dim
	f.run(pix, batch, func(b, n int) { f.pass.Features(dst[b*per:], f.px, n, blocks) })
}

// run calls do for pictures b to b+n, which are in px, until all are done.
func (f *floatEmbedder) run(pix []uint8, batch int, do func(b, n int)) {
	size := f.config.PixelLen()
	for b := 0; b < batch; b += f.most {
		n := min(f.most, batch-b)
		for i := range n {
			normalize(f.px[i*size:][:size], pix[(b+i)*size:][:size], f.table)
		}
		do(b, n)
	}
}

// pixelTable is (v/255 - mean) / std for each channel and each v.
func pixelTable(c vit.Config) *[3][256]float32 {
	var t [3][256]float32
	for ch := range t {
		for v := range t[ch] {
			t[ch][v] = (float32(v)/255 - c.Mean[ch]) / c.Std[ch]
		}
	}
	return &t
}

// normalize looks up the values of a picture [S, S, 3] and writes them as [3, S, S].
func normalize(dst []float32, pix []uint8, t *[3][256]float32) {
	n := len(pix) / 3
	for ch := range t {
		plane := dst[ch*n:][:n]
		for i := range plane {
			plane[i] = t[ch][pix[3*i+ch]]
		}
	}
}

// trace is what a block of the float network made of one picture, [N, ·] each.
type trace struct {
	patches []float32 // block 0: [N, PatchLen], and
	embed   []float32 // [N, D] the embedding before positions are added
	in      []float32 // [N, D] stream
	norm1   []float32
	qkv     []float32
	att     []float32
	mid     []float32 // stream
	norm2   []float32
	h       []float32 // [N, Hidden] after GELU
	out     []float32 // stream
}

// tracer runs the float network picture by picture and shows see every block of each, those of a picture in order and on
// one worker.
type tracer struct {
	e    *vit.Encoder
	pix  []uint8
	see  func(picture, block, worker int, t *trace)
	work []traceWork
}

type traceWork struct {
	trace
	px        []float32
	attention *vit.Attention
}

// traceAll shows see the blocks of n pictures pix [n, S, S, 3].
func traceAll(e *vit.Encoder, pool *parallel.Pool, pix []uint8, n int, see func(picture, block, worker int, t *trace)) {
	r := &tracer{e: e, pix: pix, see: see, work: make([]traceWork, pool.Workers())}
	c := e.Config
	rows := c.Tokens()
	for i := range r.work {
		r.work[i] = *arena.Build(func(a *arena.Arena) *traceWork {
			w := &traceWork{px: a.F32(c.PixelLen()), attention: vit.NewAttention(a, c.Dim, c.Heads, rows)}
			w.patches, w.h, w.qkv = a.F32(rows*c.PatchLen()), a.F32(rows*c.Hidden()), a.F32(rows*3*c.Dim)
			for _, x := range []*[]float32{&w.embed, &w.in, &w.norm1, &w.att, &w.mid, &w.norm2, &w.out} {
				*x = a.F32(rows * c.Dim)
			}
			return w
		})
	}
	pool.Do(r, n)
}

// Run traces picture i.
func (r *tracer) Run(i, worker int) {
	w, c := &r.work[worker], r.e.Config
	n, eps := c.Tokens(), float32(c.NormEps)
	normalize(w.px, r.pix[i*c.PixelLen():][:c.PixelLen()], pixelTable(c))
	for p := range n {
		c.Patchify(w.patches[p*c.PatchLen():], w.px, p)
	}
	r.e.Patch().Apply(w.embed, w.patches, n)
	copy(w.out, w.embed)
	kernels.Add(w.out, r.e.Positions())
	for b, block := range r.e.Trunk().Blocks {
		w.in, w.out = w.out, w.in
		block.Norm1.Apply(w.norm1, w.in, n, eps)
		block.QKV.Apply(w.qkv, w.norm1, n)
		w.attention.Apply(w.att, w.qkv, n)
		block.Proj.Apply(w.mid, w.att, n)
		kernels.Add(w.mid, w.in)
		block.Norm2.Apply(w.norm2, w.mid, n, eps)
		block.FC1.Apply(w.h, w.norm2, n)
		kernels.GELU(w.h, w.h)
		block.FC2.Apply(w.out, w.h, n)
		kernels.Add(w.out, w.mid)
		r.see(i, b, worker, &w.trace)
	}
}
