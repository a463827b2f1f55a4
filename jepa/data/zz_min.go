package data

import (
	"context"
	"sync"

	"edgejepa/fp"
	"edgejepa/internal/rng"
	"edgejepa/vit/pixels"
)

type Options struct {
	ImageSize int
	Limits    pixels.Limits
	OnSkip    func(error)
}
type Set struct {
	paths []string
	o     Options
	img   []pixels.Image
}

func Open(paths []string, o Options) (*Set, error) {
	s := &Set{o: o}
	for p, err := range pixels.Walk(paths) {
		if err != nil {
			o.OnSkip(err)
			continue
		}
		s.paths = append(s.paths, p)
	}
	return s, nil
}
func (s *Set) Len() int           { return len(s.paths) }
func (s *Set) Paths() []string    { return s.paths }
func (s *Set) Cache(int64)        { s.img = make([]pixels.Image, len(s.paths)) }
func LoaderBytes(b, size int) int { return 2 * b * 3 * size * size * 4 }

type AugmentOptions struct {
	CropScale [2]float64
	Flip      bool
	Mean, Std [3]float32
}
type LoaderOptions struct {
	Batch, Step, Workers int
	Seed                 uint64
	Augment              AugmentOptions
}
type Batch struct{ Pixels []float32 }
type Loader struct {
	s    *Set
	o    LoaderOptions
	step int
	perm []int
	ep   int
	px   [2][]float32
	out  chan []float32
	stop chan struct{}
	wg   sync.WaitGroup
	prev []float32
	free chan []float32
}

func NewLoader(s *Set, o LoaderOptions) *Loader {
	l := &Loader{s: s, o: o, step: o.Step, ep: -1, out: make(chan []float32), stop: make(chan struct{}), free: make(chan []float32, 3)}
	for range 3 {
		l.free <- make([]float32, o.Batch*3*s.o.ImageSize*s.o.ImageSize)
	}
	l.wg.Add(1)
	go l.run()
	return l
}
func (l *Loader) Close() { close(l.stop); l.wg.Wait() }
func (l *Loader) run() {
	defer l.wg.Done()
	n := l.s.Len()
	per := max(1, n/l.o.Batch)
	S := l.s.o.ImageSize
	var rz pixels.Resizer
	pre := pixels.NewPreprocessor(pixels.Spec{Size: S, Mean: l.o.Augment.Mean, Std: l.o.Augment.Std})
	tmp := pixels.NewImage(S, S)
	for ; ; l.step++ {
		ep := l.step / per
		if ep != l.ep {
			l.ep = ep
			l.perm = l.perm[:0]
			for i := range n {
				l.perm = append(l.perm, i)
			}
			r := rng.New(l.o.Seed, rng.PurposeShuffle, uint64(ep), 0)
			for i := n - 1; i > 0; i-- {
				j := r.IntN(i + 1)
				l.perm[i], l.perm[j] = l.perm[j], l.perm[i]
			}
		}
		var px []float32
		select {
		case px = <-l.free:
		case <-l.stop:
			return
		}
		size := 3 * S * S
		for b := range l.o.Batch {
			i := l.perm[(l.step%per*l.o.Batch+b)%n]
			m := l.s.img[i]
			if m.W == 0 {
				m, _ = pixels.Load(l.s.paths[i], l.s.o.Limits)
				l.s.img[i] = m
			}
			crop(px[b*size:(b+1)*size], &tmp, &rz, pre, m, l.o, S, ep, i)
		}
		select {
		case l.out <- px:
		case <-l.stop:
			return
		}
	}
}
func (l *Loader) Next(ctx context.Context) (Batch, error) {
	if l.prev != nil {
		l.free <- l.prev
	}
	select {
	case px := <-l.out:
		l.prev = px
		return Batch{px}, nil
	case <-ctx.Done():
		return Batch{}, ctx.Err()
	}
}
func crop(dst []float32, tmp *pixels.Image, rz *pixels.Resizer, pre *pixels.Preprocessor, m pixels.Image, o LoaderOptions, n, ep, i int) {
	c := o.Augment
	r := rng.New(o.Seed, rng.PurposeCrop, uint64(ep), uint64(i))
	a := c.CropScale[0] + float64(r.Float64()*(c.CropScale[1]-c.CropScale[0]))
	ar := fp.Exp((float64(r.Float64()*2) - 1) * fp.Log(4.0/3))
	W, H := float64(m.W), float64(m.H)
	w, h := min(W, fp.Exp(fp.Log(a*ar*W*H)/2)), min(H, fp.Exp(fp.Log(a/ar*W*H)/2))
	x, y := r.Float64()*(W-w), r.Float64()*(H-h)
	rz.Resize(tmp, m, pixels.Box{X0: float32(x), Y0: float32(y), X1: float32(x + w), Y1: float32(y + h)}, n, n, pixels.Bilinear)
	pre.Normalize(dst, *tmp)
	if r.IntN(2) == 1 {
		for row := 0; row < len(dst); row += n {
			d := dst[row : row+n]
			for a, b := 0, n-1; a < b; a, b = a+1, b-1 {
				d[a], d[b] = d[b], d[a]
			}
		}
	}
}
