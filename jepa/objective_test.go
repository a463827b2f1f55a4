package jepa

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/parallel"
	"edgejepa/internal/rng"
	"edgejepa/kernels/kerneltest"
	"edgejepa/vit"
)

// withObjective is a small configuration for each objective; that of I-JEPA has both terms against collapse.
func withObjective(o Objective) Config {
	c := microConfig()
	if plain(&c, o); o == IJEPA {
		c.SIGRegWeight = 0.02
	}
	return c
}

// plain makes c learn by an objective in its simplest form: LeJEPA of two whole views, MAE of one.
func plain(c *Config, o Objective) {
	switch c.SetObjective(o); o {
	case LeJEPA:
		c.Views, c.MaskRatio = 2, 0
	case MAE:
		c.SetViews(1)
	}
}

var allObjectives = []Objective{IJEPA, LeJEPA, BYOL, MAE}

// objectiveLoss is the training loss as a function of the weights: the step and the target models stand still.
type objectiveLoss struct {
	tr *Trainer
	px []float32
}

func newObjectiveLoss(t *testing.T, c Config) *objectiveLoss { return newObjectiveLossOf(t, c, 1) }

func newObjectiveLossOf(t *testing.T, c Config, depth int) *objectiveLoss {
	c.Encoder.ImageSize, c.Encoder.Dim, c.Encoder.Depth = 16, 16, depth
	c.PredictorDim, c.PredictorDepth = 8, 1
	c.Masks, c.Batch = DefaultMasks(4, 4), 4
	if c.Projector[0] > 0 {
		c.Projector = [2]int{12, 6}
	}
	if c.Objective == LeJEPA {
		c.SIGRegWeight = 0.6 // both terms count
	}
	w := &objectiveLoss{tr: newTrainer(t, c, 2), px: pictures(c, 1)}
	models := []*vit.Params{&w.tr.Context.Params, w.tr.head.params, &w.tr.Target.Params}
	if x := w.tr.head.target; x != nil {
		models = append(models, x)
	}
	for i, ps := range models {
		for j, p := range ps.List {
			s := rng.New(11, rng.PurposeProbe, uint64(i), uint64(j))
			gain := len(p.Shape) == 1 && p.Value[0] == 1
			for k := range p.Value {
				p.Value[k] = float32(0.25 * s.Norm())
				if gain {
					p.Value[k]++
				}
			}
		}
	}
	return w
}

func (w *objectiveLoss) loss() float64 {
	w.tr.repack.Repack()
	loss, collapse := w.tr.objective.backward(w.px)
	return loss + collapse
}

// worst is the largest disagreement of a parameter's gradient with differences of f, by name: relative to it, or to a
// fifth of the largest: the rounding of the loss, near 1, does not get smaller with them. A bias in front of a head's
// norm, which takes all that is common to a batch away, has a gradient of rounding errors: it is counted in free.
func (w *objectiveLoss) worst(f func() float64) (worst float64, name string, free int) {
	w.loss()
	var params []*vit.Param
	var grads [][]float32
	size := 0.0
	for _, ps := range w.tr.trained() {
		for _, p := range ps.List {
			params, grads = append(params, p), append(grads, slices.Clone(p.Grad))
			size = max(size, norm(p.Grad))
		}
	}
	for i, p := range params {
		if norm(grads[i]) < 1e-6*size {
			free++
			continue
		}
		off := kerneltest.Gradient(p.Value, grads[i], f)
		if off *= min(1, norm(grads[i])/(size/5)); !(off <= worst) {
			worst, name = off, p.Name
		}
	}
	return worst, name, free
}

// biasesBeforeNorms are the encoder's last and those of fc1 and, in front of the second MLP's fc1, fc2.
var biasesBeforeNorms = map[Objective]int{LeJEPA: 2, BYOL: 4}

// The gradient of every parameter that is trained is that of the number that Step reports.
func TestObjectiveGradients(t *testing.T) {
	for _, o := range allObjectives {
		w := newObjectiveLoss(t, withObjective(o))
		off, name, free := w.worst(w.loss)
		require.Less(t, off, gradientTolerance, "%v: %s", o, name)
		require.Equal(t, biasesBeforeNorms[o], free, o)
	}
	for says, change := range map[string]func(*Config){
		"three views":    func(c *Config) { plain(c, LeJEPA); c.Views = 3 },
		"masked views":   func(c *Config) { plain(c, LeJEPA); c.MaskRatio = 0.4 },
		"I-JEPA, views":  func(c *Config) { c.SetViews(2); c.SIGRegWeight = 0.4 },
		"I-JEPA, pixels": func(c *Config) { c.PixelWeight = 0.5 },
		"MAE, views":     func(c *Config) { c.SetObjective(MAE); c.SetViews(2); c.SIGRegWeight = 0.4 },
	} {
		c := microConfig()
		change(&c)
		w := newObjectiveLoss(t, c)
		off, name, _ := w.worst(w.loss)
		require.Less(t, off, gradientTolerance, "%s: %s", says, name)
	}
}

// What the comparison is for: a gradient with a part of the loss a fifth off is found out.
func TestObjectiveGradientsCatchErrors(t *testing.T) {
	views := microConfig()
	views.SetViews(2)
	views.ViewWeight = 0.05 // so that neither part drowns the other
	for _, c := range []Config{withObjective(IJEPA), withObjective(LeJEPA), withObjective(BYOL), withObjective(MAE), views} {
		o := c.Objective
		w := newObjectiveLoss(t, c)
		w.loss()
		first := w.tr.Context.Params.List[0]
		grad := slices.Clone(first.Grad)
		off := func(loss, collapse float64) float64 {
			return kerneltest.Gradient(first.Value, grad, func() float64 {
				w.tr.repack.Repack()
				l, c := w.tr.objective.backward(w.px)
				return loss*l + collapse*c
			})
		}
		require.Less(t, off(1, 1), gradientTolerance, o)
		require.Greater(t, off(1.2, 1), 2*gradientTolerance, "%v: the loss", o)
		if _, collapse := w.tr.Config.Terms(); collapse != "" {
			require.Greater(t, off(1, 1.2), 2*gradientTolerance, "%v: %s", o, collapse)
		}
	}
}

func TestObjectivePlansChangeNothing(t *testing.T) {
	configs := []Config{withObjective(LeJEPA), withObjective(BYOL), withObjective(MAE), withObjective(MAE), withObjective(IJEPA)}
	configs[3].SetViews(2)
	configs[4].PixelWeight = 1
	for _, c := range configs {
		o := c.Objective
		if testing.Short() { // TestCheckpointHash goes through these
			want := stepped(t, c, Plan{}, 1)
			_, least, _ := Fit(c, 2, 1)
			p, bytes, ok := Fit(c, 2, least)
			require.True(t, ok)
			require.Equal(t, least, bytes)
			require.True(t, string(want) == string(stepped(t, c, p, 2)), "%v: %+v", o, p)
			continue
		}
		for _, precision := range []vit.Precision{vit.F32, vit.F16, vit.I8} {
			c := precise(c, precision)
			want := stepped(t, c, Plan{}, 1)
			least := int64(0)
			for p := range Plans(c, 1) {
				require.True(t, string(want) == string(stepped(t, c, p, 2)), "%v in %v: %+v", o, precision, p)
				if n := Footprint(c, p, 2); least == 0 || n < least {
					least = n
				}
			}
			_, bytes, ok := Fit(c, 2, least-1)
			require.False(t, ok)
			require.Equal(t, least, bytes)
		}
	}
}

// Footprints in MiB: at full speed and at least. A change that takes more memory must say so here.
func TestObjectiveFootprints(t *testing.T) {
	for o, want := range map[Objective][2]float64{LeJEPA: {281.5, 60.7}, BYOL: {283.6, 62.8}, MAE: {92.3, 37.1}} {
		c := presetConfig(t, "nano", 32, 4, 64)
		plain(&c, o)
		_, full, _ := Fit(c, 2, 0)
		_, least, _ := Fit(c, 2, 1)
		for i, bytes := range []int64{full, least} {
			require.InEpsilon(t, want[i], float64(bytes)/(1<<20), 0.01, "%v: %.1f and %.1f MiB", o, float64(full)/(1<<20), float64(least)/(1<<20))
		}
	}
}

func TestObjectivesAllocateNothing(t *testing.T) {
	for _, o := range allObjectives {
		tr := newTrainer(t, withObjective(o), 2)
		px := pictures(tr.Config, 1)
		for range 8 { // the lists of masks grow to their size
			tr.Step(px)
		}
		require.Zero(t, testing.AllocsPerRun(4, func() { tr.Step(px) }), o)
	}
}

// stripes are pictures of as many kinds as there are directions, each at a phase of its own; views of a picture differ by
// noise.
func stripes(c Config, step int) []float32 {
	views, s := c.PictureViews(), c.Encoder.ImageSize
	px := make([]float32, c.Batch*views*c.Encoder.PixelLen())
	for b := range c.Batch {
		phase := rng.New(9, rng.PurposeProbe, uint64(step), uint64(b))
		shift := phase.IntN(8)
		for v := range views {
			r := rng.New(9, rng.PurposeProbe, uint64(step), uint64(1000+b*views+v))
			dst := px[(b*views+v)*c.Encoder.PixelLen():]
			for i := range c.Encoder.PixelLen() {
				y, x := i/s%s, i%s
				at := [4]int{x, y, x + y, x + 2*s - y}[b%4]
				dst[i] = float32((at+shift)%8)/2 - 2 + float32(0.1*r.Norm())
			}
		}
	}
	return px
}

// deviation is the mean over pairs of pictures of the squared distance of their features, over the mean square of a feature:
// 0 where features have collapsed.
func deviation(x []float32, n, d int) float64 {
	mean, square, deviation := make([]float64, d), 0.0, 0.0
	for i, v := range x[:n*d] {
		mean[i%d] += float64(v) / float64(n)
		square += float64(v) * float64(v)
	}
	for i, v := range x[:n*d] {
		deviation += (float64(v) - mean[i%d]) * (float64(v) - mean[i%d])
	}
	return deviation / square
}

// On pictures that repeat in kind the loss falls, and features stay apart.
func TestObjectivesLearn(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for long under an emulator; the full run has it")
	}
	for _, o := range allObjectives {
		c := withObjective(o)
		c.Batch, c.LR, c.EMA = 8, 2e-3, [2]float64{0.9, 0.99}
		c.SetSteps(60)
		tr := newTrainer(t, c, 2)
		var first, last, untrained float64
		for s := range c.Steps {
			st := tr.Step(stripes(c, s))
			if s == 0 {
				untrained = deviation(tr.Recent())
			}
			require.False(t, st.Skipped)
			if s < 5 {
				first += st.Loss + st.Variance
			} else if s >= c.Steps-5 {
				last += st.Loss + st.Variance
			}
		}
		apart := deviation(tr.Recent())
		t.Logf("%v: %.4f to %.4f, spread %.4f, untrained %.4f", o, first/5, last/5, apart, untrained)
		require.Less(t, last, map[Objective]float64{IJEPA: 0.8, LeJEPA: 0.5, BYOL: 0.3, MAE: 0.985}[o]*first, o)
		require.Greater(t, apart, untrained, o)
	}
}

// A constant for features has no spread, whatever the constant.
func TestSpreadSeesCollapse(t *testing.T) {
	x := make([]float32, 40)
	for i := range x {
		x[i] = float32(i % 4)
	}
	require.Less(t, deviation(x, 10, 4), 1e-12)
	x[7] = 9
	require.Greater(t, deviation(x, 10, 4), 0.02)
}

func TestObjectiveInJSON(t *testing.T) {
	c := microConfig()
	for _, key := range []string{"objective", "sigreg_weight", "views", "view_weight", "projector", "mask_ratio", "jitter"} {
		require.NotContains(t, c.JSON(), key, "a run of I-JEPA is written as it was before there was a choice")
	}
	for _, o := range allObjectives { // from each to the default and back
		c := withObjective(o)
		c.SetObjective(IJEPA)
		require.Equal(t, microConfig(), c)
		c = withObjective(o)
		got, err := ParseConfig(c.JSON())
		require.NoError(t, err)
		require.Equal(t, c, got)
		parsed, err := ParseObjective(o.String())
		require.NoError(t, err)
		require.Equal(t, o, parsed)
	}
	_, err := ParseConfig(`{"objective":"simclr"}`)
	require.ErrorContains(t, err, `no objective "simclr"`)
	require.Contains(t, fmt.Sprint(DiffConfig(c.JSON(), withObjective(MAE).JSON())), `objective was "ijepa", now "mae"`)
}

func TestObjectiveValidates(t *testing.T) {
	for says, change := range map[string]func(*Config){
		"objective is number 7":                        func(c *Config) { c.Objective = 7 },
		"variance_weight has no part in objective mae": func(c *Config) { c.SetObjective(MAE); c.VarianceWeight = 1 },
		"sigreg_weight has no part in objective byol":  func(c *Config) { c.SetObjective(BYOL); c.SIGRegWeight = 1 },
		"view_weight is 0 with 2 views":                func(c *Config) { c.SetViews(2); c.ViewWeight = 0 },
		"view_weight has no part in objective byol":    func(c *Config) { c.SetObjective(BYOL); c.ViewWeight = 1 },
		"variance_weight has no part in ijepa with":    func(c *Config) { c.SetViews(2); c.VarianceWeight = 0.1 },
		"sigreg_weight is 1: with views":               func(c *Config) { c.SetViews(2); c.SIGRegWeight = 1 },
		"projector has no part in objective mae":       func(c *Config) { plain(c, MAE); c.Projector[0] = 8 },
		"mask_ratio has no part in objective ijepa":    func(c *Config) { c.MaskRatio = 0.5 },
		"mask_ratio has no part in objective byol":     func(c *Config) { c.SetObjective(BYOL); c.MaskRatio = 0.5 },
		"mask_ratio is 0: mae":                         func(c *Config) { c.SetObjective(MAE); c.MaskRatio = 0 },
		"mask_ratio is 0.99":                           func(c *Config) { c.SetObjective(MAE); c.MaskRatio = 0.99 },
		"views is 17":                                  func(c *Config) { c.SetObjective(LeJEPA); c.Views = 17 },
		"byol has 2":                                   func(c *Config) { c.SetObjective(BYOL); c.Views = 3 },
		"projector is 512,1":                           func(c *Config) { c.SetObjective(BYOL); c.Projector[1] = 1 },
		"sigreg_weight is 1: in lejepa":                func(c *Config) { c.SetObjective(LeJEPA); c.SIGRegWeight = 1 },
		"sigreg_weight is -1":                          func(c *Config) { c.SIGRegWeight = -1 },
		"jitter is 2":                                  func(c *Config) { c.Jitter = 2 },
	} {
		c := microConfig()
		change(&c)
		require.ErrorContains(t, c.Validate(), says)
	}
}

// Patches that MAE shows: each picture as many, all patches alike often, none twice, and a function of the step.
func TestScatter(t *testing.T) {
	c := withObjective(MAE)
	c.Batch = 50
	n, visible := c.Encoder.Tokens(), c.visiblePatches()
	require.Equal(t, 9, visible, "a quarter of 36")
	var m, again Masks
	seen := make([]int, n)
	for step := range 20 {
		m.scatter(c, step)
		require.Equal(t, n-visible, m.TargetLen)
		for b := range c.Batch {
			context, hidden := m.Context[m.ContextOff[b]:m.ContextOff[b+1]], m.Targets[b*m.TargetLen:(b+1)*m.TargetLen]
			require.Len(t, context, visible)
			all := slices.Concat(context, hidden)
			slices.Sort(all)
			require.Len(t, slices.Compact(all), n)
			for _, patch := range context {
				seen[patch]++
			}
		}
	}
	for _, times := range seen { // 250 on average, deviation 14
		require.InDelta(t, 250, times, 5*14)
	}
	again.scatter(c, 19)
	require.Equal(t, m, again)
	again.scatter(c, 18)
	require.NotEqual(t, m, again)
}

// What MAE is to draw are a patch's pixels without its mean and deviation.
func TestMAEWantsNormalisedPixels(t *testing.T) {
	c := withObjective(MAE)
	tr := newTrainer(t, c, 1)
	px := pictures(c, 3)
	tr.Step(px)
	o := tr.objective.(*mae)
	brighter := slices.Clone(px)
	for i := range brighter {
		brighter[i] = 3*brighter[i] + 2
	}
	want := slices.Clone(o.wanted)
	tr.step = 0
	tr.Step(brighter)
	near(t, 1e-5, o.wanted, want, "brightness and contrast of a patch do not matter")
	tr.step = 0
	tr.Step(pictures(c, 4))
	require.Greater(t, distance(o.wanted, want), 0.5)
}

// BYOL's target projector follows the projector as the target encoder follows the context encoder, and is saved.
func TestBYOLTargetFollows(t *testing.T) {
	c := withObjective(BYOL)
	c.EMA = [2]float64{0.9, 0.9}
	tr := newTrainer(t, c, 1)
	x := tr.head.target.Value
	require.Equal(t, tr.head.params.Value[:len(x)], x, "it starts equal")
	was := slices.Clone(x)
	tr.Step(pictures(c, 1))
	for i, v := range x {
		require.InDelta(t, 0.9*float64(was[i])+0.1*float64(tr.head.params.Value[i]), v, 1e-6)
	}
	require.NotEqual(t, was, slices.Clone(x))
}

func BenchmarkObjective(b *testing.B) {
	for _, o := range allObjectives {
		b.Run(o.String(), func(b *testing.B) {
			p, _ := vit.PresetNamed("nano")
			c := Default(p, 32, 4)
			c.SetObjective(o)
			c.SetSteps(1000)
			pool := parallel.New(2)
			b.Cleanup(pool.Close)
			plan, bytes, _ := Fit(c, 2, 0)
			tr, err := NewTrainer(c, plan, pool)
			require.NoError(b, err)
			px := pictures(c, 1)
			for b.Loop() {
				tr.Step(px)
			}
			b.ReportMetric(float64(c.Batch*b.N)/b.Elapsed().Seconds(), "images/s")
			b.ReportMetric(float64(bytes>>20), "MiB")
		})
	}
}
