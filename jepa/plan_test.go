package jepa

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/parallel"
	"edgejepa/vit"
)

// plans go from everything kept to one picture at a time, through batches that do not divide evenly.
var plans = []Plan{
	{},
	{Micro: 3},
	{Micro: 4, Head: 3, Segment: 70},
	{Head: 1, Segment: 1},
	{Head: 4, Recompute: 1, RecomputeHead: true},
	{Recompute: 99, Segment: 100},
	{Micro: 5, Head: 2, Recompute: 1},
	{Micro: 1, Recompute: 2, RecomputeHead: true, Segment: 1},
	{Micro: 2, Recompute: 1, Segment: 64, Strips: true},
	{Strips: true},
}

// stepped is the checkpoint after two steps, and what was said of them.
func stepped(t *testing.T, c Config, p Plan, threads int) []byte {
	pool := parallel.New(threads)
	defer pool.Close()
	tr, err := NewTrainer(c, p, pool)
	require.NoError(t, err)
	var stats []Stats
	for s := range 2 {
		stats = append(stats, tr.Step(pictures(c, uint64(s))))
	}
	require.False(t, stats[1].Skipped)
	return append(checkpointBytes(t, tr), fmt.Sprint(stats)...)
}

// Every plan that the planner may choose gives the same bytes too, without the variance term as well.
func TestPlansChangeNothing(t *testing.T) {
	for _, r := range []struct {
		weight    float64
		precision vit.Precision
		views     int
	}{{0, vit.F32, 0}, {0.1, vit.F32, 0}, {0.1, vit.F16, 0}, {0.1, vit.I8, 0}, {0, vit.F32, 2}, {0, vit.I8, 3}} {
		c := microConfig()
		if r.views > 0 {
			c.SetViews(r.views)
		}
		c.VarianceWeight, c.Precision = r.weight, r.precision
		want := stepped(t, c, Plan{}, 1)
		all := slices.Collect(Plans(c, 1))
		require.Greater(t, len(all), 5)
		for i, p := range all {
			if testing.Short() && i%4 > 0 {
				continue
			}
			require.True(t, string(want) == string(stepped(t, c, p, 2)), "%+v", p)
		}
	}
}

func TestLeanStepAllocatesNothing(t *testing.T) {
	c := microConfig()
	pool := parallel.New(2)
	defer pool.Close()
	tr, err := NewTrainer(c, Plan{Micro: 4, Head: 2, Recompute: 1, RecomputeHead: true, Segment: 100}, pool)
	require.NoError(t, err)
	px := pictures(c, 1)
	for range 8 { // the lists of masks grow to their size
		tr.Step(px)
	}
	require.Zero(t, testing.AllocsPerRun(4, func() { tr.Step(px) }))
}

func presetConfig(t *testing.T, preset string, size, patch, batch int) Config {
	p, err := vit.PresetNamed(preset)
	require.NoError(t, err)
	c := Default(p, size, patch)
	c.Batch = batch
	c.SetSteps(1)
	return c
}

func TestFit(t *testing.T) {
	c := presetConfig(t, "nano", 32, 4, 64)
	fastest, most, ok := Fit(c, 2, 0)
	require.True(t, ok)
	require.Equal(t, 64, fastest.Micro)
	require.Zero(t, fastest.Recompute)
	require.Equal(t, Footprint(c, fastest, 2), most)

	leanest, least, ok := Fit(c, 2, 1)
	require.False(t, ok)
	require.Equal(t, Plan{Micro: 1, Head: 1, Recompute: 6, RecomputeHead: true, Segment: leanRows, Strips: true}, leanest)
	p, bytes, ok := Fit(c, 2, least)
	require.True(t, ok, "the least budget that is named does")
	require.Equal(t, leanest, p)
	require.Equal(t, least, bytes)
	_, _, ok = Fit(c, 2, least-1)
	require.False(t, ok)

	// The more there is, the faster the plan: none before it in the list would have fitted.
	order := slices.Collect(Plans(c, 2))
	last := len(order)
	for budget := least; budget <= most; budget += 1 << 20 {
		p, bytes, ok := Fit(c, 2, budget)
		require.True(t, ok)
		require.LessOrEqual(t, bytes, budget)
		at := slices.Index(order, p)
		require.LessOrEqual(t, at, last)
		last = at
	}
	require.Less(t, last, 2)
}

// Footprints of the common jobs, in MiB: at full speed, by default, at the cost of about a tenth of the speed, and at
// least. A change that takes more memory must say so here.
func TestFootprints(t *testing.T) {
	for _, j := range []struct {
		preset                             string
		size, patch, batch                 int
		precision                          vit.Precision
		full, thrifty, recomputed, leanest float64
	}{
		{"nano", 32, 4, 64, vit.F32, 96.3, 87.2, 37.8, 27.6},
		{"tiny", 96, 8, 16, vit.F32, 214.0, 198.8, 123.0, 114.9},
		{"small", 224, 16, 8, vit.F32, 586.9, 555.8, 486.9, 469.2},
		{"base", 224, 16, 8, vit.F32, 1966.4, 1948.0, 1876.3, 1840.7},
		{"nano", 32, 4, 64, vit.F16, 62.0, 57.9, 31.5, 22.0},
		{"tiny", 96, 8, 16, vit.F16, 146.4, 139.9, 96.1, 83.0},
		{"small", 224, 16, 8, vit.F16, 439.1, 423.6, 360.6, 334.3},
		{"base", 224, 16, 8, vit.F16, 1512.7, 1481.7, 1359.4, 1306.8},
		{"nano", 32, 4, 64, vit.I8, 61.7, 57.1, 31.4, 23.8},
		{"tiny", 96, 8, 16, vit.I8, 146.7, 139.1, 96.1, 86.2},
		{"small", 224, 16, 8, vit.I8, 439.2, 423.7, 359.4, 345.9},
		{"base", 224, 16, 8, vit.I8, 1512.5, 1481.4, 1357.0, 1331.7},
	} {
		c := precise(presetConfig(t, j.preset, j.size, j.patch, j.batch), j.precision)
		var recomputed int64
		for p := range Plans(c, 2) {
			if p.Micro == c.Batch && p.RecomputeHead && p.Segment == threadRows {
				recomputed = Footprint(c, p, 2)
			}
		}
		_, full, _ := Fit(c, 2, 0)
		_, least, _ := Fit(c, 2, 1)
		thrifty := Footprint(c, Thrifty(c, 2), 2)
		got := []int64{full, thrifty, recomputed, least}
		for i, want := range []float64{j.full, j.thrifty, j.recomputed, j.leanest} {
			require.InEpsilon(t, want, float64(got[i])/(1<<20), 0.01, "%s in %v: %v bytes", j.preset, j.precision, got)
		}
	}
}

// The parts of a layout that last are apart from each other; those that share memory lie within the step's.
func TestLayout(t *testing.T) {
	c := presetConfig(t, "nano", 32, 4, 64)
	total, parts := Layout(c, Plan{Micro: 16, Head: 4}, 2)
	at := map[string][2]int64{}
	for _, p := range parts {
		at[p.Name] = [2]int64{p.Start, p.End}
	}
	step, models := at["step"], at["models"]
	require.Equal(t, models[1], step[0])
	require.Equal(t, total, step[1])
	for _, name := range []string{"target pass", "variance preview", "context pass", "predictor pass", "pooled terms"} {
		require.Contains(t, at, name)
		require.GreaterOrEqual(t, at[name][0], step[0], name)
		require.LessOrEqual(t, at[name][1], step[1], name)
	}
	require.Equal(t, at["target pass"][0], at["context pass"][0], "never in use at the same time")
	last := int64(0)
	for _, name := range []string{"context encoder", "target encoder", "predictor", "moments", "monitor"} {
		require.GreaterOrEqual(t, at[name][0], last, name)
		last = at[name][1]
	}
	require.LessOrEqual(t, last, models[1])
}

func TestPlanDescribe(t *testing.T) {
	c := presetConfig(t, "nano", 32, 4, 64)
	for want, p := range map[string]Plan{
		"whole batches of 64":                                                                    {},
		"whole batches of 64, predictor 4 at a time":                                             {Head: 4},
		"whole batches of 64, activations of 2 of 6 blocks recomputed":                           {Recompute: 2},
		"whole batches of 64, the encoder's activations recomputed":                              {Recompute: 6},
		"micro-batches of 16 of 64, predictor 1 at a time, activations recomputed":               {Micro: 16, Head: 1, Recompute: 6, RecomputeHead: true},
		"micro-batches of 7 of 64, activations of 5 of 6 blocks recomputed":                      {Micro: 7, Recompute: 5, RecomputeHead: true},
		"micro-batches of 1 of 64":                                                               {Micro: 1, Head: 9},
		"whole batches of 64, predictor 63 at a time, activations recomputed":                    {Micro: 99, Head: 63, Recompute: 99, RecomputeHead: true},
		"micro-batches of 32 of 64, predictor 8 at a time, the encoder's activations recomputed": {Micro: 32, Head: 8, Recompute: 6},
	} {
		require.Equal(t, want, p.Describe(c))
	}
}
