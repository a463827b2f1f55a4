package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"edgejepa/device"
	"edgejepa/internal/cli"
	"edgejepa/internal/durable"
	"edgejepa/internal/parallel"
	"edgejepa/quant"
	"edgejepa/vit"
	"edgejepa/vit/pixels"
)

// sink makes rows of pictures, a batch at a time.
type sink interface {
	waiting() *queue
	// open begins the output.
	open(w io.Writer) error
	// flush writes a row for each waiting picture and yields what goes wrong: a *pixels.FileError is about one picture, and
	// the others go on if the loop does; any other error ends it.
	flush(yield func(error) bool)
	// finish completes the output after the last row.
	finish() error
	// close frees what an open output holds, finished or not.
	close()
}

// queue is the pictures of a batch that wait for the model.
type queue struct {
	done  int64 // rows written
	n     int   // pictures waiting
	per   int   // values a picture
	paths []string
	sizes []size  // as they were decoded
	pix   []uint8 // [size, H, W, 3]
}

type size struct{ w, h int }

func newQueue(c vit.Config, n int) queue {
	return queue{per: c.PixelLen(), paths: make([]string, n), sizes: make([]size, n), pix: make([]uint8, n*c.PixelLen())}
}

func (q *queue) waiting() *queue { return q }
func (q *queue) size() int       { return len(q.paths) }
func (q *queue) full() bool      { return q.n == q.size() }

// add takes a copy of a picture; the batch must not be full.
func (q *queue) add(p *slot) {
	q.paths[q.n], q.sizes[q.n] = p.path, p.size
	copy(q.pix[q.n*q.per:][:q.per], p.pix)
	q.n++
}

// job is what a run makes of its pictures.
type job struct {
	sink
	input   func() input // of each decoder
	minSide int          // of pixels.Limits
	did     string       // to pictures: "embedded"
}

// machine is what a run works with.
type machine struct {
	pool     *parallel.Pool
	decoders int           // pictures decoded at a time
	limits   pixels.Limits // of each
}

// over opens the model and takes all pictures that the options name through a job.
func (o *options) over(ctx context.Context, begin func(m *quant.Model, on machine) (job, error)) error {
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

	decoders, lim := o.decodePlan(here, workers)
	j, err := begin(m, machine{pool, decoders, lim})
	if err != nil {
		return err
	}
	s := &session{options: o, job: j, start: time.Now()}
	if o.output != "" || !cli.IsTerminal(o.stdout) { // rows on a terminal are progress enough
		s.progress = cli.NewProgress(o.stderr, "image", cli.LogAuto, o.quiet)
	} else {
		s.progress = cli.NewProgress(o.stderr, "image", cli.LogText, o.quiet)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lim.MinSide = j.minSide
	s.feed = startFeed(ctx, o.pictures(), j.input, m.Config().PixelLen(), s.waiting().size()+decoders, decoders, lim)

	var ended error
	err = o.writeTo(func(w io.Writer, flush func() error) error {
		if err := s.open(w); err != nil {
			return err
		}
		defer s.close()
		s.flushed = flush
		ended = s.all(ctx)
		if ended != nil && !(errors.Is(ended, cli.ErrInterrupted) && s.waiting().done > 0) {
			return ended
		}
		if err := s.finish(); err != nil {
			return err
		}
		return flush()
	})
	s.progress.Finish()
	switch {
	case err == nil && ended != nil:
		s.progress.Warnf("%d rows are written", s.waiting().done)
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
	if o.others > 0 {
		note += ", " + cli.OtherFiles(o.others)
	}
	s.progress.Infof("%s %d pictures in %s%s (model %s)", j.did, s.waiting().done, cli.Span(time.Since(s.start)), note, m.ID())
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
	job
	feed     *feed
	flushed  func() error // passes on what was written
	progress *cli.Progress
	start    time.Time
	skipped  int64
}

// all takes pictures from the feed until it ends, ctx is done or something fails. Rows of an incomplete batch are
// written too, and whenever nothing is waiting, so that a slow list gives its rows at once.
func (s *session) all(ctx context.Context) error {
	for ctx.Err() == nil {
		var p *slot
		var more bool
		select {
		case p, more = <-s.feed.next:
		default:
			if err := s.process(); err != nil {
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
			return errors.Join(s.process(), err)
		}
		s.feed.free <- p
	}
	if err := s.process(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch {
	case s.waiting().done == 0 && s.skipped == 0:
		if s.others > 0 {
			return fmt.Errorf("no pictures found: %s", cli.OtherFiles(s.others))
		}
		return errors.New("no pictures found")
	case s.waiting().done == 0:
		return fmt.Errorf("none of the %d pictures could be %s", s.skipped, s.did)
	}
	return nil
}

// take adds a decoded picture to the batch, or tells why it cannot be.
func (s *session) take(p *slot) error {
	switch {
	case p.err == nil:
		s.waiting().add(p)
		if s.waiting().full() {
			return s.process()
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

// process writes the rows of the pictures that wait.
func (s *session) process() error {
	if s.waiting().n == 0 {
		return nil
	}
	for err := range s.flush {
		var bad *pixels.FileError
		if s.onError == "fail" || !errors.As(err, &bad) {
			return err
		}
		s.skip(err)
	}
	if time.Since(s.start) > quietStart {
		s.progress.Update(cli.Status{Done: s.waiting().done + s.skipped, Images: s.waiting().done})
	}
	return s.flushed()
}

// quietStart is how long a run may take without a word: the line at its end is enough for a short one.
const quietStart = 2 * time.Second
