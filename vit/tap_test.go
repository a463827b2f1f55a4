package vit

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/arena"
	"edgejepa/kernels"
	"edgejepa/kernels/kerneltest"
)

// The gradient of a loss of the tokens and of what lies before and behind the first block is that of finite differences.
func TestGradientsBetweenBlocks(t *testing.T) {
	m := newModel(t, 2)
	n := len(m.c)
	inner := [2][]float32{make([]float32, n), make([]float32, n)}
	weights := [2][]float32{make([]float32, n), make([]float32, n)}
	fill(weights[0], 1, 21)
	fill(weights[1], 1, 22)
	loss := func() float64 {
		sum := m.loss()
		for i := range inner {
			m.p.ws.Input(inner[i], i)
			sum += dot(inner[i], weights[i])
		}
		return sum
	}
	clear(m.e.Params.Grad)
	loss()
	copy(m.p.DTokens(), m.c)
	for i := range weights {
		m.p.ws.AddInputGrad(i, weights[i])
	}
	m.p.Backward()
	grads := slices.Clone(m.e.Params.Grad)
	off := 0
	for _, p := range m.e.Params.List {
		g := grads[off : off+p.Len()]
		off += p.Len()
		require.Less(t, kerneltest.Gradient(p.Value, g, loss), 1e-3, p.Name)
	}
	first := m.e.Params.List[0]
	require.Greater(t, kerneltest.Gradient(first.Value, grads[:first.Len()], m.loss), 0.1, "the tokens' loss alone is another")
	m.backward()
	require.NotEqual(t, grads, m.e.Params.Grad, "given gradients are for one pass")
}

// What heads read of several depths has the gradient of finite differences, down to the pictures' patches.
func TestTaps(t *testing.T) {
	m := newModel(t, 2)
	taps := arena.Build(func(a *arena.Arena) *Taps { return m.p.PlaceTaps(a, []int{0, 1}) })
	n := 3 * len(m.c)
	x, w := make([]float32, n), make([]float32, n)
	fill(w, 1, 23)
	loss := func() float64 {
		m.loss()
		taps.Features(x)
		return dot(x, w)
	}
	clear(m.e.Params.Grad)
	loss()
	taps.SetGrad(w)
	m.p.Backward()
	grads := slices.Clone(m.e.Params.Grad)
	off := 0
	for _, p := range m.e.Params.List {
		g := grads[off : off+p.Len()]
		off += p.Len()
		require.Less(t, kerneltest.Gradient(p.Value, g, loss), 1e-3, p.Name)
	}
	clear(m.e.Params.Grad)
	loss()
	kernels.Scale(w, -1)
	taps.SetGrad(w)
	kernels.Scale(w, -1)
	copy(m.p.DTokens(), m.c)
	m.p.Backward()
	last := m.e.Params.List[len(m.e.Params.List)-1]
	require.Greater(t, kerneltest.Gradient(last.Value, last.Grad, loss), 0.1, "a wrong gradient is noticed")
}

// Of an encoder whose first blocks stand still the others have the gradients that they have in the whole.
func TestFreeze(t *testing.T) {
	m := newModel(t, 2)
	m.backward()
	want := slices.Clone(m.e.Params.Grad)
	m.p.Freeze(1)
	m.backward()
	at, frozen := 0, 0
	for _, p := range m.e.Params.List {
		if strings.HasPrefix(p.Name, "blocks.1.") || strings.HasPrefix(p.Name, "norm.") {
			require.Equal(t, want[at:at+p.Len()], p.Grad, p.Name)
		} else {
			require.Equal(t, make([]float32, p.Len()), p.Grad, p.Name)
			frozen++
		}
		at += p.Len()
	}
	require.Equal(t, 14, frozen, "of the patch embedding and a block")
}
