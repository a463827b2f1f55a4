package data

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/vit/pixels"
)

// A large JPEG is decoded at reduced size, and kept as if it had been decoded whole.
func TestPrepareReduced(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 150, 99))
	for y := range 99 {
		for x := range 150 {
			m.SetNRGBA(x, y, color.NRGBA{uint8(60 + x), uint8(200 - y), uint8(80 + x/2 + y/2), 255})
		}
	}
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, m, &jpeg.Options{Quality: 95}))
	dir := t.TempDir()
	put(t, dir, "a.jpg", b.Bytes())
	s := open(t, Options{}, dir)

	decoded, err := pixels.Load(s.Paths()[0], s.options.Limits)
	require.NoError(t, err)
	require.Equal(t, [2]int{75, 50}, [2]int{decoded.W, decoded.H}, "twice 2 * size is 32, and a quarter has 24")
	got, err := s.Picture(0)
	require.NoError(t, err)
	whole, err := pixels.Load(s.Paths()[0], pixels.Limits{})
	require.NoError(t, err)
	want := s.reduce(whole)
	require.Equal(t, [2]int{want.W, want.H}, [2]int{got.W, got.H})
	mean := 0.0
	for i, v := range got.Pix {
		mean += math.Abs(float64(v)-float64(want.Pix[i])) / float64(len(got.Pix))
	}
	require.Less(t, mean, 0.75)
}
