package heads

import (
	"math"

	"edgejepa/internal/arena"
	"edgejepa/kernels"
	"edgejepa/vit"
)

// classifier is logits = W·f(features) + b, f being as they are (linear), a hidden layer (mlp), or for each of Q queries the
// mean of the tokens weighted by softmax(u_q·x), side by side (attentive).
type classifier struct {
	h             *Head
	hidden, query *vit.Linear // of MLP; of Attentive
	out           *vit.Linear
}

func newClassifier(h *Head) network {
	c, n := &classifier{h: h}, len(h.Config.Classes)
	d := h.Encoder.Dim
	in := d
	switch h.Config.Kind {
	case MLP:
		c.hidden = h.Params.Linear("fc1", d, h.Config.Hidden)
		in = h.Config.Hidden
	case Attentive:
		c.query = h.Params.Linear("query", d, h.Config.Queries)
		in = h.Config.Queries * d
	}
	c.out = h.Params.Linear("fc", in, n)
	return c
}

func (c *classifier) linears(yield func(*vit.Linear) bool) {
	for _, l := range []*vit.Linear{c.hidden, c.query, c.out} {
		if l != nil && !yield(l) {
			return
		}
	}
}

type classifierPass struct {
	*classifier
	p       *Pass
	hidden  dense
	query   *vit.LinearOp
	out     *vit.LinearOp
	dh      []float32
	scores  []float32 // [B, N, Q] u·x / sqrt(D)
	weights []float32 // [B, N, Q] softmax of that over the tokens
	pooled  []float32 // [B, Q, D]
	dscores []float32
	dpooled []float32
}

func (c *classifier) place(a *arena.Arena, p *Pass) passes {
	s := &classifierPass{classifier: c, p: p, out: vit.NewLinearOp(c.out, p.pool)}
	switch {
	case c.hidden != nil:
		s.hidden = p.placeDense(a, c.hidden, p.batch)
		if p.train {
			s.dh = a.F32(p.batch * c.hidden.Out)
		}
	case c.query != nil:
		s.query = vit.NewLinearOp(c.query, p.pool)
		n := p.batch * p.rows * c.query.Out
		s.scores, s.weights, s.pooled = a.F32(n), a.F32(n), a.F32(p.batch*c.out.In)
		if p.train {
			s.dscores, s.dpooled = a.F32(n), a.F32(p.batch*c.out.In)
		}
	}
	return s
}

func (s *classifierPass) forward(batch int) {
	p, x := s.p, s.p.in
	switch {
	case s.hidden.l != nil:
		x = s.hidden.forward(p, x, batch, 1)
	case s.query != nil:
		s.query.Forward(s.scores, x, batch*p.rows)
		p.each(batch, s.pool)
		x = s.pooled
	}
	s.out.Forward(p.Out, x, batch)
}

func (s *classifierPass) backward(batch int) {
	p := s.p
	switch {
	case s.hidden.l != nil:
		s.out.Backward(s.dh, p.DOut, s.hidden.y, batch)
		s.hidden.backward(p, p.din, s.dh, p.in, batch, 1)
	case s.query != nil:
		s.out.Backward(s.dpooled, p.DOut, s.pooled, batch)
		p.each(batch, s.poolGrad)
		s.query.Backward(p.din, s.dscores, p.in, batch*p.rows)
		p.each(batch, s.addPooled)
	default:
		s.out.Backward(p.din, p.DOut, p.in, batch)
	}
}

// softmaxScale divides the scores of attention pooling.
func (s *classifierPass) softmaxScale() float32 {
	return float32(1 / math.Sqrt(float64(s.h.Encoder.Dim)))
}

// pool is, for picture b and each query,
//
//	w[n] = softmax over n of u·x[n] / sqrt(D)
//	pooled = sum over n of w[n]·x[n]
func (s *classifierPass) pool(b int) {
	n, q, d := s.p.rows, s.h.Config.Queries, s.h.Encoder.Dim
	scores, weights := s.scores[b*n*q:][:n*q], s.weights[b*n*q:][:n*q]
	x, pooled := s.p.in[b*n*d:][:n*d], s.pooled[b*q*d:][:q*d]
	clear(pooled)
	row := make([]float32, n)
	for k := range q {
		for t := range n {
			row[t] = scores[t*q+k]
		}
		kernels.Softmax(row, 1, n, n, s.softmaxScale())
		for t, w := range row {
			weights[t*q+k] = w
			for j, v := range x[t*d:][:d] {
				pooled[k*d+j] += float32(w * v)
			}
		}
	}
}

// poolGrad is the gradient of the scores of picture b.
func (s *classifierPass) poolGrad(b int) {
	n, q, d := s.p.rows, s.h.Config.Queries, s.h.Encoder.Dim
	weights, ds := s.weights[b*n*q:][:n*q], s.dscores[b*n*q:][:n*q]
	x, dp := s.p.in[b*n*d:][:n*d], s.dpooled[b*q*d:][:q*d]
	y, dy := make([]float32, n), make([]float32, n)
	for k := range q {
		for t := range n {
			y[t] = weights[t*q+k]
			sum := float32(0)
			for j, v := range x[t*d:][:d] {
				sum += float32(v * dp[k*d+j])
			}
			dy[t] = sum
		}
		kernels.SoftmaxGrad(dy, dy, y, 1, n, n, s.softmaxScale())
		for t, v := range dy {
			ds[t*q+k] = v
		}
	}
}

// addPooled adds to the gradient of the tokens what comes by way of the averages of them.
func (s *classifierPass) addPooled(b int) {
	n, q, d := s.p.rows, s.h.Config.Queries, s.h.Encoder.Dim
	dx, dp := s.p.din[b*n*d:][:n*d], s.dpooled[b*q*d:][:q*d]
	for t := range n {
		for k := range q {
			w := s.weights[(b*n+t)*q+k]
			for j := range d {
				dx[t*d+j] += float32(w * dp[k*d+j])
			}
		}
	}
}
