//go:build !purego

package i8

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cpu"
)

// Chains of four are for weights that obey the rule: one step beyond it, on weights that Pack sends to the other tile,
// they are wrong.
func TestChainsNEON(t *testing.T) {
	if !cpu.HasNEON {
		t.Skip("needs NEON; TestRequiredISA says whether it may be missing")
	}
	a := slices.Repeat([]int8{-128}, 64)
	product := func(w []int8, force bool) []int32 {
		var p Panels
		p.pack(w, 64, 1, inRuns)
		require.Equal(t, CheckChains(w, 1, 64) == nil, p.chain4)
		p.chain4 = p.chain4 || force
		acc := []int32{0}
		Gemm(acc, 1, a, 64, 1, &p)
		return acc
	}
	defer func(was bool) { cpu.InOrder = was }(cpu.InOrder)
	for _, sign := range []int8{1, -1} {
		cpu.InOrder = !cpu.InOrder
		w := make([]int8, 64)
		for k := range w {
			w[k] = fullChain(sign)(nil, 0, k)
		}
		require.Equal(t, gemmOracle(a, 64, 1, w, 64, 1), product(w, false))
		w[32+8] = 66 * sign // 257 * 128 = 32896
		require.Equal(t, gemmOracle(a, 64, 1, w, 64, 1), product(w, false))
		require.NotEqual(t, gemmOracle(a, 64, 1, w, 64, 1), product(w, true))
	}
}

// The tile for cores that issue in order, and the other, wherever the test runs.
func TestGemmOtherOrder(t *testing.T) {
	defer func(was bool) { cpu.InOrder = was }(cpu.InOrder)
	cpu.InOrder = !cpu.InOrder
	TestGemm(t)
	TestGemmFenced(t)
}
