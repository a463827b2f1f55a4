package kernels

import "math"

// Attention of one sequence, all heads (Vaswani et al., arXiv 1706.03762). qkv is [tokens, 3*dim] with q, k and v side by
// side, each of them heads of dim/heads columns side by side; att is [tokens, dim], head beside head. With
// d = dim/heads, for each head
//
//	P = softmax(q·kᵀ/sqrt(d)),  att = P·v
//
// A block of rows of P is made and used while it is in the cache, so that no [tokens, tokens] matrix is needed. The bits
// are those of Gemm, Softmax, SoftmaxGrad and AddGemmTN on whole matrices: every chain runs over the same values in the
// same order.

// attentionRows and attentionGradRows are the rows of P in a block: both multiples of every tile's height. The forward
// block, 24 rows of 256, is 24 KiB. The backward one is larger, because it loads and stores all of dK and dV.
const (
	attentionRows     = 24
	attentionGradRows = 48
)

// AttentionScratch returns how many float32 of scratch AttentionForward and AttentionBackward need.
func AttentionScratch(tokens, dim, heads int) int {
	return 2*PanelLen(dim/heads, tokens) + 2*attentionGradRows*whole16(tokens)
}

func whole16(n int) int { return (n + NR - 1) / NR * NR }

// attention is the work on one sequence.
type attention struct {
	tokens, dim, d int
	ldp            int // between rows of a block of P or dS
	scale          float32
	t              tile
	b              right
	k, v           Panels // kᵀ and vᵀ of a head
	p, ds          []float32
}

func (at *attention) set(tokens, dim, heads int, scratch []float32) {
	d := dim / heads
	at.tokens, at.dim, at.d = tokens, dim, d
	at.scale = float32(1 / math.Sqrt(float64(d)))
	at.ldp = whole16(tokens)
	n := PanelLen(d, tokens)
	at.k.Data, scratch = scratch[:n:n], scratch[n:]
	at.v.Data, scratch = scratch[:n:n], scratch[n:]
	n = attentionGradRows * at.ldp
	at.p, at.ds = scratch[:n], scratch[n:2*n]
}

// AttentionForward is att = softmax(q·kᵀ/sqrt(d))·v, head by head. probs, unless nil, gets P as [heads, tokens, tokens].
// scratch has AttentionScratch values or more; what it holds does not matter.
func AttentionForward(att, qkv, probs []float32, tokens, dim, heads int, scratch []float32) {
	if tokens == 0 {
		return
	}
	if heads < 1 || dim < heads || tokens < 0 || dim%heads != 0 || len(att) < tokens*dim || len(qkv) < tokens*3*dim ||
		!fits(probs, heads*tokens*tokens) || len(scratch) < AttentionScratch(tokens, dim, heads) {
		panic("kernels: AttentionForward: an operand is smaller than its shape")
	}
	var at attention
	at.set(tokens, dim, heads, scratch)
	d := at.d
	for h := range heads {
		q, k, v := qkv[h*d:], qkv[dim+h*d:], qkv[2*dim+h*d:]
		at.k.PackT(k, 3*dim, d, tokens)
		for i := 0; i < tokens; i += attentionRows {
			rows := min(attentionRows, tokens-i)
			p, ldp := at.probabilities(q, probs, h, i, rows)
			at.rowsByView(att[i*dim+h*d:], dim, p, ldp, rows, v)
		}
	}
}

// AttentionBackward is the backward pass of AttentionForward: dqkv [tokens, 3*dim] from datt [tokens, dim], qkv and P,
//
//	dV = Pᵀ·dO;  dP = dO·Vᵀ;  dS = P (dP - rowsum(dP P)) / sqrt(d);  dQ = dS·K;  dK = dSᵀ·Q
//
// P is what AttentionForward left in probs, or nil: it is then computed again, to the same bits.
func AttentionBackward(dqkv, datt, qkv, probs []float32, tokens, dim, heads int, scratch []float32) {
	if tokens == 0 {
		return
	}
	if heads < 1 || dim < heads || tokens < 0 || dim%heads != 0 || len(dqkv) < tokens*3*dim || len(datt) < tokens*dim || len(qkv) < tokens*3*dim ||
		!fits(probs, heads*tokens*tokens) || len(scratch) < AttentionScratch(tokens, dim, heads) {
		panic("kernels: AttentionBackward: an operand is smaller than its shape")
	}
	var at attention
	at.set(tokens, dim, heads, scratch)
	d, ld := at.d, 3*dim
	for h := range heads {
		q, k, v := qkv[h*d:], qkv[dim+h*d:], qkv[2*dim+h*d:]
		dq, dk, dv := dqkv[h*d:], dqkv[dim+h*d:], dqkv[2*dim+h*d:]
		if probs == nil {
			at.k.PackT(k, ld, d, tokens)
		}
		at.v.PackT(v, ld, d, tokens)
		for i := 0; i < tokens; i += attentionGradRows {
			rows := min(attentionGradRows, tokens-i)
			var p []float32
			ldp := tokens
			if probs == nil {
				p, ldp = at.probabilities(q, nil, h, i, rows)
			} else {
				p = probs[(h*tokens+i)*tokens:]
			}
			do := datt[i*dim+h*d:]
			at.addTransposed(dv, p, ldp, do, dim, i, rows)
			at.rowsByPanels(at.ds, at.ldp, at.ldp, do, dim, rows, &at.v)
			softmaxGradRows(at.ds, at.ds, at.ldp, p, ldp, rows, tokens, at.scale)
			at.rowsByView(dq[i*ld:], ld, at.ds, at.ldp, rows, k)
			at.addTransposed(dk, at.ds, at.ldp, q[i*ld:], ld, i, rows)
		}
	}
}

// probabilities returns rows [i, i+rows) of P of head h, and how far its rows are apart: in probs, or else in at.p.
func (at *attention) probabilities(q, probs []float32, h, i, rows int) ([]float32, int) {
	p, ldp, n := at.p, at.ldp, at.ldp // columns beyond the last token are zeros of the panel, and in nobody's way
	if probs != nil {
		p, ldp, n = probs[(h*at.tokens+i)*at.tokens:], at.tokens, at.tokens
	}
	at.rowsByPanels(p, ldp, n, q[i*3*at.dim:], 3*at.dim, rows, &at.k)
	softmaxRows(p, rows, at.tokens, ldp, at.scale)
	return p, ldp
}

// rowsByPanels is c [rows, n] = a [rows, d]·b, with n up to the width of b's panels.
func (at *attention) rowsByPanels(c []float32, ldc, n int, a []float32, lda, rows int, b *Panels) {
	at.t.rsA, at.t.csA, at.t.bsA = lda, 1, MR*lda
	at.b.packed(b)
	at.b.n = n
	at.t.gemm(c, ldc, a, rows, &at.b, nil, 0)
}

// rowsByView is c [rows, d] = p [rows, tokens]·x, with x [tokens, d] one head's columns of qkv.
func (at *attention) rowsByView(c []float32, ldc int, p []float32, ldp, rows int, x []float32) {
	at.t.rsA, at.t.csA, at.t.bsA = ldp, 1, MR*ldp
	at.b.view(x, 3*at.dim, at.tokens, at.d)
	at.t.gemm(c, ldc, p, rows, &at.b, nil, 0)
}

// addTransposed is dx [tokens, d] += pᵀ·y, with y [rows, d], and starts dx if this is the block of the first row.
func (at *attention) addTransposed(dx, p []float32, ldp int, y []float32, ldy, i, rows int) {
	at.t.rsA, at.t.csA, at.t.bsA = 1, ldp, MR
	at.b.view(y, ldy, rows, at.d)
	if i == 0 {
		at.t.gemm(dx, 3*at.dim, p, at.tokens, &at.b, nil, 0)
		return
	}
	at.t.gemm(dx, 3*at.dim, p, at.tokens, &at.b, dx, 3*at.dim)
}
