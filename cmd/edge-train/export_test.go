package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cli"
	"edgejepa/internal/parallel"
	"edgejepa/internal/safetensors"
	"edgejepa/quant"
	"edgejepa/vit"
)

func loaded(t *testing.T, model, prefix string) *vit.Encoder {
	t.Helper()
	f, err := openModel(model)
	require.NoError(t, err)
	e, err := vit.LoadEncoder(f, prefix)
	require.NoError(t, err)
	return e
}

// --encoder says which of a run's two encoders the file holds, under the one name that edge-embed asks for.
func TestExportEncoder(t *testing.T) {
	pictures, dir := drawn(t, 4), t.TempDir()
	run := trained(t, pictures)
	context, target := loaded(t, run, vit.ContextPrefix), loaded(t, run, vit.TargetPrefix)
	require.NotEqual(t, context.Params.Value, target.Params.Value)
	for name, want := range map[string]*vit.Encoder{"context": context, "target": target} {
		out := filepath.Join(dir, name)
		code, stdout, stderr := command(t, "export", "--model", run, "--out", out, "--format", "f32", "--encoder", name)
		require.Zero(t, code, stderr)
		require.Contains(t, stdout, name+" encoder as f32")
		require.Equal(t, want.Params.Value, loaded(t, out, vit.ContextPrefix).Params.Value)
		f, err := openModel(out)
		require.NoError(t, err)
		require.Equal(t, name, f.Metadata["encoder"])
		require.Contains(t, f.Metadata["training"], `"steps":3`)
		for _, x := range f.Tensors {
			require.NotContains(t, x.Name, vit.TargetPrefix)
		}
	}
	int8 := func(encoder string) []byte {
		out := filepath.Join(dir, encoder+".int8")
		code, _, stderr := command(t, "export", "--model", run, "--out", out, "--calibrate", pictures, "--encoder", encoder)
		require.Zero(t, code, stderr)
		return file(t, out)
	}
	require.NotEqual(t, int8("context"), int8("target"))
	code, _, stderr := command(t, "export", "--model", run, "--out", filepath.Join(dir, "x"), "--format", "f32", "--encoder", "both")
	require.Equal(t, cli.ExitUsage, code)
	require.Contains(t, stderr, "context or target")
	require.NoFileExists(t, filepath.Join(dir, "x"))
}

// The report of a fixed-point export has a figure for everything that could go wrong.
func TestExportReport(t *testing.T) {
	pictures, dir := drawn(t, 12), t.TempDir()
	run := trained(t, pictures)
	out, report := filepath.Join(dir, "m"), filepath.Join(dir, "report.json")
	code, stdout, stderr := command(t, "export", "--model", run, "--out", out, "--calibrate", pictures, "--report", report)
	require.Zero(t, code, stderr)
	for _, want := range []string{"ms a picture", "cosine mean ", "k-NN", "linear probe", "signal to noise", "qkv ", "attn ", "0 values cut off"} {
		require.Contains(t, stdout, want)
	}
	var r exportReport
	require.NoError(t, json.Unmarshal(file(t, report), &r))
	require.Positive(t, r.Milliseconds)
	require.NotEmpty(t, r.Calibration.Layers)
	require.NotEmpty(t, r.Fidelity.Layers)
	require.NotNil(t, r.Fidelity.Linear)
	f, err := openModel(out)
	require.NoError(t, err)
	require.Contains(t, f.Metadata["fidelity"], "sqnr_db")
	require.Contains(t, f.Metadata["calibration"], "stream_scale")

	code, _, stderr = command(t, "export", "--model", run, "--out", out, "--force", "--calibrate", pictures, "--report-pictures", "1")
	require.Equal(t, cli.ExitUsage, code)
	require.Contains(t, stderr, "--report-pictures")
}

// What every export in fixed point must reach and cannot surpass: the bounds are those of the project's goal, and 8 bits
// leave 1-cosine above 1e-7 (in quant, bestLoss).
func faithful(f *fidelity) bool {
	return f.MeanCosine > 0.998 && f.LeastCosine > 0.98 && f.MeanCosine < 1-1e-7
}

// The fidelity that a file reports is what its embeddings have, computed again from the file and the pictures, and a file
// with one scale wrong is found out.
func TestExportFidelity(t *testing.T) {
	pictures, dir := drawn(t, 4), t.TempDir()
	run := trained(t, pictures, "--max-steps", "30")
	out := filepath.Join(dir, "m")
	code, _, stderr := command(t, "export", "--model", run, "--out", out, "--calibrate", pictures, "--threads", "2", "--quiet")
	require.Zero(t, code, stderr)
	f, err := openModel(out)
	require.NoError(t, err)
	var stated fidelity
	require.NoError(t, json.Unmarshal([]byte(f.Metadata["fidelity"]), &stated))
	require.True(t, faithful(&stated), "%+v", stated)

	m, err := openRun(run, 64, 2)
	require.NoError(t, err)
	pool := parallel.New(m.workers)
	defer pool.Close()
	again := func(model string, layers bool) *fidelity {
		e := &exporter{flags: &exportFlags{calibrate: []string{pictures}, reportPictures: 1000, quiet: true}, enc: m.context, other: m.target,
			pool: pool, progress: cli.NewProgress(io.Discard, "picture", cli.LogAuto, true)}
		e.report.Fidelity = &fidelity{}
		if layers { // and the stream, which the file's integers do not show any more
			_, err := e.compare(t.Context(), m.limits)
			require.NoError(t, err)
		}
		all, err := e.pictures()
		require.NoError(t, err)
		rest := min(calibrationPictures, (len(all.paths)+1)/2)
		all.paths, all.y = all.paths[rest:], all.y[rest:]
		q, err := quant.OpenModel(model, vit.ContextPrefix)
		require.NoError(t, err)
		require.NoError(t, e.measure(t.Context(), m.limits, all, q.NewEmbedder(pool, featureBatch)))
		require.Zero(t, e.skipped)
		return e.report.Fidelity
	}
	got := again(out, true)
	require.JSONEq(t, f.Metadata["fidelity"], marshal(got))

	shifts, ok := f.Get(vit.ContextPrefix + "blocks.1.mlp.fc2.shift")
	require.True(t, ok)
	for i := range shifts.Data[1:] {
		shifts.Data[1+i]-- // to the right: every scale of the layer twice
	}
	delete(f.Metadata, "sha256")
	var b bytes.Buffer
	require.NoError(t, safetensors.WriteChecked(&b, f.Metadata, f.Tensors))
	require.NoError(t, os.WriteFile(out, b.Bytes(), 0o644))
	damaged := again(out, false)
	require.False(t, faithful(damaged), "%+v", damaged)
	require.Less(t, damaged.MeanCentred, stated.MeanCentred)
}
