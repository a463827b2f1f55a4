//go:build purego || !(amd64 || arm64)

package kernels

func i8PathLayout() i8Layout { return i8Runs }

func gemmI8(acc []int32, ldacc int, a []int8, lda, m int, p *PanelsI8) {
	gemmI8Generic(acc, ldacc, a, lda, m, p)
}

func maxAbsBits(x []float32) uint32 { return maxAbsBitsGeneric(x) }

func maxChain(w []float32) uint32 { return maxChainGeneric(w) }

func quantize(q []int8, x []float32, inv float32) { quantizeGeneric(q, x, inv) }

func dequant(dst []float32, acc []int32, sa float32, sw, bias []float32) {
	dequantGeneric(dst, acc, sa, sw, bias)
}
