package tune

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/parallel"
	"edgejepa/internal/rng"
	"edgejepa/internal/safetensors"
	"edgejepa/jepa/labels"
	"edgejepa/vit"
	"edgejepa/vit/heads"
	"edgejepa/vit/pixels"
)

// The pictures of these tests are dark with one bright rectangle, red (class 0) or blue (class 1).
const (
	drawnW, drawnH = 60, 48
	drawn          = 24
)

type rectangle struct {
	image.Rectangle
	class int
}

func drawPNG(t *testing.T, path string, m image.Image) {
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, m))
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
}

// folder draws pictures with classes, masks and boxes.
func folder(t *testing.T, n int) (dir string, drawn []rectangle) {
	dir = t.TempDir()
	s := rng.New(1, rng.PurposeDemo, 0, 0)
	for i := range n {
		w, h := 14+s.IntN(14), 12+s.IntN(12)
		x, y := s.IntN(drawnW-w), s.IntN(drawnH-h)
		r := rectangle{image.Rect(x, y, x+w, y+h), i % 2}
		m := image.NewRGBA(image.Rect(0, 0, drawnW, drawnH))
		mask := image.NewPaletted(m.Bounds(), color.Palette{color.Black, color.RGBA{255, 0, 0, 255}, color.RGBA{0, 0, 255, 255}})
		for py := range drawnH {
			for px := range drawnW {
				c := color.RGBA{20, 25, 20, 255}
				if (image.Point{X: px, Y: py}).In(r.Rectangle) {
					c = []color.RGBA{{230, 40, 30, 255}, {30, 40, 230, 255}}[r.class]
					mask.SetColorIndex(px, py, uint8(1+r.class))
				}
				m.Set(px, py, c)
			}
		}
		drawPNG(t, filepath.Join(dir, "classes", []string{"red", "blue"}[r.class], fmt.Sprintf("%02d.png", i)), m)
		drawPNG(t, filepath.Join(dir, "images", fmt.Sprintf("%02d.png", i)), m)
		drawPNG(t, filepath.Join(dir, "masks", fmt.Sprintf("%02d.png", i)), mask)
		drawn = append(drawn, r)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "classes.txt"), []byte("background\nred\nblue\n"), 0o644))
	return dir, drawn
}

// examples are n pictures for a task.
func examples(t *testing.T, task heads.Task, n int) *Examples {
	dir, rs := folder(t, n)
	switch task {
	case heads.Classify:
		c, err := labels.OpenClassification([]string{filepath.Join(dir, "classes")}, labels.Options{})
		require.NoError(t, err)
		return FromClassification(c)
	case heads.Segment:
		s, err := labels.OpenSegmentation(dir, labels.Options{})
		require.NoError(t, err)
		return FromSegmentation(s)
	}
	d := &labels.Detection{Classes: []string{"red", "blue"}}
	for i, r := range rs {
		d.Paths = append(d.Paths, filepath.Join(dir, "images", fmt.Sprintf("%02d.png", i)))
		d.Sizes = append(d.Sizes, pixels.Size{W: drawnW, H: drawnH})
		d.Boxes = append(d.Boxes, []labels.Box{{X0: float64(r.Min.X), Y0: float64(r.Min.Y), X1: float64(r.Max.X), Y1: float64(r.Max.Y), Class: r.class}})
	}
	return FromDetection(d)
}

// config is a small run of a task.
func config(task heads.Task, kind heads.Kind, x *Examples, frozen bool) Config {
	p, _ := vit.PresetNamed("micro")
	e := p.Config(24, 4)
	if task != heads.Classify {
		e = e.At(24, 32)
	}
	h := heads.Default(task, kind, e)
	h.Classes = x.Classes
	if h.Hidden > 0 {
		h.Hidden = 16
	}
	f := 0
	if frozen {
		f = e.Depth
	}
	c := Default(e, h, f)
	c.Batch, c.LR = 8, 4e-3
	c.SetSteps(20)
	return c
}

func begin(t *testing.T, c Config, x *Examples, chunk, workers int) *Run {
	return beginWithin(t, c, x, chunk, workers, 1<<24, 1<<24)
}

// beginWithin begins a run with so many bytes for pictures, and for features that are computed once.
func beginWithin(t *testing.T, c Config, x *Examples, chunk, workers int, cache, room int64) *Run {
	pool := parallel.New(workers)
	t.Cleanup(pool.Close)
	tr, err := NewTrainer(c, pretrained(t, c), chunk, pool)
	require.NoError(t, err)
	x.Open(c.Encoder, pixels.Limits{}, cache, func(err error) { require.NoError(t, err) })
	r, err := Begin(context.Background(), tr, x, room, func(int) {})
	require.NoError(t, err)
	return r
}

// pretrained is the encoder that these runs begin with.
func pretrained(t *testing.T, c Config) *vit.Encoder {
	from, err := vit.NewEncoder(c.Encoder)
	require.NoError(t, err)
	from.Params.Init(5)
	return from
}

func state(t *testing.T, r *Run) []byte {
	var b bytes.Buffer
	require.NoError(t, r.WriteCheckpoint(&b))
	return b.Bytes()
}

// forms are the runs that there are, small.
func forms(t *testing.T, each func(t *testing.T, c Config, x *Examples)) {
	for _, task := range []heads.Task{heads.Classify, heads.Segment, heads.Detect} {
		for _, frozen := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/frozen=%t", task, frozen), func(t *testing.T) {
				x := examples(t, task, drawn)
				kind := heads.Kind("")
				if task == heads.Classify {
					kind = heads.Attentive
				}
				each(t, config(task, kind, x, frozen), x)
			})
		}
	}
	t.Run("classify/int8", func(t *testing.T) {
		x := examples(t, heads.Classify, drawn)
		c := config(heads.Classify, heads.Linear, x, false)
		c.Precision = vit.I8
		each(t, c, x)
	})
}

// Neither how many pictures go through the network at a time, nor threads, nor memory, nor an interruption, nor having been
// measured change a bit of a run.
func TestNothingChangesARun(t *testing.T) {
	forms(t, func(t *testing.T, c Config, x *Examples) {
		one := begin(t, c, x, 8, 2)
		for range 4 {
			require.False(t, one.Next().Skipped)
		}
		want := state(t, one)
		one.Restart(pretrained(t, c), c.Steps)
		for range 4 {
			one.Next()
		}
		require.True(t, bytes.Equal(want, state(t, one)), "begun again")
		parts := beginWithin(t, c, x, 3, 1, 0, CacheBytes(c, 5))
		require.Equal(t, c.Cached(), parts.cache != nil)
		parts.Next()
		parts.Next()
		path := filepath.Join(t.TempDir(), "c.safetensors")
		require.NoError(t, os.WriteFile(path, state(t, parts), 0o644))
		again := begin(t, c, x, 3, 2)
		f, err := safetensors.Open(path)
		require.NoError(t, err)
		require.NoError(t, again.Restore(f))
		require.Equal(t, 2, again.Done())
		again.Next()
		again.Next()
		require.True(t, bytes.Equal(want, state(t, again)))
		again.Next()
		require.False(t, bytes.Equal(want, state(t, again)), "a further step changes the state")
		other := c
		other.LR *= 2
		require.Error(t, begin(t, other, x, 8, 2).Restore(f))
	})
}

// Of pictures that cannot be read, features are neither kept nor computed, each is told of once, and the others are learnt from.
func TestUnreadable(t *testing.T) {
	for _, task := range []heads.Task{heads.Classify, heads.Segment} {
		x := examples(t, task, drawn)
		kind := heads.Kind("")
		if task == heads.Classify {
			kind = heads.Linear
		}
		c := config(task, kind, x, true)
		c.Augment.On = false
		var told []error
		for _, i := range []int{3, 20} {
			require.NoError(t, os.Truncate(x.Paths[i], 100))
		}
		bad := 2
		if task == heads.Segment {
			require.NoError(t, os.Truncate(x.Masks.Masks[5], 40))
			bad++
		}
		open := func(cache int64) {
			told = nil
			x.Open(c.Encoder, pixels.Limits{}, cache, func(err error) { told = append(told, err) })
		}
		pool := parallel.New(2)
		defer pool.Close()
		var states [][]byte
		for _, room := range []int64{0, CacheBytes(c, 10), math.MaxInt64} {
			tr, err := NewTrainer(c, pretrained(t, c), 3, pool)
			require.NoError(t, err)
			open(0)
			r, err := Begin(context.Background(), tr, x, room, func(int) {})
			require.NoError(t, err)
			pictures := 0
			for range drawn / c.Batch {
				pictures += r.Next().Pictures
			}
			require.Equal(t, drawn-bad, pictures)
			require.Len(t, told, bad)
			f, err := r.Judge(context.Background(), x, false)
			require.NoError(t, err)
			require.Equal(t, drawn-bad, f.Pictures)
			require.Len(t, told, bad)
			states = append(states, state(t, r))
		}
		require.True(t, bytes.Equal(states[0], states[1]) && bytes.Equal(states[1], states[2]))
	}
}

// What learns does, and what stands still does not move.
func TestFrozenStandsStill(t *testing.T) {
	x := examples(t, heads.Segment, 8)
	c := config(heads.Segment, "", x, false)
	c.Frozen = 1
	r := begin(t, c, x, 8, 2)
	before := append([]float32(nil), r.Encoder.Params.Value...)
	r.Next()
	r.Next()
	at := 0
	for _, p := range r.Encoder.Params.List {
		moved := false
		for i, v := range p.Value {
			moved = moved || v != before[at+i]
		}
		require.Equal(t, r.rate(0, p.Name) > 0, moved, p.Name)
		at += p.Len()
	}
	require.Zero(t, r.rate(0, "patch_embed.proj.weight"))
	require.Zero(t, r.rate(0, "blocks.0.mlp.fc1.weight"))
	require.Equal(t, 0.75, r.rate(0, "blocks.1.mlp.fc1.weight"))
	require.Equal(t, 1.0, r.rate(0, "norm.weight"))
	require.Zero(t, r.rate(1, "features.weight"))
}

// Pooled features of an encoder that learns are not amplified; others are.
func TestFeaturesAreNotAmplified(t *testing.T) {
	x := examples(t, heads.Classify, drawn)
	for kind, amplified := range map[heads.Kind][2]bool{heads.Linear: {true, false}, heads.Attentive: {true, true}} {
		for learns, want := range amplified {
			r := begin(t, config(heads.Classify, kind, x, learns == 0), x, 8, 2)
			for _, p := range r.Head.Params.List {
				if p.Name == "features.weight" {
					require.Equal(t, want, slices.Max(p.Value) > 1, "%s, learns: %d", kind, learns)
				}
			}
		}
	}
}

// Some hundred steps are enough for these pictures, from random weights; an untrained head knows nothing.
func TestLearns(t *testing.T) {
	if testing.Short() {
		t.Skip("some hundred steps")
	}
	for task, bar := range map[heads.Task]float64{heads.Classify: 95, heads.Segment: 85, heads.Detect: 80} {
		t.Run(string(task), func(t *testing.T) {
			x := examples(t, task, 2*drawn)
			train, test := x.Pick(evens(2*drawn, 0)), x.Pick(evens(2*drawn, 1))
			kind := heads.Kind("")
			if task == heads.Classify {
				kind = heads.MLP
			}
			c := config(task, kind, x, false)
			c.SetSteps(500)
			r := begin(t, c, train, 8, 2)
			test.Open(c.Encoder, pixels.Limits{}, 1<<24, func(err error) { require.NoError(t, err) })
			before, err := r.Judge(context.Background(), test, false)
			require.NoError(t, err)
			require.Less(t, before.Main, 65.0)
			for range c.Steps {
				require.False(t, r.Next().Skipped)
			}
			after, err := r.Judge(context.Background(), test, task == heads.Classify)
			require.NoError(t, err)
			t.Logf("%s: %.1f", task, after.Main)
			require.Greater(t, after.Main, bar, "%+v", after)
			require.Equal(t, drawn, after.Pictures)
		})
	}
}

func evens(n, odd int) (index []int) {
	for i := range n {
		if i/2%2 == odd {
			index = append(index, i)
		}
	}
	return index
}

// Masks and boxes go where the pixels go, whatever the crop: in the input, what is bright lies in the mask and in the box.
func TestLabelsFollowPixels(t *testing.T) {
	for _, task := range []heads.Task{heads.Segment, heads.Detect} {
		x := examples(t, task, drawn)
		c := config(task, "", x, true)
		c.Augment.Jitter = 0
		r := begin(t, c, x, 8, 2)
		e, checked := c.Encoder, 0
		for step := range 12 {
			b := r.feed.prepare(r.feed.rows(step))
			require.Equal(t, 8, b.n)
			for i := range b.n {
				px := b.px[i*e.PixelLen():][:e.PixelLen()]
				bright := func(x, y int) float64 { // 0 to 1: how much of the rectangle is in the pixel
					n := e.ImageSize * e.Width()
					red := float64(px[y*e.Width()+x])*float64(e.Std[0]) + float64(e.Mean[0])
					blue := float64(px[2*n+y*e.Width()+x])*float64(e.Std[2]) + float64(e.Mean[2])
					return (max(red, blue)*255 - 20) / 210
				}
				if task == heads.Segment {
					for y := range e.ImageSize {
						for x := range e.Width() {
							if v, class := bright(x, y), b.masks[i][y*e.Width()+x]; math.Abs(v-0.5) > 0.45 {
								require.Equal(t, v > 0.5, class > 0, "%d, %d of picture %d: %g, %d", x, y, i, v, class)
								checked++
							}
						}
					}
					continue
				}
				for _, o := range b.objects[i] {
					sum := 0.0
					for y := range e.ImageSize {
						for x := range e.Width() {
							sum += bright(x, y)
							if float64(x)+1 < o.X0-1 || float64(x) > o.X1+1 || float64(y)+1 < o.Y0-1 || float64(y) > o.Y1+1 {
								require.Less(t, bright(x, y), 0.1)
							}
						}
					}
					require.InEpsilon(t, (o.X1-o.X0)*(o.Y1-o.Y0), sum, 0.1)
					checked++
				}
			}
		}
		require.Greater(t, checked, 40)
	}
}
