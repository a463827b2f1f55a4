// Package data feeds pictures to training: it lists them, decodes them, keeps what fits in memory, draws crops and
// hands out batches. What batch k of a run holds is a function of the seed, the settings and the files alone: not of
// the number of workers, the size of the cache, or the step at which the run was resumed.
package data

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"edgejepa/vit/pixels"
)

// Options say which pictures a Set holds and how they are kept.
type Options struct {
	ImageSize int           // side of the model's input; larger pictures are kept at twice that
	Limits    pixels.Limits // what a picture may cost; MinSide is set by Open
	Labelled  bool          // the first folder below each path names the class

	// OnSkip is told of each file that is passed over, once: a *pixels.FileError. It is called by the goroutine that
	// calls Open, Loader.Next or Loader.Close. It may be nil.
	OnSkip func(error)
}

// Set is a list of pictures. It is safe for concurrent use once Cache has been called, if it is called at all.
type Set struct {
	options Options
	paths   []string
	labels  []int
	classes []string

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
// no picture, or, with labels asked for, if one lies in no class folder or there are fewer than two classes.
func Open(paths []string, o Options) (*Set, error) {
	if o.ImageSize <= 0 {
		return nil, fmt.Errorf("image size %d: it must be positive", o.ImageSize)
	}
	o.Limits.MinSide = MinSide(o.ImageSize)
	s := &Set{options: o}
	s.resizers.New = func() any { return new(pixels.Resizer) }
	var names []string
	for _, root := range paths {
		for path, err := range pixels.Walk([]string{root}) {
			if err != nil {
				s.skip(err)
				continue
			}
			if o.Labelled {
				name, err := className(root, path)
				if err != nil {
					return nil, err
				}
				names = append(names, name)
			}
			s.paths = append(s.paths, path)
		}
		s.report()
	}
	if len(s.paths) == 0 {
		return nil, fmt.Errorf("no pictures under %s (JPEG, PNG, GIF, BMP, WebP or TIFF)", pixels.Printable(strings.Join(paths, ", ")))
	}
	if o.Labelled {
		if err := s.label(names); err != nil {
			return nil, err
		}
	}
	s.kept = make([]atomic.Pointer[pixels.Image], len(s.paths))
	return s, nil
}

// className returns the folder directly below root in which path lies.
func className(root, path string) (string, error) {
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return "", err
	}
	class, _, nested := strings.Cut(rel, string(filepath.Separator))
	if !nested {
		return "", &pixels.FileError{Path: path, Err: errors.New("lies in no class folder: labelled pictures lie in one sub-folder a class")}
	}
	return class, nil
}

func (s *Set) label(names []string) error {
	s.classes = slices.Compact(slices.Sorted(slices.Values(names)))
	if len(s.classes) < 2 {
		return fmt.Errorf("all pictures are of class %q: labelled pictures need two sub-folders or more", s.classes[0])
	}
	s.labels = make([]int, len(names))
	for i, n := range names {
		s.labels[i], _ = slices.BinarySearch(s.classes, n)
	}
	return nil
}

// Len returns the number of pictures.
func (s *Set) Len() int { return len(s.paths) }

// Paths returns the paths of the pictures. The slice is the set's own.
func (s *Set) Paths() []string { return s.paths }

// Labels returns the class of each picture as an index into Classes; nil without Options.Labelled.
func (s *Set) Labels() []int { return s.labels }

// Classes returns the names of the classes in byte order.
func (s *Set) Classes() []string { return s.classes }

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

// report passes the skips that have come up to OnSkip, in the caller's goroutine.
func (s *Set) report() {
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
