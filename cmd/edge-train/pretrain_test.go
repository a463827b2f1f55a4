package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cli"
	"edgejepa/quant"
	"edgejepa/vit"
)

func storedRun(t *testing.T, out string) runConfig {
	t.Helper()
	rc, err := readRunConfig(out)
	require.NoError(t, err)
	return rc
}

// --init-from starts both encoders at the given model's context encoder. The least learning rate leaves them there.
func TestInitFrom(t *testing.T) {
	pictures := drawn(t, 4)
	first := trained(t, pictures, "--lr", "0.01")
	want := loaded(t, first, vit.ContextPrefix)
	distance := func(out, prefix string) (far float64) {
		for i, v := range loaded(t, out, prefix).Params.Value {
			far = max(far, math.Abs(float64(v)-float64(want.Params.Value[i])))
		}
		return far
	}
	out := trained(t, pictures, "--lr", "1e-8", "--seed", "5", "--init-from", first)
	require.Less(t, distance(out, vit.ContextPrefix), 1e-6)
	require.Less(t, distance(out, vit.TargetPrefix), 1e-6)
	require.Equal(t, quant.FloatID(want, nil), storedRun(t, out).InitFrom)
	fresh := trained(t, pictures, "--lr", "1e-8", "--seed", "5")
	require.Greater(t, distance(fresh, vit.ContextPrefix), 1e-2, "the check must see random weights")
	require.Empty(t, storedRun(t, fresh).InitFrom)

	// What does not fit is refused before anything is touched.
	other := filepath.Join(t.TempDir(), "run")
	code, _, stderr := command(t, micro(pictures, other, "--image-size", "32", "--init-from", first)...)
	require.Equal(t, cli.ExitUsage, code)
	require.Contains(t, stderr, "--init-from")
	require.Contains(t, stderr, `"image_size":24`)
	require.NoDirExists(t, other)
	code, _, stderr = command(t, micro(pictures, other, "--init-from", filepath.Join(first, "nothing"))...)
	require.Equal(t, cli.ExitUsage, code, stderr)
	require.NoDirExists(t, other)
}

// --config sets what the command line leaves open.
func TestConfigFile(t *testing.T) {
	pictures, dir := drawn(t, 4), t.TempDir()
	yaml := filepath.Join(dir, "settings.yaml")
	write := func(text string) { require.NoError(t, os.WriteFile(yaml, []byte(text), 0o644)) }
	write("seed: 12\nlr: 0.005\nbatch: 4\nmax-steps: 2\nema: [0.9, 0.95]\nflip: false\npredictor: mlp\npreset: micro\n")
	out := filepath.Join(dir, "run")
	code, _, stderr := command(t, "pretrain", pictures, "--out", out, "--config", yaml, "--batch", "8")
	require.Zero(t, code, stderr)
	c := storedRun(t, out).Run
	require.Equal(t, "micro", c.Preset)
	require.EqualValues(t, 12, c.Seed)
	require.Equal(t, 0.005, c.LR)
	require.Equal(t, 2, c.Steps)
	require.Equal(t, [2]float64{0.9, 0.95}, c.EMA)
	require.False(t, c.Flip)
	require.Equal(t, "mlp", c.Predictor)
	require.Equal(t, 8, c.Batch, "the command line wins")

	for text, says := range map[string]string{
		"seed: 1\nbtch: 4\n":      `settings.yaml:2: unknown key "btch"; did you mean batch?`,
		"batch: four\n":           "settings.yaml:1: batch",
		"batch: 4\nbatch: 5\n":    "settings.yaml:2: batch was set in line 1 already",
		"lr: 2\n":                 "lr is 2",
		"config: other.yaml\n":    `unknown key "config"`,
		"max-steps: 1\nepochs: 1": "contradict",
	} {
		write(text)
		other := filepath.Join(dir, "other")
		code, _, stderr = command(t, "pretrain", pictures, "--out", other, "--preset", "micro", "--config", yaml)
		require.Equal(t, cli.ExitUsage, code, text)
		require.Contains(t, stderr, says)
		require.NoDirExists(t, other)
	}
	code, _, stderr = command(t, micro(pictures, filepath.Join(dir, "other"), "--config", filepath.Join(dir, "absent.yaml"))...)
	require.Equal(t, cli.ExitUsage, code)
	require.Contains(t, stderr, "absent.yaml")
}

// loggedSteps are those of metrics.jsonl, which must rise from line to line.
func loggedSteps(t *testing.T, out string) []int {
	t.Helper()
	var steps []int
	s := bufio.NewScanner(bytes.NewReader(file(t, out, metricsFile)))
	for s.Scan() {
		var m struct{ Step *int }
		require.NoError(t, json.Unmarshal(s.Bytes(), &m), s.Text())
		require.NotNil(t, m.Step, s.Text())
		if n := len(steps); n > 0 {
			require.Greater(t, *m.Step, steps[n-1], "metrics.jsonl: a step twice, or out of order")
		}
		steps = append(steps, *m.Step)
	}
	return steps
}

// addLines appends to a run's log what a crash between a line and the next checkpoint leaves there.
func addLines(t *testing.T, out, text string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(out, metricsFile), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(text)
	require.NoError(t, errors.Join(err, f.Close()))
}

// Ctrl-C ends a run with 130 and everything saved. A resumed run logs no step twice, whatever the log had before.
func TestInterruptAndResume(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent an interrupt here")
	}
	pictures := drawn(t, 4)
	out := filepath.Join(t.TempDir(), "run")
	const steps = 400
	args := []string{"pretrain", pictures, "--out", out, "--preset", "micro", "--batch", "8", "--max-steps", "400", "--threads", "1",
		"--eval", pictures, "--eval-every", "100"}
	c := child(t, append(args, "--checkpoint-every", "1ms")...) // a checkpoint a step: slow enough to be caught
	var said bytes.Buffer
	c.Stderr = &said
	err := c.Start()
	if errors.Is(err, syscall.ENOEXEC) {
		t.Skip(err) // under an emulator that the kernel does not know of
	}
	require.NoError(t, err)
	seen := func() bool {
		b, _ := os.ReadFile(filepath.Join(out, metricsFile))
		return strings.Contains(string(b), `"step":1,`)
	}
	require.Eventually(t, seen, time.Minute, time.Millisecond)
	require.NoError(t, c.Process.Signal(os.Interrupt))
	require.Error(t, c.Wait())
	require.Equal(t, cli.ExitInterrupted, c.ProcessState.ExitCode(), said.String())
	require.Contains(t, said.String(), "--resume goes on exactly here")
	require.Contains(t, said.String(), "edge-train: interrupted")
	for _, prefix := range []string{vit.ContextPrefix, vit.TargetPrefix} {
		loaded(t, out, prefix)
	}
	before := loggedSteps(t, out)
	require.Equal(t, []int{0, 1}, before[:2])

	addLines(t, out, `{"step":398,"loss":1}`+"\n"+`{"step":399,"loss":1}`+"\n"+`{"step":4`)
	code, _, stderr := command(t, append(args, "--resume")...)
	require.Zero(t, code, stderr)
	require.Contains(t, stderr, "resumed at step")
	after := loggedSteps(t, out)
	require.Equal(t, before, after[:len(before)])
	require.Equal(t, steps, after[len(after)-1])
	require.NotContains(t, after, 399)

	// Going on with a run that is done changes nothing.
	code, _, stderr = command(t, append(args, "--resume")...)
	require.Zero(t, code, stderr)
	require.Equal(t, after, loggedSteps(t, out))
}

// A run that was cut off before its first checkpoint starts again, and so does its log.
func TestResumeWithoutCheckpoint(t *testing.T) {
	pictures := drawn(t, 4)
	out := trained(t, pictures, "--eval", pictures)
	want := file(t, out, checkpointFile)
	steps := loggedSteps(t, out)
	require.Equal(t, []int{0, 1, 2, 3}, steps)
	for _, name := range []string{checkpointFile, checkpointFile + ".prev", encoderFile} {
		if err := os.Remove(filepath.Join(out, name)); !errors.Is(err, os.ErrNotExist) {
			require.NoError(t, err)
		}
	}
	code, _, stderr := command(t, micro(pictures, out, "--max-steps", "3", "--eval", pictures, "--resume")...)
	require.Zero(t, code, stderr)
	require.Contains(t, stderr, "no checkpoint yet")
	require.Equal(t, steps, loggedSteps(t, out))
	require.Equal(t, want, file(t, out, checkpointFile))
}

func TestWarnOfCollapse(t *testing.T) {
	var said bytes.Buffer
	run := &training{progress: cli.NewProgress(&said, "step", cli.LogText, true)}
	warned := func(step int, rankme, std float64) bool {
		said.Reset()
		run.warnOfCollapse(metrics{Step: step, RankMe: number(rankme), FeatureStd: number(std)})
		return strings.Contains(said.String(), "COLLAPSE")
	}
	require.False(t, warned(49, 1, 0), "too early: untrained features are alike")
	require.False(t, warned(50, 1.5, 1e-3), "at the limits")
	require.True(t, warned(50, 1.4, 0.1))
	require.Contains(t, said.String(), "step 50")
	require.Contains(t, said.String(), "RankMe 1.40")
	require.Contains(t, said.String(), "--variance-weight")
	require.False(t, warned(60, 1.4, 0.1), "said once")
	require.False(t, warned(70, 9, 0.1))
	require.True(t, warned(80, 9, 9e-4), "again after it had been well")
}

// Pictures without a difference cannot but collapse; the drawn ones do not. The target encoder stands still, since the
// monitor's ring of batches has its drift in it as well.
func TestCollapsedRunWarns(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for long under an emulator; the full run has it")
	}
	grey := t.TempDir()
	img := image.NewGray(image.Rect(0, 0, 32, 32))
	for i := range img.Pix {
		img.Pix[i] = 128
	}
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, img))
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		require.NoError(t, os.WriteFile(filepath.Join(grey, name+".png"), b.Bytes(), 0o644))
	}
	for pictures, warnings := range map[string]int{grey: 1, drawn(t, 4): 0} {
		out := filepath.Join(t.TempDir(), "run")
		code, _, stderr := command(t, micro(pictures, out, "--max-steps", "60", "--ema", "1")...)
		require.Zero(t, code, stderr)
		require.Equal(t, warnings, strings.Count(stderr, "COLLAPSE"), stderr)
		var last struct {
			FeatureStd *float64 `json:"feature_std"`
		}
		lines := strings.Split(strings.TrimSpace(string(file(t, out, metricsFile))), "\n")
		require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &last))
		require.NotNil(t, last.FeatureStd)
		require.Equal(t, warnings == 1, *last.FeatureStd < 1e-3)
	}
}

// A run keeps its precision: it is in config.json and in the checkpoint, --resume takes it from there, and what comes out
// serves like any other model.
func TestPrecision(t *testing.T) {
	pictures, dir := drawn(t, 6), t.TempDir()
	for _, precision := range []string{"f16", "int8"} {
		whole, parts := filepath.Join(dir, precision), filepath.Join(dir, precision+" in parts")
		code, _, stderr := command(t, micro(pictures, whole, "--precision", precision)...)
		require.Zero(t, code, stderr)
		require.Contains(t, stderr, "micro in "+precision)
		require.Equal(t, precision, storedRun(t, whole).Run.Precision.String())

		again := micro(pictures, parts, "--precision", precision)
		code, _, stderr = command(t, append(again, "--max-time", "1ms")...)
		require.Zero(t, code, stderr)
		code, _, stderr = command(t, "pretrain", "--out", parts, "--resume")
		require.Zero(t, code, stderr)
		require.Contains(t, stderr, "resumed at step")
		require.True(t, string(file(t, whole, checkpointFile)) == string(file(t, parts, checkpointFile)), "%s: a resumed run ends in other bytes", precision)

		code, stdout, stderr := command(t, "probe", "--model", whole, "--data", pictures, "--json")
		require.Zero(t, code, stderr)
		require.Contains(t, stdout, `"linear"`)
		code, _, stderr = command(t, "export", "--model", whole, "--encoder", "target", "--format", "f32", "--out", filepath.Join(dir, precision+".safetensors"))
		require.Zero(t, code, stderr)
	}
}
