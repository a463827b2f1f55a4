package vit

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/arena"
	"edgejepa/kernels/kerneltest"
)

// mixed is a DropPath that, in the last of depth blocks, leaves out both branches of one of n sequences, one of another and
// none of a third.
func mixed(t *testing.T, depth, n int) DropPath {
	for step := range 1000 {
		p := DropPath{Rate: 0.5, Seed: 3, Step: step}
		both, one, none := false, false, false
		for q := range n {
			a, m := p.scale(depth-1, depth, q, attentionBranch) == 0, p.scale(depth-1, depth, q, mlpBranch) == 0
			both, one, none = both || a && m, one || a != m, none || !a && !m
		}
		if both && one && none {
			return p
		}
	}
	t.Fatal("no such step")
	return DropPath{}
}

// Every parameter's gradient is that of the network without what was left out.
func TestDropPathGradients(t *testing.T) {
	m := newModel(t, 2)
	m.drop = mixed(t, m.e.Config.Depth, 3)
	m.backward()
	grads, off := append([]float32(nil), m.e.Params.Grad...), 0
	check := func() (worst float64) {
		off = 0
		for _, p := range m.e.Params.List {
			worst = max(worst, kerneltest.Gradient(p.Value, grads[off:off+p.Len()], m.loss))
			off += p.Len()
		}
		return worst
	}
	require.Less(t, check(), 1e-3)
	m.drop = DropPath{}
	require.Greater(t, check(), 0.1, "the whole network's are others")
}

// A sequence that goes past both branches of the last block of two has the tokens of a network of one block, and its
// gradient touches nothing of the other. A rate of 0 is no DropPath, nor is any in a single block.
func TestDropPathLeavesOut(t *testing.T) {
	m := newModel(t, 1)
	require.Equal(t, 2, m.e.Config.Depth)
	whole := append([]float32(nil), m.p.Forward(m.px, 3, m.keep, m.off)...)
	m.p.SetDropPath(DropPath{Seed: 3})
	require.Equal(t, whole, m.p.Forward(m.px, 3, m.keep, m.off))
	m.drop = mixed(t, 2, 3)
	cfg := m.e.Config
	cfg.Depth = 1
	short := arena.Build(func(a *arena.Arena) *Encoder { return PlaceEncoder(a, cfg, false) })
	for _, p := range short.Params.List {
		for _, q := range m.e.Params.List {
			if p.Name == q.Name {
				copy(p.Value, q.Value)
			}
		}
	}
	short.Pack()
	pass := short.NewPass(m.p.pool, 3)
	one := append([]float32(nil), pass.Forward(m.px, 3, m.keep, m.off)...)
	pass.SetDropPath(DropPath{Rate: 0.9, Seed: 3})
	require.Equal(t, one, pass.Forward(m.px, 3, m.keep, m.off), "the first block stays whole")

	m.loss()
	d, seen := cfg.Dim, 0
	for q := range 3 {
		got, past := m.p.Tokens()[int(m.off[q])*d:int(m.off[q+1])*d], one[int(m.off[q])*d:int(m.off[q+1])*d]
		if m.drop.scale(1, 2, q, attentionBranch) == 0 && m.drop.scale(1, 2, q, mlpBranch) == 0 {
			seen++
			require.Equal(t, past, got)
			clear(m.e.Params.Grad)
			clear(m.p.DTokens())
			fill(m.p.DTokens()[int(m.off[q])*d:int(m.off[q+1])*d], 1, 4)
			m.p.SetNoise(noiseKey, 0)
			m.p.Backward()
			for _, l := range m.e.trunk.Blocks[1].linears() {
				require.Equal(t, make([]float32, l.W.Len()), l.W.Grad)
			}
			require.NotEqual(t, make([]float32, m.e.patch.W.Len()), m.e.patch.W.Grad)
			m.loss()
		} else {
			require.NotEqual(t, past, got)
		}
	}
	require.Positive(t, seen)
}

// Recomputation, segments, packing, micro-batches and workers change no bit, in any precision.
func TestDropPathInLeanTraining(t *testing.T) {
	for _, precision := range []Precision{F32, F16, I8} {
		m := newWideModel(t, precision, 1)
		m.backward()
		without := append([]float32(nil), m.e.Params.Grad...)
		m.drop = mixed(t, 2, 5)
		m.backward()
		grads, tokens := m.e.Params.Grad, append([]float32(nil), m.p.Tokens()...)
		require.NotEqual(t, without, grads)
		for i, r := range []struct {
			recompute, segment int
			groups             []int
		}{{0, 0, []int{5}}, {2, 1, []int{4, 1}}, {1, 40, []int{2, 2, 1}}, {2, 0, []int{2, 3}}, {0, 90, []int{5}}} {
			size := m.size
			size.Recompute, size.Segment = r.recompute, r.segment
			g, x := trainingRun(t, m, size, packing(i%3), []int{1, 2, 3, 7}[i%4], r.groups...)
			name := fmt.Sprintf("%s %+v", precision, r)
			require.Equal(t, tokens, x, name)
			require.Equal(t, grads, g, name)
		}
		infer := arena.Build(func(a *arena.Arena) *Pass { return m.e.PlacePass(a, m.p.pool, 5, m.size.Rows, Infer) })
		infer.SetDropPath(m.drop)
		require.Equal(t, tokens, infer.Forward(m.px, 5, m.keep, m.off), "%s: looking ahead", precision)
		require.Zero(t, testing.AllocsPerRun(3, m.backward), precision)
	}
}

// Branches are left out as often as the ramp says, each for itself, whatever the batch is cut into, and the mean scale is 1.
func TestDropPathChances(t *testing.T) {
	const depth, n, rate = 5, 20000, 0.4
	p := DropPath{Rate: rate, Seed: 9, Step: 7}
	for i := range depth {
		chance := rate * float64(i) / (depth - 1)
		require.InDelta(t, chance, p.chance(i, depth), 1e-15)
		var out [2]float64
		both, mean := 0.0, 0.0
		for q := range n {
			a, m := p.scale(i, depth, q, attentionBranch), p.scale(i, depth, q, mlpBranch)
			part := p
			part.First = q - q%7
			require.Equal(t, a, part.scale(i, depth, q%7, attentionBranch))
			mean += (float64(a) + float64(m)) / (2 * n)
			if a == 0 {
				out[0] += 1. / n
			}
			if m == 0 {
				out[1] += 1. / n
			}
			if a == 0 && m == 0 {
				both += 1. / n
			}
		}
		limit := func(p float64) float64 { return 5*math.Sqrt(p*(1-p)/n) + 1e-9 } // of a frequency, five deviations
		require.InDelta(t, chance, out[0], limit(chance))
		require.InDelta(t, chance, out[1], limit(chance))
		require.InDelta(t, chance*chance, both, limit(chance*chance))
		require.InDelta(t, 1, mean, limit(chance)/(1-chance))
	}
	require.Zero(t, p.chance(0, 1))
	same := 0
	other := p
	for q := range 1000 {
		other.Step = p.Step + 1
		if p.scale(4, depth, q, mlpBranch) == other.scale(4, depth, q, mlpBranch) {
			same++
		}
	}
	require.InDelta(t, 1000*(0.4*0.4+0.6*0.6), same, 5*16, "another step, another choice")
}
