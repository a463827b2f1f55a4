package data

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/rng"
	"edgejepa/vit/pixels"
)

// coloured are bytes of all values.
func coloured(n int) []uint8 {
	s := rng.New(2, rng.PurposeProbe, uint64(n), 0)
	pix := make([]uint8, 3*n)
	for i := range pix {
		pix[i] = uint8(s.Uint64())
	}
	return pix
}

func TestBlend(t *testing.T) {
	for from := range 256 {
		for _, to := range []int{0, 1, 77, 128, 254, 255} {
			require.EqualValues(t, to, blend(uint8(from), uint8(to), unitFactor))
			require.EqualValues(t, from, blend(uint8(from), uint8(to), 0))
			for _, f := range []int32{1, 1234, 2048, 4097, 6000, 8192} {
				want := float64(from) + float64(f)/unitFactor*float64(to-from)
				require.InDelta(t, min(max(want, 0), 255), blend(uint8(from), uint8(to), f), 0.5)
			}
		}
	}
}

func TestGrey(t *testing.T) {
	for _, v := range []uint8{0, 1, 100, 255} {
		require.Equal(t, v, grey([]uint8{v, v, v}))
	}
	require.EqualValues(t, 76, grey([]uint8{255, 0, 0})) // 0.299
	require.EqualValues(t, 150, grey([]uint8{0, 255, 0}))
	require.EqualValues(t, 29, grey([]uint8{0, 0, 255}))
	require.EqualValues(t, 10, meanGrey([]uint8{5, 5, 5, 14, 14, 14}))
}

// Over many draws: as many views as it says are changed and grey, and brightness goes either way.
func TestJitter(t *testing.T) {
	const n = 2000
	src := coloured(64)
	same, greys, darker := 0, 0, 0
	for i := range uint64(n) {
		pix, s := slices.Clone(src), rng.New(1, rng.PurposeCrop, 0, i)
		jitter(&s, pix, 0.4)
		if slices.Equal(src, pix) {
			same++
		}
		if pix[0] == pix[1] && pix[1] == pix[2] && pix[3] == pix[4] {
			greys++
		} else if meanGrey(pix) < meanGrey(src) {
			darker++
		}
	}
	within := func(share float64, got int) {
		require.InDelta(t, share*n, got, 4*math.Sqrt(n*share*(1-share)))
	}
	within((1-jitterShare)*(1-greyShare), same)
	within(greyShare, greys)
	require.InDelta(t, 0.5*jitterShare*(1-greyShare)*n, darker, 0.1*n)

	pix, s := slices.Clone(src), rng.New(1, rng.PurposeCrop, 0, 3)
	jitter(&s, pix, 0)
	if !slices.Equal(pix, src) {
		fade(src, 0)
		require.Equal(t, src, pix, "without strength there is nothing but grey")
	}
}

// Views of a picture differ, the first is what there is without others, and colour is left alone unless it is asked for.
func TestViews(t *testing.T) {
	img := pixels.Image{W: 40, H: 30, Pix: coloured(40 * 30)}
	const n = 3 * size * size
	one := make([]float32, n)
	NewAugmenter(size, augment).Augment(one, img, 7, 2, 5)
	o := augment
	o.Views = 3
	three := make([]float32, 3*n)
	NewAugmenter(size, o).Augment(three, img, 7, 2, 5)
	require.Equal(t, one, three[:n])
	require.NotEqual(t, three[n:2*n], three[2*n:])
	again := make([]float32, 3*n)
	NewAugmenter(size, o).Augment(again, img, 7, 2, 5)
	require.Equal(t, three, again)

	o.Jitter = 0.4
	changed := 0
	for i := range uint64(50) {
		NewAugmenter(size, o).Augment(again, img, 7, 2, i)
		NewAugmenter(size, augment).Augment(one, img, 7, 2, i)
		if !slices.Equal(one, again[:n]) {
			changed++
		}
	}
	require.Greater(t, changed, 30)
}

// A batch of views is the same for any number of workers, and so is one that is resumed.
func TestLoaderViews(t *testing.T) {
	dir := folder(t, 6)
	o := augment
	o.Views, o.Jitter = 2, 0.4
	want := stream(t, open(t, Options{}, dir), LoaderOptions{Batch: 4, Seed: 3, Workers: 1, Augment: o}, 3)
	require.Len(t, want[0].Pixels, 4*2*3*size*size)
	require.Equal(t, want[1:], stream(t, open(t, Options{}, dir), LoaderOptions{Batch: 4, Seed: 3, Step: 1, Workers: 3, Augment: o}, 2))
	require.EqualValues(t, 3*(4*len(want[0].Pixels)+8*4), LoaderBytes(4, 2, size, 3))
}
