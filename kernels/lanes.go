package kernels

// lanes is the accumulator of every float32 sum over a row: element i goes to lane i%16 in ascending order, and sum
// folds the lanes as a tree. The order belongs to the row's length alone, so that every path adds in the same order:
// two AVX2 registers, four NEON registers, or the loops below.
type lanes [16]float32

// sum is the tree: for s = 8, 4, 2, 1, lane j takes in lane j+s, for j < s.
func (l *lanes) sum() float32 {
	a := (l[0] + l[8]) + (l[4] + l[12])
	b := (l[1] + l[9]) + (l[5] + l[13])
	c := (l[2] + l[10]) + (l[6] + l[14])
	d := (l[3] + l[11]) + (l[7] + l[15])
	return (a + c) + (b + d)
}

// max returns the largest lane; as a tree because the built-in max takes long to give its result.
func (l *lanes) max() float32 {
	a := max(max(l[0], l[8]), max(l[4], l[12]))
	b := max(max(l[1], l[9]), max(l[5], l[13]))
	c := max(max(l[2], l[10]), max(l[6], l[14]))
	d := max(max(l[3], l[11]), max(l[7], l[15]))
	return max(max(a, c), max(b, d))
}

// maxOf is a > b ? a : b. Unlike the built-in max it passes over a NaN in a.
func maxOf(a, b float32) float32 {
	if a > b {
		return a
	}
	return b
}

// lanes64 is lanes for sums kept in float64.
type lanes64 [16]float64

func (l *lanes64) sum() float64 {
	a := (l[0] + l[8]) + (l[4] + l[12])
	b := (l[1] + l[9]) + (l[5] + l[13])
	c := (l[2] + l[10]) + (l[6] + l[14])
	d := (l[3] + l[11]) + (l[7] + l[15])
	return (a + c) + (b + d)
}
