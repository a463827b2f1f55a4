package main

import (
	"runtime"

	"edgejepa/internal/parallel"
	"edgejepa/internal/rng"
	"edgejepa/quant"
	"edgejepa/vit"
)

// embedTimes is what is counted: an untrained int8 encoder, always the same, embeds a picture, always the same, one time
// after the other on one thread.
func embedTimes(times int) error {
	runtime.GOMAXPROCS(1)
	preset, err := vit.PresetNamed(model)
	if err != nil {
		return err
	}
	e, err := vit.NewEncoder(preset.Config(0, 0))
	if err != nil {
		return err
	}
	e.Params.Init(3)
	e.Pack()
	px := make([]float32, e.Config.PixelLen())
	s := rng.New(17, rng.PurposeProbe, 0, 1)
	for i := range px {
		px[i] = float32(s.Norm())
	}
	pool := parallel.New(1)
	defer pool.Close()
	pass := quant.Quantize(e).NewPass(pool, 1)
	dst := make([]float32, e.Config.Dim)
	for range times {
		pass.Embed(dst, px, 1)
	}
	return nil
}
