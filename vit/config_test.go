package vit

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPresetsAreValid(t *testing.T) {
	for _, p := range Presets {
		c := p.Config(0, 0)
		require.NoError(t, c.Validate(), p.Name)
		got, err := ParseConfig(c.JSON())
		require.NoError(t, err, p.Name)
		require.Equal(t, c, got)
		named, err := PresetNamed(p.Name)
		require.NoError(t, err)
		require.Equal(t, p, named)
	}
	_, err := PresetNamed("huge")
	require.ErrorContains(t, err, "micro, nano, mini, tiny, small, base")
	c := Presets[1].Config(64, 8)
	require.Equal(t, []int{64, 8, 8, 64, 512, 192, 3 * 64 * 64},
		[]int{c.ImageSize, c.PatchSize, c.Grid(), c.Tokens(), c.Hidden(), c.PatchLen(), c.PixelLen()})
}

// The ViT sizes of the literature at 224/16 as timm counts them without a head, less class token and learned positions.
func TestCountParams(t *testing.T) {
	for name, timm := range map[string]int64{"tiny": 5_524_416, "small": 21_665_664, "base": 85_798_656} {
		p, err := PresetNamed(name)
		require.NoError(t, err)
		require.Equal(t, timm-int64(198*p.Dim), CountParams(p.Config(224, 16)), name)
	}
}

func TestParseConfigRefuses(t *testing.T) {
	good := Presets[0].Config(0, 0).JSON()
	for name, c := range map[string]struct{ text, says string }{
		"an unknown key":  {strings.Replace(good, `{`, `{"qk_norm":true,`, 1), "qk_norm"},
		"a second object": {good + "{}", "follows"},
		"rubbish after":   {good + " x", "follows"},
		"no JSON":         {"dim: 32", "model configuration"},
		"nothing":         {"", "model configuration"},
		"null":            {"null", "dim is 0"},
		"a wrong type":    {strings.Replace(good, `"dim":32`, `"dim":"32"`, 1), "dim"},
		"a fraction":      {strings.Replace(good, `"dim":32`, `"dim":32.5`, 1), "dim"},
		"past 64 bits":    {strings.Replace(good, `"dim":32`, `"dim":99999999999999999999`, 1), "dim"},
		"a missing key":   {strings.Replace(good, `"depth":2,`, ``, 1), "depth is 0"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseConfig(c.text)
			require.ErrorContains(t, err, c.says)
		})
	}
	_, err := ParseConfig(good)
	require.NoError(t, err)
}

// Each limit lets its last value through and refuses the next, naming the key.
func TestValidateLimits(t *testing.T) {
	for _, l := range []struct {
		says      string
		good, bad func(*Config)
	}{
		{"channels", func(*Config) {}, func(c *Config) { c.Channels = 1 }},
		{"image_size", func(c *Config) { c.ImageSize, c.PatchSize = 1024, 16 }, func(c *Config) { c.ImageSize, c.PatchSize = 1040, 16 }},
		{"image_size", func(c *Config) { c.ImageSize, c.PatchSize = 1, 1 }, func(c *Config) { c.ImageSize, c.PatchSize = 0, 1 }},
		{"image_size", func(*Config) {}, func(c *Config) { c.ImageSize = -24 }},
		{"patch_size", func(c *Config) { c.ImageSize, c.PatchSize = 128, 64 }, func(c *Config) { c.ImageSize, c.PatchSize = 130, 65 }},
		{"patch_size", func(c *Config) { c.PatchSize = 1 }, func(c *Config) { c.PatchSize = 0 }},
		{"patch_size", func(c *Config) { c.PatchSize = 6 }, func(c *Config) { c.PatchSize = 5 }},
		{"patch_size", func(*Config) {}, func(c *Config) { c.PatchSize = -4 }},
		{"4225 tokens", func(c *Config) { c.ImageSize, c.PatchSize = 256, 4 }, func(c *Config) { c.ImageSize, c.PatchSize = 260, 4 }},
		{"dim", func(c *Config) { c.Dim, c.Heads = 2048, 64 }, func(c *Config) { c.Dim, c.Heads = 2052, 4 }},
		{"dim", func(c *Config) { c.Dim, c.Heads = 4, 1 }, func(c *Config) { c.Dim, c.Heads = 0, 1 }},
		{"dim", func(*Config) {}, func(c *Config) { c.Dim = 30 }},
		{"heads", func(c *Config) { c.Dim, c.Heads = 256, 64 }, func(c *Config) { c.Dim, c.Heads = 520, 65 }},
		{"heads", func(c *Config) { c.Heads = 1 }, func(c *Config) { c.Heads = 0 }},
		{"heads", func(*Config) {}, func(c *Config) { c.Heads = 3 }},
		{"depth", func(c *Config) { c.Depth = 64 }, func(c *Config) { c.Depth = 65 }},
		{"depth", func(c *Config) { c.Depth = 1 }, func(c *Config) { c.Depth = 0 }},
		{"mlp_ratio", func(c *Config) { c.MLPRatio = 8 }, func(c *Config) { c.MLPRatio = 8.125 }},
		{"mlp_ratio", func(c *Config) { c.MLPRatio = 0.25 }, func(c *Config) { c.MLPRatio = 0.125 }},
		{"mlp_ratio", func(c *Config) { c.MLPRatio = 2.5 }, func(c *Config) { c.MLPRatio = 2.51 }},
		{"mlp_ratio", func(*Config) {}, func(c *Config) { c.MLPRatio = math.NaN() }},
		{"norm_eps", func(c *Config) { c.NormEps = 1e-2 }, func(c *Config) { c.NormEps = 0.011 }},
		{"norm_eps", func(c *Config) { c.NormEps = 1e-12 }, func(c *Config) { c.NormEps = 0 }},
		{"mean and std of channel 1", func(c *Config) { c.Mean[1] = 1 }, func(c *Config) { c.Mean[1] = 1.5 }},
		{"mean and std of channel 2", func(c *Config) { c.Std[2] = 10 }, func(c *Config) { c.Std[2] = 0 }},
		{"mean and std of channel 0", func(*Config) {}, func(c *Config) { c.Std[0] = float32(math.NaN()) }},
		{"pool", func(*Config) {}, func(c *Config) { c.Pool = "cls" }},
	} {
		c := Presets[0].Config(0, 0)
		l.good(&c)
		require.NoError(t, c.Validate(), l.says)
		c = Presets[0].Config(0, 0)
		l.bad(&c)
		require.ErrorContains(t, c.Validate(), l.says)
	}
}

func TestValidateSaysAllAtOnce(t *testing.T) {
	err := Config{}.Validate()
	for _, key := range []string{"channels", "image_size", "patch_size", "dim", "heads", "depth", "mlp_ratio", "norm_eps", "std of channel 2", "pool"} {
		require.ErrorContains(t, err, key)
	}
}

// The metadata's keys are those of the documentation, and nothing else.
func TestConfigJSONKeys(t *testing.T) {
	var m map[string]any
	require.NoError(t, json.Unmarshal([]byte(Presets[0].Config(0, 0).JSON()), &m))
	keys := []string{}
	for k := range m {
		keys = append(keys, k)
	}
	require.ElementsMatch(t, []string{"image_size", "patch_size", "channels", "dim", "depth", "heads", "mlp_ratio", "norm_eps", "mean", "std", "pool"}, keys)
}
