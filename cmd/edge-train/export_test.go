package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cli"
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

// What fixed point may cost a network that has learnt something. The run and its pictures, in one folder a class or not,
// are the tester's: EDGEJEPA_FIDELITY_RUN=RUN EDGEJEPA_FIDELITY_PICTURES=DIR go test ./cmd/edge-train -run Fidelity
func TestFidelity(t *testing.T) {
	run, pictures := os.Getenv("EDGEJEPA_FIDELITY_RUN"), os.Getenv("EDGEJEPA_FIDELITY_PICTURES")
	if run == "" || pictures == "" {
		t.Skip("EDGEJEPA_FIDELITY_RUN and EDGEJEPA_FIDELITY_PICTURES name no run and pictures")
	}
	report := filepath.Join(t.TempDir(), "report.json")
	code, stdout, stderr := command(t, "export", "--model", run, "--out", filepath.Join(t.TempDir(), "m"),
		"--calibrate", pictures, "--report-pictures", "10000", "--report", report)
	require.Zero(t, code, stderr)
	t.Log(stdout)
	var r exportReport
	require.NoError(t, json.Unmarshal(file(t, report), &r))
	f := r.Fidelity
	require.Greater(t, f.MeanCosine, 0.998)
	require.Greater(t, f.LeastCosine, 0.98)
	require.Less(t, f.MeanCosine, 1-1e-7, "suspiciously good: 8 bits cannot do that")
	if f.KNN != nil {
		require.InDelta(t, *f.KNNFloat, *f.KNN, 0.5)
		require.InDelta(t, *f.LinearFloat, *f.Linear, 0.5)
	}
	require.Less(t, float64(r.Bytes), 1.15*float64(r.Parameters))
}
