package kernels

import "math"

// LayerNorm normalises each row of x [rows, cols] (Ba et al., arXiv 1607.06450):
//
//	mean[r] = sum(x[r,:]) / cols
//	rstd[r] = 1 / sqrt(sum((x[r,:]-mean[r])^2)/cols + eps)
//	dst[r,j] = (x[r,j]-mean[r])*rstd[r]*gain[j] + bias[j]
//
// gain and bias [cols] are both nil for no affine part; mean and rstd [rows] are both nil when no backward pass will
// want them. dst may be x.
func LayerNorm(dst, x, gain, bias, mean, rstd []float32, rows, cols int, eps float32) {
	if !holds(rows, cols, len(dst), len(x)) ||
		(gain == nil) != (bias == nil) || (gain != nil && (len(gain) < cols || len(bias) < cols)) ||
		(mean == nil) != (rstd == nil) || (mean != nil && (len(mean) < rows || len(rstd) < rows)) {
		panic("kernels: LayerNorm: slice too short")
	}
	if layerNormVector(dst, x, gain, bias, mean, rstd, rows, cols, eps) {
		return
	}
	for r := range rows {
		xr, yr := x[r*cols:][:cols], dst[r*cols:][:cols]
		m, s := rowMoments(xr, eps)
		if gain != nil {
			normalizeAffineGeneric(yr, xr, gain, bias, m, s)
		} else {
			normalizeGeneric(yr, xr, m, s)
		}
		if mean != nil {
			mean[r], rstd[r] = m, s
		}
	}
}

// AddLayerNormGrad adds the gradient of LayerNorm by its input. With xhat = (x-mean)*rstd and g = dy*gain (dy if gain
// is nil), row by row,
//
//	dx[j] += rstd * (g[j] - sum(g)/cols - xhat[j]*sum(g*xhat)/cols)
//
// x, mean and rstd are what the forward pass read and saved; dx, dy, x are [rows, cols]. dx must not overlap them.
func AddLayerNormGrad(dx, dy, x, gain, mean, rstd []float32, rows, cols int) {
	if !holds(rows, cols, len(dx), len(dy), len(x)) ||
		(gain != nil && len(gain) < cols) || len(mean) < rows || len(rstd) < rows {
		panic("kernels: AddLayerNormGrad: slice too short")
	}
	if addLayerNormGradVector(dx, dy, x, gain, mean, rstd, rows, cols) {
		return
	}
	for r := range rows {
		dxr, dyr, xr := dx[r*cols:][:cols], dy[r*cols:][:cols], x[r*cols:][:cols]
		m, s := mean[r], rstd[r]
		var g, gx lanes
		if gain != nil {
			layerNormGainSumsGeneric(&g, &gx, dyr, xr, gain, m, s)
			addLayerNormGainGradGeneric(dxr, dyr, xr, gain, m, s, g.sum()/float32(cols), gx.sum()/float32(cols))
		} else {
			layerNormSumsGeneric(&g, &gx, dyr, xr, m, s)
			addLayerNormGradGeneric(dxr, dyr, xr, m, s, g.sum()/float32(cols), gx.sum()/float32(cols))
		}
	}
}

// AddLayerNormParamGrad adds the gradients of LayerNorm by its gain and bias: for j in [c0, c1),
//
//	for r := range rows { dgain[j] += dy[r,j] * (x[r,j]-mean[r])*rstd[r]; dbias[j] += dy[r,j] }
//
// one chain a column, rows ascending, so that callers may split the columns among workers. dy and x are [rows, cols].
func AddLayerNormParamGrad(dgain, dbias, dy, x, mean, rstd []float32, rows, cols, c0, c1 int) {
	if rows == 0 || c0 >= c1 {
		return
	}
	if c0 < 0 || c1 > cols || len(dgain) < c1 || len(dbias) < c1 || !holds(rows, cols, len(dy), len(x)) ||
		len(mean) < rows || len(rstd) < rows {
		panic("kernels: AddLayerNormParamGrad: slice too short")
	}
	n := addLayerNormParamGradVector(dgain[c0:c1], dbias[c0:c1], dy[c0:], x[c0:], mean[:rows], rstd[:rows], cols)
	c0 += n
	addLayerNormParamGradGeneric(dgain[c0:c1], dbias[c0:c1], dy[c0:], x[c0:], mean[:rows], rstd[:rows], cols)
}

// rowMoments returns the mean of x and 1/sqrt(variance + eps), the sums by lanes.
func rowMoments(x []float32, eps float32) (mean, rstd float32) {
	var l lanes
	sumRowGeneric(&l, x)
	mean = l.sum() / float32(len(x))
	l = lanes{}
	sumSquaredDeviationsGeneric(&l, x, mean)
	return mean, 1 / sqrt(l.sum()/float32(len(x))+eps)
}

func sumRowGeneric(l *lanes, x []float32) {
	for ; len(x) >= len(l); x = x[len(l):] {
		for j, v := range (*lanes)(x) {
			l[j] += v
		}
	}
	for j, v := range x {
		l[j] += v
	}
}

func sumSquaredDeviationsGeneric(l *lanes, x []float32, mean float32) {
	for i, v := range x {
		d := v - mean
		l[i%len(l)] += float32(d * d)
	}
}

func normalizeGeneric(dst, x []float32, mean, rstd float32) {
	for j, v := range x {
		dst[j] = (v - mean) * rstd
	}
}

func normalizeAffineGeneric(dst, x, gain, bias []float32, mean, rstd float32) {
	for j, v := range x {
		dst[j] = float32(float32((v-mean)*rstd)*gain[j]) + bias[j]
	}
}

// layerNormSumsGeneric adds up g = dy and g*xhat.
func layerNormSumsGeneric(g, gx *lanes, dy, x []float32, mean, rstd float32) {
	for i, v := range dy {
		g[i%len(g)] += v
		gx[i%len(g)] += float32(v * float32((x[i]-mean)*rstd))
	}
}

// layerNormGainSumsGeneric adds up g = dy*gain and g*xhat.
func layerNormGainSumsGeneric(g, gx *lanes, dy, x, gain []float32, mean, rstd float32) {
	for i, v := range dy {
		v = float32(v * gain[i])
		g[i%len(g)] += v
		gx[i%len(g)] += float32(v * float32((x[i]-mean)*rstd))
	}
}

func addLayerNormGradGeneric(dx, dy, x []float32, mean, rstd, meanG, meanGX float32) {
	for j, v := range dy {
		xhat := float32((x[j] - mean) * rstd)
		dx[j] += float32(rstd * ((v - meanG) - float32(xhat*meanGX)))
	}
}

func addLayerNormGainGradGeneric(dx, dy, x, gain []float32, mean, rstd, meanG, meanGX float32) {
	for j, v := range dy {
		xhat := float32((x[j] - mean) * rstd)
		dx[j] += float32(rstd * ((float32(v*gain[j]) - meanG) - float32(xhat*meanGX)))
	}
}

func addLayerNormParamGradGeneric(dgain, dbias, dy, x, mean, rstd []float32, stride int) {
	if len(dgain) == 0 {
		return
	}
	for r, m := range mean {
		dyr, xr := dy[r*stride:][:len(dgain)], x[r*stride:][:len(dgain)]
		for j, v := range dyr {
			dgain[j] += float32(v * float32((xr[j]-m)*rstd[r]))
			dbias[j] += v
		}
	}
}

// sqrt rounds once: a float64 root rounded to float32 is the correctly rounded float32 root.
func sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }

// holds reports whether slices of the given lengths hold [rows, cols] each; the product of the two may be beyond int.
func holds(rows, cols int, lengths ...int) bool {
	if rows < 0 || cols < 0 {
		return false
	}
	for _, n := range lengths {
		if cols > 0 && rows > n/cols {
			return false
		}
	}
	return true
}
