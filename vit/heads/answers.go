package heads

import "math"

// Probabilities fills p [C] from a picture's logits [C]: softmax(logits / Temperature).
func (h *Head) Probabilities(p []float64, logits []float32) {
	t := h.Config.Temperature
	if t == 0 {
		t = 1
	}
	z := make([]float32, len(logits))
	for i, v := range logits {
		z[i] = float32(float64(v) / t)
	}
	softmax(p, z)
}

// ClassMap fills dst [height, width] with the class of each pixel of a picture of that size, from its logits [h·s, w·s, C]:
// they are interpolated linearly along both axes between the centres of the sub-pixels, and the largest counts; of equal ones
// the first.
func (h *Head) ClassMap(dst []uint8, logits []float32, width, height int) {
	g, s, c := tokens(h.Encoder), h.Config.Pixels, len(h.Config.Classes)
	rows, cols := g.h*s, g.w*s
	across := make([]between, width)
	for x := range across {
		across[x] = centre(x, width, cols)
	}
	line := make([]float32, cols*c)
	for y := range height {
		v := centre(y, height, rows)
		lower := logits[v.hi*cols*c:][:cols*c]
		for i, z := range logits[v.lo*cols*c:][:cols*c] {
			line[i] = z + float32(v.t*float32(lower[i]-z))
		}
		for x, u := range across {
			right := line[u.hi*c:][:c]
			best, class := float32(math.Inf(-1)), 0
			for k, z := range line[u.lo*c:][:c] {
				if z += float32(u.t * float32(right[k]-z)); z > best {
					best, class = z, k
				}
			}
			dst[y*width+x] = uint8(class)
		}
	}
}

// between is a place t of the way from cell lo to cell hi.
type between struct {
	lo, hi int
	t      float32
}

// centre is where the centre of pixel i of n lies between those of cells that cover the same length, or on the outermost.
func centre(i, n, cells int) between {
	at := float64((float64(i)+0.5)*float64(cells))/float64(n) - 0.5
	at = min(max(at, 0), float64(cells-1))
	lo := int(at)
	return between{lo, min(lo+1, cells-1), float32(at - float64(lo))}
}

// InPicture scales the boxes of what Decode found to pixels of a picture of that size, which Input scaled as a whole.
func (h *Head) InPicture(found []Found, width, height int) {
	x, y := float64(width)/float64(h.Encoder.Width()), float64(height)/float64(h.Encoder.ImageSize)
	for i := range found {
		b := &found[i].Box
		b.X0, b.X1 = min(b.X0*x, float64(width)), min(b.X1*x, float64(width))
		b.Y0, b.Y1 = min(b.Y0*y, float64(height)), min(b.Y1*y, float64(height))
	}
}
