package kernels

// AddColumnSums is, for j in [c0, c1),
//
//	for r := range rows { dst[j] += x[r*stride+j] }
//
// one chain of additions a column, rows ascending, so that callers may split the columns among workers.
func AddColumnSums(dst, x []float32, rows, stride, c0, c1 int) {
	if rows == 0 || c0 >= c1 {
		return
	}
	if c0 < 0 || c1 > len(dst) || c1 > stride || len(x) < (rows-1)*stride+c1 {
		panic("kernels: AddColumnSums: slice too short")
	}
	n := addColumnSumsVector(dst[c0:c1], x[c0:], rows, stride)
	addColumnSumsGeneric(dst[c0+n:c1], x[c0+n:], rows, stride)
}

func addColumnSumsGeneric(dst, x []float32, rows, stride int) {
	for r := range rows {
		if len(dst) > 0 {
			addGeneric(dst, x[r*stride:][:len(dst)])
		}
	}
}

// MeanRows is
//
//	dst[j] = (1/rows) * sum over r of x[r*cols+j]
//
// rows ascending, the sum starting at 0: the mean token. x is [rows, cols], dst [cols]; rows is at least 1.
func MeanRows(dst, x []float32, rows, cols int) {
	if rows < 1 || len(dst) < cols || len(x) < rows*cols {
		panic("kernels: MeanRows: slice too short")
	}
	clear(dst[:cols])
	AddColumnSums(dst, x, rows, cols, 0, cols)
	Scale(dst[:cols], 1/float32(rows))
}
