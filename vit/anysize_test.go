package vit

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/parallel"
)

// At its own size an encoder is what it was; at others positions are those of the formula at the middles of patches.
func TestPositionsAtOtherSizes(t *testing.T) {
	c := Presets[0].Config(24, 4)
	require.Equal(t, c, c.At(24, 24))
	require.Equal(t, c, c.At(48, 16).At(24, 24), "there and back")
	require.Equal(t, SinCos2D(c.Dim, 6, 6), c.positions())

	wide := c.At(12, 48) // 3 by 12 patches over 6 by 6
	require.Equal(t, []int{3, 12, 36, 6, 3 * 12 * 48}, []int{wide.Grid(), wide.GridWidth(), wide.Tokens(), wide.PositionGrid, wide.PixelLen()})
	require.NoError(t, wide.Validate())
	back, err := ParseConfig(wide.JSON())
	require.NoError(t, err)
	require.Equal(t, wide, back)
	pos, n := wide.positions(), c.Dim/4
	for r := range 3 {
		for col := range 12 {
			v := pos[(r*12+col)*c.Dim:]
			y, x := 2*float64(r)+0.5, 0.5*float64(col)-0.25 // a patch covers two rows, and half a column
			require.InDelta(t, math.Sin(x), v[0], 1e-7)
			require.InDelta(t, math.Cos(y), v[3*n], 1e-7)
		}
	}

	for _, size := range [][2]int{{20, 22}, {0, 24}, {24, 2048}, {1024, 1024}} {
		_, err := (&Encoder{Config: c}).At(size[0], size[1])
		require.Error(t, err, size)
	}
}

// Patches of a picture that is not square are cut where they should be.
func TestPatchesOfWidePictures(t *testing.T) {
	c := Presets[0].Config(24, 4).At(8, 12)
	px := make([]float32, c.PixelLen())
	for i := range px {
		px[i] = float32(i)
	}
	patch := make([]float32, c.PatchLen())
	c.Patchify(patch, px, 4) // row 1, column 1
	for ch := range 3 {
		for y := range 4 {
			for x := range 4 {
				require.Equal(t, float32((ch*8+4+y)*12+4+x), patch[(ch*4+y)*4+x])
			}
		}
	}
}

// An encoder at another size shares its weights, sees every pixel, and is as it was at its own.
func TestEncoderAt(t *testing.T) {
	pool := parallel.New(2)
	defer pool.Close()
	c := Presets[0].Config(24, 4)
	e, err := NewEncoder(c)
	require.NoError(t, err)
	e.Params.Init(1)
	e.Pack()
	embed := func(e *Encoder, px []float32) []float32 {
		v := make([]float32, e.Config.Dim)
		e.NewPass(pool, 1).Embed(v, px, 1)
		return v
	}
	own, err := e.At(24, 24)
	require.NoError(t, err)
	px := make([]float32, c.PixelLen())
	for i := range px {
		px[i] = float32(i%17) / 17
	}
	require.Equal(t, embed(e, px), embed(own, px))

	wide, err := e.At(16, 32)
	require.NoError(t, err)
	px = px[:wide.Config.PixelLen()]
	before := embed(wide, px)
	for _, i := range []int{0, 16*32 - 1, len(px) - 1} {
		px[i]++
		require.NotEqual(t, before, embed(wide, px), "pixel %d", i)
		px[i]--
	}
	e.Params.Value[len(e.Params.Value)-1]++ // the last norm's bias
	require.NotEqual(t, before, embed(wide, px), "weights are shared")
}
