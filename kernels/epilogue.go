package kernels

// Epilogue is what follows a product, row by row and in this order; a zero Epilogue is nothing.
//
//	y[i,j] = (A·B)[i,j], its chain starting at Bias[j]     // at 0 without Bias
//	Pre[i*LDPre+j] = y[i,j]                                // if Pre
//	y[i,j] = gelu(y[i,j])                                  // if GELU
//	y[i,j] += Residual[i*LDResidual+j]                     // if Residual
//	Max[i] = the largest y[i,j]                            // if Max; a NaN is passed over
//
// Neither Pre nor Residual may overlap C.
type Epilogue struct {
	Bias       []float32 // [N]
	GELU       bool
	Pre        []float32 // [m, N]: what a backward pass needs of GELU
	LDPre      int
	Residual   []float32 // [m, N]
	LDResidual int
	Max        []float32 // [m]
}

// epilogueRows is how many rows a GemmFused finishes before it goes on: a multiple of every tile's height, few enough
// that the rows are still in the cache that the product left them in.
const epilogueRows = 48

// GemmFused is Gemm with e.Bias, then e on every row of C. The bits are those of Gemm, GELU and Add one after the other.
func GemmFused(c []float32, ldc int, a []float32, lda, m int, b *Panels, e *Epilogue) {
	n := b.N
	if m == 0 || n == 0 {
		return
	}
	if m < 0 || ldc < n || len(c) < (m-1)*ldc+n || !e.Fits(m, n) {
		panic("kernels: GemmFused: an operand is smaller than its shape")
	}
	for i := 0; i < m; i += epilogueRows {
		rows := min(epilogueRows, m-i)
		y, ldy := c[i*ldc:], ldc
		if e.Pre != nil {
			y, ldy = e.Pre[i*e.LDPre:], e.LDPre
		}
		Gemm(y, ldy, a[i*lda:], lda, rows, b, e.Bias, 0)
		e.finish(c[i*ldc:], ldc, y, ldy, i, rows, n)
	}
}

// Fits reports whether e's slices are large enough for a product [m, n].
func (e *Epilogue) Fits(m, n int) bool {
	return fits(e.Bias, n) && fits(e.Max, m) && fits(e.Pre, (m-1)*e.LDPre+n) && fits(e.Residual, (m-1)*e.LDResidual+n) &&
		(e.Pre == nil || e.LDPre >= n) && (e.Residual == nil || e.LDResidual >= n)
}

// fits reports whether x is absent or has n values.
func fits(x []float32, n int) bool { return x == nil || len(x) >= n }

// finish turns the sums y [rows, n] into rows of C, the first of which is row i.
func (e *Epilogue) finish(c []float32, ldc int, y []float32, ldy, i, rows, n int) {
	if ldc == n && ldy == n && (e.Residual == nil || e.LDResidual == n) && e.Max == nil {
		rows, n = 1, rows*n // one long row
	}
	for r := range rows {
		cr, yr := c[r*ldc:][:n], y[r*ldy:][:n]
		switch {
		case e.GELU:
			GELU(cr, yr)
		case e.Pre != nil:
			copy(cr, yr)
		}
		if e.Residual != nil {
			Add(cr, e.Residual[(i+r)*e.LDResidual:][:n])
		}
		if e.Max != nil {
			e.Max[i+r] = maxScaled(cr, 1)
		}
	}
}

// FinishBlock turns y, the product in row i from column j on, bias included, into a piece of C: for products of other
// kinds that come in blocks, those of a row in ascending order. c may be y, or the residual; y is overwritten.
func (e *Epilogue) FinishBlock(c, y []float32, i, j int) {
	n := len(c)
	if n == 0 {
		return
	}
	if e.Pre != nil {
		copy(e.Pre[i*e.LDPre+j:][:n], y)
	}
	if e.GELU {
		GELU(y[:n], y[:n])
	}
	inPlace := &c[0] == &y[0]
	switch {
	case e.Residual == nil && !inPlace:
		copy(c, y)
	case e.Residual != nil:
		residual := e.Residual[i*e.LDResidual+j:][:n]
		if inPlace {
			Add(c, residual)
			break
		}
		if &residual[0] != &c[0] {
			copy(c, residual)
		}
		Add(c, y[:n])
	}
	if e.Max != nil {
		if most := maxScaled(c, 1); j == 0 || most > e.Max[i] {
			e.Max[i] = most
		}
	}
}
