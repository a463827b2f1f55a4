package i8

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/noise"
	"edgejepa/kernels/kerneltest"
)

// chanceOracle is the rounding by chance from its definition, in float64: all of its operations are exact.
func chanceOracle(t float32, word uint32) int8 {
	v := max(min(float64(t), 127), -127)
	q := math.Floor(v)
	if float64(word>>8)/(1<<24) < v-q {
		q++
	}
	return int8(q)
}

// columnsOracle quantises the columns of x from the definition; bits nil is to nearest.
func columnsOracle(x []float32, rows, cols, ldx int, bits *noise.Stream) (q []int8, scale []float32) {
	for j := range cols {
		column := make([]float32, rows)
		for i := range column {
			column[i] = x[i*ldx+j]
		}
		qj, s := quantOracle(column)
		if bits != nil && s > 0 {
			inv := 127 / float32(slices.Max(absAll(column)))
			for i, v := range column {
				qj[i] = chanceOracle(float32(v*inv), noise.Word(bits.Key, bits.Index+uint32(i*cols+j)))
			}
		}
		q, scale = append(q, qj...), append(scale, s)
	}
	return q, scale
}

func absAll(x []float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = abs32(v)
	}
	return y
}

// diffColumns is the first difference between q, rows ldq apart, and want; between rows lies the fence.
func diffColumns(q []int8, ldq int, want []int8, cols, rows int, fence int8) string {
	for i, v := range q {
		j, r := i/ldq, i%ldq
		switch {
		case j < cols && r < rows:
			if v != want[j*rows+r] {
				return fmt.Sprintf("q[%d,%d] = %d, want %d", j, r, v, want[j*rows+r])
			}
		case v != fence:
			return fmt.Sprintf("q[%d,%d] was written", j, r)
		}
	}
	return ""
}

func TestQuantizeColumns(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(8, 8))
		for _, rows := range []int{1, 2, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 100} {
			for _, cols := range []int{1, 3, 4, 5, 7, 8, 9, 12, 15, 16, 63, 64, 65, 71, 72, 73, 130} {
				ldx, ldq := cols+rows%3, rows+cols%4
				x := make([]float32, rows*ldx)
				for j := range cols {
					kind := j % quantKinds
					if j >= 2*quantKinds {
						kind = j % 4
					}
					for i, v := range quantRow(r, rows, kind) {
						x[i*ldx+j] = v
					}
				}
				was := slices.Clone(x)
				for _, bits := range []*noise.Stream{nil, {Key: 77, Index: math.MaxUint32 - 500}} {
					q := slices.Repeat([]int8{99}, cols*ldq+32)
					scale := slices.Repeat([]float32{-1}, cols+2)
					if bits == nil {
						QuantizeColumns(q[:(cols-1)*ldq+rows], ldq, scale, x[:(rows-1)*ldx+cols], rows, cols, ldx)
					} else {
						QuantizeColumnsStochastic(q[:(cols-1)*ldq+rows], ldq, scale, x[:(rows-1)*ldx+cols], rows, cols, ldx, *bits)
					}
					want, s := columnsOracle(was, rows, cols, ldx, bits)
					require.Empty(t, diffColumns(q, ldq, want, cols, rows, 99), "%d x %d, %v", rows, cols, bits)
					for j := range s {
						require.True(t, sameBits(scale[j], s[j]) || s[j] != s[j] && scale[j] != scale[j], "column %d", j)
					}
					require.Equal(t, []float32{-1, -1}, scale[cols:])
				}
				require.True(t, slices.EqualFunc(was, x, sameBits), "the input was modified")
			}
		}
	})
}

// The checker above catches a wrong value and one write too far.
func TestQuantizeColumnsCheckerCatches(t *testing.T) {
	want := []int8{1, 2, 3, 4, 5, 6}
	good := []int8{1, 2, 3, 99, 4, 5, 6, 99, 99}
	require.Empty(t, diffColumns(good, 4, want, 2, 3, 99))
	for i := range good {
		bad := slices.Clone(good)
		bad[i]++
		require.NotEmpty(t, diffColumns(bad, 4, want, 2, 3, 99), "at %d", i)
	}
}

func TestQuantizeRowsStochastic(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(9, 2))
		for cols := 1; cols < 140; cols++ {
			var x []float32
			for kind := range quantKinds {
				x = append(x, quantRow(r, cols, kind)...)
			}
			bits := noise.Stream{Key: r.Uint32(), Index: math.MaxUint32 - 300}
			ldq := cols + cols%3
			q := slices.Repeat([]int8{99}, quantKinds*ldq+32)
			scale := make([]float32, quantKinds)
			QuantizeRowsStochastic(q[:(quantKinds-1)*ldq+cols], scale, x, quantKinds, cols, ldq, bits)
			var want []int8
			for i := range quantKinds {
				row := x[i*cols : (i+1)*cols]
				qi, s := quantOracle(row)
				require.True(t, sameBits(scale[i], s) || s != s && scale[i] != scale[i])
				if s > 0 {
					inv := 127 / slices.Max(absAll(row))
					for j, v := range row {
						qi[j] = chanceOracle(float32(v*inv), noise.Word(bits.Key, bits.Index+uint32(i*cols+j)))
					}
				}
				want = append(want, qi...)
			}
			require.Empty(t, diffColumns(q, ldq, want, quantKinds, cols, 99), "cols %d", cols)
		}
	})
}

// Rounding by chance is right in expectation, and its variance is that of one draw: over n keys the mean of q lies within
// five standard deviations of t, sqrt(f(1-f)/n) with f the fraction. Neighbours are drawn independently: the mean of
// the products of their deviations is within five standard deviations of zero, too.
func TestQuantizeStochasticUnbiased(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		const n, cols = 4000, 64
		x := []float32{127}
		for i := 1; i < cols; i++ {
			x = append(x, float32(i)*1.7-60+float32(i%7)/7)
		}
		var sum, cross [cols]float64
		q, scale := make([]int8, cols), make([]float32, 1)
		for key := range n {
			QuantizeRowsStochastic(q, scale, x, 1, cols, cols, noise.Stream{Key: uint32(key)})
			for j := range q {
				sum[j] += float64(q[j])
				cross[j] += (float64(q[j]) - float64(x[j])) * (float64(q[(j+1)%cols]) - float64(x[(j+1)%cols]))
			}
		}
		variance := func(j int) float64 {
			f := float64(x[j%cols]) - math.Floor(float64(x[j%cols]))
			return f * (1 - f)
		}
		biased := 0
		for j := range x {
			limit := 5 * math.Sqrt(variance(j)/n)
			require.InDelta(t, float64(x[j]), sum[j]/n, limit+1e-9, "t = %g", x[j])
			require.InDelta(t, 0, cross[j]/n, 5*math.Sqrt(variance(j)*variance(j+1)/n)+1e-9, "t = %g", x[j])
			if math.Abs(math.RoundToEven(float64(x[j]))-float64(x[j])) > limit {
				biased++
			}
		}
		require.Greater(t, biased, cols/2, "rounding to nearest would have passed")
	})
}

func TestQuantizeColumnsFenced(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		for _, rows := range []int{1, 16, 17, 32, 33, 70} {
			for _, cols := range []int{1, 5, 8, 11, 64, 70, 73} {
				for _, atEnd := range []bool{true, false} {
					ldx, ldq := cols+3, rows+5
					x, q := kerneltest.FencedAs[float32](t, (rows-1)*ldx+cols, atEnd), kerneltest.FencedAs[int8](t, (cols-1)*ldq+rows, atEnd)
					scale := kerneltest.FencedAs[float32](t, cols, atEnd)
					was := slices.Clone(x)
					QuantizeColumns(q, ldq, scale, x, rows, cols, ldx)
					QuantizeColumnsStochastic(q, ldq, scale, x, rows, cols, ldx, noise.Stream{})
					require.Equal(t, was, x)
				}
			}
		}
	})
}

func TestQuantizeColumnsAllocsAndPanics(t *testing.T) {
	const rows, cols = 70, 90
	x, q, scale := make([]float32, rows*cols), make([]int8, rows*cols), make([]float32, cols)
	require.Zero(t, testing.AllocsPerRun(5, func() {
		QuantizeColumns(q, rows, scale, x, rows, cols, cols)
		QuantizeColumnsStochastic(q, rows, scale, x, rows, cols, cols, noise.Stream{Key: 1})
		QuantizeRowsStochastic(q, scale, x, rows, cols, cols, noise.Stream{Key: 1})
	}))
	const small = "i8: QuantizeColumns: an operand is smaller than its shape"
	require.PanicsWithValue(t, small, func() { QuantizeColumns(q, rows-1, scale, x, rows, cols, cols) })
	require.PanicsWithValue(t, small, func() { QuantizeColumns(q, rows, scale[1:], x, rows, cols, cols) })
	require.PanicsWithValue(t, small, func() { QuantizeColumns(q[1:], rows, scale, x, rows, cols, cols) })
	require.PanicsWithValue(t, small, func() { QuantizeColumns(q, rows, scale, x[1:], rows, cols, cols) })
}
