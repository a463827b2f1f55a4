package quant

import (
	"encoding/binary"
	"unsafe"

	"edgejepa/internal/parallel"
	"edgejepa/kernels/fixed"
	"edgejepa/kernels/i8"
)

// Embedder turns pictures of the model's size into vectors. pix is [B, S, S, 3]: rows of red, green and blue, as
// pixels.Preprocessor.Crop leaves them. One goroutine uses it at a time; after the first call nothing is allocated.
type Embedder interface {
	// Embed fills dst [B, D] with the mean of each picture's tokens.
	Embed(dst []float32, pix []uint8, batch int)
	// Tokens fills dst [B, N, D] with each picture's tokens after the final norm, patches in row-major order.
	Tokens(dst []float32, pix []uint8, batch int)
	// Features fills dst [B, N, (T+1)·D] with what heads read (vit.Taps): side by side for each token the inputs of T blocks,
	// in ascending order, each less its mean and over its deviation, then the token.
	Features(dst []float32, pix []uint8, blocks []int, batch int)
}

// Pass runs an Encoder: it is the Embedder in fixed point. It holds all the memory that takes, which does not depend on
// the batch. Pictures are spread over the workers; a single one is split between them.
type Pass struct {
	e        *Encoder
	pool     *parallel.Pool
	pictures []picture // [worker]
	workers  []work

	dst   []float32
	pix   []uint8
	batch int
	each  bool  // a token by itself, and not their mean
	taps  []int // blocks

	split  bool // all workers are on one picture
	shared int  // which
	block  int
}

// NewPass allocates a pass on a pool.
func (e *Encoder) NewPass(pool *parallel.Pool) *Pass {
	p := &Pass{e: e, pool: pool}
	for range pool.Workers() {
		p.pictures = append(p.pictures, e.newPicture())
		p.workers = append(p.workers, e.newWork())
	}
	return p
}

// Embed is Embedder's.
func (p *Pass) Embed(dst []float32, pix []uint8, batch int) { p.run(dst, pix, batch, false, nil) }

// Tokens is Embedder's.
func (p *Pass) Tokens(dst []float32, pix []uint8, batch int) { p.run(dst, pix, batch, true, nil) }

// Features is Embedder's.
func (p *Pass) Features(dst []float32, pix []uint8, blocks []int, batch int) {
	p.run(dst, pix, batch, true, blocks)
}

func (p *Pass) run(dst []float32, pix []uint8, batch int, each bool, taps []int) {
	p.each, p.taps = each, taps
	per := p.perPicture()
	if len(pix) < batch*p.e.Config.PixelLen() || len(dst) < batch*per {
		panic("quant: Pass: a slice is smaller than its batch")
	}
	p.dst, p.pix, p.batch = dst, pix, batch
	spread := batch - batch%len(p.workers)
	if batch > 2*len(p.workers) { // workers that the last round leaves idle do not count for much
		spread = batch
	}
	p.pool.Do(p, spread)
	for b := spread; b < batch; b++ {
		p.together(b)
	}
	p.dst, p.pix = nil, nil
}

// perPicture is how many values a picture gives.
func (p *Pass) perPicture() int {
	if p.each {
		return p.e.Config.Tokens() * p.width()
	}
	return p.e.Config.Dim
}

// width is how many values a token gives.
func (p *Pass) width() int { return (len(p.taps) + 1) * p.e.Config.Dim }

// Run is a picture, or a block of some rows of the one that is split.
func (p *Pass) Run(task, worker int) {
	e, w := p.e, &p.workers[worker]
	if p.split {
		s := &p.pictures[0]
		r0, r1 := share(s.n, len(p.workers), task)
		e.rows(s, w, p.pix, p.block, r0, r1)
		p.tap(s, w, p.shared, p.block, r0, r1)
		return
	}
	s := &p.pictures[worker]
	pix := p.pix[task*e.Config.PixelLen():][:e.Config.PixelLen()]
	for b := range e.Config.Depth + 1 {
		e.rows(s, w, pix, b, 0, s.n)
		p.tap(s, w, task, b, 0, s.n)
	}
	p.finish(s, w, task)
}

// share is part i of n rows in parts parts, whole groups of four but for the end.
func share(n, parts, i int) (r0, r1 int) {
	per := (n + 4*parts - 1) / (4 * parts) * 4
	return min(i*per, n), min((i+1)*per, n)
}

// together runs picture b on all workers. They meet once a block, where each needs the keys and values of all rows.
func (p *Pass) together(b int) {
	all := p.pix
	p.pix, p.split, p.shared = all[b*p.e.Config.PixelLen():], true, b
	for p.block = range p.e.Config.Depth + 1 {
		p.pool.Do(p, len(p.workers))
	}
	p.pix, p.split = all, false
	p.finish(&p.pictures[0], &p.workers[0], b)
}

// tap fills what rows [r0, r1) of picture number b have as the input of a block, if that is among the features.
func (p *Pass) tap(s *picture, w *work, b, block, r0, r1 int) {
	for i, t := range p.taps {
		if t == block {
			for r := r0; r < r1; r++ {
				p.normalized(s, w, b, r, i, p.e.unit, p.e.none)
			}
		}
	}
}

// normalized fills part i of the features of token r of picture number b: the row, normalised, times gain plus bias.
func (p *Pass) normalized(s *picture, w *work, b, r, i int, gain, bias []float64) {
	d := p.e.Config.Dim
	clear(w.sums)
	fixed.SumNorm(w.sums, s.x[r*d:], d, 1, d, uint64(p.e.eps[0]))
	fixed.ScaleSums(p.dst[b*p.perPicture()+r*p.width()+i*d:][:d], w.sums, gain, bias)
}

// finish is the last norm of picture number b, and its mean over the tokens.
func (p *Pass) finish(s *picture, w *work, b int) {
	e := p.e
	if p.each {
		for r := range s.n {
			p.normalized(s, w, b, r, len(p.taps), e.tokenGain, e.bias)
		}
		return
	}
	d := e.Config.Dim
	clear(w.sums)
	fixed.SumNorm(w.sums, s.x, d, s.n, d, uint64(e.eps[0]))
	fixed.ScaleSums(p.dst[b*d:][:d], w.sums, e.poolGain, e.bias)
}

// picture is one picture on its way.
type picture struct {
	n   int           // tokens
	x   []int32       // [N, D] the residual stream
	q   []int8        // [N, D]
	att []int8        // [N, D]
	kv  [2]keysValues // of two blocks, in turns: who is ahead writes the next block's while others still read
}

type keysValues struct {
	k  []int8 // [heads, N, head width]
	vt []int8 // [D, N], v transposed
}

func (e *Encoder) newPicture() picture {
	n, d := e.Config.Tokens(), e.Config.Dim
	s := picture{n: n, x: make([]int32, n*d), q: make([]int8, n*d), att: make([]int8, n*d)}
	for i := range s.kv {
		s.kv[i] = keysValues{make([]int8, n*d), make([]int8, n*d)}
	}
	return s
}

// strip is how many rows go through products and what lies between them at a time, so that all stays in cache.
const strip = 48

// work is one worker's memory.
type work struct {
	in     []int8  // [strip, max(PatchLen, D)] of a product
	h      []int8  // [strip, Hidden]
	acc    []int32 // [strip, max(3D, Hidden)]
	scores []int32 // [strip, N]
	p      []int8  // [strip, N]
	sum    []int32 // [strip]
	least  []int8  // [N] of -128: no weight at all
	base   []int32 // [head width]
	k, v   i8.Panels
	sums   []int64 // [D]
}

func (e *Encoder) newWork() work {
	c, hd := e.Config, e.headDim()
	n, rows := c.Tokens(), min(strip, c.Tokens())
	w := work{
		in: make([]int8, rows*max(c.PatchLen(), c.Dim)), h: make([]int8, rows*c.Hidden()),
		acc: make([]int32, rows*max(3*c.Dim, c.Hidden())), scores: make([]int32, rows*n), p: make([]int8, rows*n),
		sum: make([]int32, rows), least: make([]int8, n), base: make([]int32, hd), sums: make([]int64, c.Dim),
	}
	for i := range w.least {
		w.least[i] = -128
	}
	zeros := make([]int8, n*hd)
	w.k.Pack(zeros, hd, n)
	w.v.Pack(zeros, n, hd)
	return w
}

// rows takes rows [r0, r1) of the stream from the attention of block b-1 to before that of block b; those of block 0 come
// from the picture.
func (e *Encoder) rows(s *picture, w *work, pix []uint8, b, r0, r1 int) {
	if r0 >= r1 {
		return
	}
	if b > 0 {
		for h := range e.Config.Heads {
			e.head(s, w, &s.kv[(b-1)%2], &e.blocks[b-1], h, r0, r1)
		}
	}
	for ; r0 < r1; r0 += strip {
		m := min(strip, r1-r0)
		if b == 0 {
			e.embed(s, w, pix, r0, m)
		} else {
			e.project(s, w, &e.blocks[b-1], r0, m)
			e.mlp(s, w, &e.blocks[b-1], r0, m)
		}
		if b < len(e.blocks) {
			e.qkv(s, w, &s.kv[b%2], &e.blocks[b], r0, m)
		}
	}
}

// embed is x = position + patch·Wᵀ + b for m patches from r0 on.
func (e *Encoder) embed(s *picture, w *work, pix []uint8, r0, m int) {
	d, k := e.Config.Dim, e.patch.in
	for r := range m {
		e.patchify(w.in[r*k:][:k], pix, r0+r)
	}
	x := s.x[r0*d:][:m*d]
	copy(x, e.pos[r0*d:])
	i8.Gemm(w.acc, d, w.in, k, m, &e.patch.panels)
	fixed.AddRequant(x, d, w.acc, d, m, d, &e.patch.to.Requant)
}

// patchify copies one patch of a picture [H, W, 3], less 128, to dst [P, P, 3].
func (e *Encoder) patchify(dst []int8, pix []uint8, patch int) {
	c := e.Config
	row, run := c.Width()*c.Channels, c.PatchSize*c.Channels
	at := patch/c.GridWidth()*c.PatchSize*row + patch%c.GridWidth()*run
	for d := asBytes(dst); len(d) > 0; d, at = d[run:], at+row {
		i, src := 0, pix[at:][:run]
		for ; i+8 <= run; i += 8 {
			binary.LittleEndian.PutUint64(d[i:], binary.LittleEndian.Uint64(src[i:])^0x8080808080808080)
		}
		for ; i < run; i++ {
			d[i] = src[i] ^ 0x80
		}
	}
}

// qkv is q, k and v of m rows from r0 on.
func (e *Encoder) qkv(s *picture, w *work, kv *keysValues, b *block, r0, m int) {
	d, hd := e.Config.Dim, e.headDim()
	fixed.LayerNorm(w.in, d, s.x[r0*d:], d, m, d, &b.norm1.Requant, uint64(e.eps[0]))
	i8.Gemm(w.acc, 3*d, w.in, d, m, &b.qkv.panels)
	fixed.RequantI8(s.q[r0*d:], d, w.acc, 3*d, m, d, &b.qTo)
	for h := range b.kOf {
		fixed.RequantI8(kv.k[(h*s.n+r0)*hd:], hd, w.acc[d+h*hd:], 3*d, m, hd, &b.kOf[h])
	}
	v := w.in[:m*d]
	fixed.RequantI8(v, d, w.acc[2*d:], 3*d, m, d, &b.vTo)
	transpose(kv.vt[r0:], s.n, v, d, m, d)
}

// head is one head's part of the attention's output, rows [r0, r1).
func (e *Encoder) head(s *picture, w *work, kv *keysValues, b *block, h, r0, r1 int) {
	d, hd, n := e.Config.Dim, e.headDim(), s.n
	w.k.Pack(kv.k[h*n*hd:][:n*hd], hd, n)
	w.v.Pack(kv.vt[h*hd*n:][:n*hd], n, hd)
	i8.Gemm(w.base, hd, w.least, n, 1, &w.v)
	for ; r0 < r1; r0 += strip {
		m := min(strip, r1-r0)
		i8.Gemm(w.scores, n, s.q[r0*d+h*hd:], d, m, &w.k)
		fixed.SoftmaxI8(w.p, n, w.sum, w.scores, n, m, n, b.softmax[h])
		i8.Gemm(w.acc, hd, w.p, n, m, &w.v)
		fixed.RequantMeans(s.att[r0*d+h*hd:], d, w.acc, hd, m, hd, w.sum, w.base, &b.meansOf[h])
	}
}

// project adds what attention says to m rows of the stream.
func (e *Encoder) project(s *picture, w *work, b *block, r0, m int) {
	d := e.Config.Dim
	i8.Gemm(w.acc, d, s.att[r0*d:], d, m, &b.proj.panels)
	fixed.AddRequant(s.x[r0*d:], d, w.acc, d, m, d, &b.proj.to.Requant)
}

// mlp adds the second half of a block to m rows of the stream.
func (e *Encoder) mlp(s *picture, w *work, b *block, r0, m int) {
	d, hidden := e.Config.Dim, e.Config.Hidden()
	fixed.LayerNorm(w.in, d, s.x[r0*d:], d, m, d, &b.norm2.Requant, uint64(e.eps[0]))
	i8.Gemm(w.acc, hidden, w.in, d, m, &b.fc1.panels)
	fixed.RequantGELU(w.h, hidden, w.acc, hidden, m, hidden, &b.fc1.to.Requant, b.gelu)
	i8.Gemm(w.acc, d, w.h, hidden, m, &b.fc2.panels)
	fixed.AddRequant(s.x[r0*d:], d, w.acc, d, m, d, &b.fc2.to.Requant)
}

// transpose is dst[j*ldd+i] = src[i*lds+j] for i < rows, j < cols.
func transpose(dst []int8, ldd int, src []int8, lds, rows, cols int) {
	d, s := asBytes(dst), asBytes(src)
	for i := 0; i < rows; i += 8 {
		if rows-i < 8 {
			transposeBytes(d[i:], ldd, s[i*lds:], lds, rows-i, cols)
			return
		}
		j := 0
		for ; j+8 <= cols; j += 8 {
			transpose8(d[j*ldd+i:], ldd, s[i*lds+j:], lds)
		}
		if j < cols {
			transposeBytes(d[j*ldd+i:], ldd, s[i*lds+j:], lds, 8, cols-j)
		}
	}
}

func transposeBytes(dst []byte, ldd int, src []byte, lds, rows, cols int) {
	for i := range rows {
		for j, v := range src[i*lds:][:cols] {
			dst[j*ldd+i] = v
		}
	}
}

// transpose8 transposes eight rows of eight bytes: quarters, then quarters of those, then bytes change places.
func transpose8(dst []byte, ldd int, src []byte, lds int) {
	le := binary.LittleEndian
	a0, a1, a2, a3 := le.Uint64(src), le.Uint64(src[lds:]), le.Uint64(src[2*lds:]), le.Uint64(src[3*lds:])
	a4, a5, a6, a7 := le.Uint64(src[4*lds:]), le.Uint64(src[5*lds:]), le.Uint64(src[6*lds:]), le.Uint64(src[7*lds:])
	a0, a4 = exchange(a0, a4, 32, 0x00000000ffffffff)
	a1, a5 = exchange(a1, a5, 32, 0x00000000ffffffff)
	a2, a6 = exchange(a2, a6, 32, 0x00000000ffffffff)
	a3, a7 = exchange(a3, a7, 32, 0x00000000ffffffff)
	a0, a2 = exchange(a0, a2, 16, 0x0000ffff0000ffff)
	a1, a3 = exchange(a1, a3, 16, 0x0000ffff0000ffff)
	a4, a6 = exchange(a4, a6, 16, 0x0000ffff0000ffff)
	a5, a7 = exchange(a5, a7, 16, 0x0000ffff0000ffff)
	a0, a1 = exchange(a0, a1, 8, 0x00ff00ff00ff00ff)
	a2, a3 = exchange(a2, a3, 8, 0x00ff00ff00ff00ff)
	a4, a5 = exchange(a4, a5, 8, 0x00ff00ff00ff00ff)
	a6, a7 = exchange(a6, a7, 8, 0x00ff00ff00ff00ff)
	le.PutUint64(dst, a0)
	le.PutUint64(dst[ldd:], a1)
	le.PutUint64(dst[2*ldd:], a2)
	le.PutUint64(dst[3*ldd:], a3)
	le.PutUint64(dst[4*ldd:], a4)
	le.PutUint64(dst[5*ldd:], a5)
	le.PutUint64(dst[6*ldd:], a6)
	le.PutUint64(dst[7*ldd:], a7)
}

// exchange swaps the bits of a above shift, under the mask, with those of b under it.
func exchange(a, b uint64, shift uint, mask uint64) (uint64, uint64) {
	t := (a>>shift ^ b) & mask
	return a ^ t<<shift, b ^ t
}

// asBytes is x as the bytes that it lies in.
func asBytes(x []int8) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}
