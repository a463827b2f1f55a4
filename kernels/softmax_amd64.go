//go:build !purego

package kernels

import (
	"math"

	"edgejepa/internal/cpu"
	"edgejepa/kernels/internal/coef"
)

// rowsChunk bounds one call, in elements: some 20 microseconds.
const rowsChunk = 1 << 15

// softmaxRows is Softmax. Rows are short, so that the calls and sums of a row on its own would take longer than its
// arithmetic: here a call takes a block of rows.
func softmaxRows(x []float32, rows, cols, stride int, scale float32) {
	if !cpu.HasAVX2FMA {
		softmaxRowsGeneric(x, rows, cols, stride, scale)
		return
	}
	_ = x[(rows-1)*stride+cols-1]
	per := max(1, rowsChunk/cols)
	for i := 0; i < rows; i += per {
		if cpu.HasAVX512 {
			softmaxRowsAVX512(&x[i*stride], min(per, rows-i), cols, stride, scale)
		} else {
			softmaxRowsAVX2(&x[i*stride], min(per, rows-i), cols, stride, scale)
		}
	}
}

// softmaxGradRows is SoftmaxGrad, with rows of y stridey apart.
func softmaxGradRows(dx, dy []float32, stride int, y []float32, stridey, rows, cols int, scale float32) {
	if !cpu.HasAVX2FMA {
		softmaxGradRowsGeneric(dx, dy, stride, y, stridey, rows, cols, scale)
		return
	}
	_, _, _ = dx[(rows-1)*stride+cols-1], dy[(rows-1)*stride+cols-1], y[(rows-1)*stridey+cols-1]
	per := max(1, rowsChunk/cols)
	for i := 0; i < rows; i += per {
		if cpu.HasAVX512 {
			softmaxGradRowsAVX512(&dx[i*stride], &dy[i*stride], &y[i*stridey], min(per, rows-i), cols, stride, stridey, scale)
		} else {
			softmaxGradRowsAVX2(&dx[i*stride], &dy[i*stride], &y[i*stridey], min(per, rows-i), cols, stride, stridey, scale)
		}
	}
}

// The routines read these: constants of expNeg, eight of each, and masks of the first n of 16 columns at 16-n.
var (
	//lint:ignore U1000 the assembly reads it
	softmaxConst = eightOfEach(coef.Log2E, coef.Magic, coef.Ln2Hi, coef.Ln2Lo, coef.ExpC6, coef.ExpC5, coef.ExpC4,
		coef.ExpC3, coef.ExpC2, 1, coef.ExpMin, float32(math.Inf(-1)))
	//lint:ignore U1000 the assembly reads it
	softmaxMasks = [32]int32{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}
)

//lint:ignore U1000 makes softmaxConst
func eightOfEach(c ...float32) (table [12][8]float32) {
	for i, v := range c {
		for j := range table[i] {
			table[i][j] = v
		}
	}
	return table
}

// softmaxRowsAVX2 is Softmax, rows and cols positive.
//
//go:noescape
func softmaxRowsAVX2(x *float32, rows, cols, stride int, scale float32)

//go:noescape
func softmaxRowsAVX512(x *float32, rows, cols, stride int, scale float32)

// softmaxGradRowsAVX2 is softmaxGradRowsGeneric, rows and cols positive.
//
//go:noescape
func softmaxGradRowsAVX2(dx, dy, y *float32, rows, cols, stride, stridey int, scale float32)

//go:noescape
func softmaxGradRowsAVX512(dx, dy, y *float32, rows, cols, stride, stridey int, scale float32)
