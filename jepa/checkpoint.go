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

	"edgejepa/internal/safetensors"
	"edgejepa/vit"
)

// Names of what a checkpoint holds beside the three models: the optimiser's moments and the monitor's ring, flat.
const (
	trainingPrefix = vit.TrainingPrefix
	monitorTensor  = trainingPrefix + "monitor"
)

// tensors lists the whole state of a run. They share memory with the trainer.
func (t *Trainer) tensors() []safetensors.Tensor {
	ts := t.Context.Params.Tensors(vit.ContextPrefix)
	ts = append(ts, t.Predictor.Params.Tensors(vit.PredictorPrefix)...)
	ts = append(ts, t.Target.Params.Tensors(vit.TargetPrefix)...)
	for _, x := range t.flat() {
		ts = append(ts, safetensors.F32(x.name, []int{len(x.v)}, x.v))
	}
	return ts
}

type flatTensor struct {
	name string
	v    []float32
}

func (t *Trainer) flat() []flatTensor {
	return []flatTensor{
		{trainingPrefix + "m.encoder", t.moments[0].m}, {trainingPrefix + "v.encoder", t.moments[0].v},
		{trainingPrefix + "m.predictor", t.moments[1].m}, {trainingPrefix + "v.predictor", t.moments[1].v},
		{monitorTensor, t.monitor.features},
	}
}

// WriteCheckpoint writes the whole state of the run. Equal states give equal bytes.
func (t *Trainer) WriteCheckpoint(w io.Writer) error {
	meta := t.Config.Encoder.Metadata()
	meta["run"] = t.Config.JSON()
	meta["step"] = strconv.Itoa(t.step)
	meta["skipped"] = strconv.Itoa(t.skipped)
	meta["monitor_batches"] = strconv.Itoa(t.monitor.batches)
	return safetensors.WriteChecked(w, meta, t.tensors())
}

// WriteEncoders writes the context and the target encoder, ready for probe and export.
func (t *Trainer) WriteEncoders(w io.Writer) error {
	meta := t.Config.Encoder.Metadata()
	meta["training"] = fmt.Sprintf(`{"preset":%q,"steps":%d,"batch":%d,"seed":%d}`, t.Config.Preset, t.step, t.Config.Batch, t.Config.Seed)
	return safetensors.WriteChecked(w, meta, append(t.Context.Params.Tensors(vit.ContextPrefix), t.Target.Params.Tensors(vit.TargetPrefix)...))
}

// CheckpointConfig reads the configuration of the run that a checkpoint belongs to.
func CheckpointConfig(f *safetensors.File) (Config, error) {
	text, ok := f.Metadata["run"]
	if !ok {
		return Config{}, fmt.Errorf("%s: not a checkpoint of a run: the metadata has no \"run\"", f.Path)
	}
	c, err := ParseConfig(text)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", f.Path, err)
	}
	return c, nil
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
	}{{vit.ContextPrefix, &t.Context.Params}, {vit.PredictorPrefix, &t.Predictor.Params}, {vit.TargetPrefix, &t.Target.Params}} {
		if err := m.ps.Assign(f, m.prefix); err != nil {
			return err
		}
	}
	for _, x := range t.flat() {
		got, ok := f.Get(x.name)
		if !ok || !slices.Equal(got.Shape, []int{len(x.v)}) {
			return fmt.Errorf("%s: the checkpoint lacks %s [%d]", f.Path, x.name, len(x.v))
		}
		if err := got.Float32s(x.v); err != nil {
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
