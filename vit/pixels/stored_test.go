package pixels

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What ReadSize says is what Load gives, turned pictures included; and what it refuses, Load refuses.
func TestReadSizeIsThatOfLoad(t *testing.T) {
	turned := 0
	for _, c := range hostileCases(t) {
		path := filepath.Join(hostileDir, c.File)
		s, err := ReadSize(path)
		if err != nil {
			require.Equal(t, "error", c.Expect, "%s: %v", c.File, err)
			require.ErrorContains(t, err, c.File+": ")
			continue
		}
		img, err := Load(path, Limits{})
		if err != nil {
			continue // the header is sound and the pixels are not
		}
		require.Equal(t, [2]int{img.W, img.H}, [2]int{s.W, s.H}, c.File)
		if w, h := s.Stored(); s.Orientation >= 5 {
			require.Equal(t, [2]int{s.H, s.W}, [2]int{w, h})
			turned++
		}
	}
	require.Greater(t, turned, 4)
}

// A JPEG's size is read from its beginning, wherever that ends.
func TestReadSizeOfLongFile(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(hostileDir, "exif_orientation_6.jpg"))
	require.NoError(t, err)
	want, err := ReadSize(filepath.Join(hostileDir, "exif_orientation_6.jpg"))
	require.NoError(t, err)
	require.Equal(t, 6, want.Orientation)
	comment := append([]byte{0xff, markerComment, 0xff, 0xff}, make([]byte, 0xffff-2)...)
	for _, comments := range []int{1, 2, 3, 5} { // before the tags: the frame header comes within what is read first, or after it
		long := append(append([]byte{}, data[:2]...), bytes.Repeat(comment, comments)...)
		long = append(append(long, data[2:]...), make([]byte, jpegHead)...)
		path := filepath.Join(t.TempDir(), "long.jpg")
		require.NoError(t, os.WriteFile(path, long, 0o600))
		got, err := ReadSize(path)
		require.NoError(t, err)
		require.Equal(t, want, got, "%d comments", comments)
	}
}

const markerComment = 0xfe

func TestDecodePNG(t *testing.T) {
	m := image.NewGray(image.Rect(0, 0, 3, 2))
	m.Pix[4] = 7
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, m))
	got, err := DecodePNG(b.Bytes(), Limits{})
	require.NoError(t, err)
	require.Equal(t, m, got)
	_, err = DecodePNG(b.Bytes(), Limits{MaxPixels: 5})
	require.ErrorContains(t, err, "over the limit")
	_, err = DecodePNG(b.Bytes()[:40], Limits{})
	require.ErrorContains(t, err, "ends too early")
	_, err = DecodePNG([]byte("GIF89a"), Limits{})
	require.ErrorContains(t, err, "is GIF, not PNG")
	_, err = DecodePNG([]byte("hello"), Limits{})
	require.ErrorContains(t, err, "not a picture")
}

func TestOpenAndReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(path, make([]byte, 100), 0o600))
	b, err := ReadFile(path, 100)
	require.NoError(t, err)
	require.Len(t, b, 100)
	f, err := Open(path, 100)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	_, err = ReadFile(path, 99)
	require.ErrorContains(t, err, path+": file of 0 MB is over the limit")
	_, err = Open(path, 99)
	require.ErrorContains(t, err, "over the limit")
	_, err = Open(filepath.Dir(path), 99)
	require.ErrorContains(t, err, "a folder, not a file")
	_, err = ReadFile(path+"x", 99)
	require.ErrorIs(t, err, os.ErrNotExist)
}
