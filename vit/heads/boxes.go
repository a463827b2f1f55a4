package heads

import (
	"cmp"
	"math"
	"slices"

	"edgejepa/fp"
	"edgejepa/vit"
)

// Box is a rectangle [X0, X1) by [Y0, Y1) in pixels of the encoder's input.
type Box struct{ X0, Y0, X1, Y1 float64 }

func (b Box) area() float64 { return float64(max(b.X1-b.X0, 0) * max(b.Y1-b.Y0, 0)) }

// overlap is the area that two boxes share.
func (b Box) overlap(o Box) float64 {
	w, h := min(b.X1, o.X1)-max(b.X0, o.X0), min(b.Y1, o.Y1)-max(b.Y0, o.Y0)
	if w <= 0 || h <= 0 {
		return 0
	}
	return float64(w * h)
}

// IoU is the area that two boxes share over that which they cover together; 0 for two without area.
func (b Box) IoU(o Box) float64 {
	both := b.overlap(o)
	if both == 0 {
		return 0
	}
	return both / (b.area() + o.area() - both)
}

// Object is a box of a class.
type Object struct {
	Box
	Class int
}

// Found is an object that a detector believes in, and how much: 0 to 1.
type Found struct {
	Object
	Score float64
}

// What counts as found unless told otherwise.
const (
	LeastScore = 0.05 // as in FCOS and RetinaNet; a person wants less and takes 0.3 or more
	mostBefore = 1000 // candidates, by score, that suppression looks at
	MostFound  = 100  // as COCO counts
	sameObject = 0.6  // IoU from which two boxes of a class are one object
)

// cell is one place where a detector looks.
type cell struct {
	x, y   float64 // its centre in pixels
	stride float64
	level  int
}

// cells lists them in the order of the outputs.
func cells(e vit.Config) (all []cell) {
	for i, g := range levels(e) {
		for y := range g.h {
			for x := range g.w {
				s := float64(g.stride)
				all = append(all, cell{(float64(x) + 0.5) * s, (float64(y) + 0.5) * s, s, i})
			}
		}
	}
	return all
}

// mostLog bounds the exponent of a side, which is e^7 = 1,096 cells then.
const mostLog = 7

// box is what a cell's four numbers say: distances to the left, upper, right and lower side, in strides, as logarithms.
func (c cell) box(z []float32) Box {
	var side [4]float64
	for i := range side {
		side[i] = float64(c.stride * fp.Exp(min(float64(z[i]), mostLog)))
	}
	return Box{c.x - side[0], c.y - side[1], c.x + side[2], c.y + side[3]}
}

// sigmoid is 1 / (1 + e^-z).
func sigmoid(z float64) float64 { return 1 / (1 + fp.Exp(-z)) }

// Decode reads a picture's outputs [cells, C+4]: boxes of which a class is at least so likely, clipped to the picture, without
// those that a likelier one of their class covers (greedy suppression at an IoU of 0.6). The likeliest come first.
func (h *Head) Decode(out []float32, least float64) []Found {
	c := len(h.Config.Classes)
	w, high := float64(h.Encoder.Width()), float64(h.Encoder.ImageSize)
	var all []Found
	for i, at := range cells(h.Encoder) {
		row := out[i*(c+4):][:c+4]
		for k, z := range row[:c] {
			if s := sigmoid(float64(z)); s >= least {
				b := at.box(row[c:])
				b = Box{max(b.X0, 0), max(b.Y0, 0), min(b.X1, w), min(b.Y1, high)}
				if b.area() > 0 {
					all = append(all, Found{Object{b, k}, s})
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Found) int { return cmp.Compare(b.Score, a.Score) })
	return suppress(all[:min(len(all), mostBefore)])
}

func suppress(all []Found) (kept []Found) {
	for _, f := range all {
		if !slices.ContainsFunc(kept, func(k Found) bool { return k.Class == f.Class && k.IoU(f.Box) > sameObject }) {
			if kept = append(kept, f); len(kept) == MostFound {
				break
			}
		}
	}
	return kept
}

// finite says that a box has sides and all of it are numbers.
func (b Box) finite() bool { return b.area() > 0 && !math.IsInf(b.area(), 0) }
