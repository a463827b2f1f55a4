package vit

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/arena"
	"edgejepa/internal/parallel"
	"edgejepa/kernels"
)

// What a pass keeps of the blocks before the last are the layer-normed tokens of shorter networks without their final
// norm, whatever shares the batch and however weights are packed.
func TestInner(t *testing.T) {
	const depth, eps = 4, 1e-5
	pre, err := PresetNamed("micro")
	require.NoError(t, err)
	cfg := pre.Config(16, 4)
	cfg.Depth = depth
	pool := parallel.New(3)
	defer pool.Close()
	place := func(a *arena.Arena, depth int, perBlock bool) *Encoder {
		c := cfg
		c.Depth = depth
		e := placeEncoder(a, c, false, perBlock)
		return e
	}
	setWeights := func(e *Encoder) {
		for i, p := range e.Params.List {
			fill(p.Value, 0.25, uint64(100+i)) // those of a block are the same in every depth; the final norm is set apart
		}
		for i := range e.trunk.Norm.Gain.Value {
			e.trunk.Norm.Gain.Value[i], e.trunk.Norm.Bias.Value[i] = 1, 0
		}
		e.Pack()
	}
	px := make([]float32, 3*cfg.PixelLen())
	fill(px, 1, 1)
	for _, layers := range []int{1, 2, 3} {
		n := 3 * cfg.Tokens() * cfg.Dim
		want := make([]float32, n)
		for d := depth - layers; d < depth; d++ {
			short := arena.Build(func(a *arena.Arena) *Encoder { return place(a, d, false) })
			setWeights(short)
			pass := short.NewPass(pool, 3)
			pass.Forward(px, 3, nil, nil)
			normed := make([]float32, n)
			// The tokens of a norm without gain and bias, normed once more, are all but what they were.
			kernels.LayerNorm(normed, pass.Tokens(), nil, nil, nil, nil, 3*cfg.Tokens(), cfg.Dim, eps)
			kernels.Add(want, normed)
		}
		var first []float32
		for _, perBlock := range []bool{false, true} {
			for _, precision := range []Precision{F32, F16, I8} {
				p := arena.Build(func(a *arena.Arena) *Pass {
					e := place(a, depth, perBlock)
					e.SetPrecision(precision)
					p := e.PlacePass(a, pool, 3, 3*cfg.Tokens(), Infer)
					p.PlaceInner(a, layers, eps)
					return p
				})
				setWeights(p.enc)
				name := fmt.Sprintf("%d layers, %v, %v", layers, perBlock, precision)
				tokens := append([]float32(nil), p.Forward(px, 3, nil, nil)...)
				got := append([]float32(nil), p.Inner()...)
				if precision == F32 {
					if first == nil {
						first = got
					}
					require.Equal(t, first, got, name)
					// A second norm changes little: eps 1e-5 and 1e-6 beside a variance of some tenths.
					require.Less(t, relative(got, want), 2e-4, name)
					plain := p.enc.NewPass(pool, 3)
					require.Equal(t, tokens, plain.Forward(px, 3, nil, nil), "the tokens are what they are without")
				} else {
					require.Less(t, relative(got, want), 0.05, name)
				}
				require.Greater(t, relative(got, tokens), 0.1, name)
				// Alone, a picture has the same; the sum starts anew.
				p.Forward(px[2*cfg.PixelLen():], 1, nil, nil)
				require.Equal(t, got[2*n/3:], p.Inner(), name)
			}
		}
	}
	e := arena.Build(func(a *arena.Arena) *Encoder { return place(a, depth, false) })
	for _, layers := range []int{0, depth} {
		require.Panics(t, func() {
			arena.Build(func(a *arena.Arena) *Pass {
				p := e.PlacePass(a, pool, 1, cfg.Tokens(), Infer)
				p.PlaceInner(a, layers, eps)
				return p
			})
		})
	}
}
