package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"time"

	"edgejepa/device"
	"edgejepa/internal/cli"
	"edgejepa/internal/durable"
	"edgejepa/internal/parallel"
	"edgejepa/kernels"
	"edgejepa/quant"
	"edgejepa/vit"
	"edgejepa/vit/pixels"
)

// run embeds everything that the options name.
func (o *options) run(ctx context.Context) error {
	m, err := quant.OpenModel(o.model, vit.ContextPrefix)
	if err != nil {
		return err
	}
	here, _ := device.Here() // what it could not find out has a default
	workers := o.workers(here)
	if o.threads > 0 {
		runtime.GOMAXPROCS(o.threads) // decoding goes on beside the pool: hold the whole process to what was asked for
	}
	pool := parallel.New(workers)
	defer pool.Close()

	c := m.Config()
	s := &session{options: o, batch: newBatch(m, pool, o.batchSize(c), o.tokens, o.normalize == "l2"), start: time.Now()}
	if o.output != "" || !cli.IsTerminal(o.stdout) { // rows on a terminal are progress enough
		s.progress = cli.NewProgress(o.stderr, "image", cli.LogAuto, o.quiet)
	} else {
		s.progress = cli.NewProgress(o.stderr, "image", cli.LogText, o.quiet)
	}
	decoders, lim := o.decodePlan(here, workers)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.feed = startFeed(ctx, o.pictures(), pixels.Spec{Size: c.ImageSize, Mean: c.Mean, Std: c.Std}, s.batch.size()+decoders, decoders, lim)

	var ended error
	err = o.writeTo(func(w io.Writer, flush func() error) error {
		rows, err := newRows(w, o.format, o.output, s.batch.shape)
		if err != nil {
			return err
		}
		defer rows.close()
		s.batch.rows, s.flush = rows, flush
		ended = s.embedAll(ctx)
		if ended != nil && !(errors.Is(ended, cli.ErrInterrupted) && s.batch.done > 0) {
			return ended
		}
		if err := rows.finish(); err != nil {
			return err
		}
		return flush()
	})
	s.progress.Finish()
	switch {
	case err == nil && ended != nil:
		s.progress.Warnf("%d rows are written", s.batch.done)
		return ended
	case ended != nil:
		return ended // without what writing says about it
	case err != nil:
		return err
	}
	note := ""
	if s.skipped > 0 {
		note = fmt.Sprintf(", %d skipped", s.skipped)
	}
	s.progress.Infof("embedded %d pictures in %s%s (model %s)", s.batch.done, cli.Span(time.Since(s.start)), note, m.ID())
	if s.skipped > 0 {
		return cli.ErrSkipped
	}
	return nil
}

// pixelBytes is how much a batch's pixels take unless --batch says otherwise.
const (
	pixelBytes   = 4 << 20
	defaultBatch = 32
)

// batchSize is how many pictures go through the encoder at a time.
func (o *options) batchSize(c vit.Config) int {
	if o.batch > 0 {
		return o.batch
	}
	return min(max(pixelBytes/c.PixelLen(), 1), defaultBatch)
}

// writeTo calls write with the output: standard output, which flush empties, or a file that takes its name when write
// has returned nil.
func (o *options) writeTo(write func(w io.Writer, flush func() error) error) error {
	if o.output == "" {
		w := bufio.NewWriterSize(o.stdout, 64<<10)
		return write(w, w.Flush)
	}
	return durable.WriteFile(o.output, 0o666, func(w io.Writer) error { return write(w, func() error { return nil }) })
}

// session is one run over all pictures.
type session struct {
	*options
	feed     *feed
	batch    *batch
	flush    func() error // passes on what was written
	progress *cli.Progress
	start    time.Time
	skipped  int64
}

// embedAll takes pictures from the feed until it ends, ctx is done or something fails. Rows of an incomplete batch are
// written too, and whenever nothing is waiting, so that a slow list gives its rows at once.
func (s *session) embedAll(ctx context.Context) error {
	for ctx.Err() == nil {
		var p *slot
		var more bool
		select {
		case p, more = <-s.feed.next:
		default:
			if err := s.embed(); err != nil {
				return err
			}
			select {
			case p, more = <-s.feed.next:
			case <-ctx.Done():
				continue
			}
		}
		if !more {
			break
		}
		select {
		case <-p.ready:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		if err := s.take(p); err != nil {
			return errors.Join(s.embed(), err)
		}
		s.feed.free <- p
	}
	if err := s.embed(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch {
	case s.batch.done == 0 && s.skipped == 0:
		return errors.New("no pictures found")
	case s.batch.done == 0:
		return fmt.Errorf("none of the %d pictures could be embedded", s.skipped)
	}
	return nil
}

// take adds a decoded picture to the batch, or tells why it cannot be.
func (s *session) take(p *slot) error {
	switch {
	case p.err == nil:
		s.batch.add(p.path, p.pix)
		if s.batch.full() {
			return s.embed()
		}
		return nil
	case p.path == "" || s.onError == "fail":
		return p.err
	}
	s.skip(p.err)
	return nil
}

func (s *session) skip(err error) {
	s.skipped++
	s.progress.Warnf("skipping %v", err)
}

// embed writes the rows of the pictures in the batch.
func (s *session) embed() error {
	if s.batch.n == 0 {
		return nil
	}
	for err := range s.batch.flush {
		var bad *pixels.FileError
		if s.onError == "fail" || !errors.As(err, &bad) {
			return err
		}
		s.skip(err)
	}
	if time.Since(s.start) > quietStart {
		s.progress.Update(cli.Status{Done: s.batch.done + s.skipped, Images: s.batch.done})
	}
	return s.flush()
}

// quietStart is how long a run may take without a word: the line at its end is enough for a short one.
const quietStart = 2 * time.Second

// batch collects pictures and turns them into rows. After the first batch it allocates nothing.
type batch struct {
	shape shape
	l2    bool
	rows  rows
	done  int64 // rows written

	pass  quant.Embedder
	n     int // pictures waiting
	per   int // values a picture
	paths []string
	pix   []uint8   // [size, S, S, 3]
	out   []float32 // [size, shape]
}

func newBatch(m *quant.Model, pool *parallel.Pool, size int, tokens, l2 bool) *batch {
	c := m.Config()
	b := &batch{shape: shape{Dim: c.Dim}, l2: l2, pass: m.NewEmbedder(pool, size), per: c.PixelLen(), paths: make([]string, size)}
	if tokens {
		b.shape.Tokens = c.Tokens()
	}
	b.pix, b.out = make([]uint8, size*b.per), make([]float32, size*b.shape.len())
	return b
}

func (b *batch) size() int  { return len(b.paths) }
func (b *batch) full() bool { return b.n == b.size() }

// add takes a copy of a picture's pixels; the batch must not be full.
func (b *batch) add(path string, pix []uint8) {
	b.paths[b.n] = path
	copy(b.pix[b.n*b.per:][:b.per], pix)
	b.n++
}

// flush writes a row for each waiting picture and yields what goes wrong: a *pixels.FileError is about one picture, and
// the others go on if the loop does; any other error ends it.
func (b *batch) flush(yield func(error) bool) {
	n := b.n
	b.n = 0
	if b.shape.Tokens > 0 {
		b.pass.Tokens(b.out, b.pix, n)
	} else {
		b.pass.Embed(b.out, b.pix, n)
	}
	for i, path := range b.paths[:n] {
		v := b.out[i*b.shape.len():][:b.shape.len()]
		if !kernels.AllFinite(v) {
			if !yield(&pixels.FileError{Path: path, Err: errNotFinite}) {
				return
			}
			continue
		}
		if b.l2 {
			for t := 0; t < len(v); t += b.shape.Dim {
				normalizeL2(v[t:][:b.shape.Dim])
			}
		}
		if err := b.rows.row(path, v); err != nil {
			yield(err)
			return
		}
		b.done++
	}
}

var errNotFinite = errors.New("the model gives numbers that are not finite: its weights are too large")

// normalizeL2 scales v to length 1: the squares are added in float64 in order, and each quotient is rounded once. A
// vector of zeros stays.
func normalizeL2(v []float32) {
	sum := 0.0
	for _, x := range v {
		sum += float64(float64(x) * float64(x))
	}
	if sum == 0 {
		return
	}
	length := math.Sqrt(sum)
	for i, x := range v {
		v[i] = float32(float64(x) / length)
	}
}
