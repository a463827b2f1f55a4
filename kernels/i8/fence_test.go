package i8

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/noise"
	"edgejepa/kernels"
	"edgejepa/kernels/kerneltest"
)

// No kernel reads or writes outside its operands, the packed one included.
func TestGemmFenced(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 7))
		for _, s := range [][3]int{
			{1, 1, 1}, {1, 3, 5}, {2, 4, 16}, {3, 5, 31}, {4, 16, 32}, {5, 17, 33}, {6, 15, 63}, {7, 33, 100}, {13, 48, 40},
			{6, 16, 1040},
		} {
			m, n, k := s[0], s[1], s[2]
			for _, atEnd := range []bool{true, false} {
				lda, ldacc := k+3, n+5
				a, w := kerneltest.FencedAs[int8](t, (m-1)*lda+k, atEnd), kerneltest.FencedAs[int8](t, n*k, atEnd)
				acc := kerneltest.FencedAs[int32](t, (m-1)*ldacc+n, atEnd)
				copy(a, fill(r, m, k, lda, anyValue))
				copy(w, fill(r, n, k, k, anyWeight))
				var p Panels
				p.Pack(w, k, n) // for its size
				p.data = kerneltest.FencedAs[int8](t, len(p.data), atEnd)[:0]
				p.start = kerneltest.FencedAs[int32](t, len(p.start), atEnd)[:0]
				p.Pack(w, k, n)
				Gemm(acc, ldacc, a, lda, m, &p)
				want := gemmOracle(a, lda, m, w, k, n)
				for i := range m {
					require.Equal(t, want[i*n:(i+1)*n], acc[i*ldacc:i*ldacc+n], "%v", s)
				}
			}
		}
	})
}

func TestQuantFenced(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		for _, cols := range []int{1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100} {
			for _, atEnd := range []bool{true, false} {
				const rows = 2
				ld := cols + 3
				x, q := kerneltest.FencedAs[float32](t, rows*cols, atEnd), kerneltest.FencedAs[int8](t, ld+cols, atEnd)
				sa, sw, bias := kerneltest.FencedAs[float32](t, rows, atEnd), kerneltest.FencedAs[float32](t, cols, atEnd), kerneltest.FencedAs[float32](t, cols, atEnd)
				acc, dst := kerneltest.FencedAs[int32](t, ld+cols, atEnd), kerneltest.FencedAs[float32](t, ld+cols, atEnd)
				was := slices.Clone(x)
				QuantizeRows(q, sa, x, rows, cols, ld)
				QuantizeWeights(q, sa, x, rows, cols)
				require.NoError(t, CheckChains(q, rows, cols))
				Dequant(dst, ld, acc, ld, rows, cols, sa, sw, nil)
				Dequant(dst, ld, acc, ld, rows, cols, sa, sw, bias)
				require.Equal(t, was, x)
			}
		}
	})
}

// The fused product and the stochastic quantisers stay inside their operands.
func TestFusedFenced(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 9))
		for _, s := range [][3]int{{1, 1, 1}, {7, 33, 20}, {25, 130, 37}} {
			c := newFusedCase(r, s[0], s[1], s[2])
			m, n, k := c.m, c.n, c.k
			for _, atEnd := range []bool{false, true} {
				fence := func(x []float32) []float32 {
					y := kerneltest.FencedAs[float32](t, len(x), atEnd)
					copy(y, x)
					return y
				}
				a := kerneltest.FencedAs[int8](t, (m-1)*c.lda+k, atEnd)
				copy(a, c.a)
				e := &kernels.Epilogue{Bias: fence(c.bias), GELU: true, Pre: fence(c.residual[:(m-1)*c.ldd+n]), LDPre: c.ldd,
					Residual: fence(c.residual[:(m-1)*c.ldd+n]), LDResidual: c.ldd, Max: fence(c.sa)}
				dst := fence(c.residual[:(m-1)*c.ldd+n])
				want := c.separate(&kernels.Epilogue{Bias: c.bias, GELU: true, Residual: c.residual, LDResidual: c.ldd})
				was := slices.Clone(dst)
				GemmF32(dst, c.ldd, a, c.lda, m, &c.p, fence(c.sa), fence(c.sw), e)
				require.Empty(t, diffFused(dst, c.ldd, want.dst, was, m, n), "%v", s)

				x, bits := fence(c.residual[:m*n]), noise.Stream{Key: 5}
				q, scale := kerneltest.FencedAs[int8](t, m*n, atEnd), fence(c.sa)
				QuantizeRowsStochastic(q, scale, x, m, n, n, bits)
				qt, scaleT := kerneltest.FencedAs[int8](t, n*m, atEnd), fence(c.sw)
				QuantizeColumnsStochastic(qt, m, scaleT, x, m, n, n, bits)
			}
		}
	})
}

// Dequant has the bits of its definition whatever the scales.
func TestDequantOfSpecialScales(t *testing.T) {
	const rows, cols = 5, 43
	kerneltest.ForEachISA(t, func(t *testing.T) {
		for _, kind := range kerneltest.Kinds {
			sa, sw, bias := make([]float32, rows), make([]float32, cols), make([]float32, cols)
			kerneltest.Fill(sa, kind, 1)
			kerneltest.Fill(sw, kind, 2)
			kerneltest.Fill(bias, kind, 3)
			acc, got, want := make([]int32, rows*cols), make([]float32, rows*cols), make([]float32, rows*cols)
			for i := range acc {
				acc[i] = int32(i*i*i*104729) - 1<<30
				want[i] = float32(float32(acc[i])*float32(sa[i/cols]*sw[i%cols])) + bias[i%cols]
			}
			Dequant(got, cols, acc, cols, rows, cols, sa, sw, bias)
			require.NoError(t, kerneltest.EqualBits(want, got), "%v", kind)
		}
	})
}
