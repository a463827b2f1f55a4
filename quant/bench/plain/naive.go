package main

import (
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"edgejepa/vit"
)

// naive is the network as its formulas stand in a text book, in float32. Its matrix products are nested loops, or gonum's.
type naive struct {
	e                               *vit.Encoder
	linear                          func(y, x []float32, l *vit.Linear, rows int)
	x, norm, qkv, att, out, hid, px []float32
	scores                          []float32
}

func newNaive(e *vit.Encoder, linear func(y, x []float32, l *vit.Linear, rows int)) *naive {
	c := e.Config
	n, d := c.Tokens(), c.Dim
	rows := func(width int) []float32 { return make([]float32, n*width) }
	return &naive{e: e, linear: linear, x: rows(d), norm: rows(d), qkv: rows(3 * d), att: rows(d), out: rows(d), hid: rows(c.Hidden()),
		px: rows(c.PatchLen()), scores: make([]float32, n)}
}

// Embed fills dst [D] with the mean token of one picture [3, S, S].
func (m *naive) Embed(dst, picture []float32) {
	c := m.e.Config
	n, d := c.Tokens(), c.Dim
	for p := range n {
		c.Patchify(m.px[p*c.PatchLen():], picture, p)
	}
	m.linear(m.x, m.px, m.e.Patch(), n)
	add(m.x, m.e.Positions())
	for _, b := range m.e.Trunk().Blocks {
		layerNorm(m.norm, m.x, b.Norm1, c.NormEps)
		m.linear(m.qkv, m.norm, b.QKV, n)
		for h := range c.Heads {
			m.attention(h)
		}
		m.linear(m.out, m.att, b.Proj, n)
		add(m.x, m.out)
		layerNorm(m.norm, m.x, b.Norm2, c.NormEps)
		m.linear(m.hid, m.norm, b.FC1, n)
		for i, v := range m.hid {
			m.hid[i] = float32(float64(v) / 2 * (1 + math.Erf(float64(v)/math.Sqrt2)))
		}
		m.linear(m.out, m.hid, b.FC2, n)
		add(m.x, m.out)
	}
	layerNorm(m.norm, m.x, m.e.Trunk().Norm, c.NormEps)
	clear(dst)
	for p := range n {
		add(dst, m.norm[p*d:][:d])
	}
	for i := range dst {
		dst[i] /= float32(n)
	}
}

// attention is softmax(q·kᵀ/√width)·v of one head.
func (m *naive) attention(head int) {
	c := m.e.Config
	n, d, width := c.Tokens(), c.Dim, c.Dim/c.Heads
	part := func(which, token int) []float32 { return m.qkv[token*3*d+which*d+head*width:][:width] }
	for i := range n {
		q, most := part(0, i), float32(math.Inf(-1))
		for j := range n {
			m.scores[j] = dot(q, part(1, j)) / float32(math.Sqrt(float64(width)))
			most = max(most, m.scores[j])
		}
		sum := float32(0)
		for j, s := range m.scores {
			m.scores[j] = float32(math.Exp(float64(s - most)))
			sum += m.scores[j]
		}
		out := m.att[i*d+head*width:][:width]
		clear(out)
		for j, s := range m.scores {
			for k, v := range part(2, j) {
				out[k] += s / sum * v
			}
		}
	}
}

// loops is y [rows, Out] = x [rows, In]·Wᵀ + b.
func loops(y, x []float32, l *vit.Linear, rows int) {
	for r := range rows {
		for o := range l.Out {
			y[r*l.Out+o] = dot(x[r*l.In:][:l.In], l.W.Value[o*l.In:]) + l.B.Value[o]
		}
	}
}

// gonum is loops by way of gonum's BLAS.
func gonum(y, x []float32, l *vit.Linear, rows int) {
	for r := range rows {
		copy(y[r*l.Out:][:l.Out], l.B.Value)
	}
	blas32.Gemm(blas.NoTrans, blas.Trans, 1, blas32.General{Rows: rows, Cols: l.In, Stride: l.In, Data: x},
		blas32.General{Rows: l.Out, Cols: l.In, Stride: l.In, Data: l.W.Value}, 1, blas32.General{Rows: rows, Cols: l.Out, Stride: l.Out, Data: y})
}

func dot(x, y []float32) (sum float32) {
	y = y[:len(x)]
	for i, v := range x {
		sum += v * y[i]
	}
	return sum
}

func add(x, y []float32) {
	for i, v := range y {
		x[i] += v
	}
}

func layerNorm(dst, x []float32, n *vit.Norm, eps float64) {
	for ; len(x) > 0; x, dst = x[n.Dim:], dst[n.Dim:] {
		mean, square := 0.0, 0.0
		for _, v := range x[:n.Dim] {
			mean += float64(v)
		}
		mean /= float64(n.Dim)
		for _, v := range x[:n.Dim] {
			square += (float64(v) - mean) * (float64(v) - mean)
		}
		scale := 1 / math.Sqrt(square/float64(n.Dim)+eps)
		for i, v := range x[:n.Dim] {
			dst[i] = float32((float64(v)-mean)*scale)*n.Gain.Value[i] + n.Bias.Value[i]
		}
	}
}
