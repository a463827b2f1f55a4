package pixels

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const hostileDir = "../../testdata/hostile/images"

type hostileCase struct {
	File, Expect, Reason, Note string
	W, H                       int
	Checks                     [][6]float64 // x and y as fractions, red, green, blue, tolerance
}

func hostileCases(t testing.TB) []hostileCase {
	data, err := os.ReadFile(filepath.Join(hostileDir, "index.json"))
	require.NoError(t, err)
	var cases []hostileCase
	require.NoError(t, json.Unmarshal(data, &cases))
	require.Len(t, cases, 64)
	return cases
}

// colourMismatch returns how far the worst channel of the worst check is beyond its tolerance; 0 is a match.
func colourMismatch(img Image, checks [][6]float64) (worst float64) {
	for _, c := range checks {
		r, g, b := img.At(int(c[0]*float64(img.W)), int(c[1]*float64(img.H)))
		for i, v := range []uint8{r, g, b} {
			d := float64(v) - c[2+i]
			worst = max(worst, d-c[5], -d-c[5])
		}
	}
	return worst
}

func TestHostilePictures(t *testing.T) {
	for _, c := range hostileCases(t) {
		t.Run(c.File, func(t *testing.T) {
			path := filepath.Join(hostileDir, c.File)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			img, err := Load(path, Limits{})
			runtime.ReadMemStats(&after)
			// The largest of these pictures has half a megapixel.
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20), "memory")
			if c.Expect == "error" {
				require.Error(t, err, c.Note)
				require.True(t, strings.HasPrefix(err.Error(), path+": "), err)
				require.NotContains(t, err.Error(), "\n")
				require.NotContains(t, err.Error(), "the decoder failed")
				require.Contains(t, err.Error(), c.Reason)
				require.Equal(t, Image{}, img)
				return
			}
			require.NoError(t, err, c.Note)
			require.Equal(t, [2]int{c.W, c.H}, [2]int{img.W, img.H}, c.Note)
			require.Len(t, img.Pix, 3*img.W*img.H)
			require.Zero(t, colourMismatch(img, c.Checks), c.Note)
		})
	}
}

// The colour checks are able to fail: the upright picture turned by any other orientation does not pass them.
func TestColourChecksFail(t *testing.T) {
	for _, c := range hostileCases(t) {
		if c.File != "exif_orientation_6.jpg" {
			continue
		}
		img, err := Load(filepath.Join(hostileDir, c.File), Limits{})
		require.NoError(t, err)
		for o := 2; o <= 8; o++ {
			require.NotZero(t, colourMismatch(turn(img, o), c.Checks), "orientation %d", o)
		}
	}
}

// turn applies an orientation to an RGB picture by the definition: where each stored pixel goes.
func turn(m Image, orientation int) Image {
	w, h := m.W, m.H
	if orientation >= 5 {
		w, h = h, w
	}
	dst := NewImage(w, h)
	for y := range m.H {
		for x := range m.W {
			u, v := x, y
			switch orientation {
			case 2:
				u = m.W - 1 - x
			case 3:
				u, v = m.W-1-x, m.H-1-y
			case 4:
				v = m.H - 1 - y
			case 5:
				u, v = y, x
			case 6:
				u, v = m.H-1-y, x
			case 7:
				u, v = m.H-1-y, m.W-1-x
			case 8:
				u, v = y, m.W-1-x
			}
			copy(dst.Pix[3*(v*w+u):3*(v*w+u)+3], m.Pix[3*(y*m.W+x):])
		}
	}
	return dst
}

// Every prefix of a picture is an error or a picture, never a panic that escapes or a hang.
func TestTruncations(t *testing.T) {
	for _, name := range []string{"jpeg_subsampling_2.jpg", "exif_orientation_6.png", "exif_orientation_6.webp", "gif_transparent.gif", "bmp_1.bmp", "tiff_tiff_lzw.tif"} {
		data, err := os.ReadFile(filepath.Join(hostileDir, name))
		require.NoError(t, err)
		for n := 0; n < len(data); n += 1 + n/64 {
			cut := append([]byte(nil), data[:n]...)
			if img, err := Decode(cut[:n:n], Limits{}); err == nil {
				require.True(t, img.valid())
			}
		}
	}
}

func TestLimits(t *testing.T) {
	path := filepath.Join(hostileDir, "size_65535x8_jpeg.jpg")
	_, err := Load(path, Limits{MaxPixels: 65535 * 8})
	require.NoError(t, err)
	_, err = Load(path, Limits{MaxPixels: 65535*8 - 1})
	require.ErrorContains(t, err, "65535x8 pixels are over the limit")
	_, err = Load(path, Limits{MaxBytes: 1 << 20})
	require.ErrorContains(t, err, "MB to decode")
	_, err = Load(path, Limits{MaxFile: 1000})
	require.ErrorContains(t, err, "file of")
}

// A progressive JPEG may ask for any number of passes over its pixels.
func TestTooManyScans(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(hostileDir, "bomb_jpeg_prog_eobrun_8192.jpg"))
	require.NoError(t, err)
	hd, err := readHeader(JPEG, data)
	require.NoError(t, err)
	require.Equal(t, 1, hd.scans)
	for i := 0; i+9 < len(data); i++ { // make it 256 by 256
		if data[i] == 0xff && data[i+1] == 0xc2 {
			copy(data[i+5:], []byte{1, 0, 1, 0})
		}
	}
	scan := []byte{0xff, 0xda, 0, 8, 1, 1, 0, 1, 63, 0}
	many := data[:len(data)-2]
	for range maxScans {
		many = append(many, scan...)
	}
	many = append(many, 0xff, 0xd9)
	_, err = Decode(many, Limits{})
	require.ErrorContains(t, err, "65 scans of 256x256 pixels")
}
