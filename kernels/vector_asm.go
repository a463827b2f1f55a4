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

// columnRows is how many rows a column routine goes down before it turns to the next columns. The lines of so many rows
// stay in a first-level cache meanwhile, whatever their distance: those of rows a multiple of 512 bytes apart share an
// eighth of its sets.
const columnRows = 16

func addColumnSumsVector(dst, x []float32, rows, stride int) int {
	n := whole(len(dst))
	for r := 0; r < rows && n > 0; r += columnRows {
		for j := 0; j < n; j += vectorChunk / columnRows {
			addColumnSumsBlocks(&dst[j], &x[r*stride+j], min(columnRows, rows-r), stride*4, min(vectorChunk/columnRows, n-j))
		}
	}
	return n
}

func addLayerNormParamGradVector(dgain, dbias, dy, x, mean, rstd []float32, stride int) int {
	n, rows := whole(len(dgain)), len(mean)
	for r := 0; r < rows && n > 0; r += columnRows {
		for j := 0; j < n; j += vectorChunk / columnRows {
			addLayerNormParamGradBlocks(&dgain[j], &dbias[j], &dy[r*stride+j], &x[r*stride+j],
				&mean[r], &rstd[r], min(columnRows, rows-r), stride*4, min(vectorChunk/columnRows, n-j))
		}
	}
	return n
}

// rowsAtATime bounds one call of a routine on rows.
const rowsAtATime = 64

// wholeRows says whether the routines on rows take these, and how many at a time: few enough to bound a call as
// vectorChunk does.
func wholeRows(cols int) (at int, ok bool) {
	return min(rowsAtATime, max(1, 2*vectorChunk/max(1, cols))), cols > 0 && whole(cols) == cols
}

func layerNormVector(dst, x, gain, bias, mean, rstd []float32, rows, cols int, eps float32) bool {
	at, ok := wholeRows(cols)
	var unused [2][rowsAtATime]float32
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

// The routines. n is a positive multiple of vectorBlock, rows is positive, stride is in bytes, cols is n
// or a positive multiple of vectorBlock. The listings say what
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
func addColumnSumsBlocks(dst, x *float32, rows, stride, cols int)

//go:noescape
func addLayerNormParamGradBlocks(dgain, dbias, dy, x, mean, rstd *float32, rows, stride, cols int)

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
func smoothL1Blocks(l *lanes64, d, pred, target *float32, n int, scale float32)

//go:noescape
func squaredErrorBlocks(l *lanes64, d, pred, target *float32, n int, scale2 float32)

//go:noescape
func adamwBlocks(p, grad, m, v *float32, n int, decay, gscale, b1, b2, a2, inv2, eps, rate float32)

//go:noescape
func adamwEMABlocks(p, grad, m, v, target *float32, n int, decay, gscale, b1, b2, a2, inv2, eps, rate, mom, mom1 float32)
