package data

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"edgejepa/internal/rng"
)

// LoaderOptions describe the stream of batches.
type LoaderOptions struct {
	Batch   int // pictures a batch
	Seed    uint64
	Step    int // the number of the first batch: 0, or where a run is resumed
	Workers int // goroutines that decode and crop; 0 means one a processor
	Slots   int // batches in memory: the one in use and those that are prepared meanwhile; 0 means DefaultSlots
	Collect int // bytes of pictures after which the workers collect garbage; 0 leaves that to the runtime
	Augment AugmentOptions
}

// Batch is one step's pictures. Its slices belong to the loader and hold until the next call of Next.
type Batch struct {
	Step   int
	Epoch  int
	Pixels []float32 // [B, V, 3, S, S] with the views of a picture, one unless more are asked for
	Index  []int     // [B] the picture drawn for each row
}

// DefaultSlots is how many batches a loader holds unless told otherwise: one in use, two ahead of it.
const DefaultSlots = 3

// LoaderBytes is the memory a loader takes for its batches.
func LoaderBytes(batch, views, imageSize, slots int) int64 {
	return int64(slots) * int64(batch) * (4*3*int64(views)*int64(imageSize)*int64(imageSize) + 8)
}

// errClosed is what Next returns after Close.
var errClosed = errors.New("the loader is closed")

// Loader prepares batches in the background. An epoch goes through the set in an order drawn for it and drops what is
// left when a batch is no longer full; a set smaller than a batch is gone round until the batch is full.
type Loader struct {
	set      *Set
	options  LoaderOptions
	perEpoch int // batches

	ring   []*slot
	taken  int   // calls of Next that returned a batch
	inUse  *slot // what the last Next returned
	free   chan *slot
	jobs   chan job
	done   chan struct{}
	waste  atomic.Int64 // bytes of pictures since the last collection
	wg     sync.WaitGroup
	closed sync.Once
}

// slot is a batch in the making.
type slot struct {
	batch   Batch
	round   []uint64     // [B] how often the set had been gone round before the row was drawn
	missing atomic.Int64 // rows still to be made
	ready   chan struct{}

	mu  sync.Mutex
	err error
}

type job struct {
	slot *slot
	row  int
}

// NewLoader starts the workers. Close stops them. It panics if batch or step is out of range.
func NewLoader(set *Set, o LoaderOptions) *Loader {
	if o.Batch <= 0 || o.Step < 0 {
		panic("data: NewLoader: batch must be positive and step not negative")
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Slots <= 0 {
		o.Slots = DefaultSlots
	}
	l := &Loader{
		set: set, options: o, perEpoch: max(1, set.Len()/o.Batch), ring: make([]*slot, o.Slots),
		free: make(chan *slot, o.Slots), jobs: make(chan job, o.Batch), done: make(chan struct{}),
	}
	size := set.options.ImageSize
	for i := range l.ring {
		l.ring[i] = &slot{
			batch: Batch{Pixels: make([]float32, o.Batch*max(1, o.Augment.Views)*3*size*size), Index: make([]int, o.Batch)},
			round: make([]uint64, o.Batch), ready: make(chan struct{}, 1),
		}
		l.free <- l.ring[i]
	}
	l.wg.Add(1 + o.Workers)
	go l.plan()
	for range o.Workers {
		go l.work()
	}
	return l
}

// Next returns the next batch, and hands the memory of the one before back to the workers. It fails when ctx ends,
// after Close, and when no picture of the set can be read. One goroutine calls it at a time.
func (l *Loader) Next(ctx context.Context) (Batch, error) {
	l.set.Report()
	if l.inUse != nil {
		l.free <- l.inUse // never blocks: there is room for all
		l.inUse = nil
	}
	s := l.ring[l.taken%len(l.ring)]
	select {
	case <-l.done:
		return Batch{}, errClosed
	default:
	}
	select {
	case <-s.ready:
	case <-ctx.Done():
		return Batch{}, context.Cause(ctx)
	case <-l.done:
		return Batch{}, errClosed
	}
	l.set.Report()
	l.taken++
	l.inUse = s
	if s.err != nil {
		return Batch{}, s.err
	}
	return s.batch, nil
}

// Close stops the workers and returns when they have ended. It may be called twice.
func (l *Loader) Close() {
	l.closed.Do(func() { close(l.done) })
	l.wg.Wait()
	l.set.Report()
}

// plan decides what each batch holds, and gives its rows to the workers.
func (l *Loader) plan() {
	defer l.wg.Done()
	n := l.set.Len()
	order, orderOf := make([]int, n), -1
	for step := l.options.Step; ; step++ {
		var s *slot
		select {
		case s = <-l.free:
		case <-l.done:
			return
		}
		epoch, k := step/l.perEpoch, step%l.perEpoch
		if epoch != orderOf {
			shuffle(order, l.options.Seed, uint64(epoch))
			orderOf = epoch
		}
		s.batch.Step, s.batch.Epoch, s.err = step, epoch, nil
		for row := range s.batch.Index {
			at := k*l.options.Batch + row
			s.batch.Index[row], s.round[row] = order[at%n], uint64(at/n)
		}
		s.missing.Store(int64(l.options.Batch))
		for row := range l.options.Batch {
			select {
			case l.jobs <- job{s, row}:
			case <-l.done:
				return
			}
		}
	}
}

// shuffle fills order with a permutation of its indices that is a function of seed and epoch (Fisher-Yates).
func shuffle(order []int, seed, epoch uint64) {
	for i := range order {
		order[i] = i
	}
	s := rng.New(seed, rng.PurposeShuffle, epoch, 0)
	for i := len(order) - 1; i > 0; i-- {
		j := s.IntN(i + 1)
		order[i], order[j] = order[j], order[i]
	}
}

// work makes rows.
func (l *Loader) work() {
	defer l.wg.Done()
	a := NewAugmenter(l.set.options.ImageSize, l.options.Augment)
	for {
		select {
		case <-l.done:
			return
		case j := <-l.jobs:
			l.collect(l.make(a, j))
			if j.slot.missing.Add(-1) == 0 {
				j.slot.ready <- struct{}{} // has room: a slot is one batch at a time
			}
		}
	}
}

// collect counts bytes that have become garbage. Beside a heap of hundreds of megabytes that stay, the runtime would let
// some per cent of that pile up.
func (l *Loader) collect(bytes int) {
	if l.options.Collect > 0 && l.waste.Add(int64(bytes)) >= int64(l.options.Collect) {
		l.waste.Store(0)
		runtime.GC()
	}
}

// make fills a row, and returns the size of the picture. A picture that is met again in a batch, since the set is small,
// gets another crop.
func (l *Loader) make(a *Augmenter, j job) int {
	b := &j.slot.batch
	index := b.Index[j.row]
	img, err := l.set.readable(index, l.done)
	if err != nil {
		j.slot.mu.Lock()
		j.slot.err = err
		j.slot.mu.Unlock()
		return 0
	}
	size := len(b.Pixels) / len(b.Index)
	key := uint64(index) + j.slot.round[j.row]*uint64(l.set.Len())
	a.Augment(b.Pixels[j.row*size:(j.row+1)*size], img, l.options.Seed, uint64(b.Epoch), key)
	return len(img.Pix)
}
