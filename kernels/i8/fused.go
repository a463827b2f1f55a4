package i8

import (
	"unsafe"

	"edgejepa/kernels"
)

// GemmF32 is Gemm, Dequant with e.Bias, and the rest of e, without the int32 matrix in memory: for every i < m and
// j < p.N
//
//	y[i,j] = float32(acc[i,j]) * (sa[i] * sw[j]) + e.Bias[j]      // without Bias the addition is left out
//	Pre, GELU, Residual and Max of e, as Epilogue has them
//	dst[i*ldd+j] = y[i,j]
//
// The bits are those of the separate calls. e may be nil. e.Residual may be dst itself, with LDResidual = ldd; other than
// that nothing may overlap dst.
func GemmF32(dst []float32, ldd int, a []int8, lda, m int, p *Panels, sa, sw []float32, e *kernels.Epilogue) {
	if m == 0 || p.N == 0 {
		return
	}
	if e == nil {
		e = &noEpilogue
	}
	if lda < p.K || ldd < p.N || len(a) < (m-1)*lda+p.K || len(dst) < (m-1)*ldd+p.N || len(sa) < m || len(sw) < p.N ||
		!e.Fits(m, p.N) {
		panic("i8: GemmF32: an operand is smaller than its shape")
	}
	var t scratch
	var acc [fusedRows * fusedCols]int32
	sums := unsafe.Slice((*float32)(unsafe.Pointer(&acc)), len(acc)) // the same memory, once the sums are converted
	adds := e.Residual != nil && e.Pre == nil && !e.GELU && e.Max == nil
	inPlace := adds && &e.Residual[0] == &dst[0]
	for i := 0; i < m; i += fusedRows {
		rows := min(fusedRows, m-i)
		for j := 0; j < p.N; j += fusedCols {
			cols := min(fusedCols, p.N-j)
			b := p.columns(j, cols)
			t.gemm(acc[:], fusedCols, a[i*lda:], lda, rows, &b)
			if adds {
				for r := i; r < i+rows && !inPlace; r++ {
					copy(dst[r*ldd+j:][:cols], e.Residual[r*e.LDResidual+j:][:cols])
				}
				addDequant(dst[i*ldd+j:], ldd, acc[:], fusedCols, rows, cols, sa[i:], sw[j:j+cols], columnsOf(e.Bias, j, cols))
				continue
			}
			y, ldy := dst[i*ldd+j:], ldd
			if e.Residual != nil {
				y, ldy = sums, fusedCols // dst may be the residual
			}
			dequant(y, ldy, acc[:], fusedCols, rows, cols, sa[i:], sw[j:j+cols], columnsOf(e.Bias, j, cols))
			for r := range rows {
				e.FinishBlock(dst[(i+r)*ldd+j:][:cols], y[r*ldy:][:cols], i+r, j)
			}
		}
	}
}

var noEpilogue kernels.Epilogue

// columnsOf is x[j:j+n], or nil for nil.
func columnsOf(x []float32, j, n int) []float32 {
	if x == nil {
		return nil
	}
	return x[j : j+n]
}

// columns is channels [j, j+n) of p; j is a multiple of fusedCols.
func (p *Panels) columns(j, n int) Panels {
	end := roundUp(j+n, geometries[p.layout].width)
	return Panels{K: p.K, N: n, kp: p.kp, layout: p.layout, chain4: p.chain4,
		data: p.data[j*p.kp : end*p.kp], start: p.start[j:end]}
}
