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
	img, err := s.picture(i, nil)
	if err != nil && passing(err) {
		s.lose(i, err)
	}
	return img, err
}

// picture is Picture, but for an error that may pass: that the picture is lost is for the caller to say. It gives up when
// done is closed.
func (s *Set) picture(i int, done <-chan struct{}) (pixels.Image, error) {
	if img := s.kept[i].Load(); img == &unreadable {
		return pixels.Image{}, &pixels.FileError{Path: s.paths[i], Err: errUnreadable}
	} else if img != nil {
		return *img, nil
	}
	img, err := s.load(s.paths[i], done)
	if err != nil {
		if !passing(err) && err != errClosed && !s.lose(i, err) {
			if img := s.kept[i].Load(); img != &unreadable { // another worker could read it
				return *img, nil
			}
		}
		return pixels.Image{}, err
	}
	img = s.reduce(img)
	s.keep(i, img)
	return img, nil
}

// lose marks a picture as one that cannot be read, and reports it. It returns false if another worker was first to mark it or
// to keep it.
func (s *Set) lose(i int, err error) bool {
	lost := s.kept[i].CompareAndSwap(nil, &unreadable)
	if lost {
		s.skip(err)
	}
	return lost
}

// load reads a picture. An error of the disk or the network, or of a process that has too much open, may pass: it is tried
// again a few times, since what a run learns must not depend on that. Other errors are the picture's own.
func (s *Set) load(path string, done <-chan struct{}) (img pixels.Image, err error) {
	for _, pause := range pauses {
		if img, err = readPicture(path, s.options.Limits); err == nil || !passing(err) {
			return img, err
		}
		if !wait(pause, done) {
			return img, errClosed
		}
	}
	return readPicture(path, s.options.Limits)
}

// wait returns true after a pause, or false when done is closed.
func wait(pause time.Duration, done <-chan struct{}) bool {
	select {
	case <-time.After(pause):
		return true
	case <-done:
		return false
	}
}

// readPicture is pixels.Load; tests have one that fails.
var readPicture = pixels.Load

// pauses are those between tries to read a picture.
var pauses = []time.Duration{100 * time.Millisecond, time.Second, 10 * time.Second}

// When so many pictures in a row have errors that may pass, it is the disk that is gone, and not they: it is waited for, a
// shorter time than the watchdog of edge-train.service, which is not fed meanwhile.
const outage = 3

var (
	outageFor   = 5 * time.Minute
	outagePause = 5 * time.Second // between two tries
)

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
// A picture that cannot be read is thus replaced by the same other one wherever and whenever it is met. If the disk is gone
// for longer than it is waited for, that is the error, and no picture is lost by it. It gives up when done is closed.
func (s *Set) readable(i int, done <-chan struct{}) (pixels.Image, error) {
	var lost []int // for errors that may pass, unless those after them have such errors as well
	var errs []error
	for n := 0; n < len(s.paths); n++ {
		j := (i + n) % len(s.paths)
		img, err := s.picture(j, done)
		switch {
		case err == nil:
			for k, l := range lost {
				s.lose(l, errs[k])
			}
			return img, nil
		case err == errClosed:
			return img, err
		case passing(err):
			lost, errs = append(lost, j), append(errs, err)
			if len(lost) < min(outage, len(s.paths)) {
				continue
			}
			if err := s.waitFor(j, done); err != nil {
				return img, err
			}
			n, lost, errs = -1, nil, nil // the disk is back: from the beginning
		}
	}
	return pixels.Image{}, fmt.Errorf("none of the %d pictures can be read", len(s.paths))
}

// waitFor returns when picture i can be read, or has an error of its own.
func (s *Set) waitFor(i int, done <-chan struct{}) error {
	for begun := time.Now(); ; {
		_, err := readPicture(s.paths[i], s.options.Limits)
		if err == nil || !passing(err) {
			return nil
		}
		if time.Since(begun) >= outageFor {
			return fmt.Errorf("pictures cannot be read any more: %w", err)
		}
		if !wait(outagePause, done) {
			return errClosed
		}
	}
}
