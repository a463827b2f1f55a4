package main

import (
	"runtime"

	"edgejepa/internal/parallel"
	"edgejepa/internal/rng"
	"edgejepa/quant"
	"edgejepa/vit"
)

// embedTimes is what is counted: an untrained fixed-point encoder, always the same, embeds a picture, always the same, one
// time after the other on one thread.
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
	pix := make([]uint8, e.Config.PixelLen())
	s := rng.New(17, rng.PurposeProbe, 0, 1)
	for i := range pix {
		pix[i] = uint8(s.Uint64())
	}
	pool := parallel.New(1)
	defer pool.Close()
	q, _, err := quant.Calibrate(e, pool, pix, 1)
	if err != nil {
		return err
	}
	pass := q.NewPass(pool)
	dst := make([]float32, e.Config.Dim)
	for range times {
		pass.Embed(dst, pix, 1)
	}
	return nil
}
