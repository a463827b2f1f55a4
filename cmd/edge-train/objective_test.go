package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cli"
	"edgejepa/jepa"
	"edgejepa/vit"
)

// Every objective trains, leaves encoders behind, repeats to the bit, goes on where it was, and is refused where memory
// does not suffice.
func TestObjectives(t *testing.T) {
	pictures := drawn(t, 4)
	for _, o := range []jepa.Objective{jepa.IJEPA, jepa.LeJEPA, jepa.BYOL, jepa.MAE} {
		name := o.String()
		out := trained(t, pictures, "--objective", name)
		c := storedRun(t, out).Run
		require.Equal(t, o, c.Objective)
		for _, prefix := range []string{vit.ContextPrefix, vit.TargetPrefix} {
			loaded(t, out, prefix)
		}
		again := trained(t, pictures, "--objective", name, "--threads", "1")
		require.Equal(t, file(t, out, checkpointFile), file(t, again, checkpointFile), name)

		code, _, stderr := command(t, micro(pictures, out, "--max-steps", "3", "--resume")...)
		require.Zero(t, code, stderr)
		require.Contains(t, stderr, "resumed at step 3")
		other := "mae"
		if o == jepa.MAE {
			other = "ijepa"
		}
		code, _, stderr = command(t, micro(pictures, out, "--max-steps", "3", "--resume", "--objective", other)...)
		require.Equal(t, cli.ExitUsage, code)
		require.Contains(t, stderr, `objective was "`+name+`", now "`+other+`"`)

		code, _, stderr = command(t, micro(pictures, filepath.Join(t.TempDir(), "run"), "--objective", name, "--memory", "1MiB")...)
		require.Equal(t, cli.ExitUsage, code)
		require.Contains(t, stderr, "raise --memory to")
	}
}

func TestObjectiveFlags(t *testing.T) {
	pictures := drawn(t, 2)
	out := trained(t, pictures, "--objective", "lejepa", "--views", "3", "--projector", "32,8", "--sigreg-weight", "0.1", "--jitter", "0.2")
	c := storedRun(t, out).Run
	require.Equal(t, 3, c.Views)
	require.Equal(t, [2]int{32, 8}, c.Projector)
	require.Equal(t, 0.1, c.SIGRegWeight)
	require.Equal(t, 0.2, c.Jitter)
	require.Equal(t, 0.5, storedRun(t, trained(t, pictures, "--objective", "mae", "--mask-ratio", "0.5")).Run.MaskRatio)
	require.Equal(t, 0.5, storedRun(t, trained(t, pictures, "--objective", "lejepa", "--mask-ratio", "0.5")).Run.MaskRatio)
	c = storedRun(t, trained(t, pictures, "--views", "2", "--view-weight", "0.5", "--target-layers", "2")).Run
	require.Equal(t, []any{2, 0.5, 0.0, 0.4, 2}, []any{c.Views, c.ViewWeight, c.VarianceWeight, c.Jitter, c.TargetLayers})
	c = storedRun(t, trained(t, pictures, "--objective", "mae", "--views", "2")).Run
	require.Equal(t, []any{2, 0.2, 0.05, 0.4, 0.75}, []any{c.Views, c.ViewWeight, c.SIGRegWeight, c.Jitter, c.MaskRatio})
	require.Equal(t, 0.5, storedRun(t, trained(t, pictures, "--pixel-weight", "0.5")).Run.PixelWeight)
	require.Zero(t, storedRun(t, trained(t, pictures, "--views", "1")).Run.Views, "written as where nothing was asked")
	c = storedRun(t, trained(t, pictures, "--variance-weight", "0", "--sigreg-weight", "0.02")).Run
	require.Zero(t, c.VarianceWeight)
	require.Equal(t, 0.02, c.SIGRegWeight)

	for _, bad := range []struct {
		says string
		args []string
	}{
		{`no objective "dino"`, []string{"--objective", "dino"}},
		{"views is 1", []string{"--objective", "lejepa", "--views", "1"}},
		{"--projector takes two values", []string{"--objective", "byol", "--projector", "8"}},
		{"variance_weight has no part in objective byol", []string{"--objective", "byol", "--variance-weight", "0.1"}},
		{"mask_ratio has no part in objective ijepa", []string{"--mask-ratio", "0.5"}},
		{"view_weight is 2 with 0 views", []string{"--view-weight", "2"}},
		{"pixel_weight has no part in objective mae", []string{"--objective", "mae", "--pixel-weight", "1"}},
		{"--targets has no part in objective mae", []string{"--objective", "mae", "--targets", "2"}},
		{"--loss has no part in objective byol", []string{"--objective", "byol", "--loss", "l2"}},
		{"--predictor has no part in objective lejepa", []string{"--objective", "lejepa", "--predictor", "mlp"}},
		{"jitter is 3", []string{"--jitter", "3"}},
	} {
		other := filepath.Join(t.TempDir(), "run")
		code, _, stderr := command(t, micro(pictures, other, bad.args...)...)
		require.Equal(t, cli.ExitUsage, code, stderr)
		require.Contains(t, stderr, bad.says)
		require.NoDirExists(t, other)
	}
}

// Drop path and averaged targets belong to the run: config.json has them, and a resumed run goes on with them.
func TestKnobs(t *testing.T) {
	pictures, dir := drawn(t, 4), t.TempDir()
	whole, parts := filepath.Join(dir, "whole"), filepath.Join(dir, "parts")
	knobs := []string{"--drop-path", "0.3", "--target-layers", "2"}
	code, _, stderr := command(t, micro(pictures, whole, knobs...)...)
	require.Zero(t, code, stderr)
	c := storedRun(t, whole).Run
	require.Equal(t, 0.3, c.DropPath)
	require.Equal(t, 2, c.TargetLayers)
	code, _, stderr = command(t, micro(pictures, parts, append(knobs, "--max-time", "1ms")...)...)
	require.Zero(t, code, stderr)
	code, _, stderr = command(t, "pretrain", "--out", parts, "--resume", "--threads", "1", "--memory", "200MiB")
	require.Zero(t, code, stderr)
	require.True(t, string(file(t, whole, checkpointFile)) == string(file(t, parts, checkpointFile)))
	code, _, stderr = command(t, "pretrain", "--out", parts, "--resume", "--drop-path", "0.2")
	require.Equal(t, cli.ExitUsage, code)
	require.Contains(t, stderr, "drop_path was 0.3, now 0.2")

	plain, off := trained(t, pictures), filepath.Join(dir, "off")
	require.NotEqual(t, file(t, plain, checkpointFile), file(t, whole, checkpointFile))
	code, _, stderr = command(t, micro(pictures, off, "--max-steps", "3", "--drop-path", "0", "--target-layers", "1")...)
	require.Zero(t, code, stderr)
	require.Equal(t, file(t, plain, checkpointFile), file(t, off, checkpointFile), "as it is without them")
	for says, args := range map[string][]string{
		"drop_path is 1": {"--drop-path", "1"}, "--target-layers 0": {"--target-layers", "0"}, "target_layers is 3": {"--target-layers", "3"},
		"target_layers has no part in objective mae": {"--objective", "mae", "--target-layers", "2"},
	} {
		code, _, stderr := command(t, micro(pictures, filepath.Join(dir, "bad"), args...)...)
		require.Equal(t, cli.ExitUsage, code)
		require.Contains(t, stderr, says)
	}
}
