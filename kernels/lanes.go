package kernels

// lanes is the accumulator of every float32 sum over a row: element i goes to lane i%16 in ascending order, and sum
// folds the lanes as a tree. The order belongs to the row's length alone, so that every path adds in the same order:
// two AVX2 registers, four NEON registers, or the loops below.
type lanes [16]float32

func (l *lanes) sum() float32 {
	for s := 8; s > 0; s /= 2 {
		for j := range s {
			l[j] += l[j+s]
		}
	}
	return l[0]
}

// max folds the lanes by maxOf.
func (l *lanes) max() float32 {
	for s := 8; s > 0; s /= 2 {
		for j := range s {
			l[j] = maxOf(l[j+s], l[j])
		}
	}
	return l[0]
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
	for s := 8; s > 0; s /= 2 {
		for j := range s {
			l[j] += l[j+s]
		}
	}
	return l[0]
}
