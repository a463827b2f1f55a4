package vit

import (
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/arena"
	"edgejepa/internal/parallel"
	"edgejepa/internal/rng"
	"edgejepa/kernels/kerneltest"
)

func fill(x []float32, scale float64, key uint64) {
	s := rng.New(11, rng.PurposeProbe, key, 0)
	for i := range x {
		x[i] = float32(scale * s.Norm())
	}
}

func dot(a, b []float32) float64 {
	s := 0.0
	for i := range a {
		s += float64(a[i]) * float64(b[i])
	}
	return s
}

// model is an encoder with random weights, random pictures, ragged sequences and a random linear loss.
type model struct {
	e    *Encoder
	p    *Pass
	px   []float32
	keep []int32
	off  []int32
	c    []float32
	size Size
	drop DropPath
}

func newModel(t *testing.T, workers int) *model {
	pre, _ := PresetNamed("micro")
	keep := []int32{0, 5, 6, 15, 2, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14}
	return newModelOf(t, workers, pre.Config(16, 4), F32, Size{Seqs: 3, Rows: 30, Tokens: 16}, keep, []int32{0, 4, 5, 16})
}

// newModelOf is a model whose passes fit size, with the given patches.
func newModelOf(t *testing.T, workers int, cfg Config, precision Precision, size Size, keep, off []int32) *model {
	e := arena.Build(func(a *arena.Arena) *Encoder { return PlaceEncoder(a, cfg, true) })
	e.SetPrecision(precision)
	for i, p := range e.Params.List {
		fill(p.Value, 0.25, uint64(100+i))
		if len(p.Shape) == 1 && p.init == ones {
			for j := range p.Value {
				p.Value[j]++
			}
		}
	}
	e.Pack()
	pool := parallel.New(workers)
	t.Cleanup(pool.Close)
	p := arena.Build(func(a *arena.Arena) *Pass { return e.PlaceTraining(a, pool, size, func() {}) })
	m := &model{e: e, p: p, px: make([]float32, size.Seqs*cfg.PixelLen()), keep: keep, off: off, size: size}
	fill(m.px, 1, 1)
	m.c = make([]float32, len(m.keep)*cfg.Dim)
	fill(m.c, 1, 2)
	return m
}

func (m *model) loss() float64 {
	m.e.Pack()
	m.p.SetDropPath(m.drop)
	return dot(m.p.Forward(m.px, len(m.off)-1, m.keep, m.off), m.c)
}

const noiseKey = 7

func (m *model) backward() {
	clear(m.e.Params.Grad)
	m.loss()
	copy(m.p.DTokens(), m.c)
	m.p.SetNoise(noiseKey, 0)
	m.p.Backward()
}

// Every parameter of every layer, since the list is the model's own.
func TestGradients(t *testing.T) {
	m := newModel(t, 2)
	m.backward()
	grads := append([]float32(nil), m.e.Params.Grad...)
	off := 0
	for _, p := range m.e.Params.List {
		g := grads[off : off+p.Len()]
		off += p.Len()
		require.Less(t, kerneltest.Gradient(p.Value, g, m.loss), 1e-3, p.Name)
	}
}

// A check that passes everything would pass this too: a flipped sign, a lost element and a doubled gradient fail.
func TestGradientCheckCatchesErrors(t *testing.T) {
	m := newModel(t, 1)
	m.backward()
	p := m.e.Params.List[4]
	wrong := func(change func(g []float32)) float64 {
		g := append([]float32(nil), p.Grad...)
		change(g)
		return kerneltest.Gradient(p.Value, g, m.loss)
	}
	require.Greater(t, wrong(func(g []float32) {
		for i := range g {
			g[i] = -g[i]
		}
	}), 0.5)
	require.Greater(t, wrong(func(g []float32) {
		for i := range g {
			g[i] *= 1.01
		}
	}), 5e-3)
	require.Greater(t, wrong(func(g []float32) { clear(g[:len(g)/2]) }), 1e-2)
}

// The same bits for any number of workers, forward and backward.
func TestWorkersChangeNothing(t *testing.T) {
	run := func(workers int) ([]float32, []float32) {
		m := newModel(t, workers)
		m.backward()
		return append([]float32(nil), m.p.Forward(m.px, 3, m.keep, m.off)...), m.e.Params.Grad
	}
	tokens, grads := run(1)
	for _, workers := range []int{2, 3, 7} {
		a, b := run(workers)
		require.Equal(t, tokens, a)
		require.Equal(t, grads, b)
	}
}

// Inference and training compute the same tokens, and neither depends on what shares the batch.
func TestInferEqualsTrain(t *testing.T) {
	m := newModel(t, 2)
	want := append([]float32(nil), m.p.Forward(m.px, 3, m.keep, m.off)...)
	infer := m.e.NewPass(m.p.pool, 3)
	require.Equal(t, want, infer.Forward(m.px, 3, m.keep, m.off))
	d, n := m.e.Config.Dim, m.e.Config.PixelLen()
	alone := infer.Forward(m.px[2*n:], 1, m.keep[5:], []int32{0, 11})
	require.Equal(t, want[5*d:], alone)
	all := make([]float32, 3*d)
	infer.Embed(all, m.px, 3)
	one := make([]float32, d)
	infer.Embed(one, m.px[n:], 1)
	require.Equal(t, all[d:2*d], one)
}

func TestPassAllocatesNothing(t *testing.T) {
	m := newModel(t, 2)
	dst := make([]float32, 3*m.e.Config.Dim)
	infer := m.e.NewPass(m.p.pool, 3)
	require.Zero(t, testing.AllocsPerRun(5, func() {
		m.backward()
		infer.Embed(dst, m.px, 3)
	}))
}
