package kernels

import (
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cpu"
	"edgejepa/kernels/kerneltest"
)

// FuzzShapes runs the products, attention and the row-wise kernels on shapes, strides and offsets that nobody thought of:
// the fastest path must give the bits of the generic one and leave what lies between and around rows alone.
func FuzzShapes(f *testing.F) {
	f.Add(uint8(6), uint8(16), uint8(32), uint8(0), uint64(1))
	f.Add(uint8(13), uint8(33), uint8(7), uint8(5), uint64(2))
	f.Add(uint8(1), uint8(1), uint8(1), uint8(15), uint64(3))
	f.Fuzz(func(t *testing.T, m8, n8, k8, pad8 uint8, seed uint64) {
		m, n, k, pad := int(m8)%70+1, int(n8)%100+1, int(k8)%140+1, int(pad8)%17
		lda, ldb, ldc, ldt := k+pad, n+pad, n+pad/2, m+pad
		a, b := offset(m*lda, pad, seed), offset(k*ldb, pad/2, seed+1)
		wt, at := offset(n*lda, 0, seed+2), offset(k*ldt, pad, seed+3)
		if len(wt) < n || len(at) < n {
			t.Skip("too few values for a gain")
		}
		heads, dim := int(seed%3)+1, (int(k8)%24+1)*(int(seed%3)+1)
		tokens := min(m, 40)
		qkv := offset(tokens*3*dim, pad, seed+4)

		run := func() (out [][]float32) {
			keep := func(n int) []float32 {
				x := offset(n, pad, seed+5)
				out = append(out, x)
				return x
			}
			var p Panels
			p.PackT(wt, lda, k, n)
			Gemm(keep(m*ldc), ldc, a, lda, m, &p, nil, 0)
			Gemm(keep(m*ldc), ldc, a, lda, m, &p, b, 0)
			GemmView(keep(m*ldc), ldc, a, lda, m, &View{K: k, N: n, X: b, LD: ldb}, nil, 0)
			p.Pack(b, ldb, k, n)
			AddGemmTN(keep(m*ldc), ldc, at, ldt, m, &p)
			AddGemmTNView(keep(m*ldc), ldc, at, ldt, m, &View{K: k, N: n, X: b, LD: ldb})
			Softmax(keep(m*ldc), m, n, ldc, 0.3)
			LayerNorm(keep(m*n), b[:min(len(b), m*n)], nil, nil, nil, nil, min(m, len(b)/n), n, 1e-6)
			scratch := make([]float32, AttentionScratch(tokens, dim, heads))
			AttentionForward(keep(tokens*dim), qkv, nil, tokens, dim, heads, scratch)
			AttentionBackward(keep(tokens*3*dim), qkv[tokens*dim:], qkv, nil, tokens, dim, heads, scratch)

			rows := min(m, len(b)/n, len(a)/n)
			mean, rstd, dx := keep(rows), keep(rows), keep(rows*n)
			LayerNorm(keep(rows*n), b, wt[:n], at[:n], mean, rstd, rows, n, 1e-6)
			AddLayerNormGrad(dx, a[:rows*n], b, wt[:n], mean, rstd, rows, n)
			AddLayerNormParamGrad(keep(n), keep(n), a[:rows*n], b, mean, rstd, rows, n, 0, n)
			SoftmaxGrad(dx, dx, b, rows, n, n, 0.3)
			p.PackT(wt, lda, k, n)
			pre, res := keep(m*ldc), keep(m*ldc)
			GemmFused(keep(m*ldc), ldc, a, lda, m, &p, &Epilogue{Bias: b, GELU: pad%2 == 0, Pre: pre, LDPre: ldc,
				Residual: res, LDResidual: ldc, Max: keep(m)})
			return out
		}
		fast := run()
		restore := kerneltest.Only(0)
		slow := run()
		restore()
		require.Equal(t, len(slow), len(fast))
		for i := range slow {
			require.NoError(t, sameFloatBits(slow[i], fast[i]), "result %d of m %d, n %d, k %d, pad %d on %s", i, m, n, k, pad, cpu.ISA())
		}
	})
}

// offset is n values that begin off floats into their memory.
func offset(n, off int, seed uint64) []float32 {
	x := make([]float32, n+off)
	mixed(x, seed)
	return x[off:]
}
