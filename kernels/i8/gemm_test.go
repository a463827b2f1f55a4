package i8

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/kernels/kerneltest"
)

// testShapes are m, n, k around every edge of the i8: tiles of 1 to 12 rows, panels of 4, 8, 16 and 32 channels, runs
// of 4, 8 and 32 k, and the 512, 1024 or 4096 k of one pass.
func testShapes() (shapes [][3]int) {
	for _, m := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 19} {
		for _, n := range []int{1, 3, 4, 5, 8, 15, 16, 17, 33, 67} {
			for _, k := range []int{1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 100} {
				shapes = append(shapes, [3]int{m, n, k})
			}
		}
	}
	return append(shapes, [][3]int{
		{64, 192, 192}, {7, 20, 1023}, {6, 16, 1024}, {13, 33, 1025}, {25, 32, 511}, {12, 65, 513}, {3, 17, 3001}, {5, 36, 4133}, {20, 272, 40},
	}...)
}

// gemmOracle is the product from its definition, in int64.
func gemmOracle(a []int8, lda, m int, w []int8, k, n int) []int32 {
	c := make([]int32, m*n)
	for i := range m {
		for j := range n {
			var s int64
			for l := range k {
				s += int64(a[i*lda+l]) * int64(w[j*k+l])
			}
			c[i*n+j] = int32(s)
		}
	}
	return c
}

// diff is the first difference between rows of n values, ldacc apart, and want; a second result names a value between
// the rows or after the last that is not fence any more. Both are empty when all is well.
func diff(acc []int32, ldacc int, want []int32, m, n int, fence int32) (wrong, smashed string) {
	for i, v := range acc {
		r, c := i/ldacc, i%ldacc
		switch {
		case r < m && c < n:
			if v != want[r*n+c] && wrong == "" {
				wrong = fmt.Sprintf("acc[%d,%d] = %d, want %d", r, c, v, want[r*n+c])
			}
		case v != fence && smashed == "":
			smashed = fmt.Sprintf("acc[%d,%d] was written", r, c)
		}
	}
	return wrong, smashed
}

const fenceValue = -0x5a5a5a5b

type testValues struct {
	name string
	a, w func(r *rand.Rand, row, k int) int8
}

// extremes are operands that saturate or wrap any int16 shortcut that is not exact.
var extremes = []testValues{
	{"random", anyValue, anyWeight},
	{"a=-128,w=-127", constant(-128), constant(-127)},
	{"a=-128,w=127", constant(-128), constant(127)},
	{"a=127,w=127", constant(127), constant(127)},
	{"a=127,w=-127", constant(127), constant(-127)},
	{"signs", func(r *rand.Rand, _, _ int) int8 { return []int8{-128, 127}[r.IntN(2)] },
		func(r *rand.Rand, _, _ int) int8 { return []int8{-127, 127}[r.IntN(2)] }},
	// Chains at their limit, 64+64+64+63, all of one sign: the sum in int16 is 128*255.
	{"chains a=-128", constant(-128), fullChain(-1)},
	{"chains a=-128 +", constant(-128), fullChain(1)},
	{"chains a=127", constant(127), fullChain(1)},
	{"chains random", anyValue, func(r *rand.Rand, row, k int) int8 { return fullChain(int8(r.IntN(2)*2-1))(r, row, k) }},
	{"chains 127+127+1", constant(-128), func(_ *rand.Rand, row, k int) int8 { return []int8{-127, -127, -1, 0}[k%32/8] }},
}

func anyValue(r *rand.Rand, _, _ int) int8  { return int8(r.IntN(256) - 128) }
func anyWeight(r *rand.Rand, _, _ int) int8 { return int8(r.IntN(255) - 127) }
func constant(v int8) func(*rand.Rand, int, int) int8 {
	return func(*rand.Rand, int, int) int8 { return v }
}
func fullChain(sign int8) func(*rand.Rand, int, int) int8 {
	return func(_ *rand.Rand, row, k int) int8 {
		if (k%32/8+row)%4 == 0 {
			return 63 * sign
		}
		return 64 * sign
	}
}

func fill(r *rand.Rand, rows, cols, ld int, f func(*rand.Rand, int, int) int8) []int8 {
	x := make([]int8, rows*ld)
	for i := range x {
		x[i] = int8(r.Uint32())
	}
	for i := range rows {
		for k := range cols {
			x[i*ld+k] = f(r, i, k)
		}
	}
	return x
}

func TestGemm(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		var p Panels
		for s, shape := range testShapes() {
			m, n, k := shape[0], shape[1], shape[2]
			for e, v := range extremes {
				if m*n*k > 4096 && (s+e)%3 != 0 && e != 0 || testing.Short() && (s+e)%9 != 0 {
					continue // every extreme still meets every edge
				}
				lda, ldacc := k+e%3*5, n+(s+e)%4
				a := fill(r, m, k, lda, v.a)[:(m-1)*lda+k]
				w := fill(r, n, k, k, v.w)
				wasA, wasW := slices.Clone(a), slices.Clone(w)
				acc := slices.Repeat([]int32{fenceValue}, m*ldacc+40)
				p.Pack(w, k, n)
				Gemm(acc[:(m-1)*ldacc+n], ldacc, a, lda, m, &p)
				wrong, smashed := diff(acc, ldacc, gemmOracle(wasA, lda, m, wasW, k, n), m, n, fenceValue)
				require.Empty(t, wrong, "%v %s", shape, v.name)
				require.Empty(t, smashed, "%v %s", shape, v.name)
				require.True(t, slices.Equal(wasA, a) && slices.Equal(wasW, w), "%v %s: an input was modified", shape, v.name)
			}
		}
	})
}

// The checker must catch what it is there for.
func TestGemmCheckerCatches(t *testing.T) {
	const m, n, k, ld = 5, 17, 33, 19
	r := rand.New(rand.NewPCG(3, 4))
	a, w := fill(r, m, k, k, anyValue), fill(r, n, k, k, anyWeight)
	a[(m-1)*k+k-1], w[(n-1)*k+k-1] = 5, 7
	run := func(a, w []int8) []int32 {
		var p Panels
		p.Pack(w, k, n)
		acc := slices.Repeat([]int32{fenceValue}, m*ld+8)
		Gemm(acc, ld, a, k, m, &p)
		return acc
	}
	want := gemmOracle(a, k, m, w, k, n)
	wrong, smashed := diff(run(a, w), ld, want, m, n, fenceValue)
	require.Empty(t, wrong+smashed)

	flipped := slices.Clone(w)
	flipped[(n-1)*k+k-1] *= -1
	wrong, _ = diff(run(a, flipped), ld, want, m, n, fenceValue)
	require.NotEmpty(t, wrong, "a flipped sign")

	dropped := slices.Clone(a)
	dropped[(m-1)*k+k-1] = 0
	wrong, _ = diff(run(dropped, w), ld, want, m, n, fenceValue)
	require.NotEmpty(t, wrong, "a dropped last element")

	for _, at := range []int{n, ld - 1, (m-1)*ld + n, m*ld + 7} {
		acc := run(a, w)
		acc[at]++
		_, smashed = diff(acc, ld, want, m, n, fenceValue)
		require.NotEmpty(t, smashed, "one write too far, at %d", at)
	}
}

// The longest K with the largest magnitudes stays inside int32.
func TestGemmLongestK(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		var p Panels
		for _, w := range []int8{-127, 127} {
			p.Pack(slices.Repeat([]int8{w}, MaxK), MaxK, 1)
			for _, a := range []int8{-128, 127} {
				acc := []int32{0}
				Gemm(acc, 1, slices.Repeat([]int8{a}, MaxK), MaxK, 1, &p)
				require.EqualValues(t, int(a)*int(w)*MaxK, acc[0])
			}
		}
	})
}

// Splitting the rows between callers changes nothing.
func TestGemmSplit(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		const m, n, k = 23, 37, 70
		r := rand.New(rand.NewPCG(5, 6))
		a, w := fill(r, m, k, k, anyValue), fill(r, n, k, k, anyWeight)
		want := gemmOracle(a, k, m, w, k, n)
		var p Panels
		p.Pack(w, k, n)
		for cut := 1; cut < m; cut++ {
			acc := make([]int32, m*n)
			Gemm(acc, n, a, k, cut, &p)
			Gemm(acc[cut*n:], n, a[cut*k:], k, m-cut, &p)
			require.Equal(t, want, acc, "cut at %d", cut)
		}
	})
}

func TestPackReuse(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(7, 8))
		const m, n, k = 6, 40, 96
		a, w := fill(r, m, k, k, anyValue), fill(r, n, k, k, anyWeight)
		acc := make([]int32, m*n)
		var p Panels
		p.Pack(w, k, n)
		require.Zero(t, testing.AllocsPerRun(5, func() {
			p.Pack(w[:5*7], 7, 5) // smaller: what the larger left behind must not show
			Gemm(acc, n, a, k, m, &p)
			p.Pack(w, k, n)
			Gemm(acc, n, a, k, m, &p)
		}))
		require.Equal(t, gemmOracle(a, k, m, w, k, n), acc)
		p.Pack(w[:5*7], 7, 5)
		Gemm(acc, 5, a, k, m, &p)
		require.Equal(t, gemmOracle(a, k, m, w, 7, 5), acc[:m*5])
	})
}

// What one layout leaves behind does not show in the next: a Panels outlives a change of path only in tests.
func TestPackOtherLayout(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 9))
	const m, n, k = 7, 37, 75
	a, w := fill(r, m, k, k, anyValue), fill(r, n, k, k, anyWeight)
	var p Panels
	for range 2 {
		kerneltest.ForEachISA(t, func(t *testing.T) {
			acc := make([]int32, m*n)
			p.Pack(w, k, n)
			Gemm(acc, n, a, k, m, &p)
			require.Equal(t, gemmOracle(a, k, m, w, k, n), acc)
		})
	}
}

func TestPanics(t *testing.T) {
	w := make([]int8, 64)
	for i := range w {
		bad := slices.Clone(w)
		bad[i] = -128
		require.PanicsWithValue(t, "i8: Panels.Pack: a weight of -128", func() { new(Panels).Pack(bad, 8, 8) })
		require.PanicsWithValue(t, "i8: Panels.Pack: a weight of -128", func() { new(Panels).Pack(bad[i:i+1], 1, 1) })
	}
	for v := -127; v <= 127; v++ {
		require.False(t, hasMinInt8(slices.Repeat([]int8{int8(v)}, 64+32+17)))
	}
	for at := range 64 + 32 + 17 {
		q := make([]int8, 64+32+17)
		q[at] = -128
		require.True(t, hasMinInt8(q), "at %d", at)
	}
	const small = "i8: Gemm: A or the accumulator is smaller than its shape"
	var p Panels
	p.Pack(w, 8, 8)
	acc := make([]int32, 64)
	require.PanicsWithValue(t, small, func() { Gemm(acc, 7, w, 8, 8, &p) })
	require.PanicsWithValue(t, small, func() { Gemm(acc, 8, w, 7, 8, &p) })
	require.PanicsWithValue(t, small, func() { Gemm(acc[:63], 8, w, 8, 8, &p) })
	require.PanicsWithValue(t, small, func() { Gemm(acc, 8, w[:63], 8, 8, &p) })
	require.Panics(t, func() { p.Pack(w, 9, 8) })
	require.Panics(t, func() { p.Pack(make([]int8, MaxK+1), MaxK+1, 1) })
}
