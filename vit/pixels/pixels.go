// Package pixels turns a picture on disk into the numbers a vision transformer reads.
//
// The way of a picture: Walk finds it, Sniff names its format, a guard looks at its header and refuses what would
// not fit in memory, Decode gives upright RGB, a Resizer scales it as Pillow does, a Spec crops and normalises it.
// Everything up to the last step is integer arithmetic, so a picture gives the same pixels on every machine.
package pixels

// Image is a picture of W by H pixels: red, green and blue interleaved, one byte each, rows from the top without
// padding. Pixel (x, y) starts at Pix[3*(y*W+x)]. The picture is upright: EXIF orientation has been applied.
type Image struct {
	W, H int
	Pix  []uint8
	trim trim
}

// trim says by how many eighths of a pixel the outermost columns and rows reach beyond the scene: those of a picture that
// was decoded at an eighth of its size, if its width or height is no multiple of 8. Bounds leaves that out.
type trim struct{ left, top, right, bottom uint8 }

// NewImage returns a black picture.
func NewImage(w, h int) Image { return Image{W: w, H: h, Pix: make([]uint8, 3*w*h)} }

// At returns the colour of pixel (x, y). It is for tests and single looks; loops read Pix.
func (m Image) At(x, y int) (r, g, b uint8) {
	p := m.Pix[3*(y*m.W+x):][:3]
	return p[0], p[1], p[2]
}

// reshape makes m a picture of w by h with undefined pixels, keeping its memory where that is large enough.
func (m *Image) reshape(w, h int) {
	if n := 3 * w * h; cap(m.Pix) < n {
		m.Pix = make([]uint8, n)
	} else {
		m.Pix = m.Pix[:n]
	}
	m.W, m.H, m.trim = w, h, trim{}
}

// valid says whether Pix holds what W and H promise.
func (m Image) valid() bool { return m.W > 0 && m.H > 0 && len(m.Pix) == 3*m.W*m.H }
