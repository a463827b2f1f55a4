//go:build !purego

package i8

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cpu"
	"edgejepa/kernels/kerneltest"
)

// Chains of four are for weights that obey the rule and activations above -128. At the limit they are exact; beyond it, on
// weights that Pack sends to the other tile, they are wrong.
func TestChainsAVX2(t *testing.T) {
	if !cpu.HasAVX2FMA {
		t.Skip("needs AVX2; TestRequiredISA says whether it may be missing")
	}
	product := func(a, w []int8, force bool) []int32 {
		var p Panels
		p.pack(w, 64, 1, inChains)
		require.Equal(t, CheckChains(w, 1, 64) == nil, p.chain4)
		p.chain4 = p.chain4 || force
		acc := []int32{0}
		Gemm(acc, 1, a, 64, 1, &p)
		return acc
	}
	for _, sign := range []int8{1, -1} {
		for _, most := range []int8{-128, -127, 127} {
			a := slices.Repeat([]int8{most}, 64)
			w := make([]int8, 64)
			for k := range w {
				w[k] = fullChain(sign)(nil, 0, k)
			}
			require.Equal(t, gemmOracle(a, 64, 1, w, 64, 1), product(a, w, false))
			w[32+8] = 72 * sign // 263 * 127 = 33401
			require.Equal(t, gemmOracle(a, 64, 1, w, 64, 1), product(a, w, false))
			if most == -128 { // goes to the other tile in any case
				require.Equal(t, gemmOracle(a, 64, 1, w, 64, 1), product(a, w, true))
			} else {
				require.NotEqual(t, gemmOracle(a, 64, 1, w, 64, 1), product(a, w, true))
			}
		}
	}
}

// One -128 sends a tile of rows to the kernel for any activations, wherever it is.
func TestLowestAVX2(t *testing.T) {
	if !cpu.HasAVX2FMA {
		t.Skip("needs AVX2; TestRequiredISA says whether it may be missing")
	}
	const rows, k = 3, 72 // 72: two blocks and a cut one
	var p Panels
	p.pack(make([]int8, k), k, 1, inChains)
	require.True(t, p.chain4)
	for at := range rows * k {
		a := slices.Repeat([]int8{-127}, rows*k)
		s := tile{rows: rows}
		s.load(a, k, k, &p)
		require.True(t, s.chained)
		a[at] = -128
		s.load(a, k, k, &p)
		require.False(t, s.chained, "at %d", at)
	}
}

// The layouts in assembly against those in Go, with the sums that biased activations need.
func TestPackQuads(t *testing.T) {
	if !cpu.HasAVX2FMA {
		t.Skip("needs AVX2; TestRequiredISA says whether it may be missing")
	}
	defer func() { cpu.HasAVX2FMA = true }()
	for _, layout := range []arrangement{inChains, inQuads, inQuads32} {
		for _, n := range []int{1, 7, 8, 9, 15, 16, 17, 31, 40, 64} {
			for _, k := range []int{1, 3, 4, 31, 32, 33, 36, 63, 64, 100} {
				w := make([]int8, n*k)
				for i := range w {
					w[i] = int8(i*89%255 - 127)
				}
				var fast, plain Panels
				cpu.HasAVX2FMA = true
				fast.pack(w, k, n, layout)
				cpu.HasAVX2FMA = false
				plain.pack(w, k, n, layout)
				require.Equal(t, plain, fast, "layout %d, %d x %d", layout, n, k)
				start := plain.start[n-1]
				plain.start[n-1]++
				require.NotEqual(t, plain, fast)
				if layout != inChains {
					require.Equal(t, -128*sum(w[(n-1)*k:]), start)
				}
			}
		}
	}
}

// The chain rule in assembly against the one in Go, with one chain at the limit and beyond in each place.
func TestBrokenBlocks(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		for at := range 96 {
			q := slices.Repeat([]int8{31}, 96) // 124 a chain
			set := func(sum int8) {
				for i := 0; i < 4; i++ {
					q[at/32*32+at%8+8*i] = 64
				}
				q[at] = sum
			}
			set(63)
			require.False(t, brokenBlocks(q), "255 at %d", at)
			set(-64)
			require.True(t, brokenBlocks(q), "256 at %d", at)
			require.True(t, brokenBlocksGeneric(q))
			set(-63)
			require.False(t, brokenBlocksGeneric(q))
		}
		q := slices.Repeat([]int8{127}, 32)
		require.True(t, brokenBlocks(q))
		require.False(t, brokenBlocks(nil))
	})
}
