package heads

import (
	"math"

	"edgejepa/fp"
)

// Which cells learn of an object: those whose centre lies in it and within reach strides of its own centre, along either
// axis (center sampling: Tian et al., arXiv 2006.09214), on the level whose stride suits its longer side. Where several
// objects claim a cell the smallest has it. An object that no cell lies in has the one nearest to its centre.
const (
	reach      = 1.5
	largeSides = 6 // strides of the fine level from which an object belongs to the coarse one
)

// assign gives each cell its object, or -1.
func assign(all []cell, objects []Object, fine float64) []int {
	of := make([]int, len(all))
	for i := range of {
		of[i] = -1
	}
	smaller := func(o, than int) bool { return than < 0 || objects[o].area() < objects[than].area() }
	for o, b := range objects {
		if !b.finite() {
			continue
		}
		level := 0
		if max(b.X1-b.X0, b.Y1-b.Y0) > largeSides*fine {
			level = 1
		}
		x, y := float64((b.X0+b.X1)/2), float64((b.Y0+b.Y1)/2)
		nearest, least, claimed := -1, math.Inf(1), false
		for i, c := range all {
			if c.level != level {
				continue
			}
			off := max(math.Abs(c.x-x), math.Abs(c.y-y)) / c.stride
			if off < least {
				nearest, least = i, off
			}
			inside := min(c.x-b.X0, b.X1-c.x, c.y-b.Y0, b.Y1-c.y) > 0
			if inside && off < reach && smaller(o, of[i]) {
				of[i], claimed = o, true
			}
		}
		if !claimed && nearest >= 0 && smaller(o, of[nearest]) {
			of[nearest] = o
		}
	}
	return of
}

// DetectLoss is what a detector learns from, for the outputs [cells, C+4] of one picture with these objects:
//
//	classes   quality focal loss: the logit of a cell's class should be the IoU of its box, the others 0
//	          sum of |q - p|^2 · cross-entropy(p, q)                    (Li et al., arXiv 2006.04388)
//	boxes     sum over cells with an object of 2·(1 - GIoU)             (Rezatofighi et al., arXiv 1902.09630)
//
// It fills d with the gradient and returns the two sums, all times scale: the caller's 1 over the number of cells with an
// object, in the batch. See Positives.
func (h *Head) DetectLoss(d, out []float32, objects []Object, scale float64) (classes, boxes float64) {
	c := len(h.Config.Classes)
	all := cells(h.Encoder)
	clear(d)
	for i, o := range assign(all, objects, float64(h.Encoder.PatchSize)) {
		row, drow := out[i*(c+4):][:c+4], d[i*(c+4):][:c+4]
		quality, class := 0.0, -1
		if o >= 0 {
			class = objects[o].Class
			loss, iou, grad := giouLoss(all[i], row[c:], objects[o].Box)
			quality = iou
			boxes += float64(boxWeight * scale * loss)
			for k, g := range grad {
				drow[c+k] = float32(boxWeight * scale * g)
			}
		}
		for k, z := range row[:c] {
			q := 0.0
			if k == class {
				q = quality
			}
			loss, grad := qualityFocal(float64(z), q)
			classes += float64(scale * loss)
			drow[k] = float32(scale * grad)
		}
	}
	return classes, boxes
}

// boxWeight is how much boxes count beside classes, as in GFL.
const boxWeight = 2

// Positives is how many cells have an object.
func (h *Head) Positives(objects []Object) (n int) {
	for _, o := range assign(cells(h.Encoder), objects, float64(h.Encoder.PatchSize)) {
		if o >= 0 {
			n++
		}
	}
	return n
}

// qualityFocal is |q-p|^2·(-q·log p - (1-q)·log(1-p)), p = sigmoid(z), and its derivative by z.
func qualityFocal(z, q float64) (loss, grad float64) {
	p := sigmoid(z)
	// log(1+e^-|z|) is the stable part of both logarithms.
	soft := fp.Log(1 + fp.Exp(-math.Abs(z)))
	entropy := max(z, 0) + soft - float64(z*q)
	diff := p - q
	return float64(float64(diff*diff) * entropy), float64(2*diff*float64(p*(1-p))*entropy) + float64(float64(diff*diff)*diff)
}

// giouLoss is 1 - GIoU of a cell's box and the object's, the IoU, and the derivative by the cell's four numbers.
func giouLoss(c cell, z []float32, truth Box) (loss, iou float64, grad [4]float64) {
	b := c.box(z)
	inter := b.overlap(truth)
	union := b.area() + truth.area() - inter
	hull := Box{min(b.X0, truth.X0), min(b.Y0, truth.Y0), max(b.X1, truth.X1), max(b.Y1, truth.Y1)}
	all := hull.area()
	iou = inter / union
	loss = 1 - iou + (all-union)/all

	// The sides of b, in the order of z, move outwards by s: what that does to the areas.
	w, h := b.X1-b.X0, b.Y1-b.Y0
	iw, ih := min(b.X1, truth.X1)-max(b.X0, truth.X0), min(b.Y1, truth.Y1)-max(b.Y0, truth.Y0)
	hw, hh := hull.X1-hull.X0, hull.Y1-hull.Y0
	within := [4]bool{b.X0 > truth.X0, b.Y0 > truth.Y0, b.X1 < truth.X1, b.Y1 < truth.Y1}
	side := [4]float64{c.x - b.X0, c.y - b.Y0, b.X1 - c.x, b.Y1 - c.y}
	for i := range grad {
		across, interAcross, hullAcross := h, ih, hh
		if i%2 == 1 {
			across, interAcross, hullAcross = w, iw, hw
		}
		dInter, dAll := 0.0, 0.0
		if within[i] {
			if iw > 0 && ih > 0 {
				dInter = interAcross
			}
		} else {
			dAll = hullAcross
		}
		dUnion := across - dInter
		d := -(float64(dInter*union) - float64(inter*dUnion)) / float64(union*union)
		d -= (float64(dUnion*all) - float64(union*dAll)) / float64(all*all)
		if z[i] < mostLog {
			grad[i] = float64(d * side[i]) // by the logarithm
		}
	}
	return loss, iou, grad
}
