package tune

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"

	"edgejepa/internal/safetensors"
	"edgejepa/vit"
)

// Run is a trainer with the pictures that it learns from.
type Run struct {
	*Trainer
	feed  *feeder
	cache *cache // nil: features are computed for each step
}

// Begin makes a run ready to go on from where its trainer is. A trainer that has done no step takes its standardisation from
// the pictures. Features that are computed once are kept for as many pictures as there is room for, in bytes; progress is told
// of how many they are there. The room makes no difference to the result.
func Begin(ctx context.Context, t *Trainer, x *Examples, room int64, progress func(done int)) (*Run, error) {
	if x.Task() != t.Config.Head.Task {
		return nil, fmt.Errorf("pictures to %s cannot teach a head to %s", x.Task(), t.Config.Head.Task)
	}
	r := &Run{Trainer: t, feed: newFeeder(t.Config, x, t.pool)}
	var err error
	if t.step == 0 {
		err = t.standardize(x)
	}
	if err != nil || !t.Config.Cached() {
		return r, err
	}
	if r.cache, err = t.fill(ctx, x, room, progress); err != nil {
		return nil, err
	}
	r.feed.have = r.cache.have
	if !slices.Contains(r.cache.have, true) {
		return nil, fmt.Errorf("none of the %d pictures can be read", x.Len())
	}
	return r, nil
}

// Next makes one step.
func (r *Run) Next() Stats {
	rows := r.feed.rows(r.step)
	if r.cache == nil {
		return r.Step(r.feed.prepare(rows))
	}
	r.cache.compute(r.Trainer, rows)
	b := r.feed.prepare(rows)
	return r.stepOn(b, r.cache.take(rows, b.errs))
}

// Restart puts a run back to its beginning, from the encoder that it began with, and gives it another length: the steps so far
// were to measure it.
func (t *Trainer) Restart(from *vit.Encoder, steps int) {
	t.Config.SetSteps(steps)
	t.schedule, t.step, t.skipped = t.Config.schedule(), 0, 0
	copy(t.Encoder.Params.Value, from.Params.Value)
	t.Head.Init(t.Config.Seed)
	for _, m := range t.moments {
		clear(m.m)
		clear(m.v)
	}
	t.repack.Repack()
}

// Names of what a checkpoint holds beside the models: the optimiser's moments, flat.
const momentsPrefix = vit.TrainingPrefix

func (t *Trainer) tensors() []safetensors.Tensor {
	ts := append(t.Encoder.Params.Tensors(vit.ContextPrefix), t.Head.Params.Tensors(headPrefix)...)
	for i, name := range []string{"encoder", "head"} {
		if m := t.moments[i]; m.m != nil {
			ts = append(ts, safetensors.F32(momentsPrefix+"m."+name, []int{len(m.m)}, m.m), safetensors.F32(momentsPrefix+"v."+name, []int{len(m.v)}, m.v))
		}
	}
	return ts
}

const headPrefix = "head."

// WriteCheckpoint writes the whole state of the run. Equal states give equal bytes.
func (t *Trainer) WriteCheckpoint(w io.Writer) error {
	meta := t.Config.Encoder.Metadata()
	meta["tune"] = t.Config.JSON()
	meta["step"] = strconv.Itoa(t.step)
	meta["skipped"] = strconv.Itoa(t.skipped)
	return safetensors.WriteChecked(w, meta, t.tensors())
}

// Restore sets the run to the state that a checkpoint of the same configuration holds. After an error the state is undefined.
func (t *Trainer) Restore(f *safetensors.File) error {
	if f.Metadata["tune"] != t.Config.JSON() {
		return fmt.Errorf("%s: the checkpoint is of another run", f.Path)
	}
	if err := f.Verify(); err != nil {
		return err
	}
	if err := t.Encoder.Params.Assign(f, vit.ContextPrefix); err != nil {
		return err
	}
	if err := t.Head.Params.Assign(f, headPrefix); err != nil {
		return err
	}
	for i, name := range []string{"encoder", "head"} {
		m := t.moments[i]
		for _, x := range []struct {
			name string
			v    []float32
		}{{"m.", m.m}, {"v.", m.v}} {
			if x.v == nil {
				continue
			}
			got, ok := f.Get(momentsPrefix + x.name + name)
			if !ok || !slices.Equal(got.Shape, []int{len(x.v)}) {
				return fmt.Errorf("%s: the checkpoint lacks %s%s%s [%d]", f.Path, momentsPrefix, x.name, name, len(x.v))
			}
			if err := got.Float32s(x.v); err != nil {
				return fmt.Errorf("%s: %w", f.Path, err)
			}
		}
	}
	var err error
	if t.step, err = strconv.Atoi(f.Metadata["step"]); err == nil {
		t.skipped, err = strconv.Atoi(f.Metadata["skipped"])
	}
	if err != nil || t.step < 0 || t.step > t.Config.Steps {
		return fmt.Errorf("%s: the checkpoint's steps make no sense", f.Path)
	}
	t.repack.Repack()
	return nil
}
