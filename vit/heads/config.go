// Package heads turns an encoder's features into answers: the class of a picture, a class for each pixel, boxes of objects.
//
// A head reads features [B, N, W] and writes raw outputs; forward stands beside backward, as in package vit, and losses and
// the decoding of outputs beside both. Arithmetic is float32 with a fixed order, so a head gives the same bits on every
// machine, and behind an encoder in fixed point the whole way from picture to answer does.
//
//	classify  linear, MLP on the mean of the tokens, or attention pooling      [B, C] logits
//	segment   features of several depths, 3x3 exchange between tokens, then
//	          a square of sub-pixels from each token                          [B, h, w, C] logits
//	detect    the same at the tokens' stride and at twice that, one candidate
//	          a cell, no anchors                                              [B, cells, C+4]
//
// Read config.go, then head.go; classify.go, dense.go and detect.go are the networks, loss_*.go what they learn from.
package heads

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"edgejepa/vit"
)

// Task is what a head answers.
type Task string

// The tasks.
const (
	Classify Task = "classify"
	Segment  Task = "segment"
	Detect   Task = "detect"
)

// Kind is how a head that classifies pools and decides.
type Kind string

// The kinds: logistic regression on the mean token; a hidden layer on it; and learned queries that each average the tokens
// by a softmax of their own (attentive probing: El-Nouby et al., arXiv 2401.08541).
const (
	Linear    Kind = "linear"
	MLP       Kind = "mlp"
	Attentive Kind = "attentive"
)

// Config is the shape of a head. Its JSON form is the "head" of a model file's metadata.
type Config struct {
	Task    Task     `json:"task"`
	Classes []string `json:"classes"`
	Kind    Kind     `json:"kind,omitempty"`    // of Classify
	Taps    []int    `json:"taps,omitempty"`    // blocks, ascending, whose inputs are features beside the last norm's tokens
	Hidden  int      `json:"hidden,omitempty"`  // width; not of Linear and Attentive
	Queries int      `json:"queries,omitempty"` // of Attentive
	Pixels  int      `json:"pixels,omitempty"`  // of Segment: sub-pixels along a token's side; divides the patch size

	// Temperature divides a classifier's logits before the softmax; 0 is 1 (Guo et al., arXiv 1706.04599).
	Temperature float64 `json:"temperature,omitempty"`
}

// Limits of a configuration.
const (
	maxClasses = 4096
	maxWidth   = 2048
	maxQueries = 64
	maxName    = 200

	maxTokenOutputs = 1 << 16 // of one token
	maxOutputs      = 1 << 24 // of a picture
)

// Default is the head for a task and an encoder, before its Classes.
func Default(t Task, k Kind, e vit.Config) Config {
	c := Config{Task: t}
	switch t {
	case Classify:
		c.Kind = k
		switch k {
		case MLP:
			c.Hidden = 2 * e.Dim
		case Attentive:
			c.Queries = e.Heads
		}
	default:
		c.Taps, c.Hidden = depths(e.Depth), 128
		if t == Segment {
			c.Pixels = subPixels(e.PatchSize)
		}
	}
	return c
}

// depths are the blocks behind a third and two thirds of the depth.
func depths(depth int) []int { return slices.Compact([]int{depth / 3, 2 * depth / 3}) }

// subPixels is the largest divisor of a patch up to 8.
func subPixels(patch int) int {
	for n := min(patch, 8); ; n-- {
		if patch%n == 0 {
			return n
		}
	}
}

// Validate says what is wrong with a head for an encoder of a valid configuration, all of it at once.
func (c Config) Validate(e vit.Config) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	least := 2
	switch c.Task { // what else is wrong depends on it
	case Classify, Segment:
	case Detect:
		least = 1
	default:
		return fmt.Errorf("task is %.40q: it must be %s, %s or %s", c.Task, Classify, Segment, Detect)
	}
	if n := len(c.Classes); n < least || n > maxClasses || c.Task == Segment && n > 255 {
		bad("%d classes: a head to %s has %d or more", n, c.Task, least)
	}
	for i, n := range c.Classes {
		if n == "" || len(n) > maxName || slices.Contains(c.Classes[:i], n) {
			bad("class %d is called %.40q: names are unique, of 1 to %d bytes", i, n, maxName)
			break
		}
	}
	switch c.Task {
	case Classify:
		if c.Kind != Linear && c.Kind != MLP && c.Kind != Attentive {
			bad("kind is %.40q: it must be %s, %s or %s", c.Kind, Linear, MLP, Attentive)
		}
		if len(c.Taps) > 0 || c.Pixels != 0 {
			bad("a classifier has no taps and no sub-pixels")
		}
	case Segment, Detect:
		if c.Kind != "" {
			bad("kind %.40q is for classifiers", c.Kind)
		}
	}
	if (c.Task == Segment) != (c.Pixels != 0) || c.Pixels < 0 || c.Pixels > 0 && e.PatchSize%c.Pixels != 0 {
		bad("pixels is %d: to segment, it must divide the patch size %d", c.Pixels, e.PatchSize)
	}
	if (c.Kind == Attentive) != (c.Queries != 0) || c.Queries < 0 || c.Queries > maxQueries {
		bad("queries is %d: of an attentive head it must lie in 1..%d", c.Queries, maxQueries)
	}
	if hidden := c.Kind != Linear && c.Kind != Attentive; hidden != (c.Hidden != 0) || c.Hidden < 0 || c.Hidden > maxWidth {
		bad("hidden is %d: it must lie in 1..%d, or be left out where there is no hidden layer", c.Hidden, maxWidth)
	}
	for i, t := range c.Taps {
		if t < 0 || t >= e.Depth || i > 0 && t <= c.Taps[i-1] {
			bad("taps are %v: they must ascend within 0..%d", c.Taps, e.Depth-1)
			break
		}
	}
	if n := len(errs); n == 0 && (c.Pixels*c.Pixels*len(c.Classes) > maxTokenOutputs || c.OutLen(e) > maxOutputs) {
		bad("%d classes for %d tokens of %d x %d pixels are more outputs than this program computes", len(c.Classes), e.Tokens(), max(c.Pixels, 1), max(c.Pixels, 1))
	}
	if !(c.Temperature == 0 || c.Temperature >= 0.01 && c.Temperature <= 100) {
		bad("temperature is %g: it must lie in 0.01..100", c.Temperature)
	}
	return errors.Join(errs...)
}

// Pooled says that the head reads one mean of the tokens for each picture, [B, D], and not the tokens.
func (c Config) Pooled() bool { return c.Kind == Linear || c.Kind == MLP }

// Width is how many features a token has, or the mean of them: W.
func (c Config) Width(e vit.Config) int { return (len(c.Taps) + 1) * e.Dim }

// Background is the class of pixels that are of no object: one that is called so, else the first if it is called 0 or if there
// are two classes, as in black and white masks. -1: none.
func (c Config) Background() int {
	if i := slices.IndexFunc(c.Classes, func(n string) bool { return strings.EqualFold(n, "background") }); i >= 0 {
		return i
	}
	if c.Task == Segment && (len(c.Classes) == 2 || c.Classes[0] == "0") {
		return 0
	}
	return -1
}

// InLen is how many numbers the head reads of a picture.
func (c Config) InLen(e vit.Config) int {
	if c.Pooled() {
		return e.Dim
	}
	return e.Tokens() * c.Width(e)
}

// OutLen is how many outputs a picture has.
func (c Config) OutLen(e vit.Config) int {
	switch c.Task {
	case Classify:
		return len(c.Classes)
	case Segment:
		return e.Tokens() * c.Pixels * c.Pixels * len(c.Classes)
	}
	cells := 0
	for _, l := range levels(e) {
		cells += l.h * l.w
	}
	return cells * (len(c.Classes) + 4)
}

// JSON is the configuration as a model file's metadata holds it.
func (c Config) JSON() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic("heads: a Config always has a JSON form")
	}
	return string(b)
}

// ParseConfig reads and validates the JSON form. Unknown keys are refused.
func ParseConfig(text string, e vit.Config) (Config, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	var c Config
	if err := d.Decode(&c); err != nil {
		return Config{}, fmt.Errorf("head configuration: %w", err)
	}
	if d.More() {
		return Config{}, errors.New("head configuration: something follows the JSON object")
	}
	if err := c.Validate(e); err != nil {
		return Config{}, fmt.Errorf("head configuration: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return c, nil
}
