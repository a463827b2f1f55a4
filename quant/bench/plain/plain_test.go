package main

import (
	"bytes"
	"image"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/image/draw"

	"edgejepa/internal/parallel"
	"edgejepa/vit"
)

func encoder(t *testing.T) *vit.Encoder {
	p, err := vit.PresetNamed("nano")
	require.NoError(t, err)
	e, err := vit.NewEncoder(p.Config(16, 4))
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(1, 2))
	for _, p := range e.Params.List {
		for i := range p.Value {
			p.Value[i] = r.Float32()/4 - 0.125
		}
	}
	e.Pack()
	return e
}

// TestNetworks holds the networks to choose from against each other. 1e-4 is some hundred roundings of values near 1.
func TestNetworks(t *testing.T) {
	e := encoder(t)
	r := rand.New(rand.NewPCG(3, 4))
	px := make([]float32, e.Config.PixelLen())
	for i := range px {
		px[i] = r.Float32()*4 - 2
	}
	want, got := make([]float32, e.Config.Dim), make([]float32, e.Config.Dim)
	e.NewPass(parallel.New(1), 1).Embed(want, px, 1)
	for name, linear := range products {
		if linear != nil {
			newNaive(e, linear).Embed(got, px)
			require.InDeltaSlice(t, want, got, 1e-4, name)
		}
	}
	e.Params.List[0].Value[0]++ // the control
	newNaive(e, loops).Embed(got, px)
	require.Greater(t, math.Abs(float64(want[0]-got[0])), 1e-4)
}

// TestLoad has a grey picture, none, and a folder of none.
func TestLoad(t *testing.T) {
	c := encoder(t).Config
	px := make([]float32, c.PixelLen())
	require.Error(t, load(px, filepath.Join(t.TempDir(), "none.jpg"), &c, draw.CatmullRom))
	none, err := files([]string{t.TempDir()})
	require.NoError(t, err)
	require.Empty(t, none)
	grey := image.NewGray(image.Rect(0, 0, 50, 40))
	for i := range grey.Pix {
		grey.Pix[i] = 128
	}
	var data bytes.Buffer
	require.NoError(t, png.Encode(&data, grey))
	path := filepath.Join(t.TempDir(), "grey.png")
	require.NoError(t, os.WriteFile(path, data.Bytes(), 0o600))
	require.NoError(t, load(px, path, &c, draw.CatmullRom))
	for ch := range 3 {
		require.InDelta(t, (float32(128)/255-c.Mean[ch])/c.Std[ch], px[ch*256+100], 1e-6)
	}
}
