package vit

import (
	"edgejepa/fp"
	"edgejepa/internal/arena"
)

// saved is what a block's backward pass needs from its forward pass. Attention weights are not among it: the backward
// pass makes them again while their block of rows is in the cache, to the same bits.
type saved struct {
	x, mid       []float32 // [rows, D] input, and after the attention's residual
	qkv          []float32 // [rows, 3D]
	att          []float32 // [rows, D] heads' outputs, before proj
	h            []float32 // [rows, Hidden] before GELU
	mean1, rstd1 []float32 // [rows] of norm1
	mean2, rstd2 []float32 // [rows] of norm2
}

// placeSaved lays out a block's activations but for x, qkv and h.
func (t *Trunk) placeSaved(a *arena.Arena, s *saved, rows int) {
	d := t.Dim
	s.mid, s.mean2, s.rstd2 = a.F32(rows*d), a.F32(rows), a.F32(rows)
	if t.Heads > 0 {
		s.att, s.mean1, s.rstd1 = a.F32(rows*d), a.F32(rows), a.F32(rows)
	}
}

// placeWide lays out qkv and, unless nobody wants it, h.
func (t *Trunk) placeWide(a *arena.Arena, s *saved, rows int, h bool) {
	if t.Heads > 0 {
		s.qkv = a.F32(rows * 3 * t.Dim)
	}
	if h {
		s.h = a.F32(rows * t.Hidden)
	}
}

// from is what s has from a row on.
func (s *saved) from(t *Trunk, row int) saved {
	cut := func(x []float32, width int) []float32 { return x[min(len(x), row*width):] }
	d := t.Dim
	return saved{
		x: cut(s.x, d), mid: cut(s.mid, d), qkv: cut(s.qkv, 3*d), att: cut(s.att, d), h: cut(s.h, t.Hidden),
		mean1: cut(s.mean1, 1), rstd1: cut(s.rstd1, 1), mean2: cut(s.mean2, 1), rstd2: cut(s.rstd2, 1),
	}
}

// Below float32, what waits for the backward pass are halves, rounded to nearest. The forward pass goes on from what it
// computed, except that a block's input is rounded before it is used: a block can then be computed anew from what was
// saved of its input. What is computed anew is rounded as well, so that recomputation changes no bit.

// savedHalves is saved in halves.
type savedHalves struct {
	x, mid, qkv, att, h        []uint16
	mean1, rstd1, mean2, rstd2 []float32
}

// placeHalves lays out a block's activations in halves; all but x unless they are to be computed anew.
func (t *Trunk) placeHalves(a *arena.Arena, rows int, recomputed bool) savedHalves {
	d := t.Dim
	s := savedHalves{x: a.Half(rows * d)}
	if recomputed {
		return s
	}
	s.mid, s.h, s.mean2, s.rstd2 = a.Half(rows*d), a.Half(rows*t.Hidden), a.F32(rows), a.F32(rows)
	if t.Heads > 0 {
		s.qkv, s.att, s.mean1, s.rstd1 = a.Half(rows*3*d), a.Half(rows*d), a.F32(rows), a.F32(rows)
	}
	return s
}

// encode saves all but x of rows rows of s, from row r of h on.
func (h *savedHalves) encode(s *saved, t *Trunk, r, rows int) {
	d := t.Dim
	fp.EncodeHalf(h.mid[r*d:][:rows*d], s.mid[:rows*d])
	fp.EncodeHalf(h.h[r*t.Hidden:][:rows*t.Hidden], s.h[:rows*t.Hidden])
	copy(h.mean2[r:], s.mean2[:rows])
	copy(h.rstd2[r:], s.rstd2[:rows])
	if t.Heads > 0 {
		fp.EncodeHalf(h.qkv[r*3*d:][:rows*3*d], s.qkv[:rows*3*d])
		fp.EncodeHalf(h.att[r*d:][:rows*d], s.att[:rows*d])
		copy(h.mean1[r:], s.mean1[:rows])
		copy(h.rstd1[r:], s.rstd1[:rows])
	}
}

// decode is the way back of encode.
func (h *savedHalves) decode(s *saved, t *Trunk, r, rows int) {
	d := t.Dim
	fp.DecodeHalf(s.mid[:rows*d], h.mid[r*d:][:rows*d])
	fp.DecodeHalf(s.h[:rows*t.Hidden], h.h[r*t.Hidden:][:rows*t.Hidden])
	copy(s.mean2[:rows], h.mean2[r:])
	copy(s.rstd2[:rows], h.rstd2[r:])
	if t.Heads > 0 {
		fp.DecodeHalf(s.qkv[:rows*3*d], h.qkv[r*3*d:][:rows*3*d])
		fp.DecodeHalf(s.att[:rows*d], h.att[r*d:][:rows*d])
		copy(s.mean1[:rows], h.mean1[r:])
		copy(s.rstd1[:rows], h.rstd1[r:])
	}
}

// round rounds rows rows of s to what encode and decode make of them.
func (s *saved) round(t *Trunk, rows int) {
	d := t.Dim
	roundHalves(s.mid[:rows*d])
	roundHalves(s.h[:rows*t.Hidden])
	if t.Heads > 0 {
		roundHalves(s.qkv[:rows*3*d])
		roundHalves(s.att[:rows*d])
	}
}

// roundHalves rounds x to halves, a strip that stays in a first-level cache at a time.
func roundHalves(x []float32) {
	var strip [1024]uint16
	for len(x) > 0 {
		n := min(len(x), len(strip))
		fp.EncodeHalf(strip[:n], x[:n])
		fp.DecodeHalf(x[:n], strip[:n])
		x = x[n:]
	}
}
