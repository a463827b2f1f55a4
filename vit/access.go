package vit

import (
	"edgejepa/internal/arena"
	"edgejepa/kernels"
)

// What follows is for packages that run an encoder's layers on their own, such as quant.

// Pack renews the layer's packed weights after a change of W.
func (l *Linear) Pack() { l.pack() }

// Apply is y [rows, Out] = x [rows, In]·Wᵀ + b on the calling goroutine.
func (l *Linear) Apply(y, x []float32, rows int) { l.apply(y, x, rows) }

// Apply is dst [rows, Dim] = norm(x) on the calling goroutine; dst may be x.
func (n *Norm) Apply(dst, x []float32, rows int, eps float32) { n.apply(dst, x, nil, nil, rows, eps) }

// Patchify copies one patch of a picture [C, S, S] to dst [C, P, P].
func (c Config) Patchify(dst, px []float32, patch int) { c.patchify(dst, px, patch) }

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
