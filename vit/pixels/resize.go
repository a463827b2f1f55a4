package pixels

import (
	"encoding/binary"
	"math"
)

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
	temp []uint8  // the rows that the vertical pass needs, scaled horizontally
	four []uint64 // four rows of the source in pairs
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
	left := int(r.x.first[0])
	right := int(r.x.first[w-1] + r.x.count[w-1])
	r.four = grow(r.four, 6*(right-left))
	for y := top; y < bottom; y += 4 {
		var from, to [4][]uint8
		for i := range from {
			y := int(min(y+int32(i), bottom-1)) // of less than four the last one goes again
			from[i], to[i] = src.Pix[3*(src.W*y+left):3*(src.W*y+right)], r.temp[3*w*(y-int(top)):][:3*w]
		}
		pairUp(r.four, &from)
		r.x.rows(&to, r.four, left)
	}
	for y := range h {
		first := int(r.y.first[y] - top)
		weights := r.y.weight[y*r.y.width:][:r.y.count[y]]
		combineRows(dst.Pix[3*w*y:3*w*(y+1)], r.temp[3*w*first:], weights)
	}
}

// Both passes compute two sums with one multiplication. A pair holds two samples, or two running sums, as
// low + high<<32, and a signed weight times it is the pair of the products as long as each sum is an int32, which
// precision is chosen for: what the low sum borrows from the high one, unpair gives back.
const (
	pairMask  = 0x000000ff_000000ff
	pairRound = 1<<(precision-1) | 1<<(precision-1+32)
)

// unpair returns the two sums, rounded.
func unpair(sums uint64) (low, high uint8) {
	l := int32(sums)
	return clampFixed(l), clampFixed(int32((sums - uint64(int64(l))) >> 32))
}

// pairUp is dst[2*i] = the pair of rows[0][i] and rows[1][i], and dst[2*i+1] that of rows[2][i] and rows[3][i].
func pairUp(dst []uint64, rows *[4][]uint8) {
	a := rows[0]
	b, c, d := rows[1][:len(a)], rows[2][:len(a)], rows[3][:len(a)]
	for i := range a {
		two := dst[2*i:][:2]
		two[0], two[1] = uint64(a[i])|uint64(b[i])<<32, uint64(c[i])|uint64(d[i])<<32
	}
}

// rows scales four rows of pixels, which pairUp has put into src from pixel left on: for each output o and channel c,
// dst[row][3*o+c] = round(sum of weight * src).
func (a *axis) rows(dst *[4][]uint8, src []uint64, left int) {
	for o, first := range a.first {
		weights := a.weight[o*a.width:][:a.count[o]]
		taps := src[6*(int(first)-left):][:6*len(weights)]
		r01, g01, b01 := uint64(pairRound), uint64(pairRound), uint64(pairRound)
		r23, g23, b23 := r01, g01, b01
		for _, w := range weights {
			if len(taps) < 6 {
				break // never: it lets the compiler drop the checks below
			}
			w := uint64(int64(w))
			r01 += w * taps[0]
			r23 += w * taps[1]
			g01 += w * taps[2]
			g23 += w * taps[3]
			b01 += w * taps[4]
			b23 += w * taps[5]
			taps = taps[6:]
		}
		d0, d1, d2, d3 := dst[0][3*o:][:3], dst[1][3*o:][:3], dst[2][3*o:][:3], dst[3][3*o:][:3]
		d0[0], d1[0] = unpair(r01)
		d0[1], d1[1] = unpair(g01)
		d0[2], d1[2] = unpair(b01)
		d2[0], d3[0] = unpair(r23)
		d2[1], d3[1] = unpair(g23)
		d2[2], d3[2] = unpair(b23)
	}
}

// combineRows is dst[i] = round(sum over k of weights[k] * rows[k*len(dst)+i]). Eight columns are taken at a time, in four
// pairs.
func combineRows(dst, rows []uint8, weights []int32) {
	n := len(dst)
	i := 0
	for ; i+8 <= n; i += 8 {
		s0, s1, s2, s3 := uint64(pairRound), uint64(pairRound), uint64(pairRound), uint64(pairRound)
		at := i
		for _, w := range weights {
			w, x := uint64(int64(w)), binary.LittleEndian.Uint64(rows[at:])
			s0 += w * (x & pairMask)
			s1 += w * (x >> 8 & pairMask)
			s2 += w * (x >> 16 & pairMask)
			s3 += w * (x >> 24 & pairMask)
			at += n
		}
		d := dst[i:][:8]
		d[0], d[4] = unpair(s0)
		d[1], d[5] = unpair(s1)
		d[2], d[6] = unpair(s2)
		d[3], d[7] = unpair(s3)
	}
	for ; i < n; i++ {
		sum := int32(1 << (precision - 1))
		for k, w := range weights {
			sum += w * int32(rows[k*n+i])
		}
		dst[i] = clampFixed(sum)
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
