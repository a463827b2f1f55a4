package data

import (
	"errors"
	"fmt"
	"math"
	"syscall"
	"time"

	"edgejepa/vit/pixels"
)

// keepFactor bounds the shorter side of a picture in memory, in units of the model's image size. A crop of a quarter
// of a picture's area, less than the 0.3 that I-JEPA starts from, still has as many pixels as the model sees, so no
// sharpness is lost; a photograph of 12 megapixels shrinks to a twentieth at 224 pixels.
const keepFactor = 2

// MinSide is the shorter side that a JPEG keeps at least when it is decoded at reduced size (pixels.Limits).
func MinSide(imageSize int) int { return pixels.Oversample * keepFactor * imageSize }

// errUnreadable is the short answer for a picture whose error has been reported.
var errUnreadable = errors.New("could not be read before")

// Cache lets up to the given number of bytes of decoded pictures stay in memory: the first that are met and fit. It
// changes the speed of training and nothing else. Call it before the set is used by several goroutines.
func (s *Set) Cache(bytes int64) { s.budget.Store(max(bytes, 0)) }

// Picture returns picture i as crops are cut from it: decoded, and scaled down (bilinear, antialiased) if its shorter
// side is over twice the image size. The pixels may be shared and must not be changed.
func (s *Set) Picture(i int) (pixels.Image, error) {
	if img := s.kept[i].Load(); img == &unreadable {
		return pixels.Image{}, &pixels.FileError{Path: s.paths[i], Err: errUnreadable}
	} else if img != nil {
		return *img, nil
	}
	img, err := s.load(s.paths[i])
	if err != nil {
		if s.kept[i].CompareAndSwap(nil, &unreadable) {
			s.skip(err)
		} else if img := s.kept[i].Load(); img != &unreadable { // another worker could read it
			return *img, nil
		}
		return pixels.Image{}, err
	}
	img = s.reduce(img)
	s.keep(i, img)
	return img, nil
}

// load reads a picture. An error of the disk or the network, or of a process that has too much open, may pass: it is tried
// again a few times, since what a run learns must not depend on that. Other errors are the picture's own.
func (s *Set) load(path string) (img pixels.Image, err error) {
	for _, pause := range pauses {
		if img, err = readPicture(path, s.options.Limits); err == nil || !passing(err) {
			return img, err
		}
		time.Sleep(pause)
	}
	return readPicture(path, s.options.Limits)
}

// readPicture is pixels.Load; tests have one that fails.
var readPicture = pixels.Load

// pauses are those between tries to read a picture.
var pauses = []time.Duration{100 * time.Millisecond, time.Second, 10 * time.Second}

// passing says whether an error may be another one, or none, when the picture is read again.
func passing(err error) bool {
	for _, e := range []error{syscall.EIO, syscall.EAGAIN, syscall.EINTR, syscall.EBUSY, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE,
		syscall.ESTALE, syscall.ETIMEDOUT, syscall.ENOTCONN, syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.ENETUNREACH} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// reduce scales a picture down to keepFactor times the image size, if its shorter side is over that.
func (s *Set) reduce(img pixels.Image) pixels.Image {
	limit := float64(keepFactor * s.options.ImageSize)
	width, height := img.Bounds().Size()
	short := min(width, height)
	if short <= limit {
		return img
	}
	scale := limit / short
	w := int(math.RoundToEven(width * scale))
	h := int(math.RoundToEven(height * scale))
	r := s.resizers.Get().(*pixels.Resizer)
	defer s.resizers.Put(r)
	var small pixels.Image
	r.Resize(&small, img, img.Bounds(), w, h, pixels.Bilinear)
	return small
}

// keep puts a picture into the cache if the budget allows.
func (s *Set) keep(i int, img pixels.Image) {
	const overhead = 64 // the header and the allocator's rounding
	size := int64(len(img.Pix)) + overhead
	if s.budget.Add(-size) < 0 || !s.kept[i].CompareAndSwap(nil, &img) {
		s.budget.Add(size)
	}
}

// readable returns picture i, or the next one after it, in the order of the set and around its end, that can be read.
// A picture that cannot be read is thus replaced by the same other one wherever and whenever it is met.
func (s *Set) readable(i int) (pixels.Image, error) {
	for n := range len(s.paths) {
		j := (i + n) % len(s.paths)
		if img, err := s.Picture(j); err == nil {
			return img, nil
		}
	}
	return pixels.Image{}, fmt.Errorf("none of the %d pictures can be read", len(s.paths))
}
