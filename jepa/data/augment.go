package data

import (
	"math"

	"edgejepa/fp"
	"edgejepa/internal/rng"
	"edgejepa/vit/pixels"
)

// AugmentOptions are the random resized crop of I-JEPA (torchvision's RandomResizedCrop), a flip, changes of colour and the
// normalisation.
type AugmentOptions struct {
	Views      int        // of a picture, each drawn for itself; zero means 1
	CropScale  [2]float64 // share of the picture's area, drawn uniformly; zero means [0.3, 1]
	CropAspect [2]float64 // width over height, drawn uniformly in its logarithm; zero means [3/4, 4/3]
	Flip       bool       // mirror every second picture
	FlipY      bool       // and turn every second one upside down
	Stretch    bool       // CropAspect is beside that of the picture, so that a crop of scale 1 is all of it
	Jitter     float64    // strength of changes of brightness, contrast and saturation, 0 to 1; see jitter
	Mean, Std  [3]float32
}

func (o AugmentOptions) withDefaults() AugmentOptions {
	if o.CropScale == [2]float64{} {
		o.CropScale = [2]float64{0.3, 1}
	}
	if o.CropAspect == [2]float64{} {
		o.CropAspect = [2]float64{3.0 / 4, 4.0 / 3}
	}
	o.Views = max(1, o.Views)
	return o
}

// Augmenter makes model inputs from pictures at random. It keeps its buffers and is not for concurrent use: make one a
// worker.
type Augmenter struct {
	w, h      int
	options   AugmentOptions
	logAspect [2]float64
	resizer   pixels.Resizer
	crop      pixels.Image
	pre       *pixels.Preprocessor
}

// NewAugmenter returns an augmenter for inputs of size by size pixels.
func NewAugmenter(size int, o AugmentOptions) *Augmenter { return NewAugmenterAt(size, size, o) }

// NewAugmenterAt returns one for inputs of h by w pixels. CropAspect is then that of the crop as it is in the picture.
func NewAugmenterAt(h, w int, o AugmentOptions) *Augmenter {
	o = o.withDefaults()
	return &Augmenter{
		w: w, h: h, options: o,
		logAspect: [2]float64{fp.Log(o.CropAspect[0]), fp.Log(o.CropAspect[1])},
		pre:       pixels.NewPreprocessor(pixels.Spec{Size: h, Width: w, Mean: o.Mean, Std: o.Std}),
	}
}

// viewBit is the first bit of a stream's index that counts views; below it are pictures.
const viewBit = 48

// Augment writes to dst [views, 3, size, size] the crops that picture number index takes in an epoch, scaled (bilinear,
// antialiased), perhaps mirrored, perhaps changed in colour, and normalised. Each is a function of the picture, seed,
// epoch, index and the number of the view.
func (a *Augmenter) Augment(dst []float32, img pixels.Image, seed, epoch, index uint64) {
	for v := range a.options.Views {
		n := 3 * a.h * a.w
		a.View(dst[v*n:(v+1)*n], img, seed, epoch, index|uint64(v)<<viewBit)
	}
}

// View is what an augmenter did to a picture but for its colours: where labels go.
type View struct {
	Box        pixels.Box // the part of the picture that was scaled to the input
	Mirrored   bool       // left and right exchanged after that
	UpsideDown bool
}

// View writes one crop to dst [3, h, w], as Augment does.
func (a *Augmenter) View(dst []float32, img pixels.Image, seed, epoch, index uint64) View {
	s := rng.New(seed, rng.PurposeCrop, epoch, index)
	v := View{Box: a.box(&s, img.W, img.H)}
	a.resizer.Resize(&a.crop, img, v.Box, a.w, a.h, pixels.Bilinear)
	if v.Mirrored = a.options.Flip && s.Uint64()>>63 == 1; v.Mirrored {
		mirror(a.crop)
	}
	if v.UpsideDown = a.options.FlipY && s.Uint64()>>63 == 1; v.UpsideDown {
		turnOver(a.crop)
	}
	if a.options.Jitter > 0 {
		jitter(&s, a.crop.Pix, a.options.Jitter)
	}
	a.pre.Normalize(dst, a.crop)
	return v
}

// box draws a crop with whole pixels as edges. Ten draws of area and aspect are tried for one that fits; failing that
// it is the largest crop at the centre whose aspect is allowed.
func (a *Augmenter) box(s *rng.Source, w, h int) pixels.Box {
	area := float64(w) * float64(h)
	for range 10 {
		target := float64(area * between(s, a.options.CropScale))
		aspect := fp.Exp(between(s, a.logAspect))
		if a.options.Stretch {
			aspect *= float64(w) / float64(h)
		}
		cw := int(math.RoundToEven(math.Sqrt(target * aspect)))
		ch := int(math.RoundToEven(math.Sqrt(target / aspect)))
		if 0 < cw && cw <= w && 0 < ch && ch <= h {
			return boxAt(s.IntN(w-cw+1), s.IntN(h-ch+1), cw, ch)
		}
	}
	cw, ch := w, h
	if a.options.Stretch {
		return boxAt(0, 0, w, h)
	}
	if aspect := float64(w) / float64(h); aspect < a.options.CropAspect[0] {
		ch = min(h, int(math.RoundToEven(float64(w)/a.options.CropAspect[0])))
	} else if aspect > a.options.CropAspect[1] {
		cw = min(w, int(math.RoundToEven(float64(h)*a.options.CropAspect[1])))
	}
	cw, ch = max(cw, 1), max(ch, 1)
	return boxAt((w-cw)/2, (h-ch)/2, cw, ch)
}

func boxAt(x, y, w, h int) pixels.Box {
	return pixels.Box{X0: float32(x), Y0: float32(y), X1: float32(x + w), Y1: float32(y + h)}
}

// between draws uniformly from [r[0], r[1]).
func between(s *rng.Source, r [2]float64) float64 { return r[0] + float64(s.Float64()*(r[1]-r[0])) }

// mirror swaps left and right.
func mirror(m pixels.Image) {
	for y := range m.H {
		row := m.Pix[3*m.W*y:][:3*m.W]
		for l, r := 0, 3*(m.W-1); l < r; l, r = l+3, r-3 {
			a, b := row[l:][:3], row[r:][:3]
			a[0], a[1], a[2], b[0], b[1], b[2] = b[0], b[1], b[2], a[0], a[1], a[2]
		}
	}
}

// turnOver swaps top and bottom.
func turnOver(m pixels.Image) {
	for l, r := 0, m.H-1; l < r; l, r = l+1, r-1 {
		top, bottom := m.Pix[3*m.W*l:][:3*m.W], m.Pix[3*m.W*r:][:3*m.W]
		for i, v := range top {
			top[i], bottom[i] = bottom[i], v
		}
	}
}
