package jepa

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/fp"
	"edgejepa/internal/safetensors"
	"edgejepa/vit"
)

// halfPrecisions are those whose state is in halves.
var halfPrecisions = []vit.Precision{vit.F16, vit.I8}

func precise(c Config, p vit.Precision) Config {
	c.Precision = p
	return c
}

// targetWeights are the target encoder's, in whatever way they are kept.
func targetWeights(tr *Trainer) []float32 {
	if tr.halfTarget == nil {
		return slices.Clone(tr.Target.Params.Value)
	}
	w := make([]float32, len(tr.halfTarget))
	fp.DecodeHalf(w, tr.halfTarget)
	return w
}

func difference(a, b []float32) []float32 {
	d := slices.Clone(a)
	for i := range d {
		d[i] -= b[i]
	}
	return d
}

func norm(x []float32) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum)
}

// Over as many steps as it takes the target to follow at the last momentum of a schedule by a hundredth, weights and target
// in halves stay near those of float32: much nearer than both have moved. That a momentum of 0.9999 loses nothing to
// rounding shows in the part of the target's way that both share.
func TestHalvesFollowFloat32(t *testing.T) {
	c := microConfig()
	c.Encoder.ImageSize, c.Batch = 16, 2
	c.Masks = DefaultMasks(4, 4)
	c.EMA = [2]float64{0.9999, 0.9999}
	steps := 100
	if testing.Short() {
		steps = 20
	}
	c.SetSteps(steps)
	px := pictures(c, 1)
	run := func(p vit.Precision) (*Trainer, []float32, float64) {
		tr := newTrainer(t, precise(c, p), 2)
		start, loss := targetWeights(tr), 0.0
		for range steps {
			loss = tr.Step(px).Loss
		}
		return tr, difference(targetWeights(tr), start), loss
	}
	want, wantWay, wantLoss := run(vit.F32)
	got, gotWay, gotLoss := run(vit.F16)
	init := newTrainer(t, c, 1).Context.Params.Value
	moved := norm(difference(want.Context.Params.Value, init))
	apart := norm(difference(got.Context.Params.Value, want.Context.Params.Value))
	var along, length float64
	for i := range wantWay {
		along += float64(wantWay[i]) * float64(gotWay[i])
		length += float64(wantWay[i]) * float64(wantWay[i])
	}
	t.Logf("weights: %.4f apart of %.4f moved; target: %.4f of its way; loss %.6f, in float32 %.6f", apart, moved, along/length, gotLoss, wantLoss)
	require.NotZero(t, apart, "halves are in use")
	require.Less(t, apart, 0.05*moved)
	require.InDelta(t, 1, along/length, 0.03)
	require.InEpsilon(t, wantLoss, gotLoss, 0.005)
}

func TestHalfStateAllocatesNothing(t *testing.T) {
	for _, p := range halfPrecisions {
		tr := newTrainer(t, precise(microConfig(), p), 2)
		px := pictures(tr.Config, 1)
		for range 8 { // the lists of masks grow to their size
			tr.Step(px)
		}
		require.Zero(t, testing.AllocsPerRun(4, func() { tr.Step(px) }), p)
	}
}

// A gradient that is not finite, or whose square is not beside the moments' scale, leaves all state as it is.
func TestHalvesOverflowIsPassedOver(t *testing.T) {
	for _, p := range halfPrecisions {
		c := precise(microConfig(), p)
		c.Clip = 0
		tr := newTrainer(t, c, 2)
		px := pictures(c, 1)
		var masks Masks
		NewSampler(c.Masks).Sample(&masks, 3, 1, c.Batch)
		r := rates{1e-3, 0.05, 0.9}
		require.False(t, tr.stepWith(px, &masks, r, nil).Skipped)
		was, target := slices.Clone(tr.Context.Params.Value), slices.Clone(tr.halfTarget)
		m, s := slices.Clone(tr.moments[0].halfM), slices.Clone(tr.moments[0].halfS)
		for i, g := range []float32{1e16, float32(math.Inf(1)), float32(math.NaN())} {
			st := tr.stepWith(px, &masks, r, func(at stage) {
				if at == stageGradients {
					tr.Context.Params.Grad[5] = g
				}
			})
			require.True(t, st.Skipped, "%v: gradient %g", p, g)
			require.Equal(t, i+1, tr.Skipped())
			require.Equal(t, was, tr.Context.Params.Value)
			require.Equal(t, target, tr.halfTarget)
			require.Equal(t, m, tr.moments[0].halfM)
			require.Equal(t, s, tr.moments[0].halfS)
		}
		// Just below that bound the moments are at their largest and still finite, and training goes on.
		st := tr.stepWith(px, &masks, r, func(at stage) {
			if at == stageGradients {
				tr.Context.Params.Grad[5] = 1e15
			}
		})
		require.False(t, st.Skipped)
		require.NotEqual(t, was, tr.Context.Params.Value)
		for _, x := range [][]uint16{tr.moments[0].halfM, tr.moments[0].halfS, tr.halfTarget} {
			require.Equal(t, -1, slices.IndexFunc(x, func(h uint16) bool { return h&0x7c00 == 0x7c00 }))
		}
		require.False(t, tr.stepWith(px, &masks, r, nil).Skipped)
	}
}

// The picture that makes a step fail in float32 does so in halves: what overflows in an activation reaches the gradient.
func TestHalvesNonFinitePicture(t *testing.T) {
	for _, p := range halfPrecisions {
		tr := newTrainer(t, precise(microConfig(), p), 1)
		px := pictures(tr.Config, 1)
		px[17] /= px[17] - px[17]
		require.True(t, tr.Step(px).Skipped, p)
		require.False(t, tr.Step(pictures(tr.Config, 2)).Skipped, p)
	}
}

func TestHalfCheckpoint(t *testing.T) {
	c := precise(microConfig(), vit.F16)
	tr := newTrainer(t, c, 1)
	tr.Step(pictures(c, 1))
	b := checkpointBytes(t, tr)
	f, err := safetensors.Parse(b)
	require.NoError(t, err)
	for name, want := range map[string]safetensors.DType{
		"encoder.blocks.0.mlp.fc1.weight": safetensors.TypeF32, "target_encoder.blocks.0.mlp.fc1.weight": safetensors.TypeF16,
		"predictor.predictor_embed.weight": safetensors.TypeF32, "training.m.encoder": safetensors.TypeF16,
		"training.v.encoder": safetensors.TypeF16, "training.v.predictor": safetensors.TypeF16, monitorTensor: safetensors.TypeF32,
	} {
		x, ok := f.Get(name)
		require.True(t, ok, name)
		require.Equal(t, want, x.DType, name)
	}
	require.Less(t, float64(len(b)), 0.7*float64(len(checkpointBytes(t, newTrainer(t, microConfig(), 1)))))

	e, err := vit.LoadEncoder(f, vit.TargetPrefix)
	require.NoError(t, err)
	require.Equal(t, targetWeights(tr), e.Params.Value)

	other := newTrainer(t, microConfig(), 1)
	require.ErrorContains(t, other.Restore(f), `precision was "f16", now "f32"`)
	f, err = safetensors.Parse(checkpointBytes(t, other))
	require.NoError(t, err)
	require.ErrorContains(t, tr.Restore(f), `precision was "f32", now "f16"`)
}

func TestInitFromInHalves(t *testing.T) {
	c := precise(microConfig(), vit.F16)
	tr := newTrainer(t, c, 1)
	e, err := vit.NewEncoder(c.Encoder)
	require.NoError(t, err)
	e.Params.Init(9)
	require.NoError(t, tr.InitFrom(e))
	require.Equal(t, e.Params.Value, tr.Context.Params.Value)
	for i, w := range targetWeights(tr) {
		require.InDelta(t, e.Params.Value[i], w, math.Abs(float64(e.Params.Value[i]))/2048+0x1p-25, "half the distance of two halves")
	}
}

// A configuration from before there was a choice is one of f32, and one of f32 is written as it was then.
func TestPrecisionInJSON(t *testing.T) {
	c := microConfig()
	require.NotContains(t, c.JSON(), "precision")
	got, err := ParseConfig(c.JSON())
	require.NoError(t, err)
	require.Equal(t, c, got)
	for _, p := range halfPrecisions {
		c := precise(c, p)
		require.Contains(t, c.JSON(), `"precision":"`+p.String()+`"`)
		got, err = ParseConfig(c.JSON())
		require.NoError(t, err)
		require.Equal(t, c, got)
	}
	_, err = ParseConfig(`{"precision":"f64"}`)
	require.ErrorContains(t, err, `no precision "f64"`)
	require.ErrorContains(t, precise(c, 7).Validate(), "precision")
}

// Every purpose in every step has random bits of its own.
func TestNoiseKeys(t *testing.T) {
	tr := newTrainer(t, microConfig(), 1)
	seen := map[uint32]bool{}
	const steps = 50
	for tr.step = range steps {
		for p := noiseUpdate; p <= noisePredictor; p++ {
			seen[tr.noiseKey(p)] = true
		}
	}
	require.Len(t, seen, steps*int(noisePredictor+1))
}
