package vit

import (
	"math"

	"edgejepa/internal/arena"
	"edgejepa/kernels"
)

// Attention is multi-head self-attention with the memory that one goroutine needs for it.
type Attention struct {
	trunk Trunk
	w     scratch
}

// NewAttention lays out the memory for sequences of up to tokens tokens of width dim.
func NewAttention(a *arena.Arena, dim, heads, tokens int) *Attention {
	at := &Attention{trunk: Trunk{Dim: dim, Heads: heads}}
	hd := at.trunk.headDim()
	panel := max(kernels.PanelLen(hd, tokens), kernels.PanelLen(tokens, hd))
	at.w.probs = a.F32(tokens * tokens)
	at.w.panelA.Data, at.w.panelB.Data = a.F32(panel), a.F32(panel)
	return at
}

// Apply is att [tokens, D] = softmax(q·kᵀ/sqrt(d))·v, head by head, for one sequence; qkv is [tokens, 3D] with q, k and v
// side by side.
func (at *Attention) Apply(att, qkv []float32, tokens int) {
	at.trunk.attention(att, qkv, at.w.probs, tokens, false, &at.w)
}

// attention is softmax(q·kᵀ/sqrt(d))·v for each head of one sequence. qkv is [T, 3D] with q, k and v side by side,
// each of them heads side by side; att is [T, D]; probs gets the weights [heads, T, T] if keep, else it is scratch.
func (t *Trunk) attention(att, qkv, probs []float32, tokens int, keep bool, w *scratch) {
	d, hd := t.Dim, t.headDim()
	scale := t.scale()
	for h := range t.Heads {
		q, k, v := qkv[h*hd:], qkv[d+h*hd:], qkv[2*d+h*hd:]
		p := probs
		if keep {
			p = probs[h*tokens*tokens:]
		}
		w.panelA.PackT(k, 3*d, hd, tokens)
		kernels.Gemm(p, tokens, q, 3*d, tokens, &w.panelA, nil, 0)
		kernels.Softmax(p, tokens, tokens, tokens, scale)
		w.panelB.Pack(v, 3*d, tokens, hd)
		kernels.Gemm(att[h*hd:], d, p, tokens, tokens, &w.panelB, nil, 0)
	}
}

// attentionGrad is the backward pass of attention: dqkv [T, 3D] from datt [T, D], the saved qkv and weights.
//
//	dV = Pᵀ·dO;  dP = dO·Vᵀ;  dS = P (dP - rowsum(dP P)) / sqrt(d);  dQ = dS·K;  dK = dSᵀ·Q
func (t *Trunk) attentionGrad(dqkv, datt, qkv, probs []float32, tokens int, w *scratch) {
	d, hd := t.Dim, t.headDim()
	scale := t.scale()
	for i := range tokens {
		clear(dqkv[i*3*d+d : (i+1)*3*d]) // dK and dV are sums
	}
	for h := range t.Heads {
		q, k, v := qkv[h*hd:], qkv[d+h*hd:], qkv[2*d+h*hd:]
		dq, dk, dv := dqkv[h*hd:], dqkv[d+h*hd:], dqkv[2*d+h*hd:]
		p, do, ds := probs[h*tokens*tokens:], datt[h*hd:], w.probs

		w.panelA.Pack(do, d, tokens, hd)
		kernels.AddGemmTN(dv, 3*d, p, tokens, tokens, &w.panelA)
		w.panelB.PackT(v, 3*d, hd, tokens)
		kernels.Gemm(ds, tokens, do, d, tokens, &w.panelB, nil, 0)
		kernels.SoftmaxGrad(ds, ds, p, tokens, tokens, tokens, scale)
		w.panelA.Pack(k, 3*d, tokens, hd)
		kernels.Gemm(dq, 3*d, ds, tokens, tokens, &w.panelA, nil, 0)
		w.panelB.Pack(q, 3*d, tokens, hd)
		kernels.AddGemmTN(dk, 3*d, ds, tokens, tokens, &w.panelB)
	}
}

// scale is 1/sqrt(head width).
func (t *Trunk) scale() float32 { return float32(1 / math.Sqrt(float64(t.headDim()))) }
