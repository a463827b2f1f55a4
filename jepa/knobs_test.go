package jepa

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/parallel"
	"edgejepa/kernels"
	"edgejepa/vit"
)

// Drop path and targets averaged over layers belong to a run's settings, and are not written where they are off.
func TestKnobsInJSON(t *testing.T) {
	c := microConfig()
	for _, key := range []string{"drop_path", "target_layers"} {
		require.NotContains(t, c.JSON(), key)
	}
	c.DropPath, c.TargetLayers = 0.1, 2
	got, err := ParseConfig(c.JSON())
	require.NoError(t, err)
	require.Equal(t, c, got)
	c.SetObjective(BYOL)
	require.Equal(t, 0.1, c.DropPath)
	require.NoError(t, c.Validate())
	for says, change := range map[string]func(*Config){
		"drop_path is -0.1":                             func(c *Config) { c.DropPath = -0.1 },
		"drop_path is 1: it must lie in 0..0.9":         func(c *Config) { c.DropPath = 1 },
		"drop_path is NaN":                              func(c *Config) { c.DropPath = math.NaN() },
		"target_layers is 3: it must lie in 1..2":       func(c *Config) { c.TargetLayers = 3 },
		"target_layers is -1":                           func(c *Config) { c.TargetLayers = -1 },
		"target_layers has no part in objective lejepa": func(c *Config) { c.SetObjective(LeJEPA); c.TargetLayers = 2 },
	} {
		c := microConfig()
		change(&c)
		require.ErrorContains(t, c.Validate(), says)
	}
}

// knobConfig is a run with both of I-JEPA's terms against collapse, drop path in half of the last block's branches, and
// targets of all layers.
func knobConfig(o Objective, precision vit.Precision) Config {
	c := precise(withObjective(o), precision)
	if c.DropPath = 0.5; o == IJEPA {
		c.TargetLayers = c.Encoder.Depth
	}
	return c
}

// The gradient of every objective is that of the loss of the step, which leaves out the same branches each time.
func TestDropPathObjectiveGradients(t *testing.T) {
	for _, o := range allObjectives {
		w := newObjectiveLossOf(t, knobConfig(o, vit.F32), 2)
		for w.tr.step = 1; w.atHinge(); { // step 0 leaves BYOL's batch norm few rows: it curves too much for differences
			w.tr.step++
		}
		off, name, _ := w.worst(w.loss)
		require.Less(t, off, gradientTolerance, "%v: %s", o, name)
		with := w.loss()
		w.tr.Config.DropPath = 0
		require.Greater(t, math.Abs(w.loss()-with), 1e-4, "%v: nothing was left out", o)
	}
}

// atHinge says that a channel's deviation is where the variance term has no gradient to compare with.
func (w *objectiveLoss) atHinge() bool {
	o, ok := w.tr.objective.(*ijepa)
	w.loss()
	return ok && slices.ContainsFunc(o.variance.std, func(s float64) bool { return math.Abs(s-1) < 0.02 })
}

// Every plan gives the same bytes, and takes the memory that it says.
func TestKnobPlansChangeNothing(t *testing.T) {
	for _, o := range allObjectives {
		for _, precision := range []vit.Precision{vit.F32, vit.F16, vit.I8} {
			if testing.Short() && o != IJEPA && precision != vit.F32 {
				continue
			}
			c := knobConfig(o, precision)
			want := stepped(t, c, Plan{}, 1)
			for i, p := range plans {
				if testing.Short() && i%3 != 1 {
					continue
				}
				require.True(t, string(want) == string(stepped(t, c, p, 1+i%3)), "%v in %v: %+v", o, precision, p)
			}
			off := c
			off.DropPath = 0
			require.NotEqual(t, string(want), string(stepped(t, off, Plan{}, 1)))
		}
	}
	c := presetConfig(t, "nano", 32, 4, 64)
	plain := Footprint(c, Plan{Micro: 16, Segment: 1, Recompute: 6, RecomputeHead: true}, 2)
	c.DropPath = 0.1
	require.Equal(t, plain, Footprint(c, Plan{Micro: 16, Segment: 1, Recompute: 6, RecomputeHead: true}, 2), "drop path takes no memory")
	target := func() int64 {
		_, parts := Layout(c, Plan{Micro: 16}, 2)
		for _, p := range parts {
			if p.Name == "target pass" {
				return p.End - p.Start
			}
		}
		return 0
	}
	before := target()
	c.TargetLayers = 4
	require.EqualValues(t, 4*16*c.Encoder.Tokens()*c.Encoder.Dim, target()-before, "a float32 for each token's value")
}

func TestKnobsAllocateNothing(t *testing.T) {
	for _, precision := range []vit.Precision{vit.F32, vit.I8} {
		c := knobConfig(IJEPA, precision)
		pool := parallel.New(2)
		defer pool.Close()
		tr, err := NewTrainer(c, Plan{Micro: 4, Recompute: 1}, pool)
		require.NoError(t, err)
		px := pictures(c, 1)
		for range 8 {
			tr.Step(px)
		}
		require.Zero(t, testing.AllocsPerRun(4, func() { tr.Step(px) }))
	}
}

// With targets of K layers, what is to be guessed is the mean of the layer-normed outputs of the last K blocks.
func TestTargetLayers(t *testing.T) {
	c := microConfig()
	c.Encoder.Depth, c.Batch = 3, 3
	wanted := func(c Config, depth int) (x []float32) { // of depth blocks of the target encoder
		c.Encoder.Depth = depth
		tr := newTrainer(t, c, 1)
		o := tr.objective.(*ijepa)
		o.sampler.Sample(&o.drawn, c.Seed, 0, c.Batch)
		px := pictures(c, 1)
		o.backwardWith(px, &o.drawn, func(s stage) {
			if s == stageTarget && o.partAt == 0 {
				n := c.Masks.Targets * c.Batch * o.masks.TargetLen * c.Encoder.Dim
				x = append([]float32(nil), o.wanted[:n]...)
			}
		})
		return x
	}
	for _, layers := range []int{2, 3} {
		averaged := c
		averaged.TargetLayers = layers
		got := wanted(averaged, 3)
		var want []float32
		for depth := 3; depth > 3-layers; depth-- { // initial weights are a function of their names: shorter networks have the same
			x := wanted(c, depth)
			if want == nil {
				want = make([]float32, len(x))
			}
			kernels.Add(want, x)
		}
		kernels.Scale(want, 1/float32(layers))
		// The final norm of the shorter networks, of gain 1 and bias 0, is undone by the norm after it but for its epsilon.
		require.Less(t, distance(got, want), 1e-4)
		require.Greater(t, distance(got, wanted(c, 3)), 5e-3)
	}
	one := c
	one.TargetLayers = 1
	require.Equal(t, wanted(c, 3), wanted(one, 3))
}

// The target encoder looks at whole pictures through whole networks: drop path is not for it.
func TestDropPathSparesTheTarget(t *testing.T) {
	run := func(rate float64) (features []float32) {
		c := microConfig()
		c.DropPath = rate
		tr := newTrainer(t, c, 1)
		tr.Step(pictures(c, 1))
		return append([]float32(nil), tr.objective.(*ijepa).wanted...)
	}
	require.Equal(t, run(0), run(0.9))
}
