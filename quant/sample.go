package quant

import (
	"math"

	"edgejepa/vit"
)

// sampleRows bounds the tokens that a sample keeps for each layer; sampleBytes what they take.
const (
	sampleRows  = 1024
	sampleBytes = 96 << 20
)

// sample is what a float network made of some pictures, as far as fitting and judging its integers needs it.
type sample struct {
	from *vit.Encoder
	ls   []*linear
	to   *Encoder
	pix  []uint8
	n    int // pictures

	rows, perPicture int
	inputs           [][]float32 // [linear] of [rows, In]; of the patch embedding: bytes less 128
	embed            []float32   // [rows, D] what the patch embedding makes of them
	ranges           [2][]ranges // [even and odd pictures][worker]
	peak             []float64   // [picture] largest magnitude in the stream
	means            []float64   // [picture, 2*depth, D] of the stream behind each half of each block
	pooled           []float64   // [picture, D] the embedding
}

// ranges are the largest magnitudes in each channel, over all tokens.
type ranges struct {
	inputs [][]float32 // [linear] of [In]
	qkv    [][]float32 // [block] of [3D]
}

// widen makes most hold x [N, len(most)].
func widen(most, x []float32) {
	for len(x) > 0 {
		for j, v := range x[:len(most)] {
			most[j] = max(most[j], v, -v)
		}
		x = x[len(most):]
	}
}

// merge returns the ranges that all workers saw: of the even pictures, and of all.
func (s *sample) merge() (even, all *ranges) {
	even, all = &s.ranges[0][0], &s.ranges[1][0]
	for _, r := range s.ranges[0][1:] {
		even.widen(&r)
	}
	for _, r := range s.ranges[1][1:] {
		all.widen(&r)
	}
	all.widen(even)
	return even, all
}

func (r *ranges) widen(by *ranges) {
	for i, x := range by.inputs {
		widen(r.inputs[i], x)
	}
	for i, x := range by.qkv {
		widen(r.qkv[i], x)
	}
}

func newSample(from *vit.Encoder, to *Encoder, workers int, pix []uint8, n int) sample {
	c := from.Config
	d := c.Dim
	s := sample{from: from, ls: to.linears(), to: to, pix: pix, n: n}
	perRow := 4 * (c.PatchLen() + d + c.Depth*(3*d+c.Hidden()))
	s.perPicture = min(max(min(sampleRows, sampleBytes/perRow)/n, 1), c.Tokens())
	s.rows = n * s.perPicture
	for _, l := range s.ls {
		s.inputs = append(s.inputs, make([]float32, s.rows*l.in))
	}
	for i := range 2 * workers {
		var r ranges
		for _, l := range s.ls {
			r.inputs = append(r.inputs, make([]float32, l.in))
		}
		for range c.Depth {
			r.qkv = append(r.qkv, make([]float32, 3*d))
		}
		s.ranges[i%2] = append(s.ranges[i%2], r)
	}
	s.embed = make([]float32, s.rows*d)
	s.peak, s.means, s.pooled = make([]float64, n), make([]float64, n*2*c.Depth*d), make([]float64, n*d)
	return s
}

// seen takes what the sample needs of one block of one picture.
func (s *sample) seen(picture, block, worker int, t *trace) {
	c := s.from.Config
	d := c.Dim
	if block == 0 {
		s.keep(s.embed, t.embed, d, picture)
		s.keep(s.inputs[0], patchBytes(s.to, s.pix[picture*c.PixelLen():]), c.PatchLen(), picture)
		s.peak[picture] = peak(t.in)
	}
	r := &s.ranges[picture%2][worker]
	for i, x := range [][]float32{t.norm1, t.att, t.norm2, t.h} {
		s.keep(s.inputs[1+4*block+i], x, s.ls[1+4*block+i].in, picture)
		widen(r.inputs[1+4*block+i], x)
	}
	widen(r.qkv[block], t.qkv)
	s.peak[picture] = max(s.peak[picture], peak(t.mid), peak(t.out))
	at := (picture*c.Depth + block) * 2 * d
	columnMeans(s.means[at:][:d], t.mid)
	columnMeans(s.means[at+d:][:d], t.out)
	if block == c.Depth-1 {
		s.from.Trunk().Norm.Apply(t.norm1, t.out, c.Tokens(), float32(c.NormEps))
		columnMeans(s.pooled[picture*d:][:d], t.norm1)
	}
}

// keep copies a picture's share of a sample from x [N, in]: rows spread evenly, others for each picture.
func (s *sample) keep(dst, x []float32, in, picture int) {
	tokens := len(x) / in
	for j := range s.perPicture {
		row := (j*tokens/s.perPicture + 7*picture) % tokens
		copy(dst[(picture*s.perPicture+j)*in:][:in], x[row*in:])
	}
}

// patchBytes are the patches of a picture [S, S, 3] as the integers have them.
func patchBytes(e *Encoder, pix []uint8) []float32 {
	q, n := make([]int8, e.patch.in), e.Config.Tokens()
	x := make([]float32, 0, n*e.patch.in)
	for p := range n {
		e.patchify(q, pix, p)
		for _, v := range q {
			x = append(x, float32(v))
		}
	}
	return x
}

// peak is the largest magnitude; what is no number counts as infinite.
func peak(x []float32) (m float64) {
	for _, v := range x {
		a := math.Abs(float64(v))
		if a != a {
			return math.Inf(1)
		}
		m = max(m, a)
	}
	return m
}

func columnMeans(dst []float64, x []float32) {
	d := len(dst)
	clear(dst)
	for i, v := range x {
		dst[i%d] += float64(v)
	}
	for j := range dst {
		dst[j] /= float64(len(x) / d)
	}
}

// floatLinears lists the layers of e in the order of Encoder.linears.
func floatLinears(e *vit.Encoder) (ls []*vit.Linear) {
	e.Linears(func(l *vit.Linear) bool { ls = append(ls, l); return true })
	return ls
}
