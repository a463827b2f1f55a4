//go:build (amd64 || arm64) && !purego

package kernels

import "edgejepa/internal/cpu"

//go:generate go run ./internal/asmgen

// The routines of vector_amd64.s and vector_arm64.s, one Go function each, shared by both architectures. Every function
// …Vector works on the longest prefix of whole blocks of its slices, returns that prefix's length, and gives there the
// bits of …Generic; the caller hands the rest to …Generic. Lengths have been checked.

// vectorBlock is the number of elements that one turn of a routine's loop handles.
const vectorBlock = len(lanes{})

// vectorChunk bounds one call: assembly cannot be preempted, and AdamW's 4096 elements keep a slow core some 100 µs.
const vectorChunk = 4096

// whole returns the length of the prefix of n elements that the routines take: 0 where there are none.
func whole(n int) int {
	if cpu.HasAVX2FMA || cpu.HasNEON {
		return n &^ (vectorBlock - 1)
	}
	return 0
}

func addVector(dst, src []float32) int {
	n := whole(len(dst))
	for i := 0; i < n; i += vectorChunk {
		addBlocks(&dst[i], &src[i], min(vectorChunk, n-i))
	}
	return n
}

func scaleVector(x []float32, s float32) int {
	n := whole(len(x))
	for i := 0; i < n; i += vectorChunk {
		scaleBlocks(&x[i], min(vectorChunk, n-i), s)
	}
	return n
}

func lerpVector(dst, src []float32, m, m1 float32) int {
	n := whole(len(dst))
	for i := 0; i < n; i += vectorChunk {
		lerpBlocks(&dst[i], &src[i], min(vectorChunk, n-i), m, m1)
	}
	return n
}

func geluVector(dst, x []float32) int {
	n := whole(len(x))
	for i := 0; i < n; i += vectorChunk {
		geluBlocks(&dst[i], &x[i], min(vectorChunk, n-i))
	}
	return n
}

func geluGradVector(dx, dy, x []float32) int {
	n := whole(len(x))
	for i := 0; i < n; i += vectorChunk {
		geluGradBlocks(&dx[i], &dy[i], &x[i], min(vectorChunk, n-i))
	}
	return n
}

func sumSquaresVector(l *lanes64, x []float32) int {
	n := whole(len(x))
	for i := 0; i < n; i += vectorChunk {
		sumSquaresBlocks(l, &x[i], min(vectorChunk, n-i))
	}
	return n
}

// rowBlock bounds one call of a column routine, and is the number of rows that stay in a cache from one block of
// columns to the next.
const rowBlock = 64

func addColumnSumsVector(dst, x []float32, rows, stride int) int {
	n := whole(len(dst))
	for r := 0; r < rows && n > 0; r += rowBlock {
		for j := 0; j < n; j += vectorBlock {
			addColumnSumsBlock((*lanes)(dst[j:]), &x[r*stride+j], min(rowBlock, rows-r), stride*4)
		}
	}
	return n
}

func addLayerNormParamGradVector(dgain, dbias, dy, x, mean, rstd []float32, stride int) int {
	n, rows := whole(len(dgain)), len(mean)
	for r := 0; r < rows && n > 0; r += rowBlock {
		for j := 0; j < n; j += vectorBlock {
			addLayerNormParamGradBlock((*lanes)(dgain[j:]), (*lanes)(dbias[j:]), &dy[r*stride+j], &x[r*stride+j],
				&mean[r], &rstd[r], min(rowBlock, rows-r), stride*4)
		}
	}
	return n
}

// wholeRows says whether the routines on rows take these, and how many at a time: few enough to bound a call as
// vectorChunk does.
func wholeRows(cols int) (at int, ok bool) {
	return min(rowBlock, max(1, 2*vectorChunk/max(1, cols))), cols > 0 && whole(cols) == cols
}

func layerNormVector(dst, x, gain, bias, mean, rstd []float32, rows, cols int, eps float32) bool {
	at, ok := wholeRows(cols)
	var unused [2][rowBlock]float32
	for r := 0; ok && r < rows; r += at {
		m, s := &unused[0][0], &unused[1][0]
		if mean != nil {
			m, s = &mean[r], &rstd[r]
		}
		if gain != nil {
			layerNormAffineRows(&dst[r*cols], &x[r*cols], &gain[0], &bias[0], m, s, min(at, rows-r), cols, float32(cols), eps)
		} else {
			layerNormRows(&dst[r*cols], &x[r*cols], m, s, min(at, rows-r), cols, float32(cols), eps)
		}
	}
	return ok
}

func addLayerNormGradVector(dx, dy, x, gain, mean, rstd []float32, rows, cols int) bool {
	at, ok := wholeRows(cols)
	for r := 0; ok && r < rows; r += at {
		if gain != nil {
			addLayerNormGainGradRows(&dx[r*cols], &dy[r*cols], &x[r*cols], &gain[0], &mean[r], &rstd[r],
				min(at, rows-r), cols, float32(cols))
		} else {
			addLayerNormGradRows(&dx[r*cols], &dy[r*cols], &x[r*cols], &mean[r], &rstd[r], min(at, rows-r), cols, float32(cols))
		}
	}
	return ok
}

func maxScaledVector(l *lanes, x []float32, scale float32) int {
	n := whole(len(x))
	for i := 0; i < n; i += vectorChunk {
		maxScaledBlocks(l, &x[i], min(vectorChunk, n-i), scale)
	}
	return n
}

// expRowVector takes the whole row: rows are short, so that a tail in Go would cost as much as the blocks.
func expRowVector(l *lanes, x []float32, scale, m float32) int {
	n := whole(len(x))
	for i := 0; i < n; i += vectorChunk {
		expRowBlocks(l, &x[i], min(vectorChunk, n-i), scale, m)
	}
	if tail := x[n:]; len(tail) > 0 && whole(vectorBlock) > 0 {
		var buf, unused lanes
		copy(buf[:], tail)
		expRowBlocks(&unused, &buf[0], vectorBlock, scale, m)
		copy(tail, buf[:])
		for j, v := range tail {
			l[j] += v
		}
		return len(x)
	}
	return n
}

func dotRowVector(l *lanes, a, b []float32) int {
	n := whole(len(a))
	for i := 0; i < n; i += vectorChunk {
		dotRowBlocks(l, &a[i], &b[i], min(vectorChunk, n-i))
	}
	return n
}

func softmaxGradVector(dx, dy, y []float32, scale, dot float32) int {
	n := whole(len(y))
	for i := 0; i < n; i += vectorChunk {
		softmaxGradBlocks(&dx[i], &dy[i], &y[i], min(vectorChunk, n-i), scale, dot)
	}
	return n
}

func smoothL1Vector(l *lanes64, d, pred, target []float32, scale float32) int {
	n := whole(len(pred))
	for i := 0; i < n; i += vectorChunk {
		smoothL1Blocks(l, &d[i], &pred[i], &target[i], min(vectorChunk, n-i), scale)
	}
	return n
}

func squaredErrorVector(l *lanes64, d, pred, target []float32, scale2 float32) int {
	n := whole(len(pred))
	for i := 0; i < n; i += vectorChunk {
		squaredErrorBlocks(l, &d[i], &pred[i], &target[i], min(vectorChunk, n-i), scale2)
	}
	return n
}

func adamwVector(p, g, m, v []float32, s *adamw) int {
	n := whole(len(p))
	for i := 0; i < n; i += vectorChunk {
		adamwBlocks(&p[i], &g[i], &m[i], &v[i], min(vectorChunk, n-i),
			s.decay, s.gscale, s.b1, s.b2, s.a2, s.inv2, s.eps, s.rate)
	}
	return n
}

func adamwEMAVector(p, g, m, v, target []float32, s *adamw) int {
	n := whole(len(p))
	for i := 0; i < n; i += vectorChunk {
		adamwEMABlocks(&p[i], &g[i], &m[i], &v[i], &target[i], min(vectorChunk, n-i),
			s.decay, s.gscale, s.b1, s.b2, s.a2, s.inv2, s.eps, s.rate, s.m, s.m1)
	}
	return n
}

// The routines. n is a positive multiple of vectorBlock, rows is positive, stride is in bytes, cols is n. The listings say what
// each computes.

//go:noescape
func addBlocks(dst, src *float32, n int)

//go:noescape
func scaleBlocks(x *float32, n int, s float32)

//go:noescape
func lerpBlocks(dst, src *float32, n int, m, m1 float32)

//go:noescape
func geluBlocks(dst, x *float32, n int)

//go:noescape
func geluGradBlocks(dx, dy, x *float32, n int)

//go:noescape
func sumSquaresBlocks(l *lanes64, x *float32, n int)

//go:noescape
func addColumnSumsBlock(dst *lanes, x *float32, rows, stride int)

//go:noescape
func addLayerNormParamGradBlock(dgain, dbias *lanes, dy, x, mean, rstd *float32, rows, stride int)

//go:noescape
func layerNormRows(dst, x, mean, rstd *float32, rows, n int, cols, eps float32)

//go:noescape
func layerNormAffineRows(dst, x, gain, bias, mean, rstd *float32, rows, n int, cols, eps float32)

//go:noescape
func addLayerNormGradRows(dx, dy, x, mean, rstd *float32, rows, n int, cols float32)

//go:noescape
func addLayerNormGainGradRows(dx, dy, x, gain, mean, rstd *float32, rows, n int, cols float32)

//go:noescape
func maxScaledBlocks(l *lanes, x *float32, n int, scale float32)

//go:noescape
func expRowBlocks(l *lanes, x *float32, n int, scale, m float32)

//go:noescape
func dotRowBlocks(l *lanes, a, b *float32, n int)

//go:noescape
func softmaxGradBlocks(dx, dy, y *float32, n int, scale, dot float32)

//go:noescape
func smoothL1Blocks(l *lanes64, d, pred, target *float32, n int, scale float32)

//go:noescape
func squaredErrorBlocks(l *lanes64, d, pred, target *float32, n int, scale2 float32)

//go:noescape
func adamwBlocks(p, grad, m, v *float32, n int, decay, gscale, b1, b2, a2, inv2, eps, rate float32)

//go:noescape
func adamwEMABlocks(p, grad, m, v, target *float32, n int, decay, gscale, b1, b2, a2, inv2, eps, rate, mom, mom1 float32)
