package tune

import (
	"context"
	"fmt"

	"edgejepa/fp"
	"edgejepa/vit"
)

// noDrop leaves nothing out.
var noDrop = vit.DropPath{}

// cache holds the features of all examples, as halves: those of an encoder that stands still, of pictures that do.
type cache struct {
	x    []uint16 // [n, InLen]
	have []bool   // of pictures that could be read
	row  []float32
}

// CacheBytes is what the features of n examples take.
func CacheBytes(c Config, n int) int64 { return 2 * int64(n) * int64(c.Head.InLen(c.Encoder)) }

// standardize sets what the head standardises features by, from some of the examples, evenly spread over all.
func (t *Trainer) standardize(x *Examples) error {
	const most = 256 // pictures
	c := t.Config
	c.Augment, c.Batch = Augment{}, t.chunk
	f := newFeeder(c, x, t.pool)
	t.net.pass.SetDropPath(noDrop)
	n, read := min(x.Len(), most), 0
	t.Head.Standardize(func(yield func([]float32) bool) {
		for at := 0; at < n; at += t.chunk {
			var draws []draw
			for i := at; i < min(at+t.chunk, n); i++ {
				draws = append(draws, draw{0, int(int64(i) * int64(x.Len()) / int64(n))})
			}
			b := f.prepare(draws)
			if read += b.n; b.n > 0 && !yield(t.net.features(b.px, b.n)) {
				return
			}
		}
	})
	if read == 0 {
		return fmt.Errorf("none of %d pictures to learn from can be read", n)
	}
	return nil
}

// fill computes the features of all examples.
func (t *Trainer) fill(ctx context.Context, x *Examples, progress func(done int)) (*cache, error) {
	c := t.Config
	c.Augment, c.Batch = Augment{}, t.chunk
	f, in := newFeeder(c, x, t.pool), c.Head.InLen(c.Encoder)
	k := &cache{x: make([]uint16, x.Len()*in), have: make([]bool, x.Len()), row: make([]float32, t.Config.Batch*in)}
	t.net.pass.SetDropPath(noDrop)
	for at := 0; at < x.Len(); at += t.chunk {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var draws []draw
		for i := at; i < min(at+t.chunk, x.Len()); i++ {
			draws = append(draws, draw{0, i})
		}
		b := f.prepare(draws)
		if b.n > 0 {
			rows := t.net.features(b.px, b.n)
			for i := range draws {
				if b.errs[i] == nil {
					fp.EncodeHalf(k.x[(at+i)*in:][:in], rows[:in])
					k.have[at+i], rows = true, rows[in:]
				}
			}
		}
		progress(at + len(draws))
	}
	return k, nil
}

// take returns the features of the rows of a batch that has targets alone.
func (k *cache) take(draws []draw, errs []error, in int) []float32 {
	n := 0
	for i, d := range draws {
		if errs[i] == nil {
			fp.DecodeHalf(k.row[n*in:][:in], k.x[d.picture*in:][:in])
			n++
		}
	}
	return k.row[:n*in]
}
