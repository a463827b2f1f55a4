//go:build (amd64 || arm64) && !purego

package fixed

import "edgejepa/internal/cpu"

// The routines of vector_amd64.s and vector_arm64.s, shared by both architectures. Each gives the bits of its generic
// twin on the columns that it takes: a multiple of intBlock from the left.

// intBlock is the number of columns that one turn of a routine's loop handles.
const intBlock = 16

// intCall bounds the elements of one call: assembly cannot be preempted, and the slowest routine takes a slow core some
// six nanoseconds an element.
const intCall = 1 << 14

// requantArgs is the argument of the requantising routines. Rows are ldd and ldacc bytes apart; n is a multiple of
// intBlock.
type requantArgs struct {
	dst              *int8
	res              *int32
	acc              *int32
	mult, add, shift *int32
	ldd, ldacc       int
	rows, n          int
	lift             int
	gelu             *GELU
	scales           *rowScale
	base             *int32 // nil for none
	sum              *int64
}

// requantI8Rows is requantI8Generic on each row.
//
//go:noescape
func requantI8Rows(a *requantArgs)

// addRequantRows is addRequantGeneric on each row, res being ldd bytes apart.
//
//go:noescape
func addRequantRows(a *requantArgs)

// requantGELURows is requantGELUGeneric on each row.
//
//go:noescape
func requantGELURows(a *requantArgs)

// scaleI8Rows is scaleRowI8Generic on each row.
//
//go:noescape
func scaleI8Rows(a *requantArgs)

// sumScaledRows is sumScaledRowGeneric on each row.
//
//go:noescape
func sumScaledRows(a *requantArgs)

// rowMomentsBlocks is rowMomentsGeneric; n is a multiple of intBlock.
//
//go:noescape
func rowMomentsBlocks(x *int32, n int) (sum int64, squares uint64)

// intColumns is how many of cols columns the routines take.
func intColumns(cols int) int {
	if cpu.HasAVX2FMA || cpu.HasNEON {
		return cols &^ (intBlock - 1)
	}
	return 0
}

// channels points a at the first n channels of q.
func (a *requantArgs) channels(q *Requant, n int) {
	a.mult, a.add, a.shift, a.lift, a.n = &q.Mult[0], &q.Add[0], &q.Shift[0], q.Lift&31, n
}

// rowsPerCall is how many of the rows that are left go into a call.
func rowsPerCall(left, n int) int { return min(left, max(1, intCall/n)) }

func requantI8Vector(dst []int8, ldd int, acc []int32, ldacc, rows, cols int, q *Requant) int {
	n := intColumns(cols)
	if n == 0 {
		return 0
	}
	var a requantArgs
	a.channels(q, n)
	a.ldd, a.ldacc = ldd, 4*ldacc
	for i := 0; i < rows; i += a.rows {
		a.rows = rowsPerCall(rows-i, n)
		a.dst, a.acc = &dst[i*ldd], &acc[i*ldacc]
		requantI8Rows(&a)
	}
	return n
}

func addRequantVector(res []int32, ldr int, acc []int32, ldacc, rows, cols int, q *Requant) int {
	n := intColumns(cols)
	if n == 0 {
		return 0
	}
	var a requantArgs
	a.channels(q, n)
	a.ldd, a.ldacc = 4*ldr, 4*ldacc
	for i := 0; i < rows; i += a.rows {
		a.rows = rowsPerCall(rows-i, n)
		a.res, a.acc = &res[i*ldr], &acc[i*ldacc]
		addRequantRows(&a)
	}
	return n
}

func requantGELUVector(dst []int8, ldd int, acc []int32, ldacc, rows, cols int, q *Requant, g *GELU) int {
	n := intColumns(cols)
	if n == 0 {
		return 0
	}
	var a requantArgs
	a.channels(q, n)
	a.ldd, a.ldacc, a.gelu = ldd, 4*ldacc, g
	for i := 0; i < rows; i += a.rows {
		a.rows = rowsPerCall(rows-i, n)
		a.dst, a.acc = &dst[i*ldd], &acc[i*ldacc]
		requantGELURows(&a)
	}
	return n
}

func scaleRowsI8Vector(dst []int8, ldd int, x []int32, ldx, cols int, scales []rowScale, base []int32, q *Requant) int {
	n := intColumns(cols)
	if n == 0 {
		return 0
	}
	var a requantArgs
	a.channels(q, n)
	a.ldd, a.ldacc = ldd, 4*ldx
	if base != nil {
		a.base = &base[0]
	}
	for i := 0; i < len(scales); i += a.rows {
		a.rows = rowsPerCall(len(scales)-i, n)
		a.dst, a.acc, a.scales = &dst[i*ldd], &x[i*ldx], &scales[i]
		scaleI8Rows(&a)
	}
	return n
}

func sumScaledRowsVector(sum []int64, x []int32, ldx int, scales []rowScale) int {
	n := intColumns(len(sum))
	if n == 0 {
		return 0
	}
	a := requantArgs{sum: &sum[0], ldacc: 4 * ldx, n: n}
	for i := 0; i < len(scales); i += a.rows {
		a.rows = rowsPerCall(len(scales)-i, n)
		a.acc, a.scales = &x[i*ldx], &scales[i]
		sumScaledRows(&a)
	}
	return n
}

func rowMomentsVector(x []int32) (sum int64, squares uint64, n int) {
	if n = intColumns(len(x)); n == 0 {
		return 0, 0, 0
	}
	sum, squares = rowMomentsBlocks(&x[0], n)
	return sum, squares, n
}
