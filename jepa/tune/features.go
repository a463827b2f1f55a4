package tune

import (
	"context"
	"fmt"
	"math"

	"edgejepa/fp"
	"edgejepa/vit"
)

// noDrop leaves nothing out.
var noDrop = vit.DropPath{}

// cache holds features as halves: those of an encoder that stands still, of pictures that do. What there is no room for is
// computed at each step and rounded to halves as well, so that the room makes no difference.
type cache struct {
	in   int
	x    []uint16  // [kept, InLen] of the first examples
	kept int       // how many
	have []bool    // of pictures that can be read, as far as is known
	rest *feeder   // of the others
	row  []float32 // [B, InLen] of a step
	half []uint16  // [InLen]
}

// CacheBytes is what the features of n examples take.
func CacheBytes(c Config, n int) int64 { return 2 * int64(n) * int64(c.Head.InLen(c.Encoder)) }

// standardize sets what the head standardises features by, from some of the examples, evenly spread over all.
//
// Means over a picture's tokens differ little between pictures, of an encoder that is hardly trained by some hundredths: made
// to differ by 1, an encoder that learns beside the head would learn as many times too fast, and does not get anywhere. Its
// means are centred only.
func (t *Trainer) standardize(x *Examples) error {
	gain := math.Inf(1)
	if t.Config.Head.Pooled() && !t.Config.wholeFrozen() {
		gain = 1
	}
	const most = 256 // pictures
	f := newFeeder(t.still(), x, t.pool)
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
	}, gain)
	if read == 0 {
		return fmt.Errorf("none of %d pictures to learn from can be read", n)
	}
	return nil
}

// still is the configuration under which features are computed: of whole pictures, a chunk at a time.
func (t *Trainer) still() Config {
	c := t.Config
	c.Augment, c.Batch = Augment{}, t.chunk
	return c
}

// fill computes the features of as many examples as there is room for, in bytes.
func (t *Trainer) fill(ctx context.Context, x *Examples, room int64, progress func(done int)) (*cache, error) {
	in := t.Config.Head.InLen(t.Config.Encoder)
	k := &cache{in: in, kept: int(min(int64(x.Len()), max(room, 0)/CacheBytes(t.Config, 1))), rest: newFeeder(t.still(), x, t.pool),
		have: make([]bool, x.Len()), row: make([]float32, t.Config.Batch*in), half: make([]uint16, in)}
	k.x = make([]uint16, k.kept*in)
	for i := k.kept; i < x.Len(); i++ {
		k.have[i] = true
	}
	t.net.pass.SetDropPath(noDrop)
	for at := 0; at < k.kept; at += t.chunk {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var draws []draw
		for i := at; i < min(at+t.chunk, k.kept); i++ {
			draws = append(draws, draw{0, i})
		}
		k.each(t, draws, func(i int, features []float32) {
			if k.have[at+i] = features != nil; k.have[at+i] {
				fp.EncodeHalf(k.x[(at+i)*in:][:in], features)
			}
		})
		progress(at + len(draws))
	}
	return k, nil
}

// each computes the features of a chunk of pictures; nil are those of one that cannot be read.
func (k *cache) each(t *Trainer, draws []draw, do func(i int, features []float32)) {
	b := k.rest.prepare(draws)
	var rows []float32
	if b.n > 0 {
		rows = t.net.features(b.px, b.n)
	}
	for i := range draws {
		if b.errs[i] != nil {
			do(i, nil)
			continue
		}
		do(i, rows[:k.in])
		rows = rows[k.in:]
	}
}

// compute puts the features of those rows of a batch that are not kept where take finds them.
func (k *cache) compute(t *Trainer, draws []draw) {
	var at []int
	var missing []draw
	for i, d := range draws {
		if d.picture >= k.kept && k.have[d.picture] {
			at, missing = append(at, i), append(missing, d)
		}
	}
	if len(missing) > 0 {
		t.net.pass.SetDropPath(noDrop)
	}
	for ; len(missing) > 0; at, missing = at[min(t.chunk, len(at)):], missing[min(t.chunk, len(missing)):] {
		k.each(t, missing[:min(t.chunk, len(missing))], func(i int, features []float32) {
			if features == nil {
				k.have[missing[i].picture] = false
				return
			}
			fp.EncodeHalf(k.half, features)
			fp.DecodeHalf(k.row[at[i]*k.in:][:k.in], k.half)
		})
	}
}

// take returns the features of the rows of a batch that has targets alone, those with errors left out.
func (k *cache) take(draws []draw, errs []error) []float32 {
	n := 0
	for i, d := range draws {
		if errs[i] != nil {
			continue
		}
		if to := k.row[n*k.in:][:k.in]; d.picture < k.kept {
			fp.DecodeHalf(to, k.x[d.picture*k.in:][:k.in])
		} else {
			copy(to, k.row[i*k.in:][:k.in]) // i >= n
		}
		n++
	}
	return k.row[:n*k.in]
}
