package pixels

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func fill(r *rand.Rand, bufs ...[]uint8) {
	for _, b := range bufs {
		for i := range b {
			b[i] = uint8(r.Uint32())
		}
	}
}

// hidden hides a picture's type, so that it is converted pixel by pixel.
type hidden struct{ image.Image }

// The loop of each type agrees with the conversion pixel by pixel. Where the slow path goes
// through 16 bits or unmultiplies transparency, one level is lost to rounding.
func TestConvertTypes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	rect := image.Rect(0, 0, 13, 7)
	gray, gray16 := image.NewGray(rect), image.NewGray16(rect)
	nrgba, nrgba64 := image.NewNRGBA(rect), image.NewNRGBA64(rect)
	cmyk := image.NewCMYK(rect)
	pal := image.NewPaletted(rect, color.Palette{color.NRGBA{200, 10, 20, 255}, color.NRGBA{9, 8, 7, 100}, color.White, color.Transparent})
	fill(r, gray.Pix, gray16.Pix, nrgba.Pix, nrgba64.Pix, cmyk.Pix, pal.Pix)
	for i := range pal.Pix {
		pal.Pix[i] %= 4
	}
	rgba, rgba64 := image.NewRGBA(rect), image.NewRGBA64(rect)
	draw.Draw(rgba, rect, nrgba, image.Point{}, draw.Src)
	draw.Draw(rgba64, rect, nrgba64, image.Point{}, draw.Src)
	rounded := []image.Image{rgba, rgba64, nrgba64}
	exact := []image.Image{gray, gray16, nrgba, cmyk, pal}
	for ratio := image.YCbCrSubsampleRatio444; ratio <= image.YCbCrSubsampleRatio410; ratio++ {
		m := image.NewYCbCr(rect, ratio)
		fill(r, m.Y, m.Cb, m.Cr)
		a := image.NewNYCbCrA(rect, ratio)
		fill(r, a.Y, a.Cb, a.Cr, a.A)
		exact, rounded = append(exact, m), append(rounded, a)
	}
	within := func(tolerance int, m image.Image) {
		fast, slow := convert(m, 1), convert(hidden{m}, 1)
		require.LessOrEqual(t, maxDifference(t, fast, slow), tolerance, fmt.Sprintf("%T", m))
	}
	for _, m := range exact {
		within(0, m)
	}
	for _, m := range rounded {
		within(1, m)
	}
}

func TestOrientations(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 5, 3))
	fill(rand.New(rand.NewPCG(3, 4)), m.Pix)
	stored := convert(m, 1)
	for o := 1; o <= 8; o++ {
		require.Equal(t, turn(stored, o), convert(m, o), "orientation %d", o)
	}
}

func TestAlphaOverWhite(t *testing.T) {
	require.EqualValues(t, 7, over(7, 255))
	require.EqualValues(t, 255, over(7, 0))
	require.EqualValues(t, 128, over(0, 127))
	require.EqualValues(t, 255, overPremultiplied(200, 100), "a sample above its alpha saturates")
}

// maxDifference compares two pictures of one size.
func maxDifference(t testing.TB, a, b Image) (worst int) {
	require.Equal(t, [2]int{a.W, a.H}, [2]int{b.W, b.H})
	require.Len(t, a.Pix, len(b.Pix))
	for i := range a.Pix {
		d := int(a.Pix[i]) - int(b.Pix[i])
		worst = max(worst, d, -d)
	}
	return worst
}
