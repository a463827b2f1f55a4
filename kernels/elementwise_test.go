package kernels

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/kernels/kerneltest"
)

// elementwise lists every element-wise, row and column kernel, for the tests that hold for all of them. run gets
// slices of the lengths that lens gives for size n and returns the kernel's scalar result, if any.
var elementwise = []struct {
	name  string
	lens  func(n int) []int
	alias bool // also run with operand 1 being operand 0
	run   func(b [][]float32, n int) float64
}{
	{"Add", equal(2), true, func(b [][]float32, n int) float64 { Add(b[0], b[1]); return 0 }},
	{"Scale", equal(1), false, func(b [][]float32, n int) float64 { Scale(b[0], 0.37); return 0 }},
	{"Lerp", equal(2), true, func(b [][]float32, n int) float64 { Lerp(b[0], b[1], 0.996); return 0 }},
	{"GELU", equal(2), true, func(b [][]float32, n int) float64 { GELU(b[0], b[1]); return 0 }},
	{"GELUGrad", equal(3), true, func(b [][]float32, n int) float64 { GELUGrad(b[0], b[1], b[2]); return 0 }},
	{"SumSquares", equal(1), false, func(b [][]float32, n int) float64 { return SumSquares(b[0]) }},
	{"SmoothL1", equal(3), true, func(b [][]float32, n int) float64 { return SmoothL1(b[0], b[1], b[2], 0.3) }},
	{"SquaredError", equal(3), true, func(b [][]float32, n int) float64 { return SquaredError(b[0], b[1], b[2], 0.3) }},
	{"AdamW.Step", equal(4), false, func(b [][]float32, n int) float64 {
		testAdamW.Step(b[0], b[1], b[2], b[3], 0.7)
		return 0
	}},
	{"AdamW.StepEMA", equal(5), false, func(b [][]float32, n int) float64 {
		testAdamW.StepEMA(b[0], b[1], b[2], b[3], b[4], 0.7, 0.996)
		return 0
	}},
	{"LayerNorm", lens(r3, r3, row, row, rows3, rows3), true, func(b [][]float32, n int) float64 {
		LayerNorm(b[0], b[1], b[2], b[3], b[4], b[5], 3, n, 1e-6)
		return 0
	}},
	{"LayerNorm without affine", lens(r3, r3), true, func(b [][]float32, n int) float64 {
		LayerNorm(b[0], b[1], nil, nil, nil, nil, 3, n, 1e-5)
		return 0
	}},
	{"AddLayerNormGrad", lens(r3, r3, r3, row, rows3, rows3), false, func(b [][]float32, n int) float64 {
		AddLayerNormGrad(b[0], b[1], b[2], b[3], b[4], b[5], 3, n)
		return 0
	}},
	{"AddLayerNormGrad without gain", lens(r3, r3, r3, rows3, rows3), false, func(b [][]float32, n int) float64 {
		AddLayerNormGrad(b[0], b[1], b[2], nil, b[3], b[4], 3, n)
		return 0
	}},
	{"AddLayerNormParamGrad", lens(row, row, r3, r3, rows3, rows3), false, func(b [][]float32, n int) float64 {
		AddLayerNormParamGrad(b[0], b[1], b[2], b[3], b[4], b[5], 3, n, 0, n)
		return 0
	}},
	{"AddLayerNormParamGrad of some columns", lens(wide, wide, wide3, wide3, rows3, rows3), false, func(b [][]float32, n int) float64 {
		AddLayerNormParamGrad(b[0], b[1], b[2], b[3], b[4], b[5], 3, n+7, 3, n+3)
		return 0
	}},
	{"AddColumnSums", lens(wide, wide3), false, func(b [][]float32, n int) float64 {
		AddColumnSums(b[0], b[1], 3, n+7, 2, n+2)
		return 0
	}},
	{"AddColumnSums of many rows", lens(row, func(n int) int { return 131 * n }), false, func(b [][]float32, n int) float64 {
		AddColumnSums(b[0], b[1], 131, n, 0, n)
		return 0
	}},
	{"MeanRows", lens(row, r3), false, func(b [][]float32, n int) float64 { MeanRows(b[0], b[1], 3, n); return 0 }},
	{"Softmax", lens(r3), false, func(b [][]float32, n int) float64 { Softmax(b[0], 3, n, n, 0.125); return 0 }},
	{"Softmax of negative scale, strided", lens(wide3), false, func(b [][]float32, n int) float64 {
		Softmax(b[0], 3, n, n+7, -1.3)
		return 0
	}},
	{"SoftmaxGrad", lens(r3, r3, r3), true, func(b [][]float32, n int) float64 {
		SoftmaxGrad(b[0], b[1], b[2], 3, n, n, 0.125)
		return 0
	}},
	{"SoftmaxGrad, strided", lens(wide3, wide3, wide3), true, func(b [][]float32, n int) float64 {
		SoftmaxGrad(b[0], b[1], b[2], 3, n, n+7, 1)
		return 0
	}},
}

var testAdamW = AdamW{LR: 1e-3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.05, Corr1: 0.271, Corr2: 0.0547}

func row(n int) int   { return n }
func r3(n int) int    { return 3 * n }
func rows3(n int) int { return 3 }
func wide(n int) int  { return n + 7 }
func wide3(n int) int { return 3 * (n + 7) }

func lens(f ...func(n int) int) func(n int) []int {
	return func(n int) []int {
		l := make([]int, len(f))
		for i := range f {
			l[i] = f[i](n)
		}
		return l
	}
}

func equal(operands int) func(n int) []int {
	f := make([]func(int) int, operands)
	for i := range f {
		f[i] = row
	}
	return lens(f...)
}

// onGeneric runs f with every other path switched off.
func onGeneric(f func()) {
	defer kerneltest.Only(0)()
	f()
}

// sizes are all lengths below four vectors of 16 and a few beyond, with both tails and chunks in them.
func sizes() []int {
	var s []int
	for n := range 68 {
		s = append(s, n)
	}
	s = append(s, 127, 196, 384)
	if !testing.Short() {
		s = append(s, 4096, 9001)
	}
	return s
}

// Every path gives the bits of the generic one, leaves alone what it must, and stays inside its slices.
func TestElementwisePathsAgree(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		for _, k := range elementwise {
			t.Run(k.name, func(t *testing.T) {
				for _, n := range sizes() {
					for j, kind := range kerneltest.Kinds {
						agree(t, k.lens(n), false, n, j+n%4, kind, k.run)
						if k.alias {
							agree(t, k.lens(n), true, n, j+n%4, kind, k.run)
						}
						if n > 384 && testing.Short() {
							break
						}
					}
				}
			})
		}
	})
}

func agree(t *testing.T, lens []int, alias bool, n, shift int, kind kerneltest.Kind, run func([][]float32, int) float64) {
	t.Helper()
	bufs := make([]*kerneltest.Buffer, len(lens))
	want, got := make([][]float32, len(lens)), make([][]float32, len(lens))
	for i, l := range lens {
		bufs[i] = kerneltest.NewBuffer(l, (i+shift)%4)
		kerneltest.Fill(bufs[i].X, kind, uint64(100*n+i))
		want[i], got[i] = append([]float32(nil), bufs[i].X...), bufs[i].X
	}
	if alias {
		want[1], got[1] = want[0], got[0]
	}
	var wantSum float64
	onGeneric(func() { wantSum = run(want, n) })
	gotSum := run(got, n)

	err := kerneltest.EqualBits64(wantSum, gotSum)
	for i := range lens {
		err = errors.Join(err, kerneltest.EqualBits(want[i], got[i]), bufs[i].Check())
	}
	if err != nil {
		t.Fatalf("n %d, %v, alias %v, shift %d: %v", n, kind, alias, shift, err)
	}
}

// GELU has the bits of the generic path on a fine grid.
func TestGELUOnAGrid(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		const grid = 1 << 16
		x, want := make([]float32, grid), make([]float32, grid)
		for i := range x {
			x[i] = float32(i-grid/2) * (30.0 / grid)
		}
		geluGeneric(want, x)
		GELU(x, x)
		require.NoError(t, kerneltest.EqualBits(want, x))
	})
}

// With memory that may not be touched right before and right behind every slice, nothing reads beyond either.
func TestElementwiseStaysInside(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		for _, k := range elementwise {
			for _, n := range []int{1, 5, 15, 16, 17, 31, 33, 47, 67} {
				for _, atEnd := range []bool{true, false} {
					var b [][]float32
					for _, l := range k.lens(n) {
						b = append(b, kerneltest.Fenced(t, l, atEnd))
					}
					k.run(b, n)
				}
			}
		}
	})
}

func TestElementwiseAllocatesNothing(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		for _, k := range elementwise {
			var b [][]float32
			for _, l := range k.lens(83) {
				b = append(b, make([]float32, l))
			}
			require.Zero(t, testing.AllocsPerRun(5, func() { k.run(b, 83) }), k.name)
		}
		x := make([]float32, 83)
		require.Zero(t, testing.AllocsPerRun(5, func() { AllFinite(x) }))
	})
}

// A wrong shape is the programmer's error, whatever the path.
func TestElementwisePanicsOnWrongShapes(t *testing.T) {
	two, three := make([]float32, 2), make([]float32, 3)
	for name, f := range map[string]func(){
		"Add":           func() { Add(two, three) },
		"Lerp":          func() { Lerp(two, three, 0.5) },
		"GELU":          func() { GELU(three, two) },
		"GELUGrad":      func() { GELUGrad(three, three, two) },
		"SmoothL1":      func() { SmoothL1(two, two, three, 1) },
		"SquaredError":  func() { SquaredError(two, three, two, 1) },
		"Step":          func() { testAdamW.Step(two, two, two, three, 1) },
		"StepEMA":       func() { testAdamW.StepEMA(two, two, two, two, three, 1, 1) },
		"LayerNorm":     func() { LayerNorm(three, two, nil, nil, nil, nil, 1, 3, 1) },
		"one affine":    func() { LayerNorm(three, three, three, nil, nil, nil, 1, 3, 1) },
		"mean alone":    func() { LayerNorm(three, three, nil, nil, three, nil, 1, 3, 1) },
		"LayerNormGrad": func() { AddLayerNormGrad(three, three, three, two, three, three, 1, 3) },
		"ParamGrad":     func() { AddLayerNormParamGrad(three, two, three, three, three, three, 1, 3, 0, 3) },
		"ColumnSums":    func() { AddColumnSums(three, three, 2, 3, 0, 3) },
		"MeanRows":      func() { MeanRows(three, three, 0, 3) },
		"Softmax":       func() { Softmax(three, 2, 2, 2, 1) },
		"SoftmaxGrad":   func() { SoftmaxGrad(three, three, two, 1, 3, 3, 1) },
	} {
		require.Panics(t, f, name)
	}
}

// The same inputs give the same bits on every architecture and path: one hash for all kernels, NaN being one value. Run
// on amd64, arm64 and 32-bit arm, this is what shows that nothing fuses a multiplication with an addition.
func TestElementwiseBitsAreTheSameEverywhere(t *testing.T) {
	const want = "931f9fe88e9d7b80"
	forEachISA(t, func(t *testing.T) {
		h := sha256.New()
		for _, k := range elementwise {
			for _, n := range []int{7, 16, 43, 384} {
				for _, kind := range kerneltest.Kinds {
					var b [][]float32
					for i, l := range k.lens(n) {
						b = append(b, filled(l, kind, uint64(i)))
					}
					sum := k.run(b, n)
					if sum != sum {
						sum = 0
					}
					require.NoError(t, binary.Write(h, binary.LittleEndian, sum))
					for _, x := range b {
						for i, v := range x {
							if v != v {
								x[i] = float32(math.NaN())
							}
						}
						require.NoError(t, binary.Write(h, binary.LittleEndian, x))
					}
				}
			}
		}
		require.Equal(t, want, hex.EncodeToString(h.Sum(nil)[:8]))
	})
}
