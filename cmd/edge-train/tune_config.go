package main

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"edgejepa/internal/cli"
	"edgejepa/jepa/labels"
	"edgejepa/jepa/tune"
	"edgejepa/vit"
	"edgejepa/vit/heads"
)

// encoderConfig is the encoder at the size that the task wants.
func (f *tuneFlags) encoderConfig(task heads.Task, e vit.Config, x *tune.Examples) (vit.Config, error) {
	w, h := e.Width(), e.ImageSize
	switch {
	case f.size != "":
		ws, hs, ok := strings.Cut(f.size, "x")
		var errW, errH error
		w, errW = strconv.Atoi(ws)
		h, errH = strconv.Atoi(hs)
		if !ok || errW != nil || errH != nil {
			return e, cli.Usagef("--size %s: give width and height in pixels, such as 320x240", f.size)
		}
	case task != heads.Classify:
		w, h = sizeFor(e, x)
	}
	e = e.At(h, w)
	if err := e.Validate(); err != nil {
		return e, cli.Usagef("--size: %w", err)
	}
	return e, nil
}

// moreTokens is how many times as many tokens as in pretraining a dense task has, if its pictures have so many pixels.
const moreTokens = 4

// sizeFor is an input of the pictures' median aspect, and no larger than their median shorter side.
func sizeFor(e vit.Config, x *tune.Examples) (w, h int) {
	var aspects []float64
	var shorts []int
	for _, s := range x.Sizes() {
		aspects, shorts = append(aspects, float64(s.W)/float64(s.H)), append(shorts, min(s.W, s.H))
	}
	slices.Sort(aspects)
	slices.Sort(shorts)
	aspect, short := aspects[len(aspects)/2], max(shorts[len(shorts)/2], e.PatchSize)
	area := float64(e.ImageSize*e.Width()) * moreTokens
	wide, high := math.Sqrt(area*aspect), math.Sqrt(area/aspect)
	most := float64(vit.MaxImageSize - e.PatchSize)
	if k := min(float64(short)/min(wide, high), most/max(wide, high)); k < 1 {
		wide, high = wide*k, high*k
	}
	side := func(v float64) int { return max(1, int(math.Round(v/float64(e.PatchSize)))) * e.PatchSize }
	return side(wide), side(high)
}

// mostWeight bounds how much more than others a rare class counts: a few pixels among millions would decide each step.
const mostWeight = 1e4

// configure turns the flags that were given into a configuration.
func (f *tuneFlags) configure(task heads.Task, e vit.Config, x *tune.Examples) (c tune.Config, err error) {
	frozen, err := f.frozen(e)
	if err != nil {
		return c, err
	}
	if f.given("head") && task != heads.Classify {
		return c, cli.Usagef("--head is for --task classify")
	}
	h := heads.Default(task, heads.Kind(f.head), e)
	h.Classes = x.Classes
	c = tune.Default(e, h, frozen)
	c.Seed = f.seed
	if c.Precision, err = vit.ParsePrecision(f.precision); err != nil {
		return c, cli.Usagef("--precision: %v", err)
	}
	set := func(name string, apply func()) {
		if f.given(name) {
			apply()
		}
	}
	set("batch", func() { c.Batch = f.batch })
	set("lr", func() { c.LR = f.lr })
	set("layer-decay", func() { c.LayerDecay = f.layerDecay })
	set("weight-decay", func() { c.WeightDecay = f.weightDecay })
	set("drop-path", func() { c.DropPath = f.dropPath })
	set("augment", func() { c.Augment.On = f.augment })
	set("flip", func() { c.Augment.Flip = f.flip })
	set("flip-y", func() { c.Augment.FlipY = f.flipY })
	set("jitter", func() { c.Augment.Jitter = f.jitter })
	for _, name := range []string{"crop-scale", "flip", "flip-y", "jitter"} {
		if f.given(name) && !c.Augment.On {
			return c, cli.Usagef("--%s is about --augment, which is off: a classifier on a frozen encoder has it only if asked for", name)
		}
	}
	if f.given("crop-scale") {
		if len(f.cropScale) != 2 {
			return c, cli.Usagef("--crop-scale takes two values with a comma")
		}
		c.Augment.CropScale = [2]float64(f.cropScale)
	}
	if !f.given("batch") {
		c.Batch = min(c.Batch, x.Len())
	}
	switch f.classWeights {
	case "none":
	case "balanced":
		if task == heads.Detect {
			return c, cli.Usagef("--class-weights is for classify and segment: a detector's loss weighs hard cells by itself")
		}
		c.ClassWeight = labels.Balanced(x.Counts())
		for i, w := range c.ClassWeight {
			c.ClassWeight[i] = min(w, mostWeight)
		}
	default:
		return c, cli.Usagef("--class-weights is %q: it must be none or balanced", f.classWeights)
	}
	return c, nil
}

// frozen is how many blocks stand still.
func (f *tuneFlags) frozen(e vit.Config) (int, error) {
	switch f.freeze {
	case "encoder":
		return e.Depth, nil
	case "none":
		return 0, nil
	}
	n, ok := strings.CutSuffix(f.freeze, "-last-blocks")
	last, err := strconv.Atoi(n)
	if !ok || err != nil || last < 1 || last > e.Depth {
		return 0, cli.Usagef("--freeze %s: it must be encoder, none, or N-last-blocks with N from 1 to %d, as in 2-last-blocks: what learns beside the head", f.freeze, e.Depth)
	}
	if last == e.Depth {
		return 0, nil
	}
	return e.Depth - last, nil
}

const defaultTuneEpochs = 30

// length sets the steps.
func (p *tunePlan) length(f *tuneFlags) {
	perEpoch := (p.train.Len() + p.config.Batch - 1) / max(p.config.Batch, 1)
	switch {
	case f.steps != 0:
		p.config.SetSteps(f.steps)
		return
	case f.epochs != 0:
		p.config.SetSteps(f.epochs * perEpoch)
		return
	}
	p.timed = f.maxTime > 0
	p.config.SetSteps(defaultTuneEpochs * perEpoch)
}
