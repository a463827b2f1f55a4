package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/kernels/internal/armcount/emulator"
)

// What grows with batch and depth as extrapolate says is met exactly.
func TestExtrapolate(t *testing.T) {
	runs := func(w work) float64 {
		start := 7 + 11*float64(w.Depth)
		step := 3 + 5*float64(w.Batch) + float64(w.Depth)*(13+17*float64(w.Batch))
		return start + step*float64(w.Times)
	}
	sum := func(w work, batches, depths [2]int) (n float64) {
		for _, t := range extrapolate(w, batches, depths) {
			n += t.weight * runs(t.work)
		}
		return n
	}
	w := work{Train: true, Preset: "nano", Size: 32, Patch: 4, Batch: 64}.whole()
	require.InDelta(t, 3+5*64+6*(13+17*64), sum(w, [2]int{4, 8}, [2]int{2, 4}), 1e-6)
	for _, x := range extrapolate(w, [2]int{4, 8}, [2]int{2, 4}) {
		require.Equal(t, x.work.Depth/2, x.work.Predictor)
	}
	w = work{Preset: "tiny", Size: 96, Patch: 8}.whole()
	require.InDelta(t, 3+12*13, sum(w, [2]int{}, [2]int{1, 3}), 1e-6, "an embedding has no batch")
}

func TestTypicalSeed(t *testing.T) {
	w := work{Train: true, Preset: "nano", Size: 32, Patch: 4, Batch: 4, Depth: 2, Predictor: 1}
	require.Equal(t, w.typicalSeed(64), w.typicalSeed(64))
	require.NotEqual(t, w.typicalSeed(64), w.typicalSeed(4), "contexts of a large batch are shorter")
}

func TestRegions(t *testing.T) {
	body := parse(listing, kernelName)["tileX"]
	n := counts{}
	n.add([]emulator.Block{{Address: 0x26000, Instructions: 2, Runs: 10}, {Address: 0x26008, Instructions: 5, Runs: 40},
		{Address: 0x2601c, Instructions: 2, Runs: 30}, {Address: 0x26024, Instructions: 1, Runs: 3},
		{Address: 0x26028, Instructions: 1, Runs: 30}, {Address: 0x2602c, Instructions: 1, Runs: 9}, {Address: 0x26030, Instructions: 1, Runs: 1}}, 1)
	require.EqualValues(t, 20+200+60+3+30+9+1, n.total())
	found := regions("tileX", body, n)
	type short struct{ lines, turns int }
	var got []short
	for _, r := range found {
		got = append(got, short{len(r.lines), int(r.turns)})
	}
	require.Equal(t, []short{{5, 40}, {3, 30}, {2, 10}, {1, 9}, {1, 1}}, got, "the rare sdot is not on the way of the second loop")
}

func TestIssueLimit(t *testing.T) {
	lines := func(texts ...string) (l []line) {
		for _, x := range texts {
			l = append(l, line{text: x})
		}
		return l
	}
	require.EqualValues(t, 2, issueLimit(lines("fmla v8.4s, v1.4s, v0.s[0]", "ldr d1, [x1]", "fmla v9.4s, v1.4s, v0.s[1]", "mov v1.d[1], x4")))
	require.EqualValues(t, 2.5, issueLimit(lines("sadalp v8.4s, v1.8h", "ldr d1, [x1]", "ldr x4, [x1, #8]", "subs x3, x3, #1", "b.ne 0x10 <x>")))
}

func TestSpeedup(t *testing.T) {
	require.InDelta(t, 1, speedup(1), 1e-9)
	require.InDelta(t, 3.48, speedup(0.25), 0.01)
	require.InDelta(t, 52.0/196, largestShare(196), 1e-9)
	require.InDelta(t, 16.0/64, largestShare(64), 1e-9)
	require.InDelta(t, 0.8, largestShare(5), 1e-9)
	require.EqualValues(t, 3, packing([]cost{{function: "edgejepa/kernels/i8.packChannel", cycles: 1}, {function: "edgejepa/kernels/i8.tileNEON", cycles: 8}, {function: "edgejepa/kernels/i8.chainsFit", cycles: 2}}))
}

func TestBoards(t *testing.T) {
	for _, b := range boards {
		require.NotEmpty(t, mcpu(b.core))
		require.Contains(t, emulated, b.core)
	}
}
