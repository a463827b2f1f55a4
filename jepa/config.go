package jepa

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"edgejepa/vit"
)

// Kinds of predictor and loss.
const (
	PredictorViT = "vit"
	PredictorMLP = "mlp"

	LossSmoothL1 = "smooth_l1" // the official code's
	LossL2       = "l2"        // the paper's
)

// Config is everything that, with the pictures, decides a run to the last bit. It is what RUN/config.json holds and
// what a checkpoint must agree with.
type Config struct {
	Preset    string    `json:"preset"`
	Objective Objective `json:"objective,omitempty"` // left out: ijepa

	Encoder vit.Config `json:"encoder"`

	Predictor      string `json:"predictor"`
	PredictorDim   int    `json:"predictor_dim"`
	PredictorDepth int    `json:"predictor_depth"`
	PredictorHeads int    `json:"predictor_heads"`

	Masks MaskConfig `json:"masks"`
	Loss  string     `json:"loss"`

	TargetLayers int     `json:"target_layers,omitempty"` // I-JEPA: blocks of the target encoder whose outputs are averaged; 0: the last's alone
	PixelWeight  float64 `json:"pixel_weight,omitempty"`  // I-JEPA: of predicting hidden pixels beside features; 0: features alone
	DropPath     float64 `json:"drop_path,omitempty"`     // chance that a picture goes past a branch of the context encoder's last block

	Precision vit.Precision `json:"precision,omitempty"` // left out: f32

	Batch  int    `json:"batch"`
	Steps  int    `json:"steps"`
	Warmup int    `json:"warmup_steps"`
	Seed   uint64 `json:"seed"`

	LR             float64    `json:"lr"`       // peak, after warm-up
	StartLR        float64    `json:"start_lr"` // at the first step
	FinalLR        float64    `json:"final_lr"` // at the last
	WeightDecay    [2]float64 `json:"weight_decay"`
	EMA            [2]float64 `json:"ema"`             // momentum of the target encoder, first and last step
	Clip           float64    `json:"clip"`            // bound on the gradient's norm; 0: none
	VarianceWeight float64    `json:"variance_weight"` // 0: the paper's loss alone

	SIGRegWeight float64 `json:"sigreg_weight,omitempty"` // of the share of SIGReg in a term on views, or of SIGReg on what I-JEPA's context encoder pools
	Views        int     `json:"views,omitempty"`         // of each picture; in I-JEPA and MAE 0 means one, and no term on them
	ViewWeight   float64 `json:"view_weight,omitempty"`   // of the joint-embedding term that I-JEPA and MAE have where they have views
	Projector    [2]int  `json:"projector,omitzero"`      // of views: width of the hidden layer and the output
	MaskRatio    float64 `json:"mask_ratio,omitempty"`    // share of the patches that is hidden from the encoder, in LeJEPA and MAE

	CropScale [2]float64 `json:"crop_scale"` // share of a picture's area that a crop takes
	Flip      bool       `json:"flip"`
	Jitter    float64    `json:"jitter,omitempty"` // strength of random changes of brightness, contrast and saturation
}

// Default is the recipe of a preset: what learns on small data (learning rate, EMA and crops after the public small-data
// runs, the variance term after our own). Steps must still be set.
func Default(p vit.Preset, imageSize, patchSize int) Config {
	e := p.Config(imageSize, patchSize)
	c := Config{
		Preset: p.Name, Encoder: e,
		Predictor: PredictorViT, PredictorDim: p.PredictorDim, PredictorDepth: p.PredictorDepth, PredictorHeads: p.Heads,
		Loss: LossSmoothL1, Batch: 128, LR: 1e-3, WeightDecay: [2]float64{0.05, 0.05}, EMA: [2]float64{0.996, 0.9999},
		Clip: 1, VarianceWeight: 0.1, CropScale: [2]float64{0.3, 1}, Flip: true,
	}
	if e.PatchSize > 0 {
		c.Masks = DefaultMasks(e.Grid(), e.Grid())
	}
	return c
}

// SetObjective turns a recipe into one for another objective: what only some of them have gets its default.
func (c *Config) SetObjective(o Objective) {
	c.Objective, c.Loss, c.VarianceWeight = o, LossSmoothL1, 0
	c.MaskRatio, c.TargetLayers, c.PixelWeight = 0, 0, 0
	c.setViews(0, 0)
	switch o {
	case IJEPA:
		c.VarianceWeight = 0.1
	case LeJEPA:
		c.setViews(4, 0)
		c.MaskRatio = 0.75
	case BYOL:
		c.setViews(byolViews, 0)
		c.SIGRegWeight = 0
	case MAE:
		c.MaskRatio, c.Loss = 0.75, LossL2
		c.setViews(2, 0.2)
	}
}

// SetViews gives I-JEPA or MAE so many views of each picture, and with more than one the joint-embedding term on them, in
// I-JEPA in place of the variance term.
func (c *Config) SetViews(n int) {
	if c.VarianceWeight = 0; n > 1 {
		c.setViews(n, 0.2)
		return
	}
	c.setViews(0, 0)
	if c.Objective == IJEPA {
		c.VarianceWeight = 0.1
	}
}

// setViews sets what belongs to views of a picture; weight is that of the term that views add to another.
func (c *Config) setViews(n int, weight float64) {
	c.Views, c.ViewWeight, c.SIGRegWeight, c.Projector, c.Jitter = n, weight, 0, [2]int{}, 0
	if n > 0 {
		c.SIGRegWeight, c.Projector, c.Jitter = 0.05, [2]int{512, 64}, 0.4
	}
}

// PictureViews is how many views of each picture a batch has.
func (c Config) PictureViews() int { return max(1, c.Views) }

// sequences is how many views a batch has in all.
func (c Config) sequences() int { return c.Batch * c.PictureViews() }

// SetSteps sets the length of the run, and the warm-up and rates that follow from it.
func (c *Config) SetSteps(steps int) {
	c.Steps = steps
	c.Warmup = max(1, steps/10)
	c.StartLR, c.FinalLR = c.LR/5, c.LR/1000
}

// Validate says what is wrong, all of it at once.
func (c Config) Validate() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	if err := c.Encoder.Validate(); err != nil {
		return err
	}
	bad(c.Encoder.ImageWidth == 0 && c.Encoder.PositionGrid == 0, "the encoder's input is %d x %d pixels, with a position_grid of %d: pretraining takes square inputs, with positions of their own",
		c.Encoder.ImageSize, c.Encoder.Width(), c.Encoder.PositionGrid)
	bad(c.Predictor == PredictorViT || c.Predictor == PredictorMLP, "predictor %q: choose %s or %s", c.Predictor, PredictorViT, PredictorMLP)
	bad(c.PredictorDim >= 4 && c.PredictorDim <= 2048 && c.PredictorDim%4 == 0, "predictor_dim is %d: it must be a multiple of 4 in 4..2048", c.PredictorDim)
	bad(c.PredictorDepth >= 1 && c.PredictorDepth <= 64, "predictor_depth is %d: it must lie in 1..64", c.PredictorDepth)
	bad(c.PredictorHeads >= 1 && c.PredictorDim%max(c.PredictorHeads, 1) == 0, "predictor_heads %d must divide predictor_dim %d", c.PredictorHeads, c.PredictorDim)
	bad(c.Loss == LossSmoothL1 || c.Loss == LossL2, "loss %q: choose %s or %s", c.Loss, LossSmoothL1, LossL2)
	bad(c.Precision <= vit.I8, "precision is number %d: choose f32, f16 or int8", byte(c.Precision))
	bad(c.Batch >= 2 && c.Batch <= 4096, "batch is %d: it must lie in 2..4096", c.Batch)
	bad(c.Steps >= 1, "steps is %d: at least one is needed", c.Steps)
	bad(c.Warmup >= 0 && c.Warmup <= c.Steps, "warmup_steps is %d of %d steps", c.Warmup, c.Steps)
	for _, v := range []struct {
		name   string
		v      float64
		lo, hi float64
	}{
		{"lr", c.LR, 1e-8, 1}, {"start_lr", c.StartLR, 0, 1}, {"final_lr", c.FinalLR, 0, 1},
		{"weight_decay", c.WeightDecay[0], 0, 10}, {"weight_decay", c.WeightDecay[1], 0, 10},
		{"ema", c.EMA[0], 0, 1}, {"ema", c.EMA[1], 0, 1}, {"clip", c.Clip, 0, 1e6}, {"variance_weight", c.VarianceWeight, 0, 1000},
		{"crop_scale", c.CropScale[0], 0.01, 1}, {"crop_scale", c.CropScale[1], 0.01, 1},
		{"sigreg_weight", c.SIGRegWeight, 0, 1000}, {"jitter", c.Jitter, 0, 1}, {"drop_path", c.DropPath, 0, 0.9}, {"pixel_weight", c.PixelWeight, 0, 1000},
	} {
		bad(v.v >= v.lo && v.v <= v.hi, "%s is %g: it must lie in %g..%g", v.name, v.v, v.lo, v.hi)
	}
	errs = append(errs, c.validateObjective())
	bad(c.CropScale[0] <= c.CropScale[1], "crop_scale: %g is above %g", c.CropScale[0], c.CropScale[1])
	bad(c.Masks.GridH == c.Encoder.Grid() && c.Masks.GridW == c.Encoder.Grid(), "masks are for a grid of %dx%d, the encoder has %d",
		c.Masks.GridH, c.Masks.GridW, c.Encoder.Grid())
	if err := c.Masks.Validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// validateObjective says what is wrong with the settings that only some objectives have.
func (c Config) validateObjective() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	if c.Objective > MAE {
		return fmt.Errorf("objective is number %d: choose ijepa, lejepa, byol or mae", byte(c.Objective))
	}
	o := c.Objective
	foreign := func(name string, set bool) { bad(!set, "%s has no part in objective %s", name, o) }
	foreign("variance_weight", o != IJEPA && c.VarianceWeight > 0)
	foreign("sigreg_weight", (o == BYOL || o == MAE && c.Views == 0) && c.SIGRegWeight > 0)
	foreign("pixel_weight", o != IJEPA && c.PixelWeight != 0)
	foreign("target_layers", o != IJEPA && c.TargetLayers != 0)
	bad(c.TargetLayers >= 0 && c.TargetLayers <= c.Encoder.Depth, "target_layers is %d: it must lie in 1..%d", c.TargetLayers, c.Encoder.Depth)
	foreign("mask_ratio", (o == IJEPA || o == BYOL) && c.MaskRatio != 0)
	projects := o == LeJEPA || o == BYOL || c.Views > 0
	foreign("view_weight", (o == LeJEPA || o == BYOL) && c.ViewWeight != 0)
	foreign("projector", !projects && c.Projector != [2]int{})
	if projects {
		for _, width := range c.Projector {
			bad(width >= 2 && width <= 8192, "projector is %d,%d: both must lie in 2..8192", c.Projector[0], c.Projector[1])
		}
	}
	switch o {
	case IJEPA, MAE:
		bad(c.Views == 0 || c.Views >= 2 && c.Views <= 16, "views is %d: it must be 0 or lie in 2..16", c.Views)
		bad(c.ViewWeight >= 0 && c.ViewWeight <= 1000 && (c.ViewWeight > 0) == (c.Views > 0), "view_weight is %g with %d views: both are 0, or neither", c.ViewWeight, c.Views)
		bad(c.Views == 0 || c.VarianceWeight == 0, "variance_weight has no part in %s with views", o)
		bad(c.Views == 0 || c.SIGRegWeight > 0 && c.SIGRegWeight < 1, "sigreg_weight is %g: with views it must lie between 0 and 1", c.SIGRegWeight)
	case LeJEPA:
		bad(c.SIGRegWeight > 0 && c.SIGRegWeight < 1, "sigreg_weight is %g: in lejepa it must lie between 0 and 1", c.SIGRegWeight)
		bad(c.Views >= 2 && c.Views <= 16, "views is %d: it must lie in 2..16", c.Views)
	case BYOL:
		bad(c.Views == byolViews, "views is %d: byol has %d", c.Views, byolViews)
	}
	bad(o != MAE || c.MaskRatio > 0, "mask_ratio is 0: mae hides patches")
	bad(c.MaskRatio == 0 || c.MaskRatio >= 0.05 && c.MaskRatio <= 0.95, "mask_ratio is %g: it must be 0 or lie in 0.05..0.95", c.MaskRatio)
	return errors.Join(errs...)
}

// JSON is the configuration as files hold it.
func (c Config) JSON() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic("jepa: a Config always has a JSON form")
	}
	return string(b)
}

// ParseConfig reads and validates the JSON form; unknown keys are refused.
func ParseConfig(text string) (Config, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	var c Config
	if err := d.Decode(&c); err != nil {
		return Config{}, fmt.Errorf("run configuration: %w", err)
	}
	if d.More() {
		return Config{}, errors.New("run configuration: something follows the JSON object")
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("run configuration: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return c, nil
}
