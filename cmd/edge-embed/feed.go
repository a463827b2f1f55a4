package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"os"

	"edgejepa/device"
	"edgejepa/internal/cli"
	"edgejepa/vit/pixels"
)

// pictures yields what is to be embedded, in order: a path, or a path with the reason why it cannot be. A fatal error
// comes with no path.
func (o *options) pictures() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for path, err := range pixels.Walk(o.paths, &o.others) {
			if !yield(path, err) {
				return
			}
		}
		if o.filesFrom == "" {
			return
		}
		list := o.stdin
		if o.filesFrom != "-" {
			f, err := os.Open(o.filesFrom)
			if err != nil {
				yield("", fmt.Errorf("--files-from: %w", err))
				return
			}
			defer f.Close()
			list = f
		}
		one := make([]string, 1)
		for path, err := range entries(list, o.null) {
			if err != nil {
				yield("", fmt.Errorf("--files-from %s: %w", cli.Printable(o.filesFrom), err))
				return
			}
			one[0] = path
			for path, err := range pixels.Walk(one, &o.others) {
				if !yield(path, err) {
					return
				}
			}
		}
	}
}

// longestPath bounds an entry of a list: systems end at 4096.
const longestPath = 1 << 16

// entries yields the paths of a list; empty ones are passed over.
func entries(r io.Reader, null bool) iter.Seq2[string, error] {
	end := byte('\n')
	if null {
		end = 0
	}
	return func(yield func(string, error) bool) {
		s := bufio.NewScanner(r)
		s.Buffer(nil, longestPath)
		s.Split(func(data []byte, atEOF bool) (int, []byte, error) {
			if i := bytes.IndexByte(data, end); i >= 0 {
				return i + 1, data[:i], nil
			}
			if atEOF && len(data) > 0 {
				return len(data), data, nil
			}
			return 0, nil, nil
		})
		for s.Scan() {
			if s.Text() != "" && !yield(s.Text(), nil) {
				return
			}
		}
		if err := s.Err(); err != nil {
			yield("", err)
		}
	}
}

// slot is a picture on its way from a path to pixels. There is a fixed number of them, so memory is bounded whatever the
// number of pictures.
type slot struct {
	path  string
	err   error
	size  size          // of the picture as it was decoded
	pix   []uint8       // [H, W, 3] the model's input
	ready chan struct{} // one token when err and pix are final
}

// feed decodes pictures ahead of their use. Slots arrive at next in input order; whoever took one waits for its ready
// and gives it back through free.
type feed struct{ next, free chan *slot }

// input makes a model's input of a picture. It is one goroutine's.
type input func(dst []uint8, src pixels.Image)

// startFeed starts decoders goroutines that decode, and one that walks. All end when the input does or ctx is done,
// except that a read from standard input cannot be stopped.
func startFeed(ctx context.Context, pictures iter.Seq2[string, error], newInput func() input, pixelLen, slots, decoders int, lim pixels.Limits) *feed {
	f := &feed{next: make(chan *slot, slots), free: make(chan *slot, slots)}
	for range slots {
		f.free <- &slot{pix: make([]uint8, pixelLen), ready: make(chan struct{}, 1)}
	}
	work := make(chan *slot, slots)
	go func() {
		defer close(f.next)
		defer close(work)
		for path, err := range pictures {
			var s *slot
			select {
			case s = <-f.free:
			case <-ctx.Done():
				return
			}
			s.path, s.err = path, err
			if err != nil {
				s.ready <- struct{}{}
			} else {
				work <- s
			}
			f.next <- s
		}
	}()
	for range decoders {
		go func() {
			in := newInput()
			for s := range work {
				if s.err = ctx.Err(); s.err == nil {
					s.err = s.decode(in, lim)
				}
				s.ready <- struct{}{}
			}
		}()
	}
	return f
}

func (s *slot) decode(in input, lim pixels.Limits) error {
	img, err := pixels.Load(s.path, lim)
	if err == nil {
		s.size = size{img.W, img.H}
		in(s.pix, img)
	}
	return err
}

// decodeBytes is what decoding one picture may take unless --max-megapixels says otherwise: a 24-megapixel JPEG fits.
const (
	decodeBytes     = 256 << 20
	leastBytes      = 128 << 20
	usualMegapixels = 64 // the limit of package pixels
	bytesPerPixel   = 16 // of the costliest kind that is common: a 16-bit PNG with its RGB copy takes 11
	shareOfMemory   = 2  // decoding gets one half,
	shareOfDrawing  = 8  // or less: what is drawn on is there several times, as pixels, canvas and mask
	smallestMachine = 64 << 20
)

// decodePlan says how many pictures to decode at a time and how large each may be, so that all of them fit into half of
// the memory that the machine has to spare (0: unknown). A limit above the usual one stands as it is: the person insists.
func (o *options) decodePlan(p device.Profile, workers int) (decoders int, lim pixels.Limits) {
	lim = pixels.Limits{MaxPixels: int64(o.megapixels * 1e6), MaxBytes: decodeBytes}
	share := int64(shareOfMemory)
	if o.draw != "" || o.masks != "" {
		share = shareOfDrawing
	}
	budget, err := device.Budget(p, 0)
	if err != nil || budget <= 0 {
		budget = int64(workers) * decodeBytes * share
	}
	budget = max(budget/share, smallestMachine)
	if o.megapixels > usualMegapixels {
		lim.MaxBytes = max(lim.MaxBytes, lim.MaxPixels*bytesPerPixel)
		return int(min(max(budget/lim.MaxBytes, 1), int64(workers))), lim
	}
	decoders = int(min(max(budget/leastBytes, 1), int64(workers)))
	lim.MaxBytes = min(lim.MaxBytes, budget/int64(decoders))
	return decoders, lim
}
