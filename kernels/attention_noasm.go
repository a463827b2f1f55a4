//go:build purego || !amd64

package kernels

func softmaxRows(x []float32, rows, cols, stride int, scale float32) {
	Softmax(x, rows, cols, stride, scale)
}

func softmaxGradRows(dy []float32, stride int, y []float32, stridey, rows, cols int, scale float32) {
	softmaxGradRowsGeneric(dy, stride, y, stridey, rows, cols, scale)
}
