package data

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"edgejepa/vit/pixels"
)

// Errors that pass change nothing; one that stays is the picture's own, as a damaged picture is from the first try on.
func TestReadErrorsThatPass(t *testing.T) {
	dir := folder(t, 8)
	want := batches(t, open(t, Options{}, dir), 6)

	beforePauses := pauses
	defer func() { readPicture, pauses = pixels.Load, beforePauses }()
	pauses = []time.Duration{0, 0, 0}
	var mu sync.Mutex
	tries := map[string]int{}
	failing := func(times int, err error) {
		clear(tries)
		readPicture = func(path string, l pixels.Limits) (pixels.Image, error) {
			mu.Lock()
			defer mu.Unlock()
			tries[path]++
			if n := tries[path] % 4; filepath.Base(path) == "003.png" && 0 < n && n <= times {
				return pixels.Image{}, fmt.Errorf("%s: %w", path, err)
			}
			return pixels.Load(path, l)
		}
	}
	for _, err := range []error{syscall.EIO, syscall.EMFILE, syscall.ESTALE} {
		failing(3, err)
		require.Equal(t, want, batches(t, open(t, Options{}, dir), 6), err)
	}
	failing(1, syscall.EACCES)
	s := open(t, Options{}, dir)
	require.NotEqual(t, want, batches(t, s, 6))
	require.Equal(t, 1, s.Skipped())
}

// replaced stands in for reading pictures, with short pauses, until the test ends.
func replaced(t *testing.T, read func(path string, l pixels.Limits) (pixels.Image, error)) {
	was := []any{pauses, outageFor, outagePause}
	t.Cleanup(func() {
		readPicture, pauses, outageFor, outagePause = pixels.Load, was[0].([]time.Duration), was[1].(time.Duration), was[2].(time.Duration)
	})
	readPicture, pauses, outagePause = read, []time.Duration{0, 0, 0}, time.Millisecond
}

// A disk that is gone for a while is waited for, and no picture is lost by it. Without an end that is an error, after which
// the set is as it was.
func TestOutage(t *testing.T) {
	dir := folder(t, 8)
	want := batches(t, open(t, Options{}, dir), 6)
	var tries atomic.Int64
	gone := func(from, to int64) {
		tries.Store(0)
		replaced(t, func(path string, l pixels.Limits) (pixels.Image, error) {
			if n := tries.Add(1); from <= n && n < to {
				return pixels.Image{}, fmt.Errorf("%s: %w", path, syscall.ESTALE)
			}
			return pixels.Load(path, l)
		})
	}
	gone(5, 50)
	s := open(t, Options{}, dir)
	require.Equal(t, want, batches(t, s, 6))
	require.Zero(t, s.Skipped())

	gone(5, math.MaxInt64)
	outageFor = 20 * time.Millisecond
	s = open(t, Options{}, dir)
	l := NewLoader(s, LoaderOptions{Batch: 4, Workers: 2, Seed: 3})
	var err error
	for range 6 {
		if _, err = l.Next(t.Context()); err != nil {
			break
		}
	}
	l.Close()
	require.ErrorIs(t, err, syscall.ESTALE)
	require.ErrorContains(t, err, "cannot be read any more")
	require.Zero(t, s.Skipped())
	readPicture = pixels.Load
	require.Equal(t, want, batches(t, s, 6))
}

// Closing a loader does not wait for a disk that is gone.
func TestCloseInOutage(t *testing.T) {
	s := open(t, Options{}, folder(t, 8))
	reading := make(chan struct{}, 1000)
	replaced(t, func(path string, _ pixels.Limits) (pixels.Image, error) {
		reading <- struct{}{}
		return pixels.Image{}, fmt.Errorf("%s: %w", path, syscall.EIO)
	})
	for _, long := range []*time.Duration{&pauses[0], &outagePause} {
		was := *long
		*long = time.Hour
		l := NewLoader(s, LoaderOptions{Batch: 4, Workers: 2})
		for range 2 {
			<-reading
		}
		closed := make(chan struct{})
		go func() { l.Close(); close(closed) }()
		select {
		case <-closed:
		case <-time.After(time.Minute):
			t.Fatal("it waits")
		}
		_, err := l.Next(t.Context())
		require.Error(t, err)
		*long = was
	}
	require.Zero(t, s.Skipped())
}

// batches are the hashes of the pixels of the first batches of a set. One worker: two that read a picture at once would share
// the count of its tries.
func batches(t *testing.T, s *Set, n int) (all [][sha256.Size]byte) {
	l := NewLoader(s, LoaderOptions{Batch: 4, Workers: 1, Seed: 3, Augment: AugmentOptions{Std: [3]float32{1, 1, 1}}})
	defer l.Close()
	for range n {
		b, err := l.Next(t.Context())
		require.NoError(t, err)
		h := sha256.New()
		require.NoError(t, binary.Write(h, binary.LittleEndian, b.Pixels))
		all = append(all, [sha256.Size]byte(h.Sum(nil)))
	}
	return all
}
