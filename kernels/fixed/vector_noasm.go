//go:build purego || !(amd64 || arm64)

package fixed

// Each vector routine works on the first columns of its rows and returns how many; here there are none.

func requantI8Vector(dst []int8, ldd int, acc []int32, ldacc, rows, cols int, q *Requant) int {
	return 0
}
func addRequantVector(res []int32, ldr int, acc []int32, ldacc, rows, cols int, q *Requant) int {
	return 0
}
func requantGELUVector(dst []int8, ldd int, acc []int32, ldacc, rows, cols int, q *Requant, g *GELU) int {
	return 0
}
func scaleRowsI8Vector(dst []int8, ldd int, x []int32, ldx, cols int, scales []rowScale, base []int32, q *Requant) int {
	return 0
}
func sumScaledRowsVector(sum []int64, x []int32, ldx int, scales []rowScale) int { return 0 }
func rowMomentsVector(x []int32) (sum int64, squares uint64, n int)              { return 0, 0, 0 }
func softmaxI8Vector(p []int8, ldp int, sum, scores []int32, lds, rows, cols int, s *Softmax) bool {
	return false
}
func lookupI8Vector(dst, src []int8, table *[256]int8) int { return 0 }
