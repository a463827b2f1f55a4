// Package tune teaches heads tasks on labelled pictures: on a frozen encoder, whose features are computed once, or together
// with its last blocks, or with all of it.
//
// Read config.go, then trainer.go, one step; examples.go and batch.go are how pictures and labels become a batch, judge.go how
// good the answers are. State is a function of configuration, pictures and step alone, as in package jepa.
package tune

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"edgejepa/jepa/data"
	"edgejepa/jepa/optim"
	"edgejepa/vit"
	"edgejepa/vit/heads"
)

// Config is a run. Its JSON form is part of a checkpoint.
type Config struct {
	Encoder   vit.Config    `json:"encoder"`
	Head      heads.Config  `json:"head"`
	Precision vit.Precision `json:"precision"` // what the encoder is tuned in

	// Frozen is how many blocks stand still, from the first on, the patch embedding with them. Depth is all of the encoder,
	// its last norm included; 0 none.
	Frozen int `json:"frozen"`

	Batch  int    `json:"batch"`
	Steps  int    `json:"steps"`
	Warmup int    `json:"warmup"`
	Seed   uint64 `json:"seed"`

	LR          float64 `json:"lr"`          // of the head, at its peak
	LayerDecay  float64 `json:"layer_decay"` // rate of a block beside that of the next one (Clark et al., arXiv 2003.10555)
	WeightDecay float64 `json:"weight_decay"`
	Clip        float64 `json:"clip"` // bound on the gradient's norm; 0: none
	DropPath    float64 `json:"drop_path"`

	Smooth      float64   `json:"label_smoothing"`
	ClassWeight []float64 `json:"class_weight,omitempty"` // [C]; nil: 1 each

	Augment Augment `json:"augment"`
}

// Augment is what a picture goes through at random, its labels with it. The zero value leaves pictures as they are.
type Augment struct {
	On        bool       `json:"on"`
	CropScale [2]float64 `json:"crop_scale"` // share of the picture's area
	Flip      bool       `json:"flip"`
	FlipY     bool       `json:"flip_y"`
	Jitter    float64    `json:"jitter"`
}

// Default is a run before its steps and batch: of an encoder that is frozen from the given block on.
func Default(e vit.Config, h heads.Config, frozen int) Config {
	c := Config{
		Encoder: e, Head: h, Frozen: frozen, Batch: 64, LR: 1e-3, LayerDecay: 0.75, WeightDecay: 0.05, Clip: 1, DropPath: 0.1,
	}
	whole := frozen == e.Depth
	if whole {
		c.DropPath, c.LayerDecay = 0, 1
	}
	if h.Task == heads.Classify {
		if !whole {
			c.Smooth = 0.1
		}
		c.Augment = Augment{On: !whole, CropScale: [2]float64{0.4, 1}, Flip: true}
		return c
	}
	c.Batch = 8
	c.Augment = Augment{On: true, CropScale: [2]float64{0.3, 1}, Flip: true, FlipY: true, Jitter: 0.3}
	return c
}

// SetSteps sets the length of the run and of its warm-up.
func (c *Config) SetSteps(n int) { c.Steps, c.Warmup = n, min(n/10, 500) }

// Validate says what is wrong with a configuration, all of it at once.
func (c Config) Validate() error {
	if err := c.Encoder.Validate(); err != nil {
		return err
	}
	if err := c.Head.Validate(c.Encoder); err != nil {
		return err
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	within := func(name string, v, lo, hi float64) {
		if !(v >= lo && v <= hi) {
			bad("%s is %g: it must lie in %g..%g", name, v, lo, hi)
		}
	}
	if c.Frozen < 0 || c.Frozen > c.Encoder.Depth {
		bad("frozen is %d: it must lie in 0..%d, the blocks of the encoder", c.Frozen, c.Encoder.Depth)
	}
	within("batch", float64(c.Batch), 1, 4096)
	within("steps", float64(c.Steps), 1, 1e8)
	within("warmup", float64(c.Warmup), 0, float64(c.Steps))
	within("lr", c.LR, 1e-8, 1)
	within("layer_decay", c.LayerDecay, 0.1, 1)
	within("weight_decay", c.WeightDecay, 0, 1)
	within("clip", c.Clip, 0, 1e6)
	within("drop_path", c.DropPath, 0, 0.9)
	within("label_smoothing", c.Smooth, 0, 0.9)
	if c.ClassWeight != nil && len(c.ClassWeight) != len(c.Head.Classes) {
		bad("class_weight has %d values for %d classes", len(c.ClassWeight), len(c.Head.Classes))
	}
	for _, w := range c.ClassWeight {
		within("a class weight", w, 0, 1e6)
	}
	if a := c.Augment; a.On {
		within("crop_scale", a.CropScale[0], 0.01, 1)
		within("crop_scale", a.CropScale[1], a.CropScale[0], 1)
		within("jitter", a.Jitter, 0, 1)
	}
	return errors.Join(errs...)
}

// Cached says that features are computed once: those of an encoder that stands still, of pictures that do as well.
func (c Config) Cached() bool { return c.wholeFrozen() && !c.Augment.On }

// wholeFrozen says that nothing of the encoder learns.
func (c Config) wholeFrozen() bool { return c.Frozen == c.Encoder.Depth }

// schedule is the run's rates as functions of the step.
func (c Config) schedule() optim.Schedule {
	return optim.Schedule{Steps: c.Steps, Warmup: c.Warmup, StartLR: c.LR / 100, PeakLR: c.LR, FinalLR: c.LR / 1000,
		StartWD: c.WeightDecay, FinalWD: c.WeightDecay}
}

// augment is what the crops of a run are drawn with. To segment and detect, a crop may be as much narrower or wider than the
// picture as that is than the input, to which the whole picture is scaled when it is judged.
func (c Config) augment() data.AugmentOptions {
	o := data.AugmentOptions{Mean: c.Encoder.Mean, Std: c.Encoder.Std, CropScale: [2]float64{1, 1}, CropAspect: [2]float64{1, 1}, Stretch: c.Head.Task != heads.Classify}
	if a := c.Augment; a.On {
		o.CropAspect = [2]float64{3.0 / 4, 4.0 / 3}
		o.CropScale, o.Flip, o.FlipY, o.Jitter = a.CropScale, a.Flip, a.FlipY, a.Jitter
	}
	return o
}

// JSON is the configuration as a checkpoint holds it.
func (c Config) JSON() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic("tune: a Config always has a JSON form")
	}
	return string(b)
}

// ParseConfig reads the JSON form. Unknown keys are refused.
func ParseConfig(text string) (c Config, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	if err := c.Validate(); err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	return c, nil
}
