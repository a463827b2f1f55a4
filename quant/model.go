package quant

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"runtime"
	"strings"

	"edgejepa/internal/parallel"
	"edgejepa/internal/safetensors"
	"edgejepa/vit"
	"edgejepa/vit/heads"
)

// Model is an encoder from a file, of whatever precision, and the head that may be there beside it.
type Model struct {
	info  Info
	fixed *Encoder     // one of the two
	float *vit.Encoder // is set
	head  *heads.Head  // nil: none
}

// Info is what a model file says of itself.
type Info struct {
	ID           string         `json:"id"` // see ID of a Model
	Precision    Precision      `json:"precision"`
	Preset       string         `json:"preset,omitempty"`
	Encoder      string         `json:"encoder,omitempty"` // which of a run's two: context or target
	Config       vit.Config     `json:"config"`
	Tokens       int            `json:"tokens"` // a picture
	Parameters   int64          `json:"parameters"`
	FileBytes    int64          `json:"file_bytes"`
	Checksummed  bool           `json:"checksummed"`
	Head         *HeadInfo      `json:"head,omitempty"`
	FileMetadata map[string]any `json:"metadata,omitempty"` // what else the file holds: training, calibration, fidelity
}

// HeadInfo is what a model file says of its head.
type HeadInfo struct {
	heads.Config
	Parameters int64 `json:"parameters"`
}

// OpenModel loads an exported encoder, and its head if it has one, or one of the two of a training run's file: prefix vit.ContextPrefix or
// vit.TargetPrefix says which. A recorded checksum is verified. The file is not needed any more afterwards.
func OpenModel(path, prefix string) (*Model, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return nil, fmt.Errorf("%s is a folder: give the model file in it, such as encoder.safetensors", path)
	}
	m := &Model{info: Info{FileBytes: st.Size()}}
	if err := m.open(path, prefix); err != nil {
		return nil, err
	}
	c := m.Config()
	m.info.Config, m.info.Tokens, m.info.Preset = c, c.Tokens(), preset(c)
	if m.head != nil {
		m.info.Head = &HeadInfo{m.head.Config, m.head.Params.Count()}
	}
	return m, nil
}

func (m *Model) open(path, prefix string) error {
	f, err := safetensors.Map(path)
	if err == nil && f.Metadata[KeyPrecision] != string(Int8) { // floats are copied: they need not be in memory twice
		f.Close()
		f, err = safetensors.Stream(path)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return m.load(f, prefix)
}

// load takes the encoder of that prefix from a file, which is not needed any more afterwards.
func (m *Model) load(f *safetensors.File, prefix string) error {
	m.info.FileMetadata = foreign(f.Metadata)
	err := plausible(f, prefix)
	if err == nil {
		if f.Metadata[KeyPrecision] == string(Int8) {
			err = m.loadInt8(f, prefix)
		} else {
			err = m.loadFloat(f, prefix)
		}
	}
	if err != nil { // damage looks like anything: if there was some, that is what to say
		var damage *safetensors.ChecksumError
		if sum := f.Guard(f.Verify); errors.As(sum, &damage) {
			return sum
		}
	}
	return err
}

// verify checks f's checksum, if it has one.
func (m *Model) verify(f *safetensors.File) error {
	err := f.Verify()
	m.info.Checksummed = err == nil
	if errors.Is(err, safetensors.ErrNoChecksum) {
		return nil
	}
	return err
}

// plausible refuses a file whose metadata describes a network far larger than the file, before memory is set aside for
// it. Weights that are merely missing are for the loaders to name.
func plausible(f *safetensors.File, prefix string) error {
	c, err := fileConfig(f)
	if err != nil {
		return err
	}
	d := int64(c.Dim)
	want := int64(c.PatchLen())*d + int64(c.Depth)*(4*d*d+2*d*int64(c.Hidden()))
	have := int64(0)
	for _, t := range f.Tensors {
		if strings.HasPrefix(t.Name, prefix) {
			have += int64(t.Len())
		}
	}
	if want > 8*have+1<<20 {
		return fmt.Errorf("%s: its metadata describes a network of %d weights, but %s tensors hold %d numbers: the file is damaged or no model",
			f.Path, want, prefix+"*", have)
	}
	return nil
}

func (m *Model) loadInt8(f *safetensors.File, prefix string) error {
	if prefix != vit.ContextPrefix {
		return fmt.Errorf("%s: an int8 file holds one encoder, there is no other to choose", f.Path)
	}
	l := &loader{m: m, f: f}
	err := f.Guard(func() (err error) {
		if l.e, err = read(f); err != nil {
			return err
		}
		if m.head, err = heads.Load(f, l.e.Config); err != nil {
			return err
		}
		l.ts, err = l.e.tensors("")
		return err
	})
	if err != nil {
		return err
	}
	l.linears = l.e.linears()
	l.errs = make([]error, 2+len(l.linears))
	pool := parallel.New(min(runtime.GOMAXPROCS(0), len(l.errs)))
	defer pool.Close()
	pool.Do(l, len(l.errs))
	for _, err := range l.errs {
		if err != nil {
			return err
		}
	}
	m.info.Precision, m.info.Parameters = Int8, vit.CountParams(l.e.Config)
	m.fixed = l.e
	return nil
}

// loader takes what is large in a mapped file to where it belongs: the checksum, the ID and each layer's weights are tasks
// of their own. Each gives back the file's memory behind itself, so that file and packed weights are never there both.
type loader struct {
	m       *Model
	f       *safetensors.File
	e       *Encoder
	ts      []safetensors.Tensor
	linears []*linear
	errs    []error // [task]
}

// Run does the two that take longest first.
func (l *loader) Run(task, _ int) {
	l.errs[task] = l.f.Guard(func() error {
		switch task {
		case 0:
			return l.m.verify(l.f)
		case 1:
			h := sha256.New()
			l.m.info.ID = modelID(h, l.f.Pour(h), l.e.Config, l.ts, l.m.head)
			return nil
		}
		x := l.linears[task-2]
		if err := x.pack(); err != nil {
			return fmt.Errorf("%s: %w", l.f.Path, err)
		}
		l.f.Drop(l.weights(x))
		x.w = nil
		return nil
	})
}

// weights are the bytes of a layer's weights.
func (l *loader) weights(x *linear) []byte {
	t, ok := l.f.Get(vit.ContextPrefix + x.name + ".weight")
	if !ok {
		panic("quant: a loaded layer is not in its file")
	}
	return t.Data
}

func (m *Model) loadFloat(f *safetensors.File, prefix string) error {
	if err := m.verify(f); err != nil {
		return err
	}
	e, err := vit.LoadEncoder(f, prefix)
	if err != nil {
		return err
	}
	if m.head, err = heads.Load(f, e.Config); err != nil {
		return err
	}
	m.info.Precision, m.info.ID = F32, FloatID(e, m.head)
	for _, t := range f.Tensors {
		if strings.HasPrefix(t.Name, prefix) && t.DType != safetensors.TypeF32 {
			m.info.Precision = Precision(strings.ToLower(string(t.DType)))
		}
		if strings.HasPrefix(t.Name, vit.TargetPrefix) {
			m.info.Encoder = map[string]string{vit.ContextPrefix: "context", vit.TargetPrefix: "target"}[prefix]
		}
	}
	for _, p := range e.Params.List {
		m.info.Parameters += int64(p.Len())
	}
	m.float = e
	return nil
}

// Config is the model's shape and preprocessing.
func (m *Model) Config() vit.Config {
	if m.fixed != nil {
		return m.fixed.Config
	}
	return m.float.Config
}

// Head is the model's head; nil if it has none.
func (m *Model) Head() *heads.Head { return m.head }

// ID is the beginning of the SHA-256, in hexadecimal, of the configuration and the weights, the head's among them: two
// models with one ID give the same embeddings and answers, whatever their files' names and other metadata.
func (m *Model) ID() string { return m.info.ID }

// Info is what the file says of itself.
func (m *Model) Info() Info { return m.info }

// NewEmbedder allocates what running the model on batches of up to batch pictures takes. Larger batches work too.
func (m *Model) NewEmbedder(pool *parallel.Pool, batch int) Embedder {
	if m.fixed != nil {
		return m.fixed.NewPass(pool)
	}
	return newFloatEmbedder(m.float, pool, batch)
}

// FloatID is the ID that a float encoder has as a Model, with a head or, if that is nil, without.
func FloatID(e *vit.Encoder, head *heads.Head) string {
	h := sha256.New()
	return modelID(h, h, e.Config, e.Params.Tensors(""), head)
}

// idBytes is how much of the hash makes an ID.
const idBytes = 8

// modelID writes what makes the ID to w, which passes it to h. Neither returns errors.
func modelID(h hash.Hash, w io.Writer, c vit.Config, ts []safetensors.Tensor, head *heads.Head) string {
	fmt.Fprintln(w, c.JSON())
	if head != nil {
		fmt.Fprintln(w, head.Config.JSON())
		ts = append(ts[:len(ts):len(ts)], head.Tensors()...)
	}
	for _, t := range ts {
		fmt.Fprintln(w, t.Name, t.DType, t.Shape)
		w.Write(t.Data)
	}
	return hex.EncodeToString(h.Sum(nil)[:idBytes])
}

// foreign is the metadata that Info has no field for; values that are JSON objects stay such.
func foreign(meta map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range meta {
		switch k {
		case "format", "version", "config", "sha256", KeyPrecision, vit.HeadKey:
			continue
		}
		if v != "" && v[0] == '{' && json.Valid([]byte(v)) {
			out[k] = json.RawMessage(v)
		} else {
			out[k] = v
		}
	}
	return out
}

func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("quant: a report always has a JSON form")
	}
	return string(b)
}
