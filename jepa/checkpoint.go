package jepa

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"edgejepa/fp"
	"edgejepa/internal/arena"
	"edgejepa/internal/safetensors"
	"edgejepa/vit"
)

// Names of what a checkpoint holds beside the models: the optimiser's moments and the monitor's ring, flat.
const (
	trainingPrefix = vit.TrainingPrefix
	monitorTensor  = trainingPrefix + "monitor"
)

// tensors lists the whole state of a run. They share memory with the trainer. What is kept in halves is F16.
func (t *Trainer) tensors() []safetensors.Tensor {
	ts := t.Context.Params.Tensors(vit.ContextPrefix)
	ts = append(ts, t.head.params.Tensors(t.Config.Objective.headPrefix())...)
	if t.head.target != nil {
		ts = append(ts, t.head.target.Tensors(headTargetPrefix)...)
	}
	ts = append(ts, t.targetTensors()...)
	for _, x := range t.flat() {
		if x.half != nil {
			ts = append(ts, safetensors.F16Bits(x.name, []int{x.len()}, x.half))
		} else {
			ts = append(ts, safetensors.F32(x.name, []int{x.len()}, x.v))
		}
	}
	return ts
}

// targetTensors are the target encoder's weights.
func (t *Trainer) targetTensors() []safetensors.Tensor {
	if t.halfTarget == nil {
		return t.Target.Params.Tensors(vit.TargetPrefix)
	}
	var ts []safetensors.Tensor
	rest := t.halfTarget
	for _, p := range t.Target.Params.List {
		ts = append(ts, safetensors.F16Bits(vit.TargetPrefix+p.Name, p.Shape, rest[:p.Len()]))
		rest = rest[p.Len():]
	}
	return ts
}

// flatTensor is one of float32 or of halves, which come with scratch of as many float32.
type flatTensor struct {
	name    string
	v       []float32
	half    []uint16
	scratch []float32
}

func (x flatTensor) len() int { return max(len(x.v), len(x.half)) }

func (t *Trainer) flat() []flatTensor {
	var ts []flatTensor
	for i, model := range []string{"encoder", t.Config.Objective.Head()} {
		m, free := t.moments[i], t.trained()[i].Grad
		ts = append(ts, flatTensor{trainingPrefix + "m." + model, m.m, m.halfM, free}, flatTensor{trainingPrefix + "v." + model, m.v, m.halfS, free})
	}
	return append(ts, flatTensor{name: monitorTensor, v: t.monitor.features})
}

// read fills x from a file's tensor. Halves are widened and narrowed again, which is exact.
func (x flatTensor) read(got *safetensors.Tensor) error {
	if x.half == nil {
		return got.Float32s(x.v)
	}
	if err := got.Float32s(x.scratch); err != nil {
		return err
	}
	fp.EncodeHalf(x.half, x.scratch)
	return nil
}

// WriteCheckpoint writes the whole state of the run. Equal states give equal bytes.
func (t *Trainer) WriteCheckpoint(w io.Writer) error {
	meta := t.Config.Encoder.Metadata()
	meta["run"] = t.Config.JSON()
	meta["step"] = strconv.Itoa(t.step)
	meta["skipped"] = strconv.Itoa(t.skipped)
	meta["monitor_batches"] = strconv.Itoa(t.monitor.batches)
	t.noteRare(meta)
	return safetensors.WriteChecked(w, meta, t.tensors())
}

// FileBytes is how large the checkpoints of a valid configuration are, and the files of its encoders, in bytes, but for
// headers of some kilobytes.
func (c Config) FileBytes() (checkpoint, encoders int64) {
	var a arena.Arena
	h := newObjective(&Trainer{Config: c}).placeHead(&a)
	half := int64(4) // bytes of what may be kept in halves
	if c.halves() {
		half = 2
	}
	model, head := vit.CountParams(c.Encoder), h.params.Count()
	encoders = (4 + half) * model
	checkpoint = encoders + 4*head + 2*half*(model+head) + 4*int64(monitorLen(c.Batch, c.Encoder.Dim))
	if h.target != nil {
		checkpoint += 4 * h.target.Count()
	}
	return checkpoint, encoders
}

// WriteEncoders writes the context and the target encoder, ready for probe and export.
func (t *Trainer) WriteEncoders(w io.Writer) error { return t.writeEncoders(w, nil) }

// writeEncoders writes them with more metadata.
func (t *Trainer) writeEncoders(w io.Writer, more map[string]string) error {
	meta := t.Config.Encoder.Metadata()
	maps.Copy(meta, more)
	meta["training"] = fmt.Sprintf(`{"preset":%q,"steps":%d,"batch":%d,"seed":%d}`, t.Config.Preset, t.step, t.Config.Batch, t.Config.Seed)
	return safetensors.WriteChecked(w, meta, append(t.Context.Params.Tensors(vit.ContextPrefix), t.targetTensors()...))
}

// Restore sets the run to the state that a checkpoint of the same configuration holds. After an error the state is
// undefined and must not be trained on.
func (t *Trainer) Restore(f *safetensors.File) error {
	if text := f.Metadata["run"]; text != t.Config.JSON() {
		return fmt.Errorf("%s: the checkpoint is of another run: %s", f.Path, strings.Join(DiffConfig(text, t.Config.JSON()), "; "))
	}
	if err := f.Verify(); err != nil {
		return err
	}
	for _, m := range []struct {
		prefix string
		ps     *vit.Params
	}{
		{vit.ContextPrefix, &t.Context.Params}, {t.Config.Objective.headPrefix(), t.head.params}, {headTargetPrefix, t.head.target},
		{vit.TargetPrefix, &t.Target.Params},
	} {
		if m.ps == nil {
			continue
		}
		if err := m.ps.Assign(f, m.prefix); err != nil {
			return err
		}
	}
	if t.halfTarget != nil {
		t.setTarget(t.Target.Params.Value)
	}
	for _, x := range t.flat() {
		got, ok := f.Get(x.name)
		if !ok || !slices.Equal(got.Shape, []int{x.len()}) {
			return fmt.Errorf("%s: the checkpoint lacks %s [%d]", f.Path, x.name, x.len())
		}
		if err := x.read(got); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	for _, n := range []struct {
		key string
		v   *int
	}{{"step", &t.step}, {"skipped", &t.skipped}, {"monitor_batches", &t.monitor.batches}} {
		v, err := strconv.Atoi(f.Metadata[n.key])
		if err != nil || v < 0 || v > math.MaxInt32 {
			return fmt.Errorf("%s: the checkpoint's %s is %q", f.Path, n.key, f.Metadata[n.key])
		}
		*n.v = v
	}
	if err := t.restoreRare(f); err != nil {
		return err
	}
	t.repack.Repack()
	return nil
}

// DiffConfig lists the settings in which two JSON objects differ, as "key: a, now b".
func DiffConfig(a, b string) []string {
	x, y := map[string]any{}, map[string]any{}
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return []string{"its settings cannot be read"}
	}
	fa, fb := map[string]string{}, map[string]string{}
	for _, m := range []map[string]any{x, y} {
		for key, omitted := range map[string]string{"precision": vit.F32.String(), "objective": IJEPA.String()} {
			if _, ok := m[key]; !ok {
				m[key] = omitted
			}
		}
	}
	flatten(fa, "", x)
	flatten(fb, "", y)
	for k := range fb {
		if _, ok := fa[k]; !ok {
			fa[k] = "unset"
		}
	}
	var diff []string
	for _, k := range slices.Sorted(maps.Keys(fa)) {
		now, ok := fb[k]
		if !ok {
			now = "unset"
		}
		if fa[k] != now {
			diff = append(diff, fmt.Sprintf("%s was %s, now %s", k, fa[k], now))
		}
	}
	return diff
}

func flatten(dst map[string]string, prefix string, v any) {
	if m, ok := v.(map[string]any); ok {
		for k, x := range m {
			flatten(dst, strings.TrimPrefix(prefix+"."+k, "."), x)
		}
		return
	}
	b, _ := json.Marshal(v)
	dst[prefix] = string(b)
}
