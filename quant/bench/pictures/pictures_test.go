package main

import (
	"crypto/sha256"
	"encoding/hex"
	"image/jpeg"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDraw holds the pixels, which are the same on every machine; the bytes of a file may change with Go's encoder.
func TestDraw(t *testing.T) {
	m := draw(1, 401, 299)
	h := sha256.New()
	for _, plane := range [][]uint8{m.Y, m.Cb, m.Cr} {
		h.Write(plane)
	}
	require.Equal(t, "66e1c8f33db015f0", hex.EncodeToString(h.Sum(nil)[:8]))
	require.NotEqual(t, m.Y, draw(2, 401, 299).Y)
}

func TestRun(t *testing.T) {
	*count, *width, *height = 2, 40, 30
	dir := filepath.Join(t.TempDir(), "new")
	require.NoError(t, run([]string{dir}))
	for _, name := range []string{"picture-00.jpg", "picture-01.jpg"} {
		f, err := os.Open(filepath.Join(dir, name))
		require.NoError(t, err)
		m, err := jpeg.Decode(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.Equal(t, 40, m.Bounds().Dx())
	}
	require.Error(t, run(nil))
}
