package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cli"
	"edgejepa/internal/safetensors"
	"edgejepa/jepa"
	"edgejepa/jepa/report"
)

// diverging makes the gradients of steps [from, from+badSteps) unsound at the full learning rate, and calls at before each
// judgement.
func diverging(t *testing.T, from int, at func(step int)) {
	t.Helper()
	judged := sound
	t.Cleanup(func() { sound = judged })
	full := map[int]float64{} // learning rate of a step when it is first seen
	sound = func(st jepa.Stats, _ float64) bool {
		at(st.Step)
		if _, ok := full[st.Step]; !ok {
			full[st.Step] = st.LR
		}
		return st.LR < full[st.Step] || st.Step < from || st.Step >= from+badSteps
	}
}

// rollbackSteps makes a run with one rollback point, rollbackLeast.
const rollbackSteps = rollbackLeast + 70

func diverged(pictures, out string, more ...string) []string {
	return micro(pictures, out, append([]string{"--batch", "4", "--report=false", "--max-steps", fmt.Sprint(rollbackSteps)}, more...)...)
}

// Runs that diverge end in equal bytes, however often they save and wherever they are stopped, among unsound steps too.
func TestDivergenceIsRepeatable(t *testing.T) {
	if testing.Short() {
		t.Skip("nine runs, minutes on an emulated core: TestRollbackIsMissing has two of the kind")
	}
	pictures := drawn(t, 4)
	dir := t.TempDir()
	const from = rollbackLeast + 15
	diverging(t, from, func(int) {})
	whole := filepath.Join(dir, "whole")
	code, _, stderr := command(t, diverged(pictures, whole)...)
	require.Zero(t, code, stderr)
	back := fmt.Sprintf("Going back to step %d, and on with 1/2", rollbackLeast)
	require.Contains(t, stderr, back)
	require.NoFileExists(t, filepath.Join(whole, rollbackFile), "it is of no more use")
	want := file(t, whole, checkpointFile)
	require.Equal(t, 1, checkpointOf(t, whole, "lr_halvings"))
	lines, err := report.ReadMetrics(filepath.Join(whole, metricsFile))
	require.NoError(t, err)
	require.Equal(t, 1, lines[len(lines)-1].RollBacks)

	often := filepath.Join(dir, "often")
	code, _, stderr = command(t, diverged(pictures, often, "--checkpoint-every", "1ns")...)
	require.Zero(t, code, stderr)
	require.Contains(t, stderr, back)
	require.True(t, string(want) == string(file(t, often, checkpointFile)), "how often it saves must not matter")

	// Stopped before the rollback point, on it, behind it, among the unsound steps, and after it went back.
	for _, stops := range [][]int{{rollbackLeast - 3, from + 3}, {rollbackLeast, from + badSteps - 2}, {rollbackLeast + 1, from, from + badSteps + 5}} {
		out := filepath.Join(dir, fmt.Sprint(stops))
		args := diverged(pictures, out)
		for _, stop := range stops {
			ctx, cancel := context.WithCancelCause(context.Background())
			diverging(t, from, func(step int) {
				if step == stop {
					cancel(cli.ErrInterrupted)
				}
			})
			var said strings.Builder
			run(ctx, args, strings.NewReader(""), io.Discard, &said)
			require.Equal(t, stop, checkpointOf(t, out, "step"), said.String())
			unsound := 0
			if stop < from+badSteps {
				unsound = max(0, stop-from+1)
			}
			require.Equal(t, unsound, checkpointOf(t, out, "unsound_steps"))
			args = []string{"pretrain", "--out", out, "--resume", "--threads", "1", "--report=false"}
		}
		diverging(t, from, func(int) {})
		code, _, stderr = command(t, args...)
		require.Zero(t, code, stderr)
		require.True(t, string(want) == string(file(t, out, checkpointFile)), "stopped at %v", stops)
	}
}

// checkpointOf is a number in the metadata of a run's checkpoint; 0: it is not there.
func checkpointOf(t *testing.T, out, key string) (n int) {
	t.Helper()
	f, err := safetensors.Open(filepath.Join(out, checkpointFile))
	require.NoError(t, err)
	if text, ok := f.Metadata[key]; ok {
		_, err = fmt.Sscan(text, &n)
		require.NoError(t, err)
	}
	return n
}

// What a resumed run finds instead of its rollback point: nothing, one of a later step, one that is damaged.
func TestRollbackIsMissing(t *testing.T) {
	pictures := drawn(t, 4)
	first := filepath.Join(t.TempDir(), "run")
	stopAt := func(step int, args ...string) string {
		ctx, cancel := context.WithCancelCause(context.Background())
		diverging(t, rollbackSteps, func(s int) {
			if s == step {
				cancel(cli.ErrInterrupted)
			}
		})
		var said strings.Builder
		run(ctx, args, strings.NewReader(""), io.Discard, &said)
		return said.String()
	}
	stopAt(rollbackLeast+10, diverged(pictures, first)...)
	point := filepath.Join(first, rollbackFile)
	good := file(t, point)
	resume := func(change func(path string), from int) string {
		out := t.TempDir()
		require.NoError(t, os.CopyFS(out, os.DirFS(first)))
		change(filepath.Join(out, rollbackFile))
		diverging(t, from, func(int) {})
		code, _, stderr := command(t, "pretrain", "--out", out, "--resume", "--threads", "1", "--report=false")
		require.Zero(t, code, stderr)
		return stderr
	}
	require.Contains(t, resume(func(string) {}, rollbackLeast+12), fmt.Sprintf("Going back to step %d,", rollbackLeast))
	missing := resume(func(path string) { require.NoError(t, os.Remove(path)) }, rollbackLeast+12)
	require.Contains(t, missing, fmt.Sprintf("Going back to step %d,", rollbackLeast+10), "where it was resumed")
	damaged := resume(func(path string) {
		b := append([]byte(nil), good...)
		b[len(b)-100] ^= 1
		require.NoError(t, os.WriteFile(path, b, 0o644))
	}, rollbackLeast+12)
	require.Contains(t, damaged, "is damaged")
	require.Contains(t, damaged, fmt.Sprintf("Going back to step %d,", rollbackLeast+10), "the newest checkpoint")

	require.Equal(t, rollbackLeast, rollbackEvery(1))
	require.Equal(t, rollbackLeast, rollbackEvery(rollbackParts*rollbackLeast))
	require.Equal(t, 12346, rollbackEvery(123456))
}
