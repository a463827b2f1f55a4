package kernels

import "edgejepa/fp"

// Layers on activations that are saved as halves, rounded to nearest.

// halfStrip is how many halves GELU widens at a time: the strip stays in a first-level cache.
const halfStrip = 1024

// LayerNormHalf is fp.EncodeHalf of LayerNorm: dst [rows, cols] in halves, everything else as there.
func LayerNormHalf(dst []uint16, x, gain, bias, mean, rstd []float32, rows, cols int, eps float32) {
	if !holds(rows, cols, len(dst), len(x)) ||
		(gain == nil) != (bias == nil) || (gain != nil && (len(gain) < cols || len(bias) < cols)) ||
		(mean == nil) != (rstd == nil) || (mean != nil && (len(mean) < rows || len(rstd) < rows)) {
		panic("kernels: LayerNormHalf: slice too short")
	}
	if layerNormHalfVector(dst, x, gain, bias, mean, rstd, rows, cols, eps) {
		return
	}
	for r := range rows {
		xr, yr := x[r*cols:][:cols], dst[r*cols:][:cols]
		m, s := rowMoments(xr, eps)
		if gain != nil {
			normalizeAffineHalfGeneric(yr, xr, gain, bias, m, s)
		} else {
			normalizeHalfGeneric(yr, xr, m, s)
		}
		if mean != nil {
			mean[r], rstd[r] = m, s
		}
	}
}

func normalizeHalfGeneric(dst []uint16, x []float32, mean, rstd float32) {
	for j, v := range x {
		dst[j] = fp.ToHalf((v - mean) * rstd)
	}
}

func normalizeAffineHalfGeneric(dst []uint16, x, gain, bias []float32, mean, rstd float32) {
	for j, v := range x {
		dst[j] = fp.ToHalf(float32(float32((v-mean)*rstd)*gain[j]) + bias[j])
	}
}

// GELUHalf is GELU of an x saved as halves.
func GELUHalf(dst []float32, x []uint16) {
	if len(dst) != len(x) {
		panic("kernels: GELUHalf: lengths differ")
	}
	for i := 0; i < len(x); i += halfStrip {
		y := dst[i:min(len(x), i+halfStrip)]
		fp.DecodeHalf(y, x[i:][:len(y)])
		GELU(y, y)
	}
}

// GELUGradHalf is GELUGrad with an x saved as halves. dx may be dy.
func GELUGradHalf(dx, dy []float32, x []uint16) {
	if len(dx) != len(x) || len(dy) != len(x) {
		panic("kernels: GELUGradHalf: lengths differ")
	}
	var strip [halfStrip]float32
	for i := 0; i < len(x); i += halfStrip {
		k := min(len(x), i+halfStrip)
		xs := strip[:k-i]
		fp.DecodeHalf(xs, x[i:k])
		GELUGrad(dx[i:k], dy[i:k], xs)
	}
}
