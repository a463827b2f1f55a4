package vit

import (
	"edgejepa/internal/arena"
	"edgejepa/kernels"
)

// Attention is multi-head self-attention with the memory that one goroutine needs for it.
type Attention struct {
	dim, heads int
	scratch    []float32
}

// NewAttention lays out the memory for sequences of up to tokens tokens of width dim.
func NewAttention(a *arena.Arena, dim, heads, tokens int) *Attention {
	return &Attention{dim, heads, a.F32(kernels.AttentionScratch(tokens, dim, heads))}
}

// Apply is att [tokens, D] = softmax(q·kᵀ/sqrt(d))·v, head by head, for one sequence; qkv is [tokens, 3D] with q, k and v
// side by side.
func (at *Attention) Apply(att, qkv []float32, tokens int) {
	kernels.AttentionForward(att, qkv, nil, tokens, at.dim, at.heads, at.scratch)
}
