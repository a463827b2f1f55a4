package labels

import (
	"fmt"
	"math"

	"edgejepa/vit/pixels"
)

// slack is how far a box may reach beyond the picture, in pixels, and be clipped without a word: coordinates are written with
// few digits.
const slack = 0.1

// fit clips a box to the picture; ok is false for one that is dropped.
func (r *reporter) fit(b rawBox, size pixels.Size, name, file string) (fixed Box, ok bool) {
	w, h := float64(size.W), float64(size.H)
	for _, v := range []float64{b.X0, b.Y0, b.X1, b.Y1} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			r.add(file, b.line, "%s has a coordinate that is not a finite number; dropped", name)
			return Box{}, false
		}
	}
	if b.X1 <= b.X0 || b.Y1 <= b.Y0 {
		kind := "is empty"
		if b.X1 < b.X0 || b.Y1 < b.Y0 {
			kind = "ends before it begins"
		}
		r.add(file, b.line, "%s %s (%s); dropped", name, kind, corners(b.Box))
		return Box{}, false
	}
	fixed = b.Box
	fixed.X0, fixed.X1 = min(max(b.X0, 0), w), min(max(b.X1, 0), w)
	fixed.Y0, fixed.Y1 = min(max(b.Y0, 0), h), min(max(b.Y1, 0), h)
	if fixed.X1 <= fixed.X0 || fixed.Y1 <= fixed.Y0 {
		r.add(file, b.line, "%s lies outside the picture of %dx%d pixels (%s); dropped", name, size.W, size.H, corners(b.Box))
		return Box{}, false
	}
	if max(-b.X0, -b.Y0, b.X1-w, b.Y1-h) > slack {
		r.add(file, b.line, "%s reaches beyond the picture of %dx%d pixels (%s); clipped", name, size.W, size.H, corners(b.Box))
		fixed.Area *= (fixed.X1 - fixed.X0) / (b.X1 - b.X0) * (fixed.Y1 - fixed.Y0) / (b.Y1 - b.Y0)
	}
	if math.IsNaN(fixed.Area) || math.IsInf(fixed.Area, 0) || fixed.Area < 0 {
		r.add(file, b.line, "%s states an area of %g; that of the box is taken", name, fixed.Area)
		fixed.Area = 0
	}
	return fixed, true
}

// scale turns fractions of the picture's sides into pixels.
func (b *rawBox) scale(w, h float64) {
	b.X0, b.X1 = float64(b.X0*w), float64(b.X1*w)
	b.Y0, b.Y1 = float64(b.Y0*h), float64(b.Y1*h)
}

// turn takes a box from the picture as it is stored to the upright one, for the orientations that exchange its sides
// (EXIF 2.32, tag 274).
func (b *rawBox) turn(orientation int, upright pixels.Size) {
	w, h := float64(upright.W), float64(upright.H)
	x0, y0, x1, y1 := b.Y0, b.X0, b.Y1, b.X1 // 5: transposed
	if orientation == 6 || orientation == 7 {
		x0, x1 = w-x1, w-x0
	}
	if orientation == 7 || orientation == 8 {
		y0, y1 = h-y1, h-y0
	}
	b.X0, b.Y0, b.X1, b.Y1 = x0, y0, x1, y1
}

func corners(b Box) string { return fmt.Sprintf("%g, %g to %g, %g", b.X0, b.Y0, b.X1, b.Y1) }
