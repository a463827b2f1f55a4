package fixed

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/kernels/kerneltest"
)

func TestGELU64(t *testing.T) {
	for x := -45.0; x < 45; x += 0.0137 {
		require.InDelta(t, geluExact(x), gelu64(x), 1e-15*max(1, math.Abs(x)), "%g", x)
	}
	require.Zero(t, gelu64(0))
}

func TestLookupI8(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(2, 5))
		var table [256]int8
		for i := range table {
			table[i] = int8(r.Uint32())
		}
		all := make([]int8, 256)
		for i := range all {
			all[i] = int8(i)
		}
		src := slices.Concat(all, all[3:], all[:200])
		for _, n := range append(slices.Clone(intCols), 0, 256, len(src)) {
			dst := slices.Repeat([]int8{99}, n+1)
			Lookup(dst[:n], src[:n], &table)
			for i, v := range src[:n] {
				require.Equal(t, table[uint8(v)], dst[i], "%d of %d", i, n)
			}
			require.EqualValues(t, 99, dst[n])
			inPlace := slices.Clone(src[:n])
			Lookup(inPlace, inPlace, &table)
			require.Equal(t, dst[:n], inPlace)
		}
	})
}

func TestGELUTable(t *testing.T) {
	for _, s := range [][2]float64{{0.03, 0.02}, {0.1, 0.1}, {1e-3, 1e-3}, {0.05, 1e-4}} {
		table := GELUTable(s[0], s[1])
		for q := -128; q < 128; q++ {
			want := max(min(geluExact(float64(q)*s[0])/s[1], 127), -127)
			require.InDelta(t, want, float64(table[uint8(int8(q))]), 0.5+1e-9)
		}
		require.Zero(t, table[0])
	}
}
