//go:build !purego

package kernels

import "edgejepa/internal/cpu"

// softmaxRows is Softmax.
func softmaxRows(x []float32, rows, cols, stride int, scale float32) {
	if !cpu.HasNEON {
		softmaxRowsGeneric(x, rows, cols, stride, scale)
		return
	}
	for r := range rows {
		row := x[r*stride:][:cols]
		m := maxScaled(row, scale)
		var l lanes
		expRowVector(&l, row, scale, m)
		Scale(row, 1/l.sum())
	}
}

// softmaxGradRows is SoftmaxGrad, with rows of y stridey apart.
func softmaxGradRows(dx, dy []float32, stride int, y []float32, stridey, rows, cols int, scale float32) {
	if !cpu.HasNEON {
		softmaxGradRowsGeneric(dx, dy, stride, y, stridey, rows, cols, scale)
		return
	}
	for r := range rows {
		dxr, dyr, yr := dx[r*stride:][:cols], dy[r*stride:][:cols], y[r*stridey:][:cols]
		var l lanes
		n := dotRowVector(&l, dyr, yr)
		dotRowGeneric(&l, dyr[n:], yr[n:])
		dot := l.sum()
		n = softmaxGradVector(dxr, dyr, yr, scale, dot)
		softmaxGradGeneric(dxr[n:], dyr[n:], yr[n:], scale, dot)
	}
}

// expRowVector takes the whole row: rows are short, so that a tail in Go would cost as much as the blocks.
func expRowVector(l *lanes, x []float32, scale, m float32) {
	n := whole(len(x))
	for i := 0; i < n; i += vectorChunk {
		expRowBlocks(l, &x[i], min(vectorChunk, n-i), scale, m)
	}
	if tail := x[n:]; len(tail) > 0 {
		var buf, unused lanes
		copy(buf[:], tail)
		expRowBlocks(&unused, &buf[0], vectorBlock, scale, m)
		copy(tail, buf[:])
		for j, v := range tail {
			l[j] += v
		}
	}
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

//go:noescape
func expRowBlocks(l *lanes, x *float32, n int, scale, m float32)

//go:noescape
func dotRowBlocks(l *lanes, a, b *float32, n int)

//go:noescape
func softmaxGradBlocks(dx, dy, y *float32, n int, scale, dot float32)
