package main

import (
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"

	"edgejepa/internal/parallel"
	"edgejepa/internal/rng"
	"edgejepa/jepa"
	"edgejepa/quant"
	"edgejepa/vit"
)

// work is what the emulated process does, on one thread: it embeds a picture Times times, or makes Times training steps.
type work struct {
	Train            bool
	Preset           string
	Size, Patch      int
	Depth, Predictor int // blocks
	Batch            int
	Int8             bool // the precision of training; embeddings are int8
	Seed             uint64
	Times            int
	File             string // the model that embeds
}

// flags has w set by arguments; args are its inverse.
func (w *work) flags(f *flag.FlagSet) {
	f.BoolVar(&w.Train, "train", false, "train instead of embedding")
	f.StringVar(&w.Preset, "preset", "", "network")
	f.IntVar(&w.Size, "size", 0, "side of a picture in pixels")
	f.IntVar(&w.Patch, "patch", 0, "side of a patch in pixels")
	f.IntVar(&w.Depth, "depth", 0, "blocks of the encoder")
	f.IntVar(&w.Predictor, "predictor", 0, "blocks of the predictor")
	f.IntVar(&w.Batch, "batch", 0, "pictures in a training step")
	f.BoolVar(&w.Int8, "int8", false, "train in int8")
	f.Uint64Var(&w.Seed, "seed", 0, "of weights and masks")
	f.IntVar(&w.Times, "times", 0, "how often")
	f.StringVar(&w.File, "file", "", "model that embeds")
}

func (w work) args() []string {
	return []string{
		"-do", fmt.Sprintf("-train=%v", w.Train), "-preset=" + w.Preset, fmt.Sprintf("-size=%d", w.Size), fmt.Sprintf("-patch=%d", w.Patch),
		fmt.Sprintf("-depth=%d", w.Depth), fmt.Sprintf("-predictor=%d", w.Predictor), fmt.Sprintf("-batch=%d", w.Batch),
		fmt.Sprintf("-int8=%v", w.Int8), fmt.Sprintf("-seed=%d", w.Seed), fmt.Sprintf("-times=%d", w.Times), "-file=" + w.File,
	}
}

// whole is the work at the depths of its preset.
func (w work) whole() work {
	p, err := vit.PresetNamed(w.Preset)
	if err != nil {
		panic("armmodel: a job names no preset")
	}
	w.Depth, w.Predictor = p.Depth, p.PredictorDepth
	return w
}

// config is the training run, but for the depths the recipe's own.
func (w work) config() (jepa.Config, error) {
	p, err := vit.PresetNamed(w.Preset)
	if err != nil {
		return jepa.Config{}, err
	}
	p.Depth, p.PredictorDepth = w.Depth, w.Predictor
	c := jepa.Default(p, w.Size, w.Patch)
	c.Batch, c.Seed = w.Batch, w.Seed
	if w.Int8 {
		c.Precision = vit.I8
	}
	c.SetSteps(1000)
	return c, c.Validate()
}

// typicalSeed is one with which the first step of w's small batch has masks as large as a step of the given batch has on
// average: context tokens of a picture, and tokens of a target block. The larger a batch, the shorter the context that
// its pictures have in common.
func (w work) typicalSeed(batch int) uint64 {
	c, err := w.config()
	if err != nil {
		panic("armmodel: a job's configuration is not valid")
	}
	s := jepa.NewSampler(c.Masks)
	var m jepa.Masks
	var context, target float64
	const steps = 200
	for step := range steps {
		s.Sample(&m, 1, step, batch)
		context += float64(m.ContextOff[batch]) / float64(batch) / steps
		target += float64(m.TargetLen) / steps
	}
	best, least := uint64(0), math.Inf(1)
	for seed := range uint64(2000) {
		s.Sample(&m, seed, 0, w.Batch)
		off := math.Abs(float64(m.ContextOff[w.Batch])/float64(w.Batch)/context-1) + math.Abs(float64(m.TargetLen)/target-1)
		if off < least {
			best, least = seed, off
		}
	}
	return best
}

func (w work) do() error {
	runtime.GOMAXPROCS(1)
	pool := parallel.New(1)
	defer pool.Close()
	if w.Train {
		return w.train(pool)
	}
	m, err := quant.OpenModel(w.File, vit.ContextPrefix)
	if err != nil {
		return err
	}
	e, dst, pix := m.NewEmbedder(pool, 1), make([]float32, m.Config().Dim), w.picture(m.Config())
	for range w.Times {
		e.Embed(dst, pix, 1)
	}
	return nil
}

func (w work) train(pool *parallel.Pool) error {
	c, err := w.config()
	if err != nil {
		return err
	}
	plan, _, _ := jepa.Fit(c, 1, 0)
	t, err := jepa.NewTrainer(c, plan, pool)
	if err != nil {
		return err
	}
	px := make([]float32, c.Batch*c.Encoder.PixelLen())
	s := rng.New(17, rng.PurposeProbe, 0, 2)
	for i := range px {
		px[i] = float32(s.Norm())
	}
	for range w.Times {
		if st := t.Step(px); st.Skipped {
			return fmt.Errorf("the step was skipped: %+v", st)
		}
	}
	return nil
}

func (w work) picture(c vit.Config) []uint8 {
	pix := make([]uint8, c.PixelLen())
	s := rng.New(17, rng.PurposeProbe, 0, 1)
	for i := range pix {
		pix[i] = uint8(s.Uint64())
	}
	return pix
}

// write puts the model that embeds into w.File: an untrained one, calibrated on one picture.
func (w work) write() error {
	p, err := vit.PresetNamed(w.Preset)
	if err != nil {
		return err
	}
	p.Depth = w.Depth
	e, err := vit.NewEncoder(p.Config(w.Size, w.Patch))
	if err != nil {
		return err
	}
	e.Params.Init(3)
	e.Pack()
	pool := parallel.New(runtime.NumCPU())
	defer pool.Close()
	q, _, err := quant.Calibrate(e, pool, w.picture(e.Config), 1)
	if err != nil {
		return err
	}
	f, err := os.Create(w.File)
	if err != nil {
		return err
	}
	if err := quant.Write(f, q, nil, nil); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
