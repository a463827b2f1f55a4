//go:build (amd64 || arm64) && !purego

package kernels

import "edgejepa/internal/noise"

// The routines on halves; all that vector_asm.go says of the others holds for them.

// halfChunk bounds one call as vectorChunk does: a step of AdamW on halves takes twice as long.
const halfChunk = vectorChunk / 2

// counters are what the lanes of noise begin with. A routine leaves behind those of the next block.
type counters [vectorBlock]uint32

func countersOf(b noise.Stream) (c counters) {
	first := b.Lane()
	for i := range c {
		c[i] = first + uint32(i)
	}
	return c
}

func roundHalfVector(dst []uint16, src []float32, bits noise.Stream) int {
	n, c := whole(len(src)), countersOf(bits)
	for i := 0; i < n; i += halfChunk {
		roundHalfBlocks(&c, &dst[i], &src[i], min(halfChunk, n-i), bits.Key)
	}
	return n
}

func lerpHalfVector(dst []uint16, src []float32, m, m1 float32, bits noise.Stream) int {
	n, c := whole(len(src)), countersOf(bits)
	for i := 0; i < n; i += halfChunk {
		lerpHalfBlocks(&c, &dst[i], &src[i], min(halfChunk, n-i), m, m1, bits.Key)
	}
	return n
}

func layerNormHalfVector(dst []uint16, x, gain, bias, mean, rstd []float32, rows, cols int, eps float32) bool {
	at, ok := wholeRows(cols)
	var unused [2][rowsAtATime]float32
	for r := 0; ok && r < rows; r += at {
		m, s := &unused[0][0], &unused[1][0]
		if mean != nil {
			m, s = &mean[r], &rstd[r]
		}
		if gain != nil {
			layerNormAffineHalfRows(&dst[r*cols], &x[r*cols], &gain[0], &bias[0], m, s, min(at, rows-r), cols, float32(cols), eps)
		} else {
			layerNormHalfRows(&dst[r*cols], &x[r*cols], m, s, min(at, rows-r), cols, float32(cols), eps)
		}
	}
	return ok
}

func adamwHalfVector(p, g []float32, m, v []uint16, s *adamw, bits noise.Stream) int {
	n, c := whole(len(p)), countersOf(bits)
	for i := 0; i < n; i += halfChunk {
		adamwHalfBlocks(&c, &p[i], &g[i], &m[i], &v[i], min(halfChunk, n-i),
			s.decay, s.gscale, s.b1, s.b2, s.a2, s.inv2, s.eps, s.rate, bits.Key)
	}
	return n
}

func adamwHalfEMAVector(p, g []float32, m, v []uint16, target []float32, s *adamw, bits noise.Stream) int {
	n, c := whole(len(p)), countersOf(bits)
	for i := 0; i < n; i += halfChunk {
		adamwHalfEMABlocks(&c, &p[i], &g[i], &m[i], &v[i], &target[i], min(halfChunk, n-i),
			s.decay, s.gscale, s.b1, s.b2, s.a2, s.inv2, s.eps, s.rate, bits.Key, s.m, s.m1)
	}
	return n
}

func adamwHalfEMAHalfVector(p, g []float32, m, v, target []uint16, s *adamw, bits noise.Stream) int {
	n, c := whole(len(p)), countersOf(bits)
	for i := 0; i < n; i += halfChunk {
		adamwHalfEMAHalfBlocks(&c, &p[i], &g[i], &m[i], &v[i], &target[i], min(halfChunk, n-i),
			s.decay, s.gscale, s.b1, s.b2, s.a2, s.inv2, s.eps, s.rate, bits.Key, s.m, s.m1)
	}
	return n
}

// packHalfChunk bounds one call, in rows of a panel.
const packHalfChunk = 1024

// packRowsHalfVector widens 16 columns of rows rows into a panel and returns how many rows it took.
func packRowsHalfVector(dst []float32, x []uint16, ldx, rows int) int {
	if whole(vectorBlock) == 0 {
		return 0
	}
	for i := 0; i < rows; i += packHalfChunk {
		widenRowsBlock(&dst[i*NR], &x[i*ldx], min(packHalfChunk, rows-i), ldx*2)
	}
	return rows
}

// packTHalfVector packs the longest multiple of eight columns of 16 rows of w into a panel and returns how many those
// are.
func packTHalfVector(dst []float32, w []uint16, ldw, k int) int {
	n := k &^ 7
	if whole(vectorBlock) == 0 {
		return 0
	}
	for i := 0; i < n; i += packHalfChunk {
		packTHalf16(&dst[i*NR], &w[i], min(packHalfChunk, n-i), ldw*2)
	}
	return n
}

//go:noescape
func roundHalfBlocks(index *counters, dst *uint16, src *float32, n int, key uint32)

//go:noescape
func lerpHalfBlocks(index *counters, dst *uint16, src *float32, n int, m, m1 float32, key uint32)

//go:noescape
func widenRowsBlock(dst *float32, x *uint16, rows, stride int)

//go:noescape
func layerNormHalfRows(dst *uint16, x, mean, rstd *float32, rows, n int, cols, eps float32)

//go:noescape
func layerNormAffineHalfRows(dst *uint16, x, gain, bias, mean, rstd *float32, rows, n int, cols, eps float32)

//go:noescape
func adamwHalfBlocks(index *counters, p, grad *float32, m, s *uint16, n int,
	decay, gscale, b1, b2, a2, inv2, eps, rate float32, key uint32)

//go:noescape
func adamwHalfEMABlocks(index *counters, p, grad *float32, m, s *uint16, target *float32, n int,
	decay, gscale, b1, b2, a2, inv2, eps, rate float32, key uint32, mom, mom1 float32)

//go:noescape
func adamwHalfEMAHalfBlocks(index *counters, p, grad *float32, m, s, target *uint16, n int,
	decay, gscale, b1, b2, a2, inv2, eps, rate float32, key uint32, mom, mom1 float32)

// packTHalf16 is, with k a positive multiple of 8 and stride in bytes,
//
//	for i := range k { for r := range 16 { dst[i*16+r] = float32(src[r*stride+i]) } }
//
//go:noescape
func packTHalf16(dst *float32, src *uint16, k, stride int)
