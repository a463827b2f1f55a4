package main

import (
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
