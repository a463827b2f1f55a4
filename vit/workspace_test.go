package vit

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/arena"
	"edgejepa/internal/parallel"
)

// trainingRun is the gradient and the tokens of m's batch, done in the given groups of pictures by a pass of the given
// size. Between forward and backward pass all that they share is overwritten.
func trainingRun(t *testing.T, m *model, size Size, perBlock bool, workers int, groups ...int) (grads, tokens []float32) {
	pool := parallel.New(workers)
	defer pool.Close()
	type built struct {
		e         *Encoder
		p         *Pass
		meanwhile []float32
	}
	b := arena.Build(func(a *arena.Arena) (b built) {
		b.e = placeEncoder(a, m.e.Config, true, perBlock)
		b.e.SetPrecision(m.e.trunk.precision)
		b.p = b.e.PlaceTraining(a, pool, size, func() { b.meanwhile = a.F32(100_000) })
		return b
	})
	copy(b.e.Params.Value, m.e.Params.Value)
	b.e.Pack()
	first := 0
	for _, n := range groups {
		r0, r1 := m.off[first], m.off[first+n]
		var off []int32
		for _, r := range m.off[first : first+n+1] {
			off = append(off, r-r0)
		}
		tokens = append(tokens, b.p.Forward(m.px[first*m.e.Config.PixelLen():], n, m.keep[r0:r1], off)...)
		fill(b.meanwhile, 1e6, 3)
		copy(b.p.DTokens(), m.c[int(r0)*m.e.Config.Dim:int(r1)*m.e.Config.Dim])
		b.p.SetNoise(noiseKey, first)
		b.p.Backward()
		first += n
	}
	require.Equal(t, len(m.off)-1, first)
	return append([]float32(nil), b.e.Params.Grad...), tokens
}

// Recomputation, segments, weights packed block by block and micro-batches change no bit of a gradient.
func TestLeanTrainingChangesNothing(t *testing.T) {
	whole := Size{Seqs: 3, Rows: 16, Tokens: 11}
	m := newModel(t, 1)
	grads, tokens := trainingRun(t, m, whole, false, 1, 3)
	m.backward()
	require.Equal(t, m.e.Params.Grad, grads)
	for _, perBlock := range []bool{false, true} {
		for recompute := range m.e.Config.Depth + 1 {
			for _, segment := range []int{0, 1, 5} {
				for _, groups := range [][]int{{3}, {2, 1}, {1, 1, 1}} {
					size := whole
					size.Recompute, size.Segment = recompute, segment
					g, x := trainingRun(t, m, size, perBlock, 1+recompute%3, groups...)
					name := fmt.Sprintf("%+v, packed by block %v, groups %v", size, perBlock, groups)
					require.Equal(t, tokens, x, name)
					require.Equal(t, grads, g, name)
				}
			}
		}
	}
}

// What is kept, and what is in use at a time, takes less memory.
func TestLeanTrainingTakesLess(t *testing.T) {
	pre, err := PresetNamed("nano")
	require.NoError(t, err)
	pool := parallel.New(1)
	defer pool.Close()
	measure := func(perBlock bool, change func(*Size)) int64 {
		size := Size{Seqs: 64, Rows: 64 * 32, Tokens: 32}
		change(&size)
		return arena.Measure(func(a *arena.Arena) *Pass {
			return placeEncoder(a, pre.Config(0, 0), true, perBlock).PlaceTraining(a, pool, size, func() {})
		})
	}
	all := measure(false, func(*Size) {})
	require.Less(t, measure(true, func(*Size) {}), all-3<<20, "packed weights")
	require.Less(t, measure(false, func(s *Size) { s.Segment = 512 }), all-8<<20, "gradients")
	require.Less(t, measure(false, func(s *Size) { s.Recompute, s.Segment = 6, 512 }), all/2, "activations")
}
