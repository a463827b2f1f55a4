package quant

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"edgejepa/internal/safetensors"
	"edgejepa/kernels/fixed"
	"edgejepa/kernels/i8"
	"edgejepa/vit"
	"edgejepa/vit/heads"
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

// int8Version is the version of files in fixed point. Version 1 had float32 between the products.
const int8Version = "2"

// Settings is how a fixed-point file is to be computed.
type Settings struct {
	Weights     string `json:"weights"`
	Activations string `json:"activations"`
	Stream      string `json:"stream"`
}

var settings = Settings{
	Weights:     "int8, symmetric, a scale an output channel, chains of 4 within 255",
	Activations: "int8, static scales",
	Stream:      "int32, one static scale",
}

// field is one tensor of a file and where it lies in an Encoder: one of the pointers is set.
type field struct {
	name  string
	shape []int
	f64   *[]float64
	i64   *[]int64
	i32   *[]int32
	i8    *[]int8
}

func (f *field) len() int {
	n := 1
	for _, s := range f.shape {
		n *= s
	}
	return n
}

// tensor is the field as a file has it.
func (f *field) tensor(prefix string) safetensors.Tensor {
	switch name := prefix + f.name; {
	case f.f64 != nil:
		return safetensors.F64(name, f.shape, *f.f64)
	case f.i64 != nil:
		return safetensors.I64(name, f.shape, *f.i64)
	case f.i32 != nil:
		return safetensors.I32(name, f.shape, *f.i32)
	default:
		return safetensors.I8(name, f.shape, *f.i8)
	}
}

// dtype is the type of the field's tensor.
func (f *field) dtype() safetensors.DType {
	switch {
	case f.f64 != nil:
		return safetensors.TypeF64
	case f.i64 != nil:
		return safetensors.TypeI64
	case f.i32 != nil:
		return safetensors.TypeI32
	}
	return safetensors.TypeI8
}

// read takes the values from t, which has the field's type and shape. Weights stay views of the file's bytes, the rest
// is copied.
func (f *field) read(t *safetensors.Tensor) (err error) {
	switch {
	case f.f64 != nil:
		*f.f64, err = t.Float64Data()
		*f.f64 = slices.Clone(*f.f64)
	case f.i64 != nil:
		*f.i64, err = t.Int64Data()
		*f.i64 = slices.Clone(*f.i64)
	case f.i32 != nil:
		*f.i32, err = t.Int32Data()
		*f.i32 = slices.Clone(*f.i32)
	default:
		*f.i8, err = t.Int8Data()
		if len(f.shape) == 1 {
			*f.i8 = slices.Clone(*f.i8)
		}
	}
	return err
}

// fields lists every number that inference uses, in the order of a file: wide types first, so that all are aligned. For
// what each requantisation is made of see fixed.Requant: NAME.requant [2, n] has multipliers and addends, NAME.shift
// [1+n] the shift to the left of all channels, then each channel's to the right.
func (e *Encoder) fields() []field {
	c := e.Config
	var fs []field
	f64 := func(name string, n int, p *[]float64) { fs = append(fs, field{name: name, shape: []int{n}, f64: p}) }
	rq := func(name string, n int, r *requant) {
		fs = append(fs, field{name: name + ".requant", shape: []int{2, n}, i32: &r.table},
			field{name: name + ".shift", shape: []int{1 + n}, i8: &r.shift})
	}
	line := func(l *linear) {
		fs = append(fs, field{name: l.name + ".weight", shape: l.shape, i8: &l.w})
		rq(l.name, l.out, &l.to)
	}
	line(&e.patch)
	fs = append(fs, field{name: "pos_embed", shape: []int{c.Tokens(), c.Dim}, i32: &e.pos})
	fs = append(fs, field{name: "norm_eps", shape: []int{1}, i64: &e.eps})
	for i := range e.blocks {
		b, n := &e.blocks[i], fmt.Sprintf("blocks.%d.", i)
		rq(n+"norm1", c.Dim, &b.norm1)
		line(&b.qkv)
		f64(n+"attn.scale", c.Heads, &b.scoreScale)
		rq(n+"attn.mean", c.Dim, &b.means)
		line(&b.proj)
		rq(n+"norm2", c.Dim, &b.norm2)
		line(&b.fc1)
		f64(n+"mlp.gelu.scale", 1, &b.geluScale)
		fs = append(fs, field{name: n + "mlp.gelu.zero", shape: []int{1}, i32: &b.geluZero})
		line(&b.fc2)
	}
	f64("norm.token_gain", c.Dim, &e.tokenGain)
	f64("norm.mean_gain", c.Dim, &e.poolGain)
	f64("norm.bias", c.Dim, &e.bias)
	slices.SortStableFunc(fs, func(a, b field) int { return b.dtype().Size() - a.dtype().Size() })
	return fs
}

// requants lists the requantisations with their names.
func (e *Encoder) requants(yield func(name string, r *requant) bool) {
	for _, l := range e.linears() {
		if !yield(l.name, &l.to) {
			return
		}
	}
	for i := range e.blocks {
		b, n := &e.blocks[i], fmt.Sprintf("blocks.%d.", i)
		if !yield(n+"norm1", &b.norm1) || !yield(n+"attn.mean", &b.means) || !yield(n+"norm2", &b.norm2) {
			return
		}
	}
}

// Write writes e as safetensors with a checksum: the tensors of fields, their names after "encoder.", and those of a head,
// as float32, after "head."; nil for none. meta adds to the metadata that every such file has.
func Write(w io.Writer, e *Encoder, head *heads.Head, meta map[string]string) error {
	ts, err := e.tensors(vit.ContextPrefix)
	if err != nil {
		return err
	}
	all := e.Config.Metadata()
	all["version"] = int8Version
	all[KeyPrecision] = string(Int8)
	all[KeyQuantiser] = jsonText(settings)
	maps.Copy(all, meta)
	ts = withHead(all, ts, head)
	return safetensors.WriteChecked(w, all, ts)
}

// tensors lists what a file holds.
func (e *Encoder) tensors(prefix string) ([]safetensors.Tensor, error) {
	for _, l := range e.linears() {
		if l.w == nil {
			return nil, fmt.Errorf("the weights of %s were given up after loading", l.name)
		}
	}
	var ts []safetensors.Tensor
	for _, f := range e.fields() {
		ts = append(ts, f.tensor(prefix))
	}
	return ts, nil
}

// withHead adds a head, unless it is nil, to what a file holds.
func withHead(meta map[string]string, ts []safetensors.Tensor, head *heads.Head) []safetensors.Tensor {
	if head == nil {
		return ts
	}
	meta[vit.HeadKey] = head.Config.JSON()
	return append(ts, head.Tensors()...)
}

// WriteFloat writes a float encoder with its weights as F32 or F16, with a checksum, and a head, as float32, if that is not
// nil. meta adds to the metadata that every such file has.
func WriteFloat(w io.Writer, e *vit.Encoder, p Precision, head *heads.Head, meta map[string]string) error {
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
	ts = withHead(all, ts, head)
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

// fileConfig is the configuration that a file's metadata describes.
func fileConfig(f *safetensors.File) (vit.Config, error) {
	if f.Metadata[KeyPrecision] != string(Int8) {
		return vit.FileConfig(f)
	}
	if v := f.Metadata["version"]; v != int8Version {
		return vit.Config{}, fmt.Errorf("%s: an int8 file of version %q, this program reads version %s: export it again", f.Path, v, int8Version)
	}
	text, ok := f.Metadata["config"]
	if !ok {
		return vit.Config{}, fmt.Errorf("%s: no model here: the metadata has no \"config\" (image_size, patch_size, dim, …)", f.Path)
	}
	c, err := vit.ParseConfig(text)
	if err != nil {
		return vit.Config{}, fmt.Errorf("%s: %w", f.Path, err)
	}
	return c, nil
}

// Load builds a fixed-point encoder from a parsed file, ready to run. It refuses whatever Write would not have written:
// tensors that are missing, unknown or of another shape or type (a *vit.ShapeError, all of them at once), weights of -128
// or against the chain rule, numbers that are not finite or that no Calibrate gives. Weights are views of the file's bytes.
func Load(f *safetensors.File) (*Encoder, error) {
	e, err := read(f)
	if err != nil {
		return nil, err
	}
	for _, l := range e.linears() {
		if err := l.pack(); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return e, nil
}

// read is Load but for the weights, which are views that nobody has looked at.
func read(f *safetensors.File) (*Encoder, error) {
	c, err := fileConfig(f)
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
	if err := e.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	if err := e.derive(); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	return e, nil
}

// pack refuses weights that no export writes, and packs the others.
func (l *linear) pack() error {
	if err := i8.CheckChains(l.w, l.out, l.in); err != nil {
		return fmt.Errorf("tensor %s%s.weight: %w", vit.ContextPrefix, l.name, err)
	}
	l.panels.Pack(l.w, l.in, l.out)
	return nil
}

// assign takes the values from the file's tensors, which must be exactly those of e.
func (e *Encoder) assign(f *safetensors.File) error {
	bad := &vit.ShapeError{Path: f.Path}
	known := map[string]bool{}
	var err error
	for _, x := range e.fields() {
		name := vit.ContextPrefix + x.name
		known[name] = true
		t, ok := f.Get(name)
		switch {
		case !ok:
			bad.Missing = append(bad.Missing, name)
		case t.DType != x.dtype() || !slices.Equal(t.Shape, x.shape):
			bad.Misshapen = append(bad.Misshapen, name)
		case err == nil:
			err = x.read(t)
		}
	}
	_, head := f.Metadata[vit.HeadKey] // whose tensors are for heads.Load to judge
	for _, t := range f.Tensors {
		if !known[t.Name] && !(head && strings.HasPrefix(t.Name, vit.HeadPrefix)) {
			bad.Unknown = append(bad.Unknown, t.Name)
		}
	}
	if len(bad.Missing)+len(bad.Unknown)+len(bad.Misshapen) > 0 {
		return bad
	}
	return err
}

// check refuses integers, but for the weights, outside the ranges in which the kernels say what they compute, and parses
// the requantisations.
func (e *Encoder) check() error {
	for name, r := range e.requants {
		if err := r.parse(); err != nil {
			return fmt.Errorf("tensor %s%s.requant: %w", vit.ContextPrefix, name, err)
		}
	}
	for i, v := range e.pos {
		if v < -fixed.ResidualMax || v > fixed.ResidualMax {
			return fmt.Errorf("tensor %spos_embed: value %d is %d, beyond the stream's range", vit.ContextPrefix, i, v)
		}
	}
	if v := e.eps[0]; v < 0 || v > 1<<50 {
		return fmt.Errorf("tensor %snorm_eps is %d, out of range", vit.ContextPrefix, v)
	}
	return nil
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
