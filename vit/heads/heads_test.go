package heads

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/arena"
	"edgejepa/internal/parallel"
	"edgejepa/internal/rng"
	"edgejepa/kernels/kerneltest"
	"edgejepa/vit"
)

// encoder is a small one with a grid that is neither square nor even.
func encoder() vit.Config {
	p, _ := vit.PresetNamed("micro")
	return p.Config(24, 4).At(12, 20)
}

func all() map[string]Config {
	e := encoder()
	three := []string{"a", "b", "c"}
	out := map[string]Config{}
	for _, k := range []Kind{Linear, MLP, Attentive} {
		c := Default(Classify, k, e)
		c.Classes = three
		out[string(k)] = c
	}
	for _, t := range []Task{Segment, Detect} {
		c := Default(t, "", e)
		c.Classes, c.Hidden = three[:2], 5
		out[string(t)] = c
	}
	return out
}

func normal(n int, seed uint64) []float32 {
	s := rng.New(seed, rng.PurposeInit, 1, 0)
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(s.Norm())
	}
	return x
}

// place makes a head with weights large enough for all of it to matter.
func place(t *testing.T, c Config, batch int) (*Head, *Pass) {
	pool := parallel.New(2)
	t.Cleanup(pool.Close)
	var p *Pass
	h := arena.Build(func(a *arena.Arena) *Head {
		h := Place(a, c, encoder(), true)
		p = h.PlacePass(a, pool, batch, vit.Train)
		return h
	})
	h.Init(3)
	for i, v := range normal(len(h.Params.Value), 7) {
		h.Params.Value[i] += 0.2 * v
	}
	h.Standardize(slices.Values([][]float32{normal(4*c.Width(encoder()), 9)}), math.Inf(1))
	h.Pack()
	return h, p
}

// Gradients of parameters and features are those of finite differences.
func TestGradients(t *testing.T) {
	for name, c := range all() {
		t.Run(name, func(t *testing.T) {
			const batch = 2
			h, p := place(t, c, batch)
			x, w := normal(batch*c.InLen(encoder()), 1), normal(batch*h.OutLen(), 2)
			loss := func() (sum float64) {
				h.Pack()
				for i, v := range p.Forward(x, batch) {
					sum += float64(v) * float64(w[i])
				}
				return sum
			}
			loss()
			copy(p.DOut, w)
			dx := make([]float32, len(x))
			p.Backward(dx, batch)
			require.Less(t, kerneltest.Gradient(x, dx, loss), 1e-3)
			for _, v := range h.Params.List {
				switch {
				case strings.HasPrefix(v.Name, "features."): // never trained
					require.Equal(t, make([]float32, v.Len()), v.Grad, v.Name)
					continue
				case v.Name == "query.bias": // the softmax does not see it
					require.Less(t, math.Sqrt(dot(v.Grad)), 1e-5*math.Sqrt(dot(h.Params.Grad)))
					continue
				}
				require.Less(t, kerneltest.Gradient(v.Value, v.Grad, loss), 1e-3, v.Name)
			}
			dx[0] += float32(0.2 * math.Sqrt(dot(dx)))
			require.Greater(t, kerneltest.Gradient(x, dx, loss), 1e-2, "a wrong gradient is noticed")
		})
	}
}

// A picture's outputs do not depend on the batch it is in, nor on the number of threads.
func TestBatchChangesNoBit(t *testing.T) {
	for name, c := range all() {
		h, p := place(t, c, 3)
		x := normal(3*c.InLen(encoder()), 1)
		want := append([]float32(nil), p.Forward(x, 3)...)
		pool := parallel.New(1)
		one := h.NewPass(pool, 1)
		for b := range 3 {
			got := one.Forward(x[b*c.InLen(encoder()):], 1)
			require.Equal(t, want[b*h.OutLen():][:h.OutLen()], got, name)
		}
		pool.Close()
	}
}

func TestCrossEntropy(t *testing.T) {
	logits, labels, weight := normal(12, 4), []int{2, 0, 1, 2}, []float64{0.5, 2, 1}
	d := make([]float32, 12)
	loss := func() float64 { return CrossEntropy(make([]float32, 12), logits, labels, weight, 0.1, 1/5.5) }
	CrossEntropy(d, logits, labels, weight, 0.1, 1/5.5)
	require.Less(t, kerneltest.Gradient(logits, d, loss), 1e-3)
	part := make([]float32, 12)
	CrossEntropy(part, logits[:6], labels[:2], weight, 0.1, 1/5.5)
	require.Equal(t, d[:6], part[:6], "a part of a batch")
	require.InDelta(t, math.Log(3), CrossEntropy(part, make([]float32, 12), labels, nil, 0, 0.25), 1e-12)
	d[5] = -d[5]
	require.Greater(t, kerneltest.Gradient(logits, d, loss), 1e-2)
}

func TestSegmentLoss(t *testing.T) {
	logits, mask := normal(30, 5), []uint8{0, 1, 1, 0, Ignore, 0, 0, 1, 0, 0}
	d, probs := make([]float32, 30), make([]float64, 30)
	loss := func() float64 {
		return SegmentLoss(make([]float32, 30), logits, mask, 3, []float64{1, 3, 1}, 1, probs)
	}
	SegmentLoss(d, logits, mask, 3, []float64{1, 3, 1}, 1, probs)
	require.Less(t, kerneltest.Gradient(logits, d, loss), 1e-3)
	require.Equal(t, []float32{0, 0, 0}, d[12:15], "ignored")

	// A mask that is met exactly costs nothing, its opposite about as much as it can.
	sure := make([]float32, 20)
	for i, y := range []uint8{0, 1, 1, 0, 0, 0, 0, 1, 0, 0} {
		sure[2*i+int(y)] = 40
	}
	require.InDelta(t, 0, SegmentLoss(d, sure, []uint8{0, 1, 1, 0, 0, 0, 0, 1, 0, 0}, 2, nil, 1, probs), 1e-12)
	require.InDelta(t, 41, SegmentLoss(d, sure, []uint8{1, 0, 0, 1, 1, 1, 1, 0, 1, 1}, 2, nil, 1, probs), 1e-9)
}

func TestQualityFocal(t *testing.T) {
	for _, z := range []float64{-30, -2, -0.1, 0.3, 4, 30} {
		for _, q := range []float64{0, 0.4, 1} {
			const step = 1e-5
			_, grad := qualityFocal(z, q)
			above, _ := qualityFocal(z+step, q)
			below, _ := qualityFocal(z-step, q)
			require.InDelta(t, (above-below)/(2*step), grad, 1e-6+1e-4*math.Abs(grad), "z %g, q %g", z, q)
		}
	}
}

func TestGIoULoss(t *testing.T) {
	c := cell{10, 12, 4, 0}
	for name, truth := range map[string]Box{
		"overlaps": {7, 9, 20, 14}, "inside": {2, 2, 30, 30}, "around": {9, 11, 11, 13}, "apart": {40, 41, 50, 44},
	} {
		z := []float32{0.3, -0.2, 0.5, 0.1}
		_, iou, grad := giouLoss(c, z, truth)
		for i := range z {
			const step = 1.0 / 1024
			at := func(by float32) float64 {
				moved := append([]float32(nil), z...)
				moved[i] += by
				loss, _, _ := giouLoss(c, moved, truth)
				return loss
			}
			require.InDelta(t, (at(step)-at(-step))/(2*step), grad[i], 1e-4, "%s %d", name, i)
		}
		require.Equal(t, name == "apart", iou == 0)
	}
	loss, iou, _ := giouLoss(c, []float32{0, 0, 0, 0}, Box{6, 8, 14, 16})
	require.Zero(t, loss)
	require.Equal(t, 1.0, iou)
}

// The loss's gradient by the outputs, boxes and classes together, where the IoU that classes strive for is held.
func TestDetectLoss(t *testing.T) {
	h, p := place(t, all()["detect"], 1)
	out := p.Forward(normal(h.Config.InLen(encoder()), 1), 1)
	objects := []Object{{Box{2, 1, 9, 8}, 1}, {Box{3, 2, 6, 5}, 0}, {Box{1, 0, 19, 12}, 0}, {Box{18.2, 0.1, 19, 0.9}, 1}}
	d := make([]float32, len(out))
	classes, boxes := h.DetectLoss(d, out, objects, 0.5)
	twice := make([]float32, len(out))
	c2, b2 := h.DetectLoss(twice, out, objects, 1)
	require.InDelta(t, 2*classes, c2, 1e-9)
	require.InDelta(t, 2*boxes, b2, 1e-9)
	require.Positive(t, classes)
	require.Positive(t, boxes)
	n := len(h.Config.Classes)
	for i := range cells(h.Encoder) { // boxes
		for k := range 4 {
			at := i*(n+4) + n + k
			const step = 1.0 / 1024
			keep := out[at]
			loss := func(v float32) float64 {
				out[at] = v
				_, b := h.DetectLoss(make([]float32, len(out)), out, objects, 0.5)
				return b
			}
			want := (loss(keep+step) - loss(keep-step)) / (2 * step)
			out[at] = keep
			require.InDelta(t, want, d[at], 1e-3, at)
		}
	}
	// Every object has a cell, the small ones those that they share with large ones, and one without any inside too.
	of := assign(cells(h.Encoder), objects, 4)
	for o := range objects {
		require.Contains(t, of, o)
	}
	require.Equal(t, h.Positives(objects), len(of)-count(of, -1))
}

func dot(x []float32) (sum float64) {
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return sum
}

func count(x []int, v int) (n int) {
	for _, w := range x {
		if w == v {
			n++
		}
	}
	return n
}

// Outputs that say exactly where objects are decode to those objects, once each.
func TestDecode(t *testing.T) {
	c := all()["detect"]
	h, _ := New(c, encoder())
	objects := []Object{{Box{2, 1, 9, 8}, 1}, {Box{12, 3, 19, 11}, 0}, {Box{13, 0.5, 16, 3}, 1}}
	all := cells(h.Encoder)
	out := make([]float32, h.OutLen())
	for i, o := range assign(all, objects, 4) {
		row := out[i*6:][:6]
		row[0], row[1] = -20, -20
		if o >= 0 {
			row[objects[o].Class] = 5
			for k, s := range []float64{all[i].x - objects[o].X0, all[i].y - objects[o].Y0, objects[o].X1 - all[i].x, objects[o].Y1 - all[i].y} {
				row[2+k] = float32(math.Log(s / all[i].stride))
			}
		}
	}
	got := h.Decode(out, LeastScore)
	require.Len(t, got, len(objects))
	for _, o := range objects {
		found := false
		for _, f := range got {
			found = found || f.Class == o.Class && f.IoU(o.Box) > 0.999
		}
		require.True(t, found, o)
	}
	require.Empty(t, h.Decode(out, 0.999))
}

func TestConfig(t *testing.T) {
	e := encoder()
	for name, c := range all() {
		require.NoError(t, c.Validate(e), name)
		back, err := ParseConfig(c.JSON(), e)
		require.NoError(t, err)
		require.Equal(t, c, back)
	}
	for want, change := range map[string]func(*Config){
		"unique":           func(c *Config) { c.Classes = []string{"a", "a"} },
		"2 or more":        func(c *Config) { c.Classes = c.Classes[:1] },
		"ascend":           func(c *Config) { c.Taps = []int{1, 0} },
		"divide the patch": func(c *Config) { c.Pixels = 3 },
		"hidden is":        func(c *Config) { c.Hidden = 0 },
		"task is":          func(c *Config) { c.Task = "sing" },
		"temperature":      func(c *Config) { c.Temperature = -1 },
	} {
		c := all()["segment"]
		change(&c)
		require.ErrorContains(t, c.Validate(e), want)
		_, err := New(c, e)
		require.Error(t, err)
	}
	_, err := ParseConfig(`{"task":"segment","legs":3}`, e)
	require.ErrorContains(t, err, "legs")
}

func TestBackground(t *testing.T) {
	for want, c := range map[int][]Config{
		0:  {{Task: Segment, Classes: []string{"0", "1", "2"}}, {Task: Segment, Classes: []string{"sky", "ground"}}, {Task: Detect, Classes: []string{"Background", "x"}}},
		1:  {{Task: Segment, Classes: []string{"x", "background"}}},
		-1: {{Task: Segment, Classes: []string{"1", "2", "3"}}, {Task: Detect, Classes: []string{"a", "b"}}, {Task: Classify, Classes: []string{"0", "1"}}},
	} {
		for _, c := range c {
			require.Equal(t, want, c.Background(), c.Classes)
		}
	}
}
