package metrics

import (
	"cmp"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// stored is a case with pycocotools' figures; see testdata/coco/README.md.
type stored struct {
	Images, Categories []int
	Annotations        []struct {
		Image    int `json:"image_id"`
		Category int `json:"category_id"`
		BBox     [4]float64
		Area     float64
		IsCrowd  int
	}
	Detections []struct {
		Image    int `json:"image_id"`
		Category int `json:"category_id"`
		BBox     [4]float64
		Score    float64
	}
	Thresholds, Recalls []float64
	Stats               []float64
	Classes             []struct {
		ID              int
		AP, AP50, AR100 float64
	}
}

func readStored(t *testing.T, path string) stored {
	var s stored
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &s))
	slices.Sort(s.Images)
	return s
}

func box(b [4]float64) Box { return Box{b[0], b[1], b[2], b[3]} }

// input numbers pictures and classes in the order of their ids.
func (s *stored) input() (pictures, classes int, objects []Object, found []Found) {
	for _, a := range s.Annotations {
		objects = append(objects, Object{Image: slices.Index(s.Images, a.Image), Class: slices.Index(s.Categories, a.Category),
			Box: box(a.BBox), Area: a.Area, Crowd: a.IsCrowd != 0})
	}
	for _, d := range s.Detections {
		found = append(found, Found{Image: slices.Index(s.Images, d.Image), Class: slices.Index(s.Categories, d.Category),
			Box: box(d.BBox), Score: d.Score})
	}
	return len(s.Images), len(s.Categories), objects, found
}

// figures are those of pycocotools' stats, in its order, then of each class.
func figures(d Detection) []float64 {
	out := []float64{d.AP, d.AP50, d.AP75, d.APSmall, d.APMedium, d.APLarge, d.AR1, d.AR10, d.AR100, d.ARSmall, d.ARMedium, d.ARLarge}
	for _, c := range d.Classes {
		out = append(out, c.AP, c.AP50, c.AR100)
	}
	return out
}

func (s *stored) figures() []float64 {
	out := slices.Clone(s.Stats)
	for _, c := range s.Classes {
		out = append(out, c.AP, c.AP50, c.AR100)
	}
	return out
}

// farthest is the largest difference between figures.
func farthest(a, b []float64) float64 {
	var d float64
	for i := range a {
		d = max(d, math.Abs(a[i]-b[i]))
	}
	return d
}

// pycocotools rounds its means in another order; nothing else differs.
const tolerance = 1e-12

func TestDetectEqualsCOCO(t *testing.T) {
	paths := []string{"testdata/coco/case.json"}
	if dir := os.Getenv("COCO_CASES"); dir != "" {
		more, err := filepath.Glob(filepath.Join(dir, "*.json"))
		require.NoError(t, err)
		require.NotEmpty(t, more)
		paths = append(paths, more...)
	}
	for _, path := range paths {
		s := readStored(t, path)
		require.Len(t, s.Stats, 12)
		for i, v := range s.Thresholds {
			require.Equal(t, v, iouThreshold(i))
		}
		for i, v := range s.Recalls {
			require.Equal(t, v, recallThreshold(i))
		}
		got, err := Detect(s.input())
		require.NoError(t, err)
		want := s.figures()
		for i, v := range figures(got) {
			require.InDelta(t, want[i], v, tolerance, "%s: figure %d", path, i)
		}
	}
}

// TestDetectNotices is the control: what COCO's rules forbid moves a figure by more than the test allows.
func TestDetectNotices(t *testing.T) {
	s := readStored(t, "testdata/coco/case.json")
	pictures, classes, objects, found := s.input()
	for name, change := range map[string]func(objects []Object, found []Found) ([]Object, []Found){
		"scores the other way round": func(o []Object, f []Found) ([]Object, []Found) {
			for i := range f {
				f[i].Score = -f[i].Score
			}
			return o, f
		},
		"equal scores rank last first": func(o []Object, f []Found) ([]Object, []Found) {
			slices.Reverse(f)
			return o, f
		},
		"pictures in another order": func(o []Object, f []Found) ([]Object, []Found) {
			for i := range f {
				f[i].Image = pictures - 1 - f[i].Image
			}
			for i := range o {
				o[i].Image = pictures - 1 - o[i].Image
			}
			return o, f
		},
		"boxes a little narrower, so that exact overlaps miss": func(o []Object, f []Found) ([]Object, []Found) {
			for i := range f {
				f[i].Box.W = math.Nextafter(f[i].Box.W, 0)
			}
			return o, f
		},
		"no crowds": func(o []Object, f []Found) ([]Object, []Found) {
			for i := range o {
				o[i].Crowd = false
			}
			return o, f
		},
		"crowds are merely ignored": func(o []Object, f []Found) ([]Object, []Found) {
			for i := range o {
				o[i].Crowd, o[i].Ignore = false, o[i].Crowd
			}
			return o, f
		},
		"areas of the boxes": func(o []Object, f []Found) ([]Object, []Found) {
			for i := range o {
				o[i].Area = 0
			}
			return o, f
		},
		"100 boxes of a picture, not the best 100": func(o []Object, f []Found) ([]Object, []Found) {
			n := map[[2]int]int{}
			return o, slices.DeleteFunc(f, func(f Found) bool {
				n[[2]int{f.Image, f.Class}]++
				return n[[2]int{f.Image, f.Class}] > maxFound
			})
		},
		"one object more": func(o []Object, f []Found) ([]Object, []Found) {
			return append(o, Object{Box: Box{W: 5, H: 5}}), f
		},
		"one wrong box in front": func(o []Object, f []Found) ([]Object, []Found) {
			return o, append(f, Found{Score: 2, Box: Box{X: 600, W: 1, H: 1}})
		},
	} {
		o, f := change(slices.Clone(objects), slices.Clone(found))
		got, err := Detect(pictures, classes, o, f)
		require.NoError(t, err)
		require.Greater(t, farthest(s.figures(), figures(got)), 1e-6, name)
	}
}

// A case small enough to work out by hand: two objects, three boxes.
func TestDetectByHand(t *testing.T) {
	objects := []Object{{Box: Box{0, 0, 50, 50}}, {Box: Box{100, 0, 50, 50}}}
	found := []Found{
		{Box: Box{0, 0, 50, 50}, Score: 0.9},   // IoU 1
		{Box: Box{300, 0, 50, 50}, Score: 0.8}, // nothing there
		{Box: Box{100, 0, 50, 26}, Score: 0.7}, // IoU 0.52: a hit at 0.5 alone
	}
	d, err := Detect(1, 2, objects, found)
	require.NoError(t, err)
	// At 0.5: precision 1 up to recall 0.5 (51 samples), then 2/3 (50). Above: 1 up to 0.5, then 0.
	require.InDelta(t, (51+50*2.0/3)/101, d.AP50, 1e-12)
	require.InDelta(t, 51.0/101, d.AP75, 1e-12)
	require.InDelta(t, (d.AP50+9*d.AP75)/10, d.AP, 1e-12)
	require.InDelta(t, 0.5, d.AR1, 1e-12)
	require.InDelta(t, (1+9*0.5)/10, d.AR100, 1e-12)
	require.Equal(t, [3]float64{Undefined, d.AP, Undefined}, [3]float64{d.APSmall, d.APMedium, d.APLarge})
	require.Equal(t, ClassAP{AP: d.AP, AP50: d.AP50, AR100: d.AR100, Objects: 2}, d.Classes[0])
	require.Equal(t, ClassAP{AP: Undefined, AP50: Undefined, AR100: Undefined}, d.Classes[1])

	// An ignored object takes up its box, which then counts neither way.
	objects[1].Ignore = true
	found[1].Box = Box{100, 0, 50, 50}
	d, err = Detect(1, 2, objects, found)
	require.NoError(t, err)
	require.InDelta(t, 1, d.AP, 1e-12)
	require.Equal(t, 1, d.Classes[0].Objects)
}

func TestDetectErrors(t *testing.T) {
	nan, good := math.NaN(), Box{0, 0, 1, 1}
	for _, c := range []struct {
		o Object
		f Found
	}{
		{Object{Box: good, Image: 1}, Found{Box: good}},
		{Object{Box: good, Class: -1}, Found{Box: good}},
		{Object{Box: Box{nan, 0, 1, 1}}, Found{Box: good}},
		{Object{Box: good, Area: math.Inf(1)}, Found{Box: good}},
		{Object{Box: good}, Found{Box: good, Image: -1}},
		{Object{Box: good}, Found{Box: good, Class: 1}},
		{Object{Box: good}, Found{Box: good, Score: nan}},
		{Object{Box: good}, Found{Box: Box{0, 0, math.Inf(1), 1}}},
	} {
		_, err := Detect(1, 1, []Object{c.o}, []Found{c.f})
		require.Error(t, err)
	}
	d, err := Detect(0, 0, nil, nil)
	require.NoError(t, err)
	require.EqualValues(t, Undefined, d.AP)
}

// The inputs come back as they were, and so does the result, whatever the order of classes.
func TestDetectIsPure(t *testing.T) {
	s := readStored(t, "testdata/coco/case.json")
	pictures, classes, objects, found := s.input()
	o, f := slices.Clone(objects), slices.Clone(found)
	a, err := Detect(pictures, classes, objects, found)
	require.NoError(t, err)
	require.Equal(t, o, objects)
	require.Equal(t, f, found)
	slices.SortStableFunc(objects, func(a, b Object) int { return cmp.Compare(b.Class, a.Class) })
	slices.SortStableFunc(found, func(a, b Found) int { return cmp.Compare(b.Class, a.Class) })
	b, err := Detect(pictures, classes, objects, found)
	require.NoError(t, err)
	require.Equal(t, a, b)
}
