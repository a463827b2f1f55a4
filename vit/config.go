package vit

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Config is the shape of an encoder and the preprocessing that belongs to it. Its JSON form is the `config` of a
// model file's metadata.
type Config struct {
	ImageSize int        `json:"image_size"` // side of the square input, pixels; of one that is not square, its height
	PatchSize int        `json:"patch_size"` // side of a patch, pixels
	Channels  int        `json:"channels"`
	Dim       int        `json:"dim"` // width of a token
	Depth     int        `json:"depth"`
	Heads     int        `json:"heads"`
	MLPRatio  float64    `json:"mlp_ratio"`
	NormEps   float64    `json:"norm_eps"`
	Mean      [3]float32 `json:"mean"` // pixel normalisation: (v/255 - mean) / std
	Std       [3]float32 `json:"std"`
	Pool      string     `json:"pool"` // how tokens become an embedding: "mean"

	// Of an encoder that works at another size than it was pretrained at; see At.
	ImageWidth   int `json:"image_width,omitempty"`   // pixels; 0: the input is square
	PositionGrid int `json:"position_grid,omitempty"` // side of the grid that positions are interpolated from; 0: they are the grid's own
}

// ImageNetMean and ImageNetStd are the pixel statistics that I-JEPA's encoders are trained with.
var (
	ImageNetMean = [3]float32{0.485, 0.456, 0.406}
	ImageNetStd  = [3]float32{0.229, 0.224, 0.225}
)

// Preset is a named network: an encoder's shape and the predictor that goes with it.
type Preset struct {
	Name                         string
	Dim, Depth, Heads            int
	PredictorDim, PredictorDepth int
	ImageSize, PatchSize         int // what the preset takes unless told otherwise
}

// Presets are the networks on offer, small to large. tiny, small and base are the ViT sizes of that name (Touvron
// et al., arXiv 2012.12877); nano and mini are for small pictures, and micro serves tests.
var Presets = []Preset{
	{"micro", 32, 2, 2, 16, 2, 24, 4},
	{"nano", 128, 6, 4, 64, 3, 32, 4},
	{"mini", 256, 6, 4, 64, 3, 32, 4},
	{"tiny", 192, 12, 3, 96, 4, 96, 8},
	{"small", 384, 12, 6, 192, 6, 224, 16},
	{"base", 768, 12, 12, 384, 6, 224, 16},
}

// PresetNamed finds a preset.
func PresetNamed(name string) (Preset, error) {
	var names []string
	for _, p := range Presets {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Preset{}, fmt.Errorf("no preset %q: choose one of %s", name, strings.Join(names, ", "))
}

// Config returns the encoder's configuration at an input and patch size in pixels; zero takes the preset's own.
func (p Preset) Config(imageSize, patchSize int) Config {
	if imageSize == 0 {
		imageSize = p.ImageSize
	}
	if patchSize == 0 {
		patchSize = p.PatchSize
	}
	return Config{
		ImageSize: imageSize, PatchSize: patchSize, Channels: 3, Dim: p.Dim, Depth: p.Depth, Heads: p.Heads,
		MLPRatio: 4, NormEps: 1e-6, Mean: ImageNetMean, Std: ImageNetStd, Pool: "mean",
	}
}

// Limits of a configuration. They keep every product of sizes far from overflow on 32-bit machines, and a file from
// elsewhere from asking for more than a board has.
const (
	MaxImageSize = 1024
	maxDim       = 2048
	maxDepth     = 64
	maxTokens    = 4096
)

// Validate says what is wrong with a configuration, all of it at once.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Channels != 3 {
		bad("channels is %d: this program reads RGB, 3", c.Channels)
	}
	if c.ImageSize < 1 || c.ImageSize > MaxImageSize {
		bad("image_size is %d: it must lie in 1..%d", c.ImageSize, MaxImageSize)
	}
	if c.ImageWidth < 0 || c.ImageWidth > MaxImageSize {
		bad("image_width is %d: it must lie in 1..%d, or be left out", c.ImageWidth, MaxImageSize)
	}
	if c.PositionGrid < 0 || c.PositionGrid > MaxImageSize {
		bad("position_grid is %d: it must lie in 1..%d, or be left out", c.PositionGrid, MaxImageSize)
	}
	if p := max(c.PatchSize, 1); c.PatchSize < 1 || c.PatchSize > 64 || c.ImageSize%p != 0 || c.ImageWidth%p != 0 {
		bad("patch_size %d must lie in 1..64 and divide the input's %d x %d", c.PatchSize, c.ImageSize, c.Width())
	} else if n := c.Tokens(); n > maxTokens {
		bad("%dx%d/%d gives %d tokens a picture: at most %d", c.ImageSize, c.Width(), c.PatchSize, n, maxTokens)
	}
	if c.Dim < 4 || c.Dim > maxDim || c.Dim%4 != 0 {
		bad("dim is %d: it must be a multiple of 4 in 4..%d", c.Dim, maxDim)
	}
	if c.Heads < 1 || c.Heads > 64 || c.Dim%max(c.Heads, 1) != 0 {
		bad("heads is %d: it must lie in 1..64 and divide dim %d", c.Heads, c.Dim)
	}
	if c.Depth < 1 || c.Depth > maxDepth {
		bad("depth is %d: it must lie in 1..%d", c.Depth, maxDepth)
	}
	if !(c.MLPRatio >= 0.25 && c.MLPRatio <= 8) || float64(c.Hidden()) != c.MLPRatio*float64(c.Dim) {
		bad("mlp_ratio is %g: it must lie in 0.25..8 and give a whole width", c.MLPRatio)
	}
	if !(c.NormEps > 0 && c.NormEps <= 1e-2) {
		bad("norm_eps is %g: it must lie in (0, 0.01]", c.NormEps)
	}
	for i := range 3 {
		if !(c.Mean[i] >= 0 && c.Mean[i] <= 1) || !(c.Std[i] > 1e-3 && c.Std[i] <= 10) {
			bad("mean and std of channel %d are %g and %g: they must lie in [0, 1] and (0.001, 10]", i, c.Mean[i], c.Std[i])
		}
	}
	if c.Pool != "mean" {
		bad("pool is %q: only \"mean\" is known", c.Pool)
	}
	return errors.Join(errs...)
}

// At is the configuration for inputs of h by w pixels: what was pretrained at one size works at others, with positions
// interpolated between those it knows.
func (c Config) At(h, w int) Config {
	if c.PositionGrid == 0 {
		c.PositionGrid = c.Grid()
	}
	c.ImageSize, c.ImageWidth = h, w
	if h == w {
		c.ImageWidth = 0
		if c.Grid() == c.PositionGrid {
			c.PositionGrid = 0
		}
	}
	return c
}

// Width is that of the input, in pixels.
func (c Config) Width() int {
	if c.ImageWidth == 0 {
		return c.ImageSize
	}
	return c.ImageWidth
}

// Grid is how many rows of patches there are, and in pretraining, where inputs are square, how many columns.
func (c Config) Grid() int { return c.ImageSize / c.PatchSize }

// GridWidth is how many columns of patches there are.
func (c Config) GridWidth() int { return c.Width() / c.PatchSize }

// Tokens is how many patches a picture has.
func (c Config) Tokens() int { return c.Grid() * c.GridWidth() }

// Hidden is the width of the MLP's hidden layer.
func (c Config) Hidden() int { return int(c.MLPRatio * float64(c.Dim)) }

// PatchLen is how many values a patch has.
func (c Config) PatchLen() int { return c.Channels * c.PatchSize * c.PatchSize }

// PixelLen is how many values a picture has, [Channels, ImageSize, Width].
func (c Config) PixelLen() int { return c.Channels * c.ImageSize * c.Width() }

// JSON is the configuration as a model file's metadata holds it.
func (c Config) JSON() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic("vit: a Config always has a JSON form")
	}
	return string(b)
}

// ParseConfig reads and validates the JSON form. Unknown keys are refused: they would change what the model means.
func ParseConfig(text string) (Config, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	var c Config
	if err := d.Decode(&c); err != nil {
		return Config{}, fmt.Errorf("model configuration: %w", err)
	}
	if d.More() {
		return Config{}, errors.New("model configuration: something follows the JSON object")
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("model configuration: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return c, nil
}
