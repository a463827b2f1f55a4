package tune

import (
	"sync"

	"edgejepa/jepa/data"
	"edgejepa/jepa/labels"
	"edgejepa/vit"
	"edgejepa/vit/heads"
	"edgejepa/vit/pixels"
)

// Examples are labelled pictures: one of the three kinds of labels is there.
type Examples struct {
	Paths   []string
	Classes []string
	Labels  []int                // classify
	Masks   *labels.Segmentation // segment
	Boxes   [][]labels.Box       // detect
	sizes   []pixels.Size        // segment and detect: of the upright pictures, which labels refer to
	set     *data.Set
	skip    func(error)

	mu      sync.Mutex
	masks   []*mask // by picture: what is in memory, &unreadable, or nil
	budget  int64   // bytes of masks that may still be kept
	pending []error // of masks, that skip has not been told of
}

// mask is a class for each pixel.
type mask struct {
	w, h int
	pix  []uint8
}

// unreadable marks a mask that could not be read.
var unreadable mask

// FromClassification takes classified pictures.
func FromClassification(c *labels.Classification) *Examples {
	return &Examples{Paths: c.Paths, Classes: c.Classes, Labels: c.Labels}
}

// FromSegmentation takes pictures with masks.
func FromSegmentation(s *labels.Segmentation) *Examples {
	return &Examples{Paths: s.Paths, Classes: s.Classes, Masks: s, sizes: s.Sizes, masks: make([]*mask, len(s.Paths))}
}

// FromDetection takes pictures with boxes.
func FromDetection(d *labels.Detection) *Examples {
	return &Examples{Paths: d.Paths, Classes: d.Classes, Boxes: d.Boxes, sizes: d.Sizes}
}

// Len is how many pictures there are.
func (x *Examples) Len() int { return len(x.Paths) }

// Task is what they teach.
func (x *Examples) Task() heads.Task {
	switch {
	case x.Masks != nil:
		return heads.Segment
	case x.Boxes != nil:
		return heads.Detect
	}
	return heads.Classify
}

// Pick returns some of the examples, by their index.
func (x *Examples) Pick(index []int) *Examples {
	y := &Examples{Classes: x.Classes}
	if x.Masks != nil {
		y.Masks, y.masks = x.Masks.Pick(index), make([]*mask, len(index))
	}
	for _, i := range index {
		y.Paths = append(y.Paths, x.Paths[i])
		if x.Labels != nil {
			y.Labels = append(y.Labels, x.Labels[i])
		}
		if x.Boxes != nil {
			y.Boxes = append(y.Boxes, x.Boxes[i])
		}
		if x.sizes != nil {
			y.sizes = append(y.sizes, x.sizes[i])
		}
	}
	return y
}

// Open makes the pictures readable for an encoder's inputs, with so much memory for those decoded and their masks. skip is told
// of pictures and masks that turn out to be unreadable, each once; they are left out of what follows.
func (x *Examples) Open(e vit.Config, limits pixels.Limits, cache int64, skip func(error)) {
	x.skip = skip
	clear(x.masks)
	x.budget, x.pending = 0, nil
	x.set = data.OpenList(x.Paths, data.Options{ImageSize: max(e.ImageSize, e.Width()), Limits: limits, OnSkip: skip})
	if x.Masks != nil {
		x.budget = cache / 4 // a mask has one byte a pixel, a picture three
	}
	x.set.Cache(cache - x.budget)
}

// report tells of what could not be read, in the caller's goroutine.
func (x *Examples) report() {
	x.set.Report()
	x.mu.Lock()
	pending := x.pending
	x.pending = nil
	x.mu.Unlock()
	for _, err := range pending {
		x.skip(err)
	}
}

// maskOf reads the mask of picture i, and keeps it if there is room.
func (x *Examples) maskOf(i int) (*mask, error) {
	x.mu.Lock()
	m := x.masks[i]
	x.mu.Unlock()
	if m == &unreadable {
		return nil, errUnread
	} else if m != nil {
		return m, nil
	}
	pix, err := x.Masks.Mask(i)
	x.mu.Lock()
	defer x.mu.Unlock()
	if err != nil {
		if x.masks[i] == nil {
			x.masks[i], x.pending = &unreadable, append(x.pending, err)
		}
		return nil, err
	}
	s := x.sizes[i]
	m = &mask{s.W, s.H, pix}
	if size := int64(len(pix)); size <= x.budget && x.masks[i] == nil {
		x.masks[i] = m
		x.budget -= size
	}
	return m, nil
}

// Sizes are those of the upright pictures; none of pictures that are classified.
func (x *Examples) Sizes() []pixels.Size { return x.sizes }

// Part is the examples under a name, as labels.CheckParts looks at them.
func (x *Examples) Part(name string) labels.Part {
	unit := map[heads.Task]string{heads.Classify: "picture", heads.Segment: "pixel", heads.Detect: "box"}[x.Task()]
	return labels.Part{Name: name, Paths: x.Paths, Classes: x.Classes, Counts: x.Counts(), Unit: unit}
}

// Counts is how many pictures, pixels or boxes there are of each class [C].
func (x *Examples) Counts() []int64 {
	n := make([]int64, len(x.Classes))
	switch {
	case x.Masks != nil:
		return x.Masks.Counts()
	case x.Boxes != nil:
		for _, boxes := range x.Boxes {
			for _, b := range boxes {
				n[b.Class]++
			}
		}
	default:
		for _, y := range x.Labels {
			n[y]++
		}
	}
	return n
}
