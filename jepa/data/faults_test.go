package data

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"sync"
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
