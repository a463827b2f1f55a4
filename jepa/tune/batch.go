package tune

import (
	"errors"
	"math"

	"edgejepa/internal/parallel"
	"edgejepa/internal/rng"
	"edgejepa/jepa/data"
	"edgejepa/vit"
	"edgejepa/vit/heads"
	"edgejepa/vit/pixels"
)

// batch is one step's pictures with what should be said of them.
type batch struct {
	n       int
	px      []float32 // [B, 3, H, W]
	labels  []int     // classify: [B]
	masks   [][]uint8 // segment: [B] of [h·s, w·s], at the resolution of the logits
	objects [][]heads.Object
	errs    []error
}

// feeder makes batches from examples. It keeps its buffers; one goroutine uses it at a time.
type feeder struct {
	c     Config
	x     *Examples
	pool  *parallel.Pool
	aug   []*data.Augmenter      // [worker]
	pre   []*pixels.Preprocessor // [worker] of pictures to classify as they are: as embedding, but from what the set keeps of large ones
	order []int                  // of an epoch
	epoch int                    // that order is of; -1: none
	batch batch
	draws []draw
	have  []bool // set: no pixels, only targets, of the pictures that it says can be read
}

// draw is one row of a batch: a picture and the epoch that its crop is drawn for.
type draw struct{ epoch, picture int }

func newFeeder(c Config, x *Examples, pool *parallel.Pool) *feeder {
	f := &feeder{c: c, x: x, pool: pool, epoch: -1}
	for range pool.Workers() {
		e := c.Encoder
		f.aug = append(f.aug, data.NewAugmenterAt(e.ImageSize, e.Width(), c.augment()))
		if c.Head.Task == heads.Classify && !c.Augment.On {
			f.pre = append(f.pre, pixels.NewPreprocessor(pixels.Spec{Size: e.ImageSize, Width: e.ImageWidth, Mean: e.Mean, Std: e.Std}))
		}
	}
	b := &f.batch
	b.px = make([]float32, c.Batch*c.Encoder.PixelLen())
	b.labels, b.masks, b.objects, b.errs = make([]int, c.Batch), make([][]uint8, c.Batch), make([][]heads.Object, c.Batch), make([]error, c.Batch)
	for i := range b.masks {
		if c.Head.Task == heads.Segment {
			b.masks[i] = make([]uint8, maskLen(c.Head, c.Encoder))
		}
	}
	return f
}

// maskLen is how many classes the logits of a segmenter say.
func maskLen(h heads.Config, e vit.Config) int { return e.Tokens() * h.Pixels * h.Pixels }

// at is row r of all rows that the run draws: every epoch has the pictures in an order of its own, one after another.
func (f *feeder) at(r int) draw {
	n := f.x.Len()
	if epoch := r / n; epoch != f.epoch {
		f.order = f.order[:0]
		for i := range n {
			f.order = append(f.order, i)
		}
		s := rng.New(f.c.Seed, rng.PurposeShuffle, uint64(epoch), 0)
		for i := n - 1; i > 0; i-- {
			j := s.IntN(i + 1)
			f.order[i], f.order[j] = f.order[j], f.order[i]
		}
		f.epoch = epoch
	}
	return draw{r / n, f.order[r%n]}
}

// rows lists the pictures of a step.
func (f *feeder) rows(step int) []draw {
	f.draws = f.draws[:0]
	for i := range f.c.Batch {
		f.draws = append(f.draws, f.at(step*f.c.Batch+i))
	}
	return f.draws
}

// prepare makes a batch of pictures. Those that cannot be read are left out.
func (f *feeder) prepare(draws []draw) *batch {
	f.draws = draws
	f.pool.Do(f, len(draws))
	if f.have == nil {
		f.x.report()
	}
	b, size, kept := &f.batch, f.c.Encoder.PixelLen(), 0
	for i := range draws {
		if b.errs[i] != nil {
			continue
		}
		if i != kept { // close up
			copy(b.px[kept*size:(kept+1)*size], b.px[i*size:])
			b.labels[kept] = b.labels[i]
			b.masks[kept], b.masks[i] = b.masks[i], b.masks[kept]
			b.objects[kept], b.objects[i] = b.objects[i], b.objects[kept]
		}
		kept++
	}
	b.n = kept
	return b
}

// Run prepares row n.
func (f *feeder) Run(n, worker int) {
	d, b, size := f.draws[n], &f.batch, f.c.Encoder.PixelLen()
	i := d.picture
	if f.have != nil {
		f.targets(n, i)
		return
	}
	img, err := f.x.set.Picture(i)
	if b.errs[n] = err; err != nil {
		return
	}
	px := b.px[n*size : (n+1)*size]
	if f.pre != nil {
		f.pre[worker].Preprocess(px, img)
		b.labels[n] = f.x.Labels[i]
		return
	}
	view := f.aug[worker].View(px, img, f.c.Seed, uint64(d.epoch), uint64(i))
	f.label(n, i, view, img.W, img.H)
}

// errUnread is that of a picture whose features are missing.
var errUnread = errors.New("the picture could not be read")

// targets prepares row n without its pixels, as of the whole picture.
func (f *feeder) targets(n, i int) {
	f.batch.errs[n] = nil
	if !f.have[i] {
		f.batch.errs[n] = errUnread
		return
	}
	s := pixels.Size{W: 1, H: 1}
	if f.x.sizes != nil {
		s = f.x.sizes[i]
	}
	f.label(n, i, data.View{Box: pixels.Box{X1: float32(s.W), Y1: float32(s.H)}}, s.W, s.H)
}

// label sets what should be said of row n, a view of picture i, which was decoded as w by h pixels.
func (f *feeder) label(n, i int, v data.View, w, h int) {
	b := &f.batch
	switch f.c.Head.Task {
	case heads.Classify:
		b.labels[n] = f.x.Labels[i]
	case heads.Segment:
		m, err := f.x.maskOf(i)
		if b.errs[n] = err; err == nil {
			f.mask(b.masks[n], m, f.placed(v, w, h, pixels.Size{W: m.w, H: m.h}))
		}
	case heads.Detect:
		b.objects[n] = f.boxes(b.objects[n][:0], i, f.placed(v, w, h, f.x.sizes[i]))
	}
}

// place takes coordinates of the upright picture to those of the input.
type place struct {
	x0, y0, sx, sy float64 // input = (picture - x0) * sx
	w, h           float64
	v              data.View
}

// placed says where the pixels of a picture of size s, of which a view was taken as it was decoded, w by h, went.
func (f *feeder) placed(v data.View, w, h int, s pixels.Size) place {
	kx, ky := float64(s.W)/float64(w), float64(s.H)/float64(h)
	bw, bh := v.Box.Size()
	p := place{w: float64(f.c.Encoder.Width()), h: float64(f.c.Encoder.ImageSize), v: v}
	p.x0, p.y0 = float64(float64(v.Box.X0)*kx), float64(float64(v.Box.Y0)*ky)
	p.sx, p.sy = p.w/float64(bw*kx), p.h/float64(bh*ky)
	return p
}

// mask fills dst, the classes at the resolution of the logits, with what the mask has at the middle of each.
func (f *feeder) mask(dst []uint8, m *mask, p place) {
	step := float64(f.c.Encoder.PatchSize / f.c.Head.Pixels)
	w, h := f.c.Encoder.Width()/int(step), f.c.Encoder.ImageSize/int(step)
	for y := range h {
		iy := float64((float64(y) + 0.5) * step)
		if p.v.UpsideDown {
			iy = p.h - iy
		}
		my := min(max(int(math.Floor(p.y0+iy/p.sy)), 0), m.h-1)
		for x := range w {
			ix := float64((float64(x) + 0.5) * step)
			if p.v.Mirrored {
				ix = p.w - ix
			}
			dst[y*w+x] = m.pix[my*m.w+min(max(int(math.Floor(p.x0+ix/p.sx)), 0), m.w-1)]
		}
	}
}

// seen is the share of an object that a crop must hold for it to be looked for there.
const seen = 0.3

// boxes appends the objects that are in the crop, cut to it.
func (f *feeder) boxes(dst []heads.Object, i int, p place) []heads.Object {
	for _, b := range f.x.Boxes[i] {
		if b.Crowd {
			continue
		}
		x0, x1 := float64((b.X0-p.x0)*p.sx), float64((b.X1-p.x0)*p.sx)
		y0, y1 := float64((b.Y0-p.y0)*p.sy), float64((b.Y1-p.y0)*p.sy)
		if p.v.Mirrored {
			x0, x1 = p.w-x1, p.w-x0
		}
		if p.v.UpsideDown {
			y0, y1 = p.h-y1, p.h-y0
		}
		cut := heads.Box{X0: max(x0, 0), Y0: max(y0, 0), X1: min(x1, p.w), Y1: min(y1, p.h)}
		if cut.X1-cut.X0 < 1 || cut.Y1-cut.Y0 < 1 || float64((cut.X1-cut.X0)*(cut.Y1-cut.Y0)) < float64(float64(seen*(x1-x0))*(y1-y0)) {
			continue
		}
		dst = append(dst, heads.Object{Box: cut, Class: b.Class})
	}
	return dst
}
