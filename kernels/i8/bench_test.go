package i8

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// benchShapes are products of a small encoder: rows (tokens), output channels, inner dimension.
var benchShapes = [][3]int{
	{64, 192, 192}, {196, 768, 192}, {196, 192, 768}, {64, 512, 128}, {64, 64, 32}, {1, 192, 192},
}

func BenchmarkGemm(b *testing.B) {
	for _, s := range benchShapes {
		m, n, k := s[0], s[1], s[2]
		r := rand.New(rand.NewPCG(1, 1))
		a, acc := fill(r, m, k, k, anyValue), make([]int32, m*n)
		w, q, scale := make([]float32, n*k), make([]int8, n*k), make([]float32, n)
		for i := range w {
			w[i] = float32(r.NormFloat64())
		}
		QuantizeWeights(q, scale, w, n, k)
		var p Panels
		p.Pack(q, k, n)
		b.Run(fmt.Sprintf("m=%d,n=%d,k=%d", m, n, k), func(b *testing.B) {
			for b.Loop() {
				Gemm(acc, n, a, k, m, &p)
			}
			b.ReportMetric(float64(m*n*k)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GMAC/s")
		})
	}
}

func BenchmarkPack(b *testing.B) {
	w := fill(rand.New(rand.NewPCG(1, 1)), 192, 768, 768, anyWeight)
	var p Panels
	b.SetBytes(int64(len(w)))
	for b.Loop() {
		p.Pack(w, 768, 192)
	}
}

func BenchmarkQuant(b *testing.B) {
	const rows, cols = 196, 192
	r := rand.New(rand.NewPCG(1, 1))
	x, q, scale := make([]float32, rows*cols), make([]int8, rows*cols), make([]float32, max(rows, cols))
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	acc, dst := make([]int32, rows*cols), make([]float32, rows*cols)
	run := func(name string, f func()) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(4 * rows * cols)
			for b.Loop() {
				f()
			}
		})
	}
	run("rows", func() { QuantizeRows(q, scale, x, rows, cols, cols) })
	run("weights", func() { QuantizeWeights(q, scale, x, rows, cols) })
	run("dequant", func() { Dequant(dst, cols, acc, cols, rows, cols, scale, scale, scale) })
}
