package pixels

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// scene is a smooth picture of w by h whose corners differ.
func scene(w, h int) Image {
	m := NewImage(w, h)
	for y := range h {
		for x := range w {
			u, v := float64(x)/float64(w), float64(y)/float64(h)
			p := m.Pix[3*(y*w+x):][:3]
			p[0], p[1], p[2] = uint8(40+170*u), uint8(50+90*v+60*u*v), uint8(200-80*u-60*v)
		}
	}
	return m
}

// encode returns a picture as a JPEG file with an EXIF orientation.
func encode(t testing.TB, m Image, orientation byte) []byte {
	src := image.NewNRGBA(image.Rect(0, 0, m.W, m.H))
	for y := range m.H {
		for x := range m.W {
			r, g, b := m.At(x, y)
			src.SetNRGBA(x, y, color.NRGBA{r, g, b, 255})
		}
	}
	var out bytes.Buffer
	require.NoError(t, jpeg.Encode(&out, src, &jpeg.Options{Quality: 95}))
	tags := []byte("\xff\xe1\x00\x22Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")
	tags[29] = orientation
	return append(append([]byte("\xff\xd8"), tags...), out.Bytes()[2:]...)
}

// The size is the smallest that has the side asked for.
func TestMinSideChoosesTheSize(t *testing.T) {
	data := encode(t, scene(403, 250), 1)
	for _, c := range []struct{ minSide, w, h int }{
		{0, 403, 250}, {-1, 403, 250}, {1000, 403, 250}, {126, 403, 250}, {125, 202, 125}, {63, 202, 125}, {62, 101, 63},
		{32, 101, 63}, {31, 51, 32}, {1, 51, 32},
	} {
		img, err := Decode(data, Limits{MinSide: c.minSide})
		require.NoError(t, err)
		require.Equal(t, [2]int{c.w, c.h}, [2]int{img.W, img.H}, "MinSide %d", c.minSide)
		require.True(t, img.valid())
		w, h := img.Bounds().Size()
		require.InDelta(t, 403.0/250, w/h, 0, "the scene keeps its shape")
	}
}

// A picture that is decoded small and then scaled is the one that is decoded whole and then scaled, whichever way it is
// stored and whether or not its sides divide. The edge pixels of a size that does not divide are in part made up by the
// encoder. What is left for the rest is the low frequencies of blocks instead of their pixels.
func TestReducedPicturesKeepTheirPlace(t *testing.T) {
	var r Resizer
	for orientation := byte(1); orientation <= 8; orientation++ {
		for _, size := range [][2]int{{320, 240}, {323, 245}, {241, 333}, {257, 257}} {
			data := encode(t, scene(size[0], size[1]), orientation)
			whole, err := Decode(data, Limits{})
			require.NoError(t, err)
			for _, side := range []int{60, 30, 15} {
				small, err := Decode(data, Limits{MinSide: Oversample * side})
				require.NoError(t, err)
				require.Less(t, small.W, whole.W)
				var want, got Image
				CenterCrop(&want, &r, whole, side, side)
				CenterCrop(&got, &r, small, side, side)
				mean := 0.0
				for i, v := range got.Pix {
					mean += math.Abs(float64(v)-float64(want.Pix[i])) / float64(len(got.Pix))
				}
				require.Less(t, mean, 0.75, "%v as %d to %d", size, orientation, side)

				// One pixel to the side it is told apart.
				copy(got.Pix, got.Pix[3:])
				mean = 0
				for i, v := range got.Pix {
					mean += math.Abs(float64(v)-float64(want.Pix[i])) / float64(len(got.Pix))
				}
				require.Greater(t, mean, 0.9)
			}
		}
	}
}

// The scene is told from the rest of a reduced picture on the side where the orientation puts it.
func TestBoundsFollowOrientation(t *testing.T) {
	stored := scene(65, 34) // at an eighth 9 by 5: 7/8 and 6/8 of a pixel too many
	right, bottom := float32(7)/8, float32(6)/8
	for orientation, want := range map[byte]Box{
		1: {0, 0, 9 - right, 5 - bottom}, 2: {right, 0, 9, 5 - bottom}, 3: {right, bottom, 9, 5}, 4: {0, bottom, 9 - right, 5},
		5: {0, 0, 5 - bottom, 9 - right}, 6: {bottom, 0, 5, 9 - right}, 7: {bottom, right, 5, 9}, 8: {0, right, 5 - bottom, 9},
	} {
		img, err := Decode(encode(t, stored, orientation), Limits{MinSide: 4})
		require.NoError(t, err)
		require.Equal(t, want, img.Bounds(), "orientation %d", orientation)
	}
}

// A size that fits the picture exactly does not copy what lies outside of the scene.
func TestTrimmedPictureIsNotCopied(t *testing.T) {
	img, err := Decode(encode(t, scene(33, 33), 1), Limits{MinSide: 4})
	require.NoError(t, err)
	require.Equal(t, 5, img.W)
	var r Resizer
	var dst Image
	CenterCrop(&dst, &r, img, 5, 5)
	require.NotEqual(t, img.Pix, dst.Pix)
	require.Equal(t, Box{X1: 5, Y1: 5}, dst.Bounds())
	dst = img
	dst.Pix = bytes.Clone(img.Pix)
	dst.reshape(5, 5)
	require.Equal(t, Box{X1: 5, Y1: 5}, dst.Bounds())
}

// Memory is counted for the size that is decoded.
func TestLimitsOfReducedPictures(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("../../testdata/jpeg", "photo_420_progressive.jpg"))
	require.NoError(t, err)
	for i := 0; i+9 < len(data); i++ { // make it 4000 by 3000
		if data[i] == 0xff && data[i+1] == 0xc2 {
			copy(data[i+5:], []byte{3000 >> 8, 3000 & 255, 4000 >> 8, 4000 & 255})
		}
	}
	_, err = Decode(data, Limits{MaxBytes: 70 << 20})
	require.ErrorContains(t, err, "MB to decode")
	_, err = Decode(data, Limits{MaxBytes: 8 << 20, MinSide: 384})
	require.ErrorContains(t, err, "MB to decode")
	_, err = Decode(data, Limits{MaxBytes: 4 << 20, MinSide: 300})
	require.ErrorContains(t, err, "the coded pixels end too early")
	_, err = Decode(data, Limits{MaxPixels: 11_000_000, MinSide: 300})
	require.ErrorContains(t, err, "over the limit of 11 megapixels")
}

func TestDecodersAreShared(t *testing.T) {
	data := encode(t, scene(200, 150), 6)
	want, err := Decode(data, Limits{MinSide: 40})
	require.NoError(t, err)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 20 {
				_, broken := Decode(data[:len(data)/2], Limits{})
				got, err := Decode(data, Limits{MinSide: 40})
				if broken == nil || err != nil || !bytes.Equal(want.Pix, got.Pix) {
					t.Error("decoders get into each other's way", broken, err)
				}
			}
		})
	}
	group.Wait()
}
