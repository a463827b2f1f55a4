package vit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"edgejepa/internal/arena"
	"edgejepa/internal/safetensors"
)

// What every model file's metadata says of itself.
const (
	FileFormat  = "edgejepa"
	FileVersion = "1"
)

// Prefixes of what may share a file.
const (
	ContextPrefix   = "encoder."
	TargetPrefix    = "target_encoder."
	PredictorPrefix = "predictor."
	TrainingPrefix  = "training." // a checkpoint's optimiser state
	HeadPrefix      = "head."     // what package heads puts behind the encoder
)

// HeadKey is where a file's metadata describes the head, if it holds one.
const HeadKey = "head"

// Metadata is the part of a file's metadata that every model file has.
func (c Config) Metadata() map[string]string {
	return map[string]string{"format": FileFormat, "version": FileVersion, "config": c.JSON()}
}

// ShapeError lists what a file lacks, has too much, or has in the wrong shape, all at once.
type ShapeError struct {
	Path                        string
	Missing, Unknown, Misshapen []string
}

func (e *ShapeError) Error() string {
	var parts []string
	for _, p := range []struct {
		what  string
		names []string
	}{{"missing", e.Missing}, {"unknown", e.Unknown}, {"of another shape or type", e.Misshapen}} {
		if n := len(p.names); n > 0 {
			parts = append(parts, fmt.Sprintf("%d tensors %s (%s)", n, p.what, firstFew(p.names)))
		}
	}
	return e.Path + ": not this network's weights: " + strings.Join(parts, "; ")
}

func firstFew(names []string) string {
	const few = 3
	var text []string
	for _, n := range names[:min(len(names), few)] {
		text = append(text, plain(n))
	}
	if len(names) > few {
		text = append(text, "…")
	}
	return strings.Join(text, ", ")
}

// plain makes text from a file fit for a terminal: short, and quoted if it holds more than plain characters.
func plain(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "…"
	}
	if q := strconv.QuoteToASCII(s); q[1:len(q)-1] != s {
		return q
	}
	return s
}

// Tensors lists the parameters for a file, their names prefixed. The tensors share memory with the parameters.
func (ps *Params) Tensors(prefix string) []safetensors.Tensor {
	ts := make([]safetensors.Tensor, len(ps.List))
	for i, p := range ps.List {
		ts[i] = safetensors.F32(prefix+p.Name, p.Shape, p.Value)
	}
	return ts
}

// Assign copies the parameters from a file's tensors of that prefix. F16 and BF16 are widened. The error is a
// *ShapeError unless the names and shapes are exactly these; nothing is copied then.
func (ps *Params) Assign(f *safetensors.File, prefix string) error {
	if err := ps.Compare(f, prefix); err != nil {
		return err
	}
	for _, p := range ps.List {
		t, _ := f.Get(prefix + p.Name)
		if err := t.Float32s(p.Value); err != nil {
			return err
		}
	}
	return nil
}

// Compare returns a *ShapeError unless a file's tensors of that prefix are exactly the parameters. It needs no Values.
func (ps *Params) Compare(f *safetensors.File, prefix string) error {
	e := &ShapeError{Path: f.Path}
	known := map[string]bool{}
	for _, p := range ps.List {
		name := prefix + p.Name
		known[name] = true
		t, ok := f.Get(name)
		switch {
		case !ok:
			e.Missing = append(e.Missing, name)
		case !slices.Equal(t.Shape, p.Shape) || t.DType != safetensors.TypeF32 && t.DType != safetensors.TypeF16 && t.DType != safetensors.TypeBF16:
			e.Misshapen = append(e.Misshapen, name)
		}
	}
	for _, t := range f.Tensors {
		if strings.HasPrefix(t.Name, prefix) && !known[t.Name] {
			e.Unknown = append(e.Unknown, t.Name)
		}
	}
	if len(e.Missing)+len(e.Unknown)+len(e.Misshapen) > 0 {
		return e
	}
	return nil
}

// FileConfig reads the configuration from a model file's metadata.
func FileConfig(f *safetensors.File) (Config, error) {
	if v, ok := f.Metadata["version"]; ok && f.Metadata["format"] == FileFormat && v != FileVersion {
		return Config{}, fmt.Errorf("%s: file version %s, this program reads version %s: use a newer program", f.Path, plain(v), FileVersion)
	}
	text, ok := f.Metadata["config"]
	if !ok {
		return Config{}, fmt.Errorf("%s: no model here: the metadata has no \"config\" (image_size, patch_size, dim, …)", f.Path)
	}
	c, err := ParseConfig(text)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", f.Path, err)
	}
	return c, nil
}

// LoadEncoder builds the encoder of that prefix, ContextPrefix or TargetPrefix, from a parsed file, packed and ready
// for inference.
func LoadEncoder(f *safetensors.File, prefix string) (*Encoder, error) {
	c, err := FileConfig(f)
	if err != nil {
		return nil, err
	}
	if err := f.CheckFinite(); err != nil {
		return nil, err
	}
	prefixes := []string{ContextPrefix, TargetPrefix, PredictorPrefix, TrainingPrefix}
	if _, ok := f.Metadata[HeadKey]; ok {
		prefixes = append(prefixes, HeadPrefix)
	}
	var foreign []string
	for _, t := range f.Tensors {
		if !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(t.Name, p) }) {
			foreign = append(foreign, t.Name)
		}
	}
	if len(foreign) > 0 {
		return nil, &ShapeError{Path: f.Path, Unknown: foreign}
	}
	// The configuration is a claim: its memory is set aside once the file is seen to fill it.
	var measured arena.Arena
	if err := PlaceEncoder(&measured, c, false).Params.Compare(f, prefix); err != nil {
		return nil, err
	}
	e, err := NewEncoder(c)
	if err != nil {
		return nil, err
	}
	if err := e.Params.Assign(f, prefix); err != nil {
		return nil, err
	}
	e.Pack()
	return e, nil
}
