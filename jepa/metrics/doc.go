// Package metrics says how good predictions are: for whole pictures, for pixels and for boxes. Every function is pure,
// computes in float64 and gives the same bits on every machine; each states its formula and where that is from.
//
// A figure that is not defined, because nothing was there to be found or nothing was predicted, is Undefined and is left
// out of means.
package metrics

// Undefined stands for a quotient of 0 and 0, as in pycocotools. No figure here is negative otherwise.
const Undefined = -1

// ratio is a/b, or Undefined without a denominator.
func ratio(a, b int64) float64 {
	if b == 0 {
		return Undefined
	}
	return float64(a) / float64(b)
}

// mean is the mean of the values that are defined, or Undefined if there are none.
func mean(values []float64) float64 {
	var sum float64
	var n int64
	for _, v := range values {
		if v != Undefined {
			sum += v
			n++
		}
	}
	if n == 0 {
		return Undefined
	}
	return sum / float64(n)
}
