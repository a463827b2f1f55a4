package main

import (
	"encoding/json"
	"io"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cli"
	"edgejepa/internal/durable"
	"edgejepa/internal/rng"
	"edgejepa/quant"
	"edgejepa/vit"
	"edgejepa/vit/heads"
)

// tunedFolder is what tune leaves, but that its head has learnt nothing: large weights over features as they are.
func tunedFolder(t *testing.T, e *vit.Encoder, task heads.Task) (dir string, h *heads.Head) {
	t.Helper()
	c := heads.Default(task, heads.MLP, e.Config)
	c.Classes = []string{"a", "b", "c"}
	h, err := heads.New(c, e.Config)
	require.NoError(t, err)
	h.Init(4)
	for i, p := range h.Params.List {
		s := rng.New(8, rng.PurposeProbe, uint64(i), 0)
		for j := range p.Value {
			p.Value[j] += float32(0.1 * s.Norm())
		}
	}
	h.Pack()
	dir = t.TempDir()
	require.NoError(t, durable.WriteFile(filepath.Join(dir, tunedFile), 0o644, func(w io.Writer) error {
		return quant.WriteFloat(w, e, quant.F32, h, map[string]string{"figures": `{"task":"x"}`})
	}))
	return dir, h
}

// A tuned model keeps its head in every format, and the report says how often that says the same as in f32.
func TestExportHead(t *testing.T) {
	pictures, dir := drawn(t, 6), t.TempDir()
	e := loaded(t, trained(t, pictures), vit.ContextPrefix)
	for _, task := range []heads.Task{heads.Classify, heads.Segment, heads.Detect} {
		enc, err := e.At(24, 32) // micro is of patches of 4
		require.NoError(t, err)
		model, h := tunedFolder(t, enc, task)
		formats := []string{"int8"}
		if task == heads.Segment {
			formats = []string{"int8", "f16", "f32"}
		}
		for _, format := range formats {
			out, report := filepath.Join(dir, string(task)+format), filepath.Join(dir, string(task)+format+".json")
			code, stdout, stderr := command(t, "export", "--model", model, "--out", out, "--format", format, "--calibrate", pictures, "--report", report)
			require.Zero(t, code, stderr)
			require.Contains(t, stdout, "tuned encoder and head to "+string(task)+" as "+format)
			m, err := quant.OpenModel(out, vit.ContextPrefix)
			require.NoError(t, err)
			require.Equal(t, enc.Config, m.Config())
			require.Equal(t, h.Config, m.Head().Config)
			require.Contains(t, m.Info().FileMetadata, "figures")
			if format == "f32" {
				require.Equal(t, quant.FloatID(enc, h), m.ID())
			}
			if format == "int8" {
				require.Equal(t, quant.FloatID(enc, h), m.Info().FileMetadata[quant.KeySource])
			}
			var r exportReport
			require.NoError(t, json.Unmarshal(file(t, report), &r))
			a := r.Fidelity.Head
			require.Equal(t, task, a.Task)
			require.Positive(t, a.Pictures)
			switch task {
			case heads.Classify:
				require.Contains(t, stdout, "the head names the same class for ")
				require.Greater(t, a.Same, 70.0)
			case heads.Segment:
				require.Contains(t, stdout, "the head's maps agree in ")
				require.Greater(t, a.Same, 80.0)
				require.Greater(t, a.MeanIoU, 60.0)
			case heads.Detect:
				require.Contains(t, stdout, "are found behind both")
				require.Greater(t, a.Boxes, 10)
				require.Greater(t, a.Matched, 70.0)
			}
			if format == "f32" {
				require.Equal(t, 100.0, a.Same)
			}
		}
		code, _, stderr := command(t, "export", "--model", model, "--out", filepath.Join(dir, "x"), "--format", "f32", "--encoder", "target")
		require.Equal(t, cli.ExitUsage, code)
		require.Contains(t, stderr, "--encoder target")
		code, _, stderr = command(t, "export", "--model", model, "--out", filepath.Join(dir, string(task)+"file"), "--format", "f32")
		require.Zero(t, code, stderr)
	}
}

// The figures tell networks apart that answer differently.
func TestAgreement(t *testing.T) {
	e := loaded(t, trained(t, drawn(t, 4)), vit.ContextPrefix)
	for _, task := range []heads.Task{heads.Classify, heads.Segment, heads.Detect} {
		_, h := tunedFolder(t, e, task)
		x, y := make([]float32, h.OutLen()), make([]float32, h.OutLen())
		s := rng.New(1, rng.PurposeProbe, 0, 0)
		same, other := newAgreed(h), newAgreed(h)
		for range 20 {
			for i := range x {
				x[i], y[i] = float32(s.Norm()), float32(s.Norm())
			}
			same.add(x, x)
			other.add(x, y)
		}
		f, g := same.figures(), other.figures()
		require.Equal(t, 20, f.Pictures)
		if task == heads.Detect {
			require.Equal(t, 100.0, f.Matched)
			require.InDelta(t, 100, f.MeanIoU, 1e-9)
			require.Less(t, g.Matched, 90.0)
			require.Less(t, g.MeanIoU, 99.0)
			continue
		}
		require.Equal(t, 100.0, f.Same)
		require.Less(t, g.Same, 80.0)
		if task == heads.Segment {
			require.Equal(t, 100.0, f.MeanIoU)
			require.Less(t, g.MeanIoU, 60.0)
		}
	}
}
