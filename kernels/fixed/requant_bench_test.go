package fixed

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// The integer kernels, in nanoseconds a row: a token of D = 192, or a row of attention.
func BenchmarkInt(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 9))
	const rows = 64
	run := func(name string, cols int, f func()) {
		b.Run(fmt.Sprintf("%s/cols=%d", name, cols), func(b *testing.B) {
			for b.Loop() {
				f()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
		})
	}
	for _, cols := range []int{192, 768} {
		ratio, bias := make([]float64, cols), make([]float64, cols)
		for j := range ratio {
			ratio[j] = math.Ldexp(1+r.Float64(), -12)
		}
		q, err := NewRequant(ratio, bias, 1<<22)
		require.NoError(b, err)
		g, err := NewGELU(0.02, -120)
		require.NoError(b, err)
		table := GELUTable(0.03, 0.02)
		acc, res, dst := fillI32(r, rows*cols, 20, false), fillI32(r, rows*cols, 20, false), make([]int8, rows*cols)
		run("RequantI8", cols, func() { RequantI8(dst, cols, acc, cols, rows, cols, q) })
		run("AddRequant", cols, func() { AddRequant(res, cols, acc, cols, rows, cols, q) })
		run("RequantGELU", cols, func() { RequantGELU(dst, cols, acc, cols, rows, cols, q, g) })
		run("Lookup", cols, func() { Lookup(dst, dst, table) })
		run("LayerNorm", cols, func() { LayerNorm(dst, cols, acc, cols, rows, cols, q, 100) })
		sum := make([]int64, cols)
		run("SumNorm", cols, func() { SumNorm(sum, acc, cols, rows, cols, 100) })
	}
	for _, cols := range []int{16, 64, 196, 256} {
		s, err := NewSoftmax(1e-4, true)
		require.NoError(b, err)
		scores, p, sum := fillI32(r, rows*cols, 15, false), make([]int8, rows*cols), make([]int32, rows)
		run("SoftmaxI8", cols, func() { SoftmaxI8(p, cols, sum, scores, cols, rows, cols, s) })
	}
	q, err := NewRequant(make([]float64, 64), make([]float64, 64), 1<<22)
	require.NoError(b, err)
	acc, sum, dst := fillI32(r, rows*64, 20, false), make([]int32, rows), make([]int8, rows*64)
	for i := range sum {
		sum[i] = 10000
	}
	run("RequantMeans", 64, func() { RequantMeans(dst, 64, acc, 64, rows, 64, sum, acc[:64], q) })
}
