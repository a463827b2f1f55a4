// Package data feeds pictures to training: it lists them, decodes them, keeps what fits in memory, draws crops and
// hands out batches. What batch k of a run holds is a function of the seed, the settings and the files alone: not of
// the number of workers, the size of the cache, or the step at which the run was resumed.
package data

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"edgejepa/vit/pixels"
)

// Options say which pictures a Set holds and how they are kept.
type Options struct {
	ImageSize int           // side of the model's input; larger pictures are kept at twice that
	Limits    pixels.Limits // what a picture may cost; MinSide is set by Open

	// OnSkip is told of each file that is passed over, once: a *pixels.FileError. It is called by the goroutine that
	// calls Open, Loader.Next or Loader.Close. It may be nil.
	OnSkip func(error)
}

// Set is a list of pictures. It is safe for concurrent use once Cache has been called, if it is called at all.
type Set struct {
	options Options
	paths   []string
	others  int64 // files that are no pictures, and do not look like any

	kept     []atomic.Pointer[pixels.Image] // by picture: what is in memory, &unreadable, or nil
	budget   atomic.Int64                   // bytes that may still be kept
	resizers sync.Pool

	mu      sync.Mutex
	pending []error // skips that OnSkip has not been told of
	waiting atomic.Bool
	skipped atomic.Int64
}

// unreadable marks a picture that could not be decoded.
var unreadable pixels.Image

// Open lists the pictures under paths, in the order of pixels.Walk. Nothing is decoded yet. It is an error if there is
// no picture.
func Open(paths []string, o Options) (*Set, error) {
	if o.ImageSize <= 0 {
		return nil, fmt.Errorf("image size %d: it must be positive", o.ImageSize)
	}
	s := newSet(o)
	for _, root := range paths {
		for path, err := range pixels.Walk([]string{root}, &s.others) {
			if err != nil {
				s.skip(err)
				continue
			}
			s.paths = append(s.paths, path)
		}
		s.Report()
	}
	if len(s.paths) == 0 {
		return nil, fmt.Errorf("no pictures under %s (JPEG, PNG, GIF, BMP, WebP or TIFF)", pixels.Printable(strings.Join(paths, ", ")))
	}
	s.kept = make([]atomic.Pointer[pixels.Image], len(s.paths))
	return s, nil
}

// OpenList returns a set of pictures that are known. Whether they are still there shows when they are read.
func OpenList(paths []string, o Options) *Set {
	s := newSet(o)
	s.paths, s.kept = paths, make([]atomic.Pointer[pixels.Image], len(paths))
	return s
}

func newSet(o Options) *Set {
	o.Limits.MinSide = MinSide(o.ImageSize)
	s := &Set{options: o}
	s.resizers.New = func() any { return new(pixels.Resizer) }
	return s
}

// Len returns the number of pictures.
func (s *Set) Len() int { return len(s.paths) }

// Paths returns the paths of the pictures. The slice is the set's own.
func (s *Set) Paths() []string { return s.paths }

// Others returns how many files Open met that are no pictures and do not look like any. OnSkip is not told of them.
func (s *Set) Others() int64 { return s.others }

// Skipped returns how many files have been passed over so far, those that Open met included.
func (s *Set) Skipped() int { return int(s.skipped.Load()) }

func (s *Set) skip(err error) {
	s.skipped.Add(1)
	if s.options.OnSkip == nil {
		return
	}
	s.mu.Lock()
	s.pending = append(s.pending, err)
	s.mu.Unlock()
	s.waiting.Store(true)
}

// Report passes the skips that have come up to OnSkip, in the caller's goroutine. A Loader does so by itself; who reads
// Pictures calls it.
func (s *Set) Report() {
	if !s.waiting.Swap(false) {
		return
	}
	s.mu.Lock()
	pending := s.pending
	s.pending = nil
	s.mu.Unlock()
	for _, err := range pending {
		s.options.OnSkip(err)
	}
}
