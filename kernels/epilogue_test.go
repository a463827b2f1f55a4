package kernels

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/kernels/kerneltest"
)

// Every path and every choice of parts: the bits of Gemm, GELU and Add on whole matrices.
func TestGemmFused(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		for _, s := range [][3]int{{1, 1, 1}, {7, 16, 5}, {epilogueRows, 33, 20}, {epilogueRows + 1, 48, 16}, {130, 20, 8}} {
			m, n, k := s[0], s[1], s[2]
			a, w, bias := make([]float32, m*k), make([]float32, n*k), make([]float32, n)
			mixed(a, 1)
			mixed(w, 2)
			mixed(bias, 3)
			var p Panels
			p.PackT(w, k, k, n)
			for part := range 64 {
				gap := part >> 5 // rows next to one another, or not
				ldc, ldpre, ldres := n+gap, n+2*gap, n+3*gap
				c, pre := kerneltest.NewBuffer((m-1)*ldc+n, 1), kerneltest.NewBuffer((m-1)*ldpre+n, 2)
				res, top := kerneltest.NewBuffer((m-1)*ldres+n, 3), kerneltest.NewBuffer(m, 4)
				mixed(res.X, 5)
				var e Epilogue
				if part&1 != 0 {
					e.Bias = bias
				}
				e.GELU = part&2 != 0
				if part&4 != 0 {
					e.Pre, e.LDPre = pre.X, ldpre
				}
				if part&8 != 0 {
					e.Residual, e.LDResidual = res.X, ldres
				}
				if part&16 != 0 {
					e.Max = top.X
				}
				want := make([]float32, m*n)
				Gemm(want, n, a, k, m, &p, e.Bias, 0)
				name := fmt.Sprintf("%v part %b", s, part)
				GemmFused(c.X, ldc, a, k, m, &p, &e)
				for i := range m {
					row := want[i*n : i*n+n]
					if e.Pre != nil {
						require.NoError(t, kerneltest.EqualBits(row, pre.X[i*ldpre:i*ldpre+n]), name)
					}
					if e.GELU {
						GELU(row, row)
					}
					if e.Residual != nil {
						Add(row, res.X[i*ldres:i*ldres+n])
					}
					require.NoError(t, kerneltest.EqualBits(row, c.X[i*ldc:i*ldc+n]), name)
					if e.Max != nil {
						most := row[0]
						for _, v := range row {
							most = max(most, v)
						}
						require.Equal(t, most, top.X[i], name)
					}
				}
				for _, b := range []*kerneltest.Buffer{c, pre, res, top} {
					require.NoError(t, b.Check(), name)
				}
			}
		}
	})
}

// FinishBlock on blocks of a row gives what GemmFused gives on the whole, wherever the product and C lie.
func TestFinishBlock(t *testing.T) {
	const n, cut = 40, 24
	y, res := make([]float32, n), make([]float32, n)
	mixed(y, 1)
	mixed(res, 2)
	y[3], res[3] = 0, float32(math.Copysign(0, -1))
	for part := range 16 {
		var e Epilogue
		pre, top := make([]float32, n), make([]float32, 1)
		want := slices.Clone(y)
		if part&1 != 0 {
			e.Pre, e.LDPre = pre, n
		}
		if part&2 != 0 {
			e.GELU = true
			GELU(want, want)
		}
		if part&4 != 0 {
			e.Residual, e.LDResidual = res, n
			Add(want, res)
		}
		e.Max = top
		for where := range 3 { // C is the product, the residual, or neither
			product, c := slices.Clone(y), make([]float32, n)
			switch {
			case where == 0:
				c = product
			case where == 1 && e.Residual != nil:
				e.Residual = slices.Clone(res)
				c = e.Residual
			}
			e.FinishBlock(c[:cut], product[:cut], 0, 0)
			e.FinishBlock(c[cut:], product[cut:], 0, cut)
			require.NoError(t, kerneltest.EqualBits(want, c), "part %b, where %d", part, where)
			require.Equal(t, slices.Max(want), top[0])
			if e.Pre != nil {
				require.NoError(t, kerneltest.EqualBits(y, pre))
			}
			if part&4 != 0 {
				e.Residual = res
			}
		}
	}
}

// Which of two zeros is the maximum must not depend on how a row was cut.
func TestRowMaximumIsNeverMinusZero(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		for n := 1; n < 70; n++ {
			x := make([]float32, n)
			for i := range x {
				x[i] = float32(math.Copysign(0, -1))
			}
			x[n/2] = 0
			require.Zero(t, math.Float32bits(maxScaled(x, 1)))
			require.Zero(t, math.Float32bits(maxScaled(x, -1)))
		}
	})
}

func TestGemmFusedAllocatesNothing(t *testing.T) {
	const m, n, k = 60, 40, 16
	a, w, c, h := make([]float32, m*k), make([]float32, n*k), make([]float32, m*n), make([]float32, m*n)
	var p Panels
	p.PackT(w, k, k, n)
	require.Zero(t, testing.AllocsPerRun(10, func() {
		GemmFused(c, n, a, k, m, &p, &Epilogue{GELU: true, Pre: h, LDPre: n})
	}))
}

func TestGemmFusedRejectsShapes(t *testing.T) {
	const m, n, k = 3, 17, 5
	a, c := make([]float32, m*k), make([]float32, m*n)
	p := Panels{K: k, N: n, Data: make([]float32, PanelLen(k, n))}
	short := make([]float32, m*n-1)
	GemmFused(nil, 0, nil, 0, 0, &p, &Epilogue{})
	for name, e := range map[string]Epilogue{
		"bias":             {Bias: short[:n-1]},
		"pre":              {Pre: short, LDPre: n},
		"rows of pre":      {Pre: c, LDPre: n - 1},
		"residual":         {Residual: short, LDResidual: n},
		"rows of residual": {Residual: c, LDResidual: n - 1},
		"max":              {Max: short[:m-1]},
	} {
		require.Panics(t, func() { GemmFused(c, n, a, k, m, &p, &e) }, name)
	}
	require.Panics(t, func() { GemmFused(short, n, a, k, m, &p, &Epilogue{}) }, "c")
}
