package pixels

import "math"

// Mean and deviation of ImageNet's channels, by which most vision models normalise.
var (
	ImageNetMean = [3]float32{0.485, 0.456, 0.406}
	ImageNetStd  = [3]float32{0.229, 0.224, 0.225}
)

// Spec is what a model wants its pictures to be.
type Spec struct {
	Size      int        // height in pixels, and width unless that is given
	Width     int        // in pixels; 0: pictures are square
	Mean, Std [3]float32 // of red, green and blue, on the scale from 0 to 1
}

// MinSide is the shorter side that a picture should have for Crop to see no difference from a larger one: the value for
// Limits.MinSide.
func (s Spec) MinSide() int { return Oversample * max(s.Size, s.Width) }

func (s Spec) width() int {
	if s.Width == 0 {
		return s.Size
	}
	return s.Width
}

// Preprocessor makes a model's input from pictures of any size. It keeps its buffers and is not for concurrent use:
// make one a worker.
type Preprocessor struct {
	spec    Spec
	table   *[3][256]float32
	resizer Resizer
	crop    Image
}

// NewPreprocessor returns a preprocessor for a specification. It panics unless the size is positive.
func NewPreprocessor(s Spec) *Preprocessor {
	if s.Size <= 0 || s.Width < 0 {
		panic("pixels: NewPreprocessor: the size must be positive")
	}
	return &Preprocessor{spec: s, table: s.table()}
}

// Preprocess writes the centre of a picture, normalised, to dst [3, Size, Width]: Crop, then Normalize.
func (p *Preprocessor) Preprocess(dst []float32, src Image) { p.Normalize(dst, p.Crop(src)) }

// Crop returns the centre of a picture as Width by Size pixels, in memory that the next call uses again.
func (p *Preprocessor) Crop(src Image) Image {
	CenterCrop(&p.crop, &p.resizer, src, p.spec.width(), p.spec.Size)
	return p.crop
}

// Normalize is dst[(c*H+y)*W+x] = (pixel(x, y, c)/255 - Mean[c]) / Std[c] for a picture of W by H pixels, the model's size.
func (p *Preprocessor) Normalize(dst []float32, img Image) {
	if img.W != p.spec.width() || img.H != p.spec.Size {
		panic("pixels: Normalize: the picture must be of the model's size")
	}
	normalize(dst, img.Pix, p.table)
}

// CenterCrop scales a picture (bicubic) so that it just covers w by h pixels, and writes those at the centre to dst. A
// picture of w by h is copied. What the crop drops is not computed, so a picture 65535 wide and one high costs no more
// than another.
func CenterCrop(dst *Image, r *Resizer, src Image, w, h int) {
	if w <= 0 || h <= 0 || !src.valid() {
		panic("pixels: CenterCrop: the size must be positive and the source complete")
	}
	if src.W == w && src.H == h && src.trim == (trim{}) {
		dst.reshape(w, h)
		copy(dst.Pix, src.Pix)
		return
	}
	width, height := src.Bounds().Size()
	scale := max(float64(w)/width, float64(h)/height)
	whole := [2]int{int(math.RoundToEven(width * scale)), int(math.RoundToEven(height * scale))}
	x, y := (whole[0]-w)/2, (whole[1]-h)/2
	r.resize(dst, src, src.Bounds(), whole[0], whole[1], window{x, y, x + w, y + h}, Bicubic)
}

// table returns the normalised value of each sample value of each channel.
func (s Spec) table() *[3][256]float32 {
	var t [3][256]float32
	for c := range t {
		for v := range t[c] {
			t[c][v] = (float32(v)/255 - s.Mean[c]) / s.Std[c]
		}
	}
	return &t
}

// normalize looks up interleaved samples and writes them as three planes.
func normalize(dst []float32, pix []uint8, t *[3][256]float32) {
	n := len(pix) / 3
	if len(dst) != 3*n {
		panic("pixels: Normalize: dst must hold 3*H*W values")
	}
	red, green, blue := dst[:n], dst[n:][:n], dst[2*n:][:n]
	for i := range red {
		p := pix[3*i:][:3]
		red[i], green[i], blue[i] = t[0][p[0]], t[1][p[1]], t[2][p[2]]
	}
}
