//go:build purego || !(amd64 || arm64)

package kernels

func softmaxRows(x []float32, rows, cols, stride int, scale float32) {
	softmaxRowsGeneric(x, rows, cols, stride, scale)
}

func softmaxGradRows(dx, dy []float32, stride int, y []float32, stridey, rows, cols int, scale float32) {
	softmaxGradRowsGeneric(dx, dy, stride, y, stridey, rows, cols, scale)
}
