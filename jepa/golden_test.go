package jepa

import (
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/parallel"
	"edgejepa/internal/safetensors"
	"edgejepa/kernels"
	"edgejepa/vit"
)

// goldens are reference tensors from PyTorch; testdata/README.md says how they came about. The larger file is not
// kept here: EDGEJEPA_GOLDEN names its folder.
func goldenFile(t *testing.T, name string) *safetensors.File {
	path := "../testdata/golden/" + name
	if _, err := os.Stat(path); err != nil {
		path = os.Getenv("EDGEJEPA_GOLDEN") + "/" + name
	}
	f, err := safetensors.Open(path)
	require.NoError(t, err)
	return f
}

type golden struct {
	t *testing.T
	f *safetensors.File
}

func (g golden) f32(name string) []float32 {
	x, ok := g.f.Get(name)
	require.True(g.t, ok, name)
	v, err := x.Float32Data()
	require.NoError(g.t, err)
	return v
}

func (g golden) i32(name string) ([]int32, []int) {
	x, ok := g.f.Get(name)
	require.True(g.t, ok, name)
	v, err := x.Int32Data()
	require.NoError(g.t, err)
	return v, x.Shape
}

// near asks |got - want| <= tol |want| in the Euclidean norm.
func near(t *testing.T, tol float64, got, want []float32, name string) {
	t.Helper()
	require.Len(t, got, len(want), name)
	require.LessOrEqual(t, distance(got, want), tol, name)
}

func distance(got, want []float32) float64 {
	var diff, size float64
	for i := range want {
		d := float64(got[i]) - float64(want[i])
		diff += d * d
		size += float64(want[i]) * float64(want[i])
	}
	if size == 0 {
		return math.Sqrt(diff)
	}
	return math.Sqrt(diff / size)
}

func TestDistanceSeesErrors(t *testing.T) {
	want := []float32{1, -2, 3, 0.5}
	require.Zero(t, distance(want, want))
	require.Greater(t, distance([]float32{1, -2, 3, -0.5}, want), 0.1)
	require.Greater(t, distance([]float32{1, -2, 3.001, 0.5}, want), 1e-4)
	require.True(t, !(distance([]float32{float32(math.NaN()), -2, 3, 0.5}, want) <= 1))
}

// goldenMasks takes the masks of one step from the file: targets [B, M, K].
func (g golden) masks(step int) *Masks {
	ctx, cs := g.i32(fmt.Sprintf("step%d.context", step))
	tgt, ts := g.i32(fmt.Sprintf("step%d.targets", step))
	m := &Masks{Context: ctx, Targets: tgt, TargetLen: ts[2], ContextOff: []int32{0}}
	for b := range cs[0] {
		m.ContextOff = append(m.ContextOff, int32((b+1)*cs[1]))
	}
	return m
}

func TestGoldenMicro(t *testing.T) { testGolden(t, "micro", "ijepa_micro_24_4.safetensors", 24, 4) }

func TestGoldenNano(t *testing.T) {
	if os.Getenv("EDGEJEPA_GOLDEN") == "" {
		t.Skip("26 MB of reference tensors are not kept in the repository: EDGEJEPA_GOLDEN names their folder")
	}
	testGolden(t, "nano", "ijepa_nano_32_4.safetensors", 32, 4)
}

// byPicture brings predictions [M, B, K, D], in the official code's order, into ours: [B, M, K, D].
func byPicture(x []float32, batch, targets int) []float32 {
	n := len(x) / (batch * targets)
	y := make([]float32, 0, len(x))
	for b := range batch {
		for m := range targets {
			y = append(y, x[(m*batch+b)*n:][:n]...)
		}
	}
	return y
}

// testGolden checks three steps of training against PyTorch: tokens, predictions and loss to 1e-5 of their norm,
// every gradient to 1e-4 of its norm, and the weights after three AdamW steps with EMA.
func testGolden(t *testing.T, preset, file string, size, patch int) {
	g := golden{t, goldenFile(t, file)}
	p, err := vit.PresetNamed(preset)
	require.NoError(t, err)
	c := Default(p, size, patch)
	c.Batch, c.Clip, c.VarianceWeight = 2, 0, 0
	c.Loss = LossSmoothL1
	c.SetSteps(3)
	pool := parallel.New(2)
	defer pool.Close()
	tr, err := NewTrainer(c, Plan{}, pool)
	require.NoError(t, err)
	o := tr.objective.(*ijepa)
	models := []struct {
		prefix string
		ps     *vit.Params
	}{{"encoder.", &tr.Context.Params}, {"predictor.", &o.predictor.Params}, {"target_encoder.", &tr.Target.Params}}
	for _, m := range models {
		require.NoError(t, m.ps.Assign(g.f, "init."+m.prefix))
	}
	tr.repack.Repack()
	near(t, 1e-6, tr.Context.Positions(), g.f32("pos_embed.encoder"), "encoder positions")
	near(t, 1e-6, o.predictor.pos, g.f32("pos_embed.predictor"), "predictor positions")

	px := g.f32("input.images")
	lr := []float64{1e-3, 8e-4, 5e-4}
	wd := []float64{0.04, 0.1, 0.4}
	ema := []float64{0.996, 0.997, 0.999}
	losses := g.f32("losses")
	for s := range 3 {
		m := g.masks(s)
		st := tr.stepWith(px, m, rates{lr[s], wd[s], ema[s]}, func(at stage) {
			if s > 0 {
				return
			}
			switch at {
			case stageTarget:
				near(t, 1e-5, o.tokens, g.f32("target.tokens"), "target tokens")
			case stageGuess:
				near(t, 1e-5, o.context.Tokens(), g.f32("step0.context_tokens"), "context tokens")
				want := byPicture(g.f32("step0.predictions"), c.Batch, c.Masks.Targets)
				near(t, 1e-5, o.guess[:len(want)], want, "predictions")
				d := make([]float32, len(want))
				mse := kernels.SquaredError(d, o.guess[:len(want)], o.wanted[:len(want)], 1) / float64(len(want))
				require.InEpsilon(t, g.f32("step0.mse_loss")[0], mse, 1e-5)
			case stageGradients:
				for _, m := range models[:2] {
					for _, p := range m.ps.List {
						near(t, 1e-4, p.Grad, g.f32("step0.grad."+m.prefix+p.Name), "gradient of "+m.prefix+p.Name)
					}
				}
			}
		})
		require.InEpsilon(t, losses[s], st.Loss, 1e-5, "loss of step %d", s)
	}
	// Adam's first steps are lr times the sign of a gradient: where a gradient is all but zero its sign is rounding, so
	// single values may differ by 2 lr. The bound is on the norm, and on the share of such values.
	for _, m := range models {
		for _, p := range m.ps.List {
			want, init := g.f32("after3."+m.prefix+p.Name), g.f32("init."+m.prefix+p.Name)
			var moved, off float64
			for i := range want {
				moved += math.Abs(float64(want[i]) - float64(init[i]))
				off += math.Abs(float64(p.Value[i]) - float64(want[i]))
			}
			require.LessOrEqual(t, off, 5e-3*moved+1e-7*float64(len(want)), "after three steps: %s%s", m.prefix, p.Name)
		}
	}
}
