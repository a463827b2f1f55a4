package main

import (
	"context"
	"fmt"
	"slices"

	"edgejepa/internal/cli"
	"edgejepa/internal/parallel"
	"edgejepa/jepa/labels"
	"edgejepa/jepa/probe"
	"edgejepa/quant"
	"edgejepa/vit"
	"edgejepa/vit/heads"
	"edgejepa/vit/pixels"
)

// labelled is a picture set with one sub-folder a class.
type labelled struct {
	paths   []string
	y       []int32
	classes []string // sorted
}

// openLabelled lists the pictures under dir; the first folder below dir is the class. With classes given, another class is an
// error.
func openLabelled(dir string, classes []string, skip func(error)) (labelled, error) {
	set, err := labels.OpenClassification([]string{dir}, labels.Options{OnProblem: func(p *labels.Problem) {
		p.Done = "" // skip says so
		skip(p)
	}})
	if err != nil {
		return labelled{}, cli.Usage(err)
	}
	l := labelled{paths: set.Paths, classes: classes}
	if classes == nil {
		l.classes = set.Classes
	}
	for i, y := range set.Labels {
		at, ok := slices.BinarySearch(l.classes, set.Classes[y])
		if !ok {
			return l, cli.Usagef("%s: class %q is not among those of the training pictures", cli.Printable(l.paths[i]), set.Classes[y])
		}
		l.y = append(l.y, int32(at))
	}
	return l, nil
}

// split divides a set into two by class, a share of test for the second.
func (l labelled) split(share float64, seed uint64) (train, test labelled) {
	a, b := probe.Split(l.y, share, seed)
	return l.pick(a), l.pick(b)
}

// draw keeps so many pictures of each class, or all of one that has fewer.
func (l labelled) draw(perClass int, seed uint64) labelled {
	return l.pick(probe.Draw(l.y, perClass, seed))
}

// pick keeps the given pictures.
func (l labelled) pick(index []int) labelled {
	s := labelled{classes: l.classes}
	for _, i := range index {
		s.paths, s.y = append(s.paths, l.paths[i]), append(s.y, l.y[i])
	}
	return s
}

// featureBatch is how many pictures are decoded and embedded at a time.
const featureBatch = 128

// embedder turns normalised pictures [n, C, S, S] into vectors [n, D], whatever the precision.
type embedder interface {
	Embed(dst, px []float32, n int)
}

// featurizer embeds pictures with several networks of one shape, decoding each picture once.
type featurizer struct {
	exported quant.Embedder // one more network, the last; nil for none

	head *heads.Head // whose input pictures are made, unless it is nil

	pool   *parallel.Pool
	config vit.Config
	nets   []embedder
	prep   []*pixels.Preprocessor // [worker]
	inputs []headInput            // [worker]
	limits pixels.Limits
	px     []float32 // [batch, C, S, S]
	crops  []uint8   // [batch, S, S, C], the same before it was normalised
	paths  []string
	errs   []error
}

func newFeaturizer(pool *parallel.Pool, limits pixels.Limits, c vit.Config, nets ...embedder) *featurizer {
	f := &featurizer{pool: pool, config: c, nets: nets, limits: limits, px: make([]float32, featureBatch*c.PixelLen()),
		crops: make([]uint8, featureBatch*c.PixelLen()), errs: make([]error, featureBatch)}
	spec := pixels.Spec{Size: c.ImageSize, Width: c.ImageWidth, Mean: c.Mean, Std: c.Std}
	f.limits.MinSide = spec.MinSide()
	for range pool.Workers() {
		f.prep = append(f.prep, pixels.NewPreprocessor(spec))
	}
	return f
}

// headInput is what making a head's input takes.
type headInput struct {
	resizer pixels.Resizer
	img     pixels.Image
}

// forHead makes the pictures what a head wants them to be; nil changes nothing.
func (f *featurizer) forHead(h *heads.Head) {
	if h != nil {
		f.head, f.inputs, f.limits.MinSide = h, make([]headInput, f.pool.Workers()), h.Config.MinSide(f.config)
	}
}

// prepare makes the networks' input of a picture, in memory that the worker's next one uses again.
func (f *featurizer) prepare(img pixels.Image, worker int) pixels.Image {
	if f.head == nil {
		return f.prep[worker].Crop(img)
	}
	in := &f.inputs[worker]
	f.head.Config.Input(&in.img, &in.resizer, img, f.config)
	return in.img
}

// Run decodes picture n of the batch.
func (f *featurizer) Run(n, worker int) {
	img, err := pixels.Load(f.paths[n], f.limits)
	f.errs[n] = err
	if err == nil {
		size := f.config.PixelLen()
		crop := f.prepare(img, worker)
		copy(f.crops[n*size:], crop.Pix)
		f.prep[worker].Normalize(f.px[n*size:(n+1)*size], crop)
	}
}

// features returns one set of features for each network. Pictures that cannot be read go to skip and have no row.
func (f *featurizer) features(ctx context.Context, l labelled, skip func(error), progress func(done int)) ([]probe.Features, error) {
	d := f.config.Dim
	nets := f.nets
	if f.exported != nil {
		nets = append(nets[:len(nets):len(nets)], nil)
	}
	out := make([]probe.Features, len(nets))
	for i := range out {
		out[i].D = d
	}
	row := make([]float32, featureBatch*d)
	for at := 0; at < len(l.paths); at += featureBatch {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		read := f.decode(l.paths[at:min(at+featureBatch, len(l.paths))], skip)
		n := len(read)
		if n == 0 {
			continue
		}
		for i, p := range nets {
			if p == nil {
				f.exported.Embed(row, f.crops, n)
			} else {
				p.Embed(row, f.px, n)
			}
			out[i].X = append(out[i].X, row[:n*d]...)
			out[i].N += n
			for _, r := range read {
				out[i].Y = append(out[i].Y, l.y[at+r])
			}
		}
		progress(at + len(f.paths))
	}
	for _, o := range out {
		if err := o.Check(); err != nil {
			return nil, fmt.Errorf("features: %w", err)
		}
	}
	return out, nil
}

// decode fills px with the pictures that can be read, closed up, and returns which they were.
func (f *featurizer) decode(paths []string, skip func(error)) (read []int) {
	size := f.config.PixelLen()
	f.paths = paths
	f.pool.Do(f, len(paths))
	for i := range paths {
		if err := f.errs[i]; err != nil {
			skip(err)
			continue
		}
		copy(f.px[len(read)*size:], f.px[i*size:(i+1)*size])
		copy(f.crops[len(read)*size:], f.crops[i*size:(i+1)*size])
		read = append(read, i)
	}
	return read
}
