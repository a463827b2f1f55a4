package report

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"time"

	"edgejepa/internal/arena"
	"edgejepa/internal/cli"
	"edgejepa/internal/parallel"
	"edgejepa/jepa"
	"edgejepa/jepa/data"
	"edgejepa/kernels"
	"edgejepa/vit"
	"edgejepa/vit/pixels"
)

// Sizes of a sample.
const (
	mostPictures    = 256
	leastPictures   = 32
	sampleBatch     = 8 // pictures that are with the encoder at a time
	tokenPictures   = 6 // whose tokens are coloured
	examplePictures = 4
	queries         = 10
	nearest         = 6
	freeBytes       = 24 << 20
)

// SampleOptions say what a sample is made for.
type SampleOptions struct {
	Config   jepa.Config
	Augment  data.AugmentOptions // of the views by which consistency is measured
	Pictures int                 // at most; 0: as many as serve
}

// Sample is a fixed choice of a set's pictures, by the seed, at the size that the encoder sees, and the memory to look at
// them again and again. It never changes what is trained.
type Sample struct {
	options SampleOptions
	pool    *parallel.Pool
	set     *data.Set
	pass    *vit.Pass

	names  []string
	crops  []uint8 // [n, S, S, 3] the middle of each picture
	views  []uint8 // [n, S, S, 3] another crop of it, as in training
	px     []float32
	pooled []float32 // [2n, D] of the crops, then of the views
	tokens []float32 // [tokenPictures·N, D], of the pictures that shown lists
	table  *pixels.Preprocessor
	loaded bool

	sheet    []byte
	tile     int
	pictures [][]byte // of those whose tokens are coloured
	examples []Example
}

// pictures is how many pictures of a set a sample shows.
func (o SampleOptions) pictures(set int) int {
	n := min(mostPictures, set)
	if o.Pictures > 0 {
		n = min(n, o.Pictures)
	}
	return n
}

// SampleFor returns the options for the largest sample of a set of that many pictures whose memory fits into a budget in
// bytes, and what it takes; ok is false if none is worth while. What its pictures take is bounded by freeBytes in any case.
func SampleFor(o SampleOptions, set, workers int, budget int64) (_ SampleOptions, bytes int64, ok bool) {
	fixed := fixedBytes(o.Config.Encoder, workers)
	budget = min(budget, freeBytes+fixed)
	for o.Pictures = o.pictures(set); o.Pictures >= min(leastPictures, set) && o.Pictures >= 2; o.Pictures = o.Pictures * 3 / 4 {
		if bytes = fixed + pictureBytes(o.Config.Encoder, o.Pictures); bytes <= budget {
			return o, bytes, true
		}
	}
	return o, 0, false
}

// fixedBytes is what a sample takes whatever the number of its pictures.
func fixedBytes(c vit.Config, workers int) int64 {
	pool := parallel.New(workers)
	defer pool.Close()
	bytes := arena.Measure(func(a *arena.Arena) *vit.Pass {
		var elsewhere arena.Arena // the encoder is there already
		e := vit.PlaceEncoder(&elsewhere, c, false)
		return e.PlacePass(a, pool, sampleBatch, sampleBatch*c.Tokens(), vit.Infer)
	})
	bytes += 4 * sampleBatch * int64(c.PixelLen())
	bytes += tokenPictures * int64(c.Tokens()) * int64(c.Dim) * (4 + 8)
	return bytes + 2<<20 // the page as it is written
}

// pictureBytes is what n pictures take, all that is computed of them included.
func pictureBytes(c vit.Config, n int) int64 {
	pictures := int64(n)
	bytes := 2 * pictures * int64(c.PixelLen()+4*c.Dim)
	bytes += 3 * 8 * pictures * pictures                     // similarities, affinities, the map's own
	return bytes + 6*pictures*int64(tileSize(c)*tileSize(c)) // the sheet and its JPEG
}

// NewSample allocates a sample of set's pictures for an encoder, to which it only listens. Nothing is read yet.
func NewSample(set *data.Set, e *vit.Encoder, pool *parallel.Pool, o SampleOptions) *Sample {
	c := e.Config
	o.Pictures = o.pictures(set.Len())
	return &Sample{
		options: o, pool: pool, set: set, pass: e.NewPass(pool, sampleBatch),
		px:    make([]float32, sampleBatch*c.PixelLen()),
		table: pixels.NewPreprocessor(pixels.Spec{Size: c.ImageSize, Width: c.ImageWidth, Mean: c.Mean, Std: c.Std}),
	}
}

// Cost is what loading the sample and looking at it once will take, guessed from a trial with two pictures.
func (s *Sample) Cost() time.Duration {
	begun := time.Now()
	trial := 0
	for i := 0; i < s.set.Len() && trial < 2; i++ {
		if img, err := s.set.Picture(i); err == nil {
			s.table.Preprocess(s.px[trial*s.options.Config.Encoder.PixelLen():][:s.options.Config.Encoder.PixelLen()], img)
			trial++
		}
	}
	if trial == 0 {
		return 0
	}
	pooled := make([]float32, trial*s.options.Config.Encoder.Dim)
	s.pass.Embed(pooled, s.px, trial)
	return time.Since(begun) * time.Duration(2*s.options.Pictures) / time.Duration(trial)
}

// load reads the pictures once, spread evenly over the set from a place by the seed on. Those that cannot be read are
// passed over.
func (s *Sample) load(ctx context.Context) error {
	o, size := s.options, s.options.Config.Encoder.PixelLen()
	n, total := o.Pictures, s.set.Len()
	s.crops, s.views = make([]uint8, 0, n*size), make([]uint8, 0, n*size)
	augmenter := data.NewAugmenter(o.Config.Encoder.ImageSize, o.Augment)
	view := s.px[:size]
	start := int(o.Config.Seed % uint64(total))
	for i := range n {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		at := (start + i*total/n) % total
		img, err := s.set.Picture(at)
		if err != nil {
			continue
		}
		s.crops = append(s.crops, s.table.Crop(img).Pix...)
		augmenter.Augment(view, img, o.Config.Seed, 0, uint64(at))
		s.views = appendPixels(s.views, view, o.Config.Encoder)
		s.names = append(s.names, shortName(s.set.Paths()[at]))
	}
	if len(s.names) < 2 {
		return errors.New("fewer than two pictures of the sample can be read")
	}
	s.draw()
	s.loaded = true
	return nil
}

// shortName is a picture's file and the folder it lies in, printable.
func shortName(path string) string {
	dir, file := filepath.Split(path)
	return cli.Printable(filepath.ToSlash(filepath.Join(filepath.Base(dir), file)))
}

// appendPixels undoes the normalisation of a planar picture.
func appendPixels(dst []uint8, px []float32, c vit.Config) []uint8 {
	n := c.ImageSize * c.ImageSize
	for i := range n {
		for ch := range 3 {
			v := float64(px[ch*n+i])*float64(c.Std[ch]) + float64(c.Mean[ch]) //fma:ok rounded to 8 bits from values that are 8 bits
			dst = append(dst, uint8(math.RoundToEven(min(max(v, 0), 1)*255)))
		}
	}
	return dst
}

// picture i of crops or views.
func (s *Sample) picture(of []uint8, i int) pixels.Image {
	c := s.options.Config.Encoder
	return pixels.Image{W: c.ImageSize, H: c.ImageSize, Pix: of[i*c.PixelLen():][:c.PixelLen()]}
}

// shown lists n pictures spread evenly over the sample.
func (s *Sample) shown(n int) []int {
	n = min(n, len(s.names))
	at := make([]int, n)
	for i := range at {
		at[i] = (2*i + 1) * len(s.names) / (2 * n)
	}
	return at
}

// embed runs the encoder over the pictures of crops or views.
func (s *Sample) embed(ctx context.Context, dst []float32, of []uint8, tokens []float32) error {
	c := s.options.Config.Encoder
	n := len(s.names)
	for at := 0; at < n; at += sampleBatch {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		end := min(at+sampleBatch, n)
		for i := at; i < end; i++ {
			s.table.Normalize(s.px[(i-at)*c.PixelLen():][:c.PixelLen()], s.picture(of, i))
		}
		out := s.pass.Forward(s.px, end-at, nil, nil)
		for k, i := range s.shown(tokenPictures) {
			if size := c.Tokens() * c.Dim; tokens != nil && at <= i && i < end {
				copy(tokens[k*size:], out[(i-at)*size:(i-at+1)*size])
			}
		}
		s.pass.Mean(dst[at*c.Dim:])
	}
	return nil
}

// Look shows what the encoder makes of the sample after that many steps.
func (s *Sample) Look(ctx context.Context, step int) (*Sight, error) {
	if !s.loaded {
		if err := s.load(ctx); err != nil {
			return nil, err
		}
	}
	c, n := s.options.Config.Encoder, len(s.names)
	if s.pooled == nil {
		s.pooled = make([]float32, 2*n*c.Dim)
		s.tokens = make([]float32, min(tokenPictures, n)*c.Tokens()*c.Dim)
	}
	crops, views := s.pooled[:n*c.Dim], s.pooled[n*c.Dim:]
	if err := s.embed(ctx, crops, s.crops, s.tokens); err != nil {
		return nil, err
	}
	if err := s.embed(ctx, views, s.views, nil); err != nil {
		return nil, err
	}
	if !kernels.AllFinite(s.pooled) || !kernels.AllFinite(s.tokens) {
		return nil, errors.New("the encoder's features are not finite")
	}
	sight := &Sight{Step: step, Tile: s.tile, Sheet: s.sheet, Names: s.names, Examples: s.examples, Grid: c.Grid()}
	sight.look(crops, views, n, c.Dim)
	sight.colour(s.tokens, s.shown(tokenPictures), s.pictures, c)
	return sight, nil
}
