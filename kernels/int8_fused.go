package kernels

import "unsafe"

// GemmI8F32 is GemmI8, Dequant with e.Bias, and the rest of e, without the int32 matrix in memory: for every i < m and
// j < p.N
//
//	y[i,j] = float32(acc[i,j]) * (sa[i] * sw[j]) + e.Bias[j]      // without Bias the addition is left out
//	Pre, GELU, Residual and Max of e, as Epilogue has them
//	dst[i*ldd+j] = y[i,j]
//
// The bits are those of the separate calls. e may be nil. e.Residual may be dst itself, with LDResidual = ldd; other than
// that nothing may overlap dst.
func GemmI8F32(dst []float32, ldd int, a []int8, lda, m int, p *PanelsI8, sa, sw []float32, e *Epilogue) {
	if m == 0 || p.N == 0 {
		return
	}
	if e == nil {
		e = &noEpilogue
	}
	if lda < p.K || ldd < p.N || len(a) < (m-1)*lda+p.K || len(dst) < (m-1)*ldd+p.N || len(sa) < m || len(sw) < p.N ||
		!fits(e.Bias, p.N) || !fits(e.Max, m) || !fits(e.Pre, (m-1)*e.LDPre+p.N) ||
		!fits(e.Residual, (m-1)*e.LDResidual+p.N) || e.Pre != nil && e.LDPre < p.N ||
		e.Residual != nil && e.LDResidual < p.N {
		panic("kernels: GemmI8F32: an operand is smaller than its shape")
	}
	var t scratchI8
	var acc [fusedRows * fusedCols]int32
	sums := unsafe.Slice((*float32)(unsafe.Pointer(&acc)), len(acc)) // the same memory, once the sums are converted
	for i := 0; i < m; i += fusedRows {
		rows := min(fusedRows, m-i)
		for j := 0; j < p.N; j += fusedCols {
			cols := min(fusedCols, p.N-j)
			b := p.columns(j, cols)
			t.gemm(acc[:], fusedCols, a[i*lda:], lda, rows, &b)
			y, ldy := dst[i*ldd+j:], ldd
			if e.Residual != nil {
				y, ldy = sums, fusedCols // dst may be the residual
			}
			dequant(y, ldy, acc[:], fusedCols, rows, cols, sa[i:], sw[j:j+cols], columnsOf(e.Bias, j, cols))
			for r := range rows {
				e.finishBlock(dst[(i+r)*ldd+j:][:cols], y[r*ldy:][:cols], i+r, j)
			}
		}
	}
}

var noEpilogue Epilogue

// finishBlock turns y, the product in row i from column j on, into a piece of C; c may be y, and the residual.
func (e *Epilogue) finishBlock(c, y []float32, i, j int) {
	n := len(c)
	if e.Pre != nil {
		copy(e.Pre[i*e.LDPre+j:][:n], y)
	}
	if e.GELU {
		GELU(y, y)
	}
	if e.Residual != nil {
		if residual := e.Residual[i*e.LDResidual+j:][:n]; &residual[0] != &c[0] {
			copy(c, residual)
		}
		Add(c, y)
	}
	if e.Max != nil {
		if most := maxScaled(c, 1); j == 0 || most > e.Max[i] {
			e.Max[i] = most
		}
	}
}

// columnsOf is x[j:j+n], or nil for nil.
func columnsOf(x []float32, j, n int) []float32 {
	if x == nil {
		return nil
	}
	return x[j : j+n]
}

// columns is channels [j, j+n) of p; j is a multiple of fusedCols.
func (p *PanelsI8) columns(j, n int) PanelsI8 {
	end := roundUp(j+n, i8Layouts[p.layout].width)
	return PanelsI8{K: p.K, N: n, kp: p.kp, layout: p.layout, chain4: p.chain4,
		data: p.data[j*p.kp : end*p.kp], start: p.start[j:end]}
}
