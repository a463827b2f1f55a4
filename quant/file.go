package quant

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"edgejepa/internal/safetensors"
	"edgejepa/kernels/i8"
	"edgejepa/vit"
)

// Precision is how a file holds the weights of the linear layers.
type Precision string

// The precisions of an exported file.
const (
	F32  Precision = "f32"
	F16  Precision = "f16"
	Int8 Precision = "int8"
)

// Keys of an exported file's metadata, beside those of vit.Config.Metadata.
const (
	KeyPrecision   = "precision"
	KeyQuantiser   = "quantiser"   // JSON, Settings
	KeyCalibration = "calibration" // JSON, Calibration
	KeyFidelity    = "fidelity"    // JSON, Fidelity
	KeySource      = "source"      // ID of the float encoder that was quantised
)

// Settings is how an int8 file was made and is to be computed.
type Settings struct {
	Weights     string `json:"weights"`
	Activations string `json:"activations"`
}

var settings = Settings{
	Weights:     "int8, symmetric, a scale an output channel, chains of 4 within 255",
	Activations: "int8, symmetric, a scale a token, dynamic",
}

// Write writes e as safetensors with a checksum. The linear weights are I8 tensors encoder.<name> beside F32 tensors
// encoder.<name>_scale [out]; all else is F32. meta adds to the metadata that every such file has.
func Write(w io.Writer, e *Encoder, meta map[string]string) error {
	ts, err := e.tensors(vit.ContextPrefix)
	if err != nil {
		return err
	}
	all := e.Config.Metadata()
	all[KeyPrecision] = string(Int8)
	all[KeyQuantiser] = jsonText(settings)
	maps.Copy(all, meta)
	return safetensors.WriteChecked(w, all, ts)
}

// tensors lists what a file holds, the wide types first so that all are aligned.
func (e *Encoder) tensors(prefix string) ([]safetensors.Tensor, error) {
	ts := e.Params.Tensors(prefix)
	for _, l := range e.Linears {
		if l.W == nil {
			return nil, fmt.Errorf("the weights of %s were given up after loading", l.Name)
		}
		ts = append(ts, safetensors.I8(prefix+l.weightName(), []int{l.Out, l.In}, l.W))
	}
	return ts, nil
}

func (l *Linear) weightName() string { return l.Name + ".weight" }

// WriteFloat writes a float encoder with its weights as F32 or F16, otherwise like Write.
func WriteFloat(w io.Writer, e *vit.Encoder, p Precision, meta map[string]string) error {
	ts := e.Params.Tensors(vit.ContextPrefix)
	switch p {
	case F32:
	case F16:
		for i, v := range e.Params.List {
			if !fitsF16(v.Value) {
				return fmt.Errorf("%s has a weight beyond 65504, the end of f16: export as f32", v.Name)
			}
			ts[i] = safetensors.F16(ts[i].Name, v.Shape, v.Value)
		}
	default:
		return fmt.Errorf("a float encoder cannot be written as %q: choose f32 or f16", p)
	}
	all := e.Config.Metadata()
	all[KeyPrecision] = string(p)
	maps.Copy(all, meta)
	return safetensors.WriteChecked(w, all, ts)
}

// fitsF16 says whether all values round to finite f16 numbers. From 65520 on they round to infinity.
func fitsF16(x []float32) bool {
	for _, v := range x {
		if !(v > -65520 && v < 65520) {
			return false
		}
	}
	return true
}

// Load builds an int8 encoder from a parsed file, ready to run. It refuses whatever Write would not have written: all
// tensors that are missing, unknown or of another shape or type (a *vit.ShapeError), numbers that are not finite,
// negative scales, int8 weights of -128 or against the chain rule. The encoder keeps views of the file's bytes.
func Load(f *safetensors.File) (*Encoder, error) {
	c, err := vit.FileConfig(f)
	if err != nil {
		return nil, err
	}
	if p := f.Metadata[KeyPrecision]; p != string(Int8) {
		return nil, fmt.Errorf("%s: its precision is %q, not %q", f.Path, p, Int8)
	}
	e := newEncoder(c)
	if err := e.assign(f); err != nil {
		return nil, err
	}
	if err := f.CheckFinite(); err != nil {
		return nil, err
	}
	for _, l := range e.Linears {
		for i, s := range l.Scale.Value {
			if s < 0 {
				return nil, fmt.Errorf("%s: tensor %s: scale %d is %g: scales are not negative", f.Path, vit.ContextPrefix+l.Scale.Name, i, s)
			}
		}
		if err := i8.CheckChains(l.W, l.Out, l.In); err != nil {
			return nil, fmt.Errorf("%s: tensor %s: %w", f.Path, vit.ContextPrefix+l.weightName(), err)
		}
	}
	e.pack()
	return e, nil
}

// assign takes the values from the file's tensors, which must be exactly those of e.
func (e *Encoder) assign(f *safetensors.File) error {
	bad := &vit.ShapeError{Path: f.Path}
	known := map[string]bool{}
	get := func(name string, d safetensors.DType, shape []int) *safetensors.Tensor {
		name = vit.ContextPrefix + name
		known[name] = true
		t, ok := f.Get(name)
		switch {
		case !ok:
			bad.Missing = append(bad.Missing, name)
		case t.DType != d || !slices.Equal(t.Shape, shape):
			bad.Misshapen = append(bad.Misshapen, name)
		default:
			return t
		}
		return nil
	}
	var err error
	for _, p := range e.Params.List {
		if t := get(p.Name, safetensors.TypeF32, p.Shape); t != nil && err == nil {
			err = t.Float32s(p.Value)
		}
	}
	for _, l := range e.Linears {
		if t := get(l.weightName(), safetensors.TypeI8, []int{l.Out, l.In}); t != nil && err == nil {
			l.W, err = t.Int8Data()
		}
	}
	for _, t := range f.Tensors {
		if !known[t.Name] {
			bad.Unknown = append(bad.Unknown, t.Name)
		}
	}
	if len(bad.Missing)+len(bad.Unknown)+len(bad.Misshapen) > 0 {
		return bad
	}
	return err
}

// preset names the preset that a configuration is an instance of, "" if none.
func preset(c vit.Config) string {
	for _, p := range vit.Presets {
		if p.Config(c.ImageSize, c.PatchSize) == c {
			return p.Name
		}
	}
	return ""
}
