package pixels

import "math"

// Filter is an interpolation kernel. When a picture shrinks the kernel is stretched over the source pixels that an
// output pixel covers, which is antialiasing.
type Filter uint8

const (
	Bilinear Filter = iota // triangle of half-width 1
	Bicubic                // Keys' cubic of half-width 2 with a = -0.5
)

// support is the half-width of the kernel in output pixels.
func (f Filter) support() float64 {
	if f == Bicubic {
		return 2
	}
	return 1
}

// weight is the kernel at x. Products are rounded before they are added, so no machine fuses the two.
func (f Filter) weight(x float64) float64 {
	x = math.Abs(x)
	if f == Bilinear {
		return max(1-x, 0)
	}
	const a = -0.5
	switch {
	case x < 1:
		return float64(float64((float64((a+2)*x)-(a+3))*x)*x) + 1
	case x < 2:
		return float64((float64((float64((x-5)*x)+8)*x) - 4) * a)
	}
	return 0
}

// Box is a rectangle of a picture in pixels; its edges need not fall on pixel boundaries.
type Box struct{ X0, Y0, X1, Y1 float32 }

// Bounds returns the whole scene as a box: the whole picture, or a little less on two sides of one that was decoded at
// reduced size.
func (m Image) Bounds() Box {
	const unit = 8
	return Box{float32(float32(m.trim.left) / unit), float32(float32(m.trim.top) / unit),
		float32(m.W) - float32(float32(m.trim.right)/unit), float32(m.H) - float32(float32(m.trim.bottom)/unit)}
}

// Size returns the sides of a box.
func (b Box) Size() (w, h float64) { return float64(b.X1 - b.X0), float64(b.Y1 - b.Y0) }

// Resizer scales pictures exactly as Pillow's Image.resize(size, filter, box) does: a horizontal and a vertical pass,
// each of which rounds to 8 bits, with weights in fixed point (Pillow, src/libImaging/Resample.c). It keeps its
// buffers: when sizes recur it allocates nothing. The zero value is ready. It is not for concurrent use.
type Resizer struct {
	x, y axis
	temp []uint8 // the rows that the vertical pass needs, scaled horizontally
	sums []int32 // one output row before rounding
}

// precision is the number of fractional bits of a weight: 32 less the 8 of a sample and 2 for overshoot.
const precision = 32 - 8 - 2

// axis holds the weights of one pass. Output o is the sum over k < count[o] of weight[o*width+k] times input first[o]+k.
type axis struct {
	first, count []int32
	weight       []int32
	width        int
	unrounded    []float64 // weights of one output before rounding
}

// set computes the weights of the outputs [start, end) out of the number that the interval [from, to) of n inputs is
// mapped to.
func (a *axis) set(n int, from, to float32, outputs, start, end int, f Filter) {
	scale := float64(to-from) / float64(outputs)
	stretch := max(scale, 1)
	support := float64(f.support() * stretch)
	inverse := 1 / stretch
	a.width = int(math.Ceil(support))*2 + 1
	a.first, a.count = grow(a.first, end-start), grow(a.count, end-start)
	a.weight, a.unrounded = grow(a.weight, (end-start)*a.width), grow(a.unrounded, a.width)
	for o := range end - start {
		center := float64(from) + float64((float64(o+start)+0.5)*scale)
		lo := max(int(center-support+0.5), 0)
		hi := min(int(center+support+0.5), n)
		total := 0.0
		unrounded := a.unrounded[:max(hi-lo, 0)]
		for k := range unrounded {
			unrounded[k] = f.weight(float64((float64(k+lo) - center + 0.5) * inverse))
			total += unrounded[k]
		}
		row := a.weight[o*a.width:][:len(unrounded)]
		for k, w := range unrounded {
			if total != 0 {
				w /= total
			}
			row[k] = int32(math.Copysign(0.5, w) + float64(w*(1<<precision)))
		}
		a.first[o], a.count[o] = int32(lo), int32(len(unrounded))
	}
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// Resize writes into dst the part of src inside box, scaled to w by h. dst keeps its memory where it is large enough,
// and must not share it with src. It panics if a size is not positive, src is malformed or the box leaves src.
func (r *Resizer) Resize(dst *Image, src Image, box Box, w, h int, f Filter) {
	if w <= 0 || h <= 0 || !src.valid() {
		panic("pixels: Resize: sizes must be positive and the source complete")
	}
	if !(box.X0 >= 0 && box.Y0 >= 0 && box.X1 <= float32(src.W) && box.Y1 <= float32(src.H) && box.X0 < box.X1 && box.Y0 < box.Y1) {
		panic("pixels: Resize: the box must lie inside the source and not be empty")
	}
	if w == src.W && h == src.H && box == (Box{X1: float32(w), Y1: float32(h)}) {
		dst.reshape(w, h)
		copy(dst.Pix, src.Pix)
		return
	}
	r.resize(dst, src, box, w, h, window{0, 0, w, h}, f)
}

// window is the rectangle of output pixels that is wanted.
type window struct{ x0, y0, x1, y1 int }

// resize is Resize followed by a crop to win, without computing what the crop drops. A side that keeps its size goes
// through its pass as well: the weights are then 1 at the pixel itself and 0 beside it.
func (r *Resizer) resize(dst *Image, src Image, box Box, w, h int, win window, f Filter) {
	r.x.set(src.W, box.X0, box.X1, w, win.x0, win.x1, f)
	r.y.set(src.H, box.Y0, box.Y1, h, win.y0, win.y1, f)
	w, h = win.x1-win.x0, win.y1-win.y0
	dst.reshape(w, h)

	top := r.y.first[0]
	bottom := r.y.first[h-1] + r.y.count[h-1]
	r.temp = grow(r.temp, 3*w*int(bottom-top))
	for y := top; y < bottom; y++ {
		at := 3 * w * int(y-top)
		r.x.row(r.temp[at:at+3*w], src.Pix[3*src.W*int(y):3*src.W*(int(y)+1)])
	}
	r.sums = grow(r.sums, 3*w)
	for y := range h {
		first := int(r.y.first[y] - top)
		weights := r.y.weight[y*r.y.width:][:r.y.count[y]]
		combineRows(dst.Pix[3*w*y:3*w*(y+1)], r.temp[3*w*first:], weights, r.sums)
	}
}

// row scales one row of pixels: for each output o and channel c, dst[3*o+c] = round(sum of weight * src).
func (a *axis) row(dst, src []uint8) {
	for o, first := range a.first {
		weights := a.weight[o*a.width:][:a.count[o]]
		taps := src[3*first:][:3*len(weights)]
		red, green, blue := int32(1<<(precision-1)), int32(1<<(precision-1)), int32(1<<(precision-1))
		for _, w := range weights {
			if len(taps) < 3 {
				break // never: it lets the compiler drop the checks below
			}
			red += w * int32(taps[0])
			green += w * int32(taps[1])
			blue += w * int32(taps[2])
			taps = taps[3:]
		}
		d := dst[3*o:][:3]
		d[0], d[1], d[2] = clampFixed(red), clampFixed(green), clampFixed(blue)
	}
}

// combineRows is dst[i] = round(sum over k of weights[k] * rows[k*len(dst)+i]). Four rows are taken at a time, so that
// the running sums are loaded and stored a quarter as often; integer sums do not depend on the order.
func combineRows(dst, rows []uint8, weights []int32, sums []int32) {
	n := len(dst)
	sums = sums[:n]
	for i := range sums {
		sums[i] = 1 << (precision - 1)
	}
	for ; len(weights) >= 4; weights, rows = weights[4:], rows[4*n:] {
		w0, w1, w2, w3 := weights[0], weights[1], weights[2], weights[3]
		r0, r1, r2, r3 := rows[:n], rows[n:][:n], rows[2*n:][:n], rows[3*n:][:n]
		for i := range sums {
			sums[i] += w0*int32(r0[i]) + w1*int32(r1[i]) + w2*int32(r2[i]) + w3*int32(r3[i])
		}
	}
	for k, w := range weights {
		row := rows[k*n:][:n]
		for i := range sums {
			sums[i] += w * int32(row[i])
		}
	}
	for i, s := range sums {
		dst[i] = clampFixed(s)
	}
}

// clampFixed returns a fixed-point sum as a sample.
func clampFixed(v int32) uint8 {
	v >>= precision
	if uint32(v) > 255 {
		return uint8(^(v >> 31)) // 0 below, 255 above
	}
	return uint8(v)
}
