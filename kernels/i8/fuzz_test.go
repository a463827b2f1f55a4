package i8

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/noise"
	"edgejepa/kernels"
	"edgejepa/kernels/kerneltest"
)

// FuzzShapes runs the product and the quantisers on shapes and strides that nobody thought of: the fastest path must give
// what the generic one gives.
func FuzzShapes(f *testing.F) {
	f.Add(uint8(6), uint8(16), uint8(32), uint8(0), uint64(1))
	f.Add(uint8(13), uint8(33), uint8(7), uint8(5), uint64(2))
	f.Add(uint8(1), uint8(1), uint8(1), uint8(15), uint64(3))
	f.Fuzz(func(t *testing.T, m8, n8, k8, pad8 uint8, seed uint64) {
		m, n, k, pad := int(m8)%70+1, int(n8)%100+1, int(k8)%200+1, int(pad8)%17
		r := rand.New(rand.NewPCG(seed, 7))
		x := make([]float32, m*(k+pad))
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		w := make([]int8, n*k)
		for i := range w {
			w[i] = int8(r.IntN(255) - 127)
		}
		bits := noise.Stream{Key: uint32(seed), Index: uint32(pad)}

		type result struct {
			Q, QT     []int8
			Scale, ST []float32
			Sums      []int32
			Y         []float32
		}
		run := func() (o result) {
			o.Q, o.Scale = make([]int8, m*(k+pad)), make([]float32, m)
			QuantizeRowsStochastic(o.Q, o.Scale, x, m, k, k+pad, bits)
			QuantizeRows(o.Q, o.Scale, x, m, k, k+pad)
			o.QT, o.ST = make([]int8, k*(m+pad)), make([]float32, k)
			QuantizeColumns(o.QT, m+pad, o.ST, x, m, k, k+pad)
			QuantizeColumnsStochastic(o.QT, m+pad, o.ST, x, m, k, k+pad, bits)
			var p Panels
			p.Pack(w, k, n)
			o.Sums = make([]int32, m*(n+pad))
			Gemm(o.Sums, n+pad, o.Q, k+pad, m, &p)
			o.Y = make([]float32, m*(n+pad))
			GemmF32(o.Y, n+pad, o.Q, k+pad, m, &p, o.Scale, x[:n], &kernels.Epilogue{GELU: seed%2 == 0})
			return o
		}
		if len(x) < n {
			t.Skip("too few values for the scales")
		}
		fast := run()
		restore := kerneltest.Only(0)
		slow := run()
		restore()
		require.Equal(t, slow, fast, "m %d, n %d, k %d, pad %d", m, n, k, pad)
	})
}
