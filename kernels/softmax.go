package kernels

import "math"

// Softmax is, on each of rows rows of cols values, stride apart and in place,
//
//	x[j] = exp(scale*x[j] - max) / sum over k of exp(scale*x[k] - max),  max the largest scale*x[k]
//
// Terms more than 87 below the maximum are 0. A row with a NaN or +Inf, or with nothing but -Inf, becomes all NaN.
func Softmax(x []float32, rows, cols, stride int, scale float32) {
	if rows == 0 || cols == 0 {
		return
	}
	if cols > stride || len(x) < (rows-1)*stride+cols {
		panic("kernels: Softmax: slice too short")
	}
	softmaxRows(x, rows, cols, stride, scale)
}

func softmaxRowsGeneric(x []float32, rows, cols, stride int, scale float32) {
	for r := range rows {
		row := x[r*stride:][:cols]
		m := maxScaled(row, scale)
		var l lanes
		expRowGeneric(&l, row, scale, m)
		scaleGeneric(row, 1/l.sum())
	}
}

// SoftmaxGrad is, row by row, with y what Softmax returned,
//
//	dx[j] = scale * y[j] * (dy[j] - sum over k of dy[k]*y[k])
//
// the gradient by what Softmax was given. dx may be dy.
func SoftmaxGrad(dx, dy, y []float32, rows, cols, stride int, scale float32) {
	if rows == 0 || cols == 0 {
		return
	}
	if need := (rows-1)*stride + cols; cols > stride || len(dx) < need || len(dy) < need || len(y) < need {
		panic("kernels: SoftmaxGrad: slice too short")
	}
	softmaxGradRows(dx, dy, stride, y, stride, rows, cols, scale)
}

func softmaxGradRowsGeneric(dx, dy []float32, stride int, y []float32, stridey, rows, cols int, scale float32) {
	for r := range rows {
		dxr, dyr, yr := dx[r*stride:][:cols], dy[r*stride:][:cols], y[r*stridey:][:cols]
		var l lanes
		dotRowGeneric(&l, dyr, yr)
		softmaxGradGeneric(dxr, dyr, yr, scale, l.sum())
	}
}

// maxScaled returns the largest scale*x[j], by maxOf; -Inf if there is none. A zero is +0: which of two zeros is found
// depends on how a row is cut.
func maxScaled(x []float32, scale float32) float32 {
	var l lanes
	for j := range l {
		l[j] = float32(math.Inf(-1))
	}
	n := maxScaledVector(&l, x, scale)
	maxScaledGeneric(&l, x[n:], scale)
	return l.max() + 0
}

func maxScaledGeneric(l *lanes, x []float32, scale float32) {
	for i, v := range x {
		l[i%len(l)] = maxOf(float32(scale*v), l[i%len(l)])
	}
}

// expRowGeneric is x[j] = exp(scale*x[j] - m), and adds up the results.
func expRowGeneric(l *lanes, x []float32, scale, m float32) {
	for i, v := range x {
		e := expNeg(float32(scale*v) - m)
		x[i] = e
		l[i%len(l)] += e
	}
}

func dotRowGeneric(l *lanes, a, b []float32) {
	for i, v := range a {
		l[i%len(l)] += float32(v * b[i])
	}
}

func softmaxGradGeneric(dx, dy, y []float32, scale, dot float32) {
	for j, v := range y {
		dx[j] = float32(scale*v) * (dy[j] - dot)
	}
}
