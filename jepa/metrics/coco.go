package metrics

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
)

// Box is a rectangle in pixels by its corner of least coordinates and its size, as in COCO's files. (COCO's figures at a
// threshold that an IoU meets exactly depend on the last bit of width and height; corners would not keep it.)
type Box struct{ X, Y, W, H float64 }

// Object is a box that is to be found.
type Object struct {
	Image, Class int
	Box          Box
	Area         float64 // of the object in square pixels, which decides on its size class; COCO has that of the outline. 0: W times H
	Crowd        bool    // a group: may be found any number of times, which counts neither for nor against (COCO's iscrowd)
	Ignore       bool    // may be found or missed, which counts neither way (Pascal VOC's difficult); a crowd is ignored in any case
}

// Found is a box that a detector gives.
type Found struct {
	Image, Class int
	Box          Box
	Score        float64 // higher is more certain
}

// Detection holds COCO's twelve figures in [0, 1], Undefined where nothing was to be found. Small objects have an area of
// up to 32² pixels, medium ones from there to 96², large ones of 96² or more; both ends belong to either class.
type Detection struct {
	AP, AP50, AP75             float64 // mean over thresholds on the IoU of 0.5:0.05:0.95; at 0.5; at 0.75. At most 100 boxes a picture and class, as below
	APSmall, APMedium, APLarge float64
	AR1, AR10, AR100           float64 // mean over thresholds of the greatest recall, with at most so many boxes a picture and class
	ARSmall, ARMedium, ARLarge float64

	Classes []ClassAP // [C]
}

// ClassAP are the figures of one class.
type ClassAP struct {
	AP, AP50, AR100 float64
	Objects         int // that count: neither crowds nor ignored
}

const (
	iouSteps    = 10  // 0.5:0.05:0.95
	recallSteps = 101 // 0:0.01:1
	maxFound    = 100 // boxes a picture and class
	epsilon     = 0x1p-52
)

var (
	mostFound = [3]int{1, 10, maxFound}

	// areas are all, small, medium and large.
	areas = [4][2]float64{{0, 1e10}, {0, 32 * 32}, {32 * 32, 96 * 96}, {96 * 96, 1e10}}
)

// iouThreshold and recallThreshold give the bits of numpy.linspace, which pycocotools takes them from: an IoU that meets a
// threshold exactly is a hit.
func iouThreshold(t int) float64 {
	if t == iouSteps-1 {
		return 0.95
	}
	low, high := 0.5, 0.95
	return float64(float64(t)*((high-low)/(iouSteps-1))) + low
}

func recallThreshold(r int) float64 {
	if r == recallSteps-1 {
		return 1
	}
	return float64(r) * (1.0 / (recallSteps - 1))
}

// Detect evaluates boxes as COCOeval of pycocotools 2.0 does for iouType "bbox" with its standard parameters
// (https://github.com/cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py, and bbIou in common/maskApi.c; Lin et al.,
// arXiv 1405.0312):
//
//   - of each picture and class the 100 boxes with the highest scores take part; each takes, in falling order of score, the
//     free object with the highest IoU at or above the threshold, of equals the last; an ignored one only if no other fits.
//     A crowd is never taken up, and its IoU is the intersection by the area of the found box;
//   - boxes on ignored objects, and boxes without an object whose own area is outside the range, do not count;
//   - precision is made non-increasing over recall and sampled at the recalls 0, 0.01, ..., 1, with 0 beyond the greatest;
//     AP is the mean of the samples, over thresholds and over the classes that have an object.
//
// Boxes of equal score rank in the order of pictures and, within a picture, of found; the numbers of the pictures are to be
// in the order of COCO's image ids if the figures are to be the same. (Where pycocotools is given an object of id 0 it takes
// its match for none; ids play no part here.)
//
// It is an error if a picture or class is out of range, or a coordinate or score is not finite.
func Detect(pictures, classes int, objects []Object, found []Found) (Detection, error) {
	groups, err := group(pictures, classes, objects, found)
	if err != nil {
		return Detection{}, err
	}
	var all tally
	out := Detection{Classes: make([]ClassAP, classes)}
	for c := range classes {
		var one tally
		if groups[c] != nil {
			one = evaluate(groups[c])
		}
		k := &out.Classes[c]
		k.AP, k.AP50, k.AR100, k.Objects = one.ap(0, -1), one.ap(0, 0), one.ar(0, 2), one.objects
		all.add(&one)
	}
	out.AP, out.AP50, out.AP75 = all.ap(0, -1), all.ap(0, 0), all.ap(0, 5)
	out.APSmall, out.APMedium, out.APLarge = all.ap(1, -1), all.ap(2, -1), all.ap(3, -1)
	out.AR1, out.AR10, out.AR100 = all.ar(0, 0), all.ar(0, 1), all.ar(0, 2)
	out.ARSmall, out.ARMedium, out.ARLarge = all.ar(1, 2), all.ar(2, 2), all.ar(3, 2)
	return out, nil
}

// tally sums precision and recall over classes. A class without objects of an area range adds nothing there.
type tally struct {
	precision [4][iouSteps]float64                 // [area, threshold], the mean over recalls at 100 boxes
	recall    [4][len(mostFound)][iouSteps]float64 // the greatest
	classes   [4]int
	objects   int
}

func (t *tally) add(o *tally) {
	for a := range areas {
		t.classes[a] += o.classes[a]
		for i := range iouSteps {
			t.precision[a][i] += o.precision[a][i]
			for m := range mostFound {
				t.recall[a][m][i] += o.recall[a][m][i]
			}
		}
	}
}

// ap is the mean precision for an area range at one threshold, or over all with -1.
func (t *tally) ap(area, threshold int) float64 { return t.mean(&t.precision[area], area, threshold) }

func (t *tally) ar(area, most int) float64 { return t.mean(&t.recall[area][most], area, -1) }

func (t *tally) mean(by *[iouSteps]float64, area, threshold int) float64 {
	switch {
	case t.classes[area] == 0:
		return Undefined
	case threshold >= 0:
		return by[threshold] / float64(t.classes[area])
	}
	var sum float64
	for _, v := range by {
		sum += v
	}
	return sum / float64(iouSteps*t.classes[area])
}

// scene is what one picture holds of one class.
type scene struct {
	objects []Object
	found   []Found     // at most maxFound, by falling score
	iou     [][]float64 // [found, objects]
}

// group sorts objects and boxes into scenes: by class and, in rising order, by picture.
func group(pictures, classes int, objects []Object, found []Found) ([][]*scene, error) {
	type key struct{ class, image int }
	scenes := map[key]*scene{}
	at := func(class, image int, what string, i int) (*scene, error) {
		if image < 0 || image >= pictures || class < 0 || class >= classes {
			return nil, fmt.Errorf("metrics: %s %d is of picture %d and class %d; there are %d pictures and %d classes", what, i, image, class, pictures, classes)
		}
		k := key{class, image}
		if scenes[k] == nil {
			scenes[k] = &scene{}
		}
		return scenes[k], nil
	}
	for i, o := range objects {
		s, err := at(o.Class, o.Image, "object", i)
		if err != nil {
			return nil, err
		}
		if !finite(o.Box.X, o.Box.Y, o.Box.W, o.Box.H, o.Area) {
			return nil, fmt.Errorf("metrics: object %d of picture %d has a coordinate that is not finite", i, o.Image)
		}
		if o.Area <= 0 {
			o.Area = o.Box.W * o.Box.H
		}
		s.objects = append(s.objects, o)
	}
	for i, f := range found {
		s, err := at(f.Class, f.Image, "box", i)
		if err != nil {
			return nil, err
		}
		if !finite(f.Box.X, f.Box.Y, f.Box.W, f.Box.H, f.Score) {
			return nil, fmt.Errorf("metrics: box %d of picture %d has a coordinate or score that is not finite", i, f.Image)
		}
		s.found = append(s.found, f)
	}
	keys := make([]key, 0, len(scenes))
	for k := range scenes {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b key) int { return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.image, b.image)) })
	out := make([][]*scene, classes)
	for _, k := range keys {
		s := scenes[k]
		s.rank()
		out[k.class] = append(out[k.class], s)
	}
	return out, nil
}

func finite(values ...float64) bool {
	for _, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}

// rank orders the boxes by falling score, keeps the first and computes their overlaps.
func (s *scene) rank() {
	slices.SortStableFunc(s.found, func(a, b Found) int { return cmp.Compare(b.Score, a.Score) })
	s.found = s.found[:min(len(s.found), maxFound)]
	for _, f := range s.found {
		row := make([]float64, len(s.objects))
		for g, o := range s.objects {
			row[g] = IoU(f.Box, o.Box, o.Crowd)
		}
		s.iou = append(s.iou, row)
	}
}

// IoU is the area of the intersection of a found box and an object's by that of their union; with a crowd, by that of the
// found box.
func IoU(found, object Box, crowd bool) float64 {
	w := min(found.W+found.X, object.W+object.X) - max(found.X, object.X)
	h := min(found.H+found.Y, object.H+object.Y) - max(found.Y, object.Y)
	if w <= 0 || h <= 0 {
		return 0
	}
	both := float64(w * h)
	union := float64(found.W * found.H)
	if !crowd {
		union = union + float64(object.W*object.H) - both
	}
	return both / union
}

// verdict is what became of one box at each threshold.
type verdict struct {
	score   float64
	place   int // rank within its picture
	hit     [iouSteps]bool
	ignored [iouSteps]bool
}

// evaluate judges the scenes of one class.
func evaluate(scenes []*scene) tally {
	var t tally
	for a, area := range areas {
		var verdicts []verdict
		objects := 0
		for _, s := range scenes {
			v, n := s.match(area)
			verdicts = append(verdicts, v...)
			objects += n
		}
		if objects == 0 {
			continue
		}
		if a == 0 {
			t.objects = objects
		}
		t.classes[a] = 1
		slices.SortStableFunc(verdicts, func(a, b verdict) int { return cmp.Compare(b.score, a.score) })
		for m, most := range mostFound {
			for i := range iouSteps {
				precision, recall := curve(verdicts, i, most, objects)
				t.recall[a][m][i] = recall
				if most == maxFound {
					t.precision[a][i] = precision
				}
			}
		}
	}
	return t
}

// match assigns the boxes of a scene to its objects. It returns a verdict for each box, and how many objects count.
func (s *scene) match(area [2]float64) (verdicts []verdict, objects int) {
	// Objects that count come first, so that a box is offered them before any that is ignored.
	order := make([]int, 0, len(s.objects))
	ignored := make([]bool, len(s.objects))
	for g, o := range s.objects {
		ignored[g] = o.Crowd || o.Ignore || o.Area < area[0] || o.Area > area[1]
		if !ignored[g] {
			order = append(order, g)
		}
	}
	objects = len(order)
	for g := range s.objects {
		if ignored[g] {
			order = append(order, g)
		}
	}
	verdicts = make([]verdict, len(s.found))
	taken := make([]bool, len(s.objects))
	for i := range iouSteps {
		threshold := min(iouThreshold(i), 1-1e-10)
		clear(taken)
		for d, f := range s.found {
			best, highest := -1, threshold
			for _, g := range order {
				if taken[g] && !s.objects[g].Crowd {
					continue
				}
				if best >= 0 && !ignored[best] && ignored[g] {
					break
				}
				if s.iou[d][g] >= highest {
					best, highest = g, s.iou[d][g]
				}
			}
			v := &verdicts[d]
			v.score, v.place = f.Score, d
			if best >= 0 {
				taken[best] = true
				v.hit[i], v.ignored[i] = true, ignored[best]
			} else {
				size := f.Box.W * f.Box.H
				v.ignored[i] = size < area[0] || size > area[1]
			}
		}
	}
	return verdicts, objects
}

// curve returns the mean of the interpolated precision at recalls 0:0.01:1, and the greatest recall, at one threshold, of
// verdicts by falling score. Only the first most boxes of each picture take part.
func curve(verdicts []verdict, threshold, most, objects int) (precision, recall float64) {
	var hits, misses float64
	var p, r []float64 // after each box that counts
	for i := range verdicts {
		v := &verdicts[i]
		if v.place >= most || v.ignored[threshold] {
			continue
		}
		if v.hit[threshold] {
			hits++
		} else {
			misses++
		}
		p = append(p, hits/(misses+hits+epsilon))
		r = append(r, hits/float64(objects))
	}
	if len(r) == 0 {
		return 0, 0
	}
	for i := len(p) - 1; i > 0; i-- {
		p[i-1] = max(p[i-1], p[i])
	}
	for k := range recallSteps {
		if at := sort.SearchFloat64s(r, recallThreshold(k)); at < len(p) {
			precision += p[at]
		}
	}
	return precision / recallSteps, r[len(r)-1]
}
