package jepa

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/parallel"
	"edgejepa/internal/rng"
	"edgejepa/kernels/kerneltest"
	"edgejepa/vit"
)

// pictures are random normalised pixels, a function of key.
func pictures(c Config, key uint64) []float32 {
	px := make([]float32, c.Batch*c.PictureViews()*c.Encoder.PixelLen())
	s := rng.New(5, rng.PurposeProbe, key, 0)
	for i := range px {
		px[i] = float32(s.Norm())
	}
	return px
}

func microConfig() Config {
	p, _ := vit.PresetNamed("micro")
	c := Default(p, 24, 4)
	c.Batch = 6
	c.SetSteps(40)
	return c
}

func newTrainer(t testing.TB, c Config, threads int) *Trainer {
	pool := parallel.New(threads)
	t.Cleanup(pool.Close)
	tr, err := NewTrainer(c, Plan{}, pool)
	require.NoError(t, err)
	return tr
}

func TestStepSameBitsForAnyThreads(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) {},
		func(c *Config) { c.Predictor = PredictorMLP; c.Loss = LossL2; c.Masks.EqualContext = true },
		func(c *Config) { // wide enough for int8 gradients
			c.Precision, c.Encoder.Dim, c.PredictorDim = vit.I8, 128, 128
		},
	} {
		c := microConfig()
		change(&c)
		var want [][]float32
		all, steps := []int{1, 2, 3, 7}, 4
		if testing.Short() {
			all, steps = []int{1, 3}, 2
		}
		for _, threads := range all {
			tr := newTrainer(t, c, threads)
			for s := range steps {
				tr.Step(pictures(c, uint64(s)))
			}
			got := [][]float32{tr.Context.Params.Value, tr.Target.Params.Value, tr.head.params.Value, tr.moments[0].v}
			if want == nil {
				want = got
			}
			require.Equal(t, want, got, "%d threads", threads)
		}
	}
}

func TestStepAllocatesNothing(t *testing.T) {
	tr := newTrainer(t, microConfig(), 2)
	o := tr.objective.(*ijepa)
	px := pictures(tr.Config, 1)
	for range 8 { // the lists of masks grow to their size
		o.sampler.Sample(&o.drawn, tr.Config.Seed, tr.step, tr.Config.Batch)
		tr.step++
	}
	tr.Step(px)
	require.Zero(t, testing.AllocsPerRun(4, func() { tr.Step(px) }))
}

// On pictures that repeat, predicting gets easier.
func TestLossFalls(t *testing.T) {
	for _, kind := range []string{PredictorViT, PredictorMLP} {
		c := microConfig()
		c.Predictor, c.VarianceWeight = kind, 0
		c.LR = 3e-3
		c.SetSteps(120)
		if testing.Short() {
			c.Batch = 2
			c.SetSteps(60)
		}
		tr := newTrainer(t, c, 2)
		px := pictures(c, 1)
		var first, last float64
		for s := range c.Steps {
			l := tr.Step(px).Loss
			if s < 5 {
				first += l
			} else if s >= c.Steps-5 {
				last += l
			}
		}
		require.Less(t, last, 0.7*first, kind)
	}
}

func TestNonFiniteStepChangesNothing(t *testing.T) {
	tr := newTrainer(t, microConfig(), 1)
	was := append([]float32(nil), tr.Context.Params.Value...)
	px := pictures(tr.Config, 1)
	px[17] /= px[17] - px[17]
	st := tr.Step(px)
	require.True(t, st.Skipped)
	require.Equal(t, 1, tr.Skipped())
	require.Equal(t, was, tr.Context.Params.Value)
	require.False(t, tr.Step(pictures(tr.Config, 2)).Skipped)
}

// BenchmarkStep is the speed of a step by the default plan, beside two limits: of-peak is the share of the rate at which the cores can do
// float32 multiply-adds from registers alone, measured in the same run. It counts the step's products; the rest of the
// step is time without. int8 products count like others.
func BenchmarkStep(b *testing.B) {
	for _, j := range []struct {
		preset             string
		size, patch, batch int
	}{{"nano", 32, 4, 64}, {"tiny", 96, 8, 16}, {"small", 224, 16, 8}} {
		for _, precision := range []vit.Precision{vit.F32, vit.F16, vit.I8} {
			for _, equal := range []bool{true, false} {
				for _, threads := range []int{1, 2} {
					b.Run(fmt.Sprintf("%s/%s/equal=%v/threads=%d", j.preset, precision, equal, threads), func(b *testing.B) {
						p, _ := vit.PresetNamed(j.preset)
						c := Default(p, j.size, j.patch)
						c.Batch, c.Precision = j.batch, precision
						c.Masks.EqualContext = equal
						c.SetSteps(1000)
						benchmarkSteps(b, c, Thrifty(c, threads), threads)
					})
				}
			}
		}
	}
}

// BenchmarkPlan is the speed of each plan for one thread, beside its footprint.
func BenchmarkPlan(b *testing.B) {
	p, _ := vit.PresetNamed("nano")
	c := Default(p, 32, 4)
	c.Batch = 64
	c.SetSteps(1000)
	for plan := range Plans(c, 1) {
		b.Run(fmt.Sprintf("%+v", plan), func(b *testing.B) {
			benchmarkSteps(b, c, plan, 1)
			b.ReportMetric(float64(Footprint(c, plan, 1)>>20), "MiB")
		})
	}
}

func benchmarkSteps(b *testing.B, c Config, plan Plan, threads int) {
	pool := parallel.New(threads)
	b.Cleanup(pool.Close)
	tr, err := NewTrainer(c, plan, pool)
	require.NoError(b, err)
	px := pictures(c, 1)
	tr.Step(px)
	peak, macs := kerneltest.Peak(), 0.0
	for b.Loop() {
		tr.Step(px)
		drawn := &tr.objective.(*ijepa).drawn
		macs += stepMACs(c, drawn.ContextOff, drawn.TargetLen)
	}
	seconds := b.Elapsed().Seconds()
	b.ReportMetric(float64(c.Batch*b.N)/seconds, "images/s")
	if peak = max(peak, kerneltest.Peak()); peak > 0 {
		b.ReportMetric(macs/seconds/peak/float64(min(threads, runtime.NumCPU())), "of-peak")
	}
}
