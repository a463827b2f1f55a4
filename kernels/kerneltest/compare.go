package kerneltest

import (
	"fmt"
	"math"
)

// EqualBits returns an error unless got has the bits of want, any NaN being as good as another: which NaN comes out of
// an operation differs by machine.
func EqualBits(want, got []float32) error {
	if len(want) != len(got) {
		return fmt.Errorf("length %d, want %d", len(got), len(want))
	}
	for i := range want {
		if !sameBits(want[i], got[i]) {
			return fmt.Errorf("[%d] of %d: %v (%08x), want %v (%08x)", i, len(want),
				got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
		}
	}
	return nil
}

func sameBits(a, b float32) bool {
	return math.Float32bits(a) == math.Float32bits(b) || (a != a && b != b)
}

// EqualBits64 is EqualBits for one float64.
func EqualBits64(want, got float64) error {
	if math.Float64bits(want) != math.Float64bits(got) && !(want != want && got != got) {
		return fmt.Errorf("%v (%016x), want %v (%016x)", got, math.Float64bits(got), want, math.Float64bits(want))
	}
	return nil
}

// Within returns an error unless |got[i]-want[i]| <= abs + rel*|want[i]| for every i. A NaN on either side is an error,
// and infinities must be equal.
func Within(want []float64, got []float32, abs, rel float64) error {
	if len(want) != len(got) {
		return fmt.Errorf("length %d, want %d", len(got), len(want))
	}
	for i, w := range want {
		g := float64(got[i])
		if g == w {
			continue
		}
		// Written so that a NaN, or Inf-Inf, fails the comparison.
		if err := math.Abs(g - w); math.IsInf(w, 0) || !(err <= abs+rel*math.Abs(w)) {
			return fmt.Errorf("[%d] of %d: %v, want %v: off by %.3g, allowed %.3g", i, len(want), g, w, err, abs+rel*math.Abs(w))
		}
	}
	return nil
}

// Floats64 widens x, for oracles.
func Floats64(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}
