package i8

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/kernels"
	"edgejepa/kernels/kerneltest"
)

// fusedCase is the operands of one GemmF32.
type fusedCase struct {
	m, n, k      int
	lda, ldd     int
	a            []int8
	p            Panels
	sa, sw, bias []float32
	residual     []float32 // ldd apart
}

func newFusedCase(r *rand.Rand, m, n, k int) *fusedCase {
	c := &fusedCase{m: m, n: n, k: k, lda: k + 3, ldd: n + 2}
	c.a = fill(r, m, k, c.lda, anyValue)
	w, q := make([]float32, n*k), make([]int8, n*k)
	c.sa, c.sw, c.bias, c.residual = make([]float32, m), make([]float32, n), make([]float32, n), make([]float32, m*c.ldd)
	for _, x := range [][]float32{w, c.sa, c.bias, c.residual} {
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
	}
	QuantizeWeights(q, c.sw, w, n, k)
	c.p.Pack(q, k, n)
	return c
}

// fusedResult is all that a GemmF32 writes, without what lies between the rows.
type fusedResult struct{ dst, pre, max []float32 }

// separate is the same result by the separate kernels.
func (c *fusedCase) separate(e *kernels.Epilogue) (want fusedResult) {
	acc, y := make([]int32, c.m*c.n), make([]float32, c.m*c.n)
	Gemm(acc, c.n, c.a, c.lda, c.m, &c.p)
	Dequant(y, c.n, acc, c.n, c.m, c.n, c.sa, c.sw, e.Bias)
	want.pre = slices.Clone(y)
	if e.GELU {
		kernels.GELU(y, y)
	}
	for i := range c.m {
		if e.Residual != nil {
			kernels.Add(y[i*c.n:(i+1)*c.n], e.Residual[i*c.ldd:i*c.ldd+c.n])
		}
		want.max = append(want.max, slices.Max(y[i*c.n:(i+1)*c.n]))
	}
	want.dst = y
	return want
}

// epilogues are all combinations.
func (c *fusedCase) epilogues() (all []*kernels.Epilogue) {
	for i := range 16 {
		e := &kernels.Epilogue{}
		if i&1 != 0 {
			e.Bias = c.bias
		}
		e.GELU = i&2 != 0
		if i&4 != 0 {
			e.Residual, e.LDResidual = c.residual, c.ldd
		}
		if i&8 != 0 {
			e.Pre, e.LDPre, e.Max = make([]float32, (c.m-1)*c.ldd+c.n), c.ldd, make([]float32, c.m)
		}
		all = append(all, e)
	}
	return all
}

// diffFused is the first difference of dst, rows ld apart, and want [m, n]; between rows it must be as it was.
func diffFused(dst []float32, ld int, want, was []float32, m, n int) string {
	for i, got := range dst {
		y, x := i/ld, i%ld
		if y < m && x < n {
			if !sameBits(want[y*n+x], got) {
				return fmt.Sprintf("dst[%d,%d] = %g, want %g", y, x, got, want[y*n+x])
			}
		} else if !sameBits(was[i], got) {
			return fmt.Sprintf("dst[%d,%d] was written", y, x)
		}
	}
	return ""
}

func TestGemmF32(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(4, 7))
		for _, s := range [][3]int{{1, 1, 1}, {2, 17, 5}, {24, 128, 32}, {25, 129, 33}, {13, 400, 40}, {12, 193, 31}, {30, 16, 530}} {
			c := newFusedCase(r, s[0], s[1], s[2])
			for i, e := range c.epilogues() {
				want := c.separate(e)
				for _, inPlace := range []bool{false, true} {
					dst := slices.Repeat([]float32{-7}, c.m*c.ldd+20)
					if inPlace && e.Residual != nil {
						copy(dst, c.residual)
						e.Residual = dst[:(c.m-1)*c.ldd+c.n]
					}
					was := slices.Clone(dst)
					GemmF32(dst[:(c.m-1)*c.ldd+c.n], c.ldd, c.a[:(c.m-1)*c.lda+c.k], c.lda, c.m, &c.p, c.sa, c.sw, e)
					require.Empty(t, diffFused(dst, c.ldd, want.dst, was, c.m, c.n), "%v, epilogue %d", s, i)
					if e.Pre != nil {
						require.Empty(t, diffFused(e.Pre, c.ldd, want.pre, make([]float32, len(e.Pre)), c.m, c.n), "%v", s)
						require.Equal(t, want.max, e.Max)
					}
				}
			}
		}
		c := newFusedCase(r, 3, 20, 20)
		dst := make([]float32, 3*c.ldd)
		GemmF32(dst, c.ldd, c.a, c.lda, c.m, &c.p, c.sa, c.sw, nil)
		require.Empty(t, diffFused(dst, c.ldd, c.separate(&kernels.Epilogue{}).dst, make([]float32, len(dst)), c.m, c.n))
	})
}

// Each part of an epilogue changes the result, and the checker sees a wrong value and one write too far.
func TestGemmF32CheckerCatches(t *testing.T) {
	c := newFusedCase(rand.New(rand.NewPCG(1, 1)), 5, 20, 30)
	var seen [][]float32
	for _, e := range c.epilogues()[:8] {
		y := c.separate(e).dst
		for _, other := range seen {
			require.NotEqual(t, other, y)
		}
		seen = append(seen, y)
	}
	was := make([]float32, c.m*c.ldd)
	for _, at := range []int{0, c.n - 1, c.n, c.ldd, (c.m-1)*c.ldd + c.n} {
		dst := make([]float32, c.m*c.ldd)
		dst[at] = 1
		require.NotEmpty(t, diffFused(dst, c.ldd, make([]float32, c.m*c.n), was, c.m, c.n), "at %d", at)
	}
}

func TestGemmF32AllocsAndPanics(t *testing.T) {
	c := newFusedCase(rand.New(rand.NewPCG(1, 1)), 30, 140, 70)
	dst := make([]float32, c.m*c.ldd)
	e := &kernels.Epilogue{Bias: c.bias, GELU: true, Residual: dst, LDResidual: c.ldd}
	run := func(e *kernels.Epilogue) { GemmF32(dst, c.ldd, c.a, c.lda, c.m, &c.p, c.sa, c.sw, e) }
	require.Zero(t, testing.AllocsPerRun(5, func() { run(e) }))
	const small = "i8: GemmF32: an operand is smaller than its shape"
	for _, bad := range []*kernels.Epilogue{
		{Bias: c.bias[1:]}, {Residual: dst[:c.n], LDResidual: c.ldd}, {Residual: dst, LDResidual: c.n - 1},
		{Pre: dst[:c.n], LDPre: c.ldd}, {Max: make([]float32, c.m-1)},
	} {
		require.PanicsWithValue(t, small, func() { run(bad) })
	}
	require.PanicsWithValue(t, small, func() { GemmF32(dst, c.n-1, c.a, c.lda, c.m, &c.p, c.sa, c.sw, nil) })
	require.PanicsWithValue(t, small, func() { GemmF32(dst, c.ldd, c.a, c.lda, c.m, &c.p, c.sa[1:], c.sw, nil) })
}
