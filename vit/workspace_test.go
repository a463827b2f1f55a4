package vit

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/arena"
	"edgejepa/internal/parallel"
	"edgejepa/internal/rng"
)

// packing says how a trunk keeps its weights packed.
type packing int

const (
	packed packing = iota
	byBlock
	byStrip
)

// trainingRun is the gradient and the tokens of m's batch, done in the given groups of pictures by a pass of the given
// size. Between forward and backward pass all that they share is overwritten.
func trainingRun(t *testing.T, m *model, size Size, pack packing, workers int, groups ...int) (grads, tokens []float32) {
	pool := parallel.New(workers)
	defer pool.Close()
	type built struct {
		e         *Encoder
		p         *Pass
		meanwhile []float32
	}
	b := arena.Build(func(a *arena.Arena) (b built) {
		b.e = placeEncoder(a, m.e.Config, true, pack != packed)
		b.e.SetPrecision(m.e.trunk.precision)
		if pack == byStrip {
			b.e.Trunk().PackStrips()
		}
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
		drop := m.drop
		drop.First += first
		b.p.SetDropPath(drop)
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
	grads, tokens := trainingRun(t, m, whole, packed, 1, 3)
	m.backward()
	require.Equal(t, m.e.Params.Grad, grads)
	for _, pack := range []packing{packed, byBlock, byStrip} {
		for recompute := range m.e.Config.Depth + 1 {
			for _, segment := range []int{0, 1, 5} {
				for i, groups := range [][]int{{3}, {3}, {2, 1}, {1, 1, 1}} {
					size := whole
					size.Recompute, size.Segment, size.Once = recompute, segment, i == 0
					g, x := trainingRun(t, m, size, pack, 1+recompute%3, groups...)
					name := fmt.Sprintf("%+v, packing %v, groups %v", size, pack, groups)
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

// Whatever the lengths of sequences, chunks and segments cover the rows, stay within what was laid out for them, and are
// as many for each worker where that is possible.
func TestChunksAndSegmentsStayWithinBounds(t *testing.T) {
	const most, seqs = 150, 40
	for _, workers := range []int{1, 2, 3} {
		pool := parallel.New(workers)
		defer pool.Close()
		for _, segment := range []int{1, 64, 512} {
			ps := &Params{}
			trunk := NewTrunk(ps, "blocks", "norm", 32, 1, 2, 64, 1e-6)
			size := Size{Seqs: seqs, Rows: seqs * most, Tokens: most, Segment: segment}
			ws := arena.Build(func(a *arena.Arena) *Workspace { return NewWorkspace(a, trunk, pool, size, Train) })
			chunk := ws.largestChunk()
			for draw := range 200 {
				s := rng.New(1, rng.PurposeProbe, uint64(draw), 0)
				shortest := 1 + s.IntN(most)
				off := []int32{0}
				for range 1 + s.IntN(seqs) {
					off = append(off, off[len(off)-1]+int32(shortest+s.IntN(most-shortest+1)))
				}
				ws.SetSequences(off)
				row, next := 0, 0
				for _, c := range ws.chunks {
					require.Equal(t, row, c.row0)
					row = c.row1
					require.LessOrEqual(t, c.row1-c.row0, chunk)
				}
				require.EqualValues(t, off[len(off)-1], row)
				row = 0
				for _, g := range ws.segs {
					require.Equal(t, []int{row, next}, []int{g.row0, g.chunk0})
					row, next = g.row1, g.chunk1
					require.LessOrEqual(t, g.row1-g.row0, ws.largestSegment(chunk))
				}
				require.Equal(t, []int{ws.Rows(), len(ws.chunks)}, []int{row, next})
			}
		}
		ws := &Workspace{pool: pool, trunk: &Trunk{Dim: 32}, max: Size{Rows: 1200, Tokens: 100, Segment: 360}}
		for i := range 12 {
			ws.chunks = append(ws.chunks, chunk{i, i + 1, 100 * i, 100 * (i + 1)})
		}
		ws.setSegments()
		for _, g := range ws.segs {
			require.Zero(t, (g.chunk1-g.chunk0)%workers, "%d workers: %v", workers, ws.segs)
		}
	}
}

// Gradients over activations take little memory of their own: at most one block's.
func TestGradientsOverActivationsTakeLess(t *testing.T) {
	pre, err := PresetNamed("nano")
	require.NoError(t, err)
	pool := parallel.New(1)
	defer pool.Close()
	measure := func(once bool) int64 {
		size := Size{Seqs: 64, Rows: 64 * 32, Tokens: 32, Once: once}
		return arena.Measure(func(a *arena.Arena) *Pass {
			return placeEncoder(a, pre.Config(0, 0), !once, true).PlaceTraining(a, pool, size, func() {})
		})
	}
	all := 4 * CountParams(pre.Config(0, 0))
	require.GreaterOrEqual(t, measure(false)-measure(true), all*5/6)
}
