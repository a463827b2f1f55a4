package main

import (
	"bytes"
	"image"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cli"
	"edgejepa/internal/durable"
	"edgejepa/internal/parallel"
	"edgejepa/internal/safetensors"
	"edgejepa/jepa"
	"edgejepa/jepa/report"
	"edgejepa/vit"
)

// A run whose gradient is not sound goes back three times, each time at half the rate, and then gives up with the last
// checkpoint in place. Going on from there is exact.
func TestDivergence(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for long under an emulator; the full run has it")
	}
	judged := sound
	defer func() { sound = judged }()
	pictures, out := drawn(t, 4), filepath.Join(t.TempDir(), "run")
	args := micro(pictures, out, "--max-steps", "60", "--lr", "0.004")
	sound = func(jepa.Stats, float64) bool { return false }
	code, _, stderr := command(t, args...)
	require.Equal(t, cli.ExitFailed, code, stderr)
	require.Equal(t, 3, strings.Count(stderr, "DIVERGENCE"), stderr)
	require.Contains(t, stderr, "Going back to step 0, and on with 1/8 of the learning rate")
	require.Contains(t, stderr, "lower --lr (it was 0.004)")
	require.Contains(t, stderr, "the last checkpoint is kept")
	require.NoFileExists(t, filepath.Join(out, encoderFile))
	require.Contains(t, string(file(t, out, reportFile)), ">stopped<")

	sound = judged
	whole := t.TempDir()
	require.NoError(t, os.CopyFS(whole, os.DirFS(out)))
	code, _, stderr = command(t, "pretrain", "--out", whole, "--resume", "--threads", "2")
	require.Zero(t, code, stderr)
	for i := 0; i < 200; i++ { // a step at a time
		code, _, stderr = command(t, "pretrain", "--out", out, "--resume", "--threads", "1", "--max-time", "1ns", "--report=false")
		require.Zero(t, code, stderr)
		if strings.Contains(stderr, "done:") || i == 2 {
			break
		}
	}
	code, _, stderr = command(t, "pretrain", "--out", out, "--resume", "--threads", "2")
	require.Zero(t, code, stderr)
	require.True(t, string(file(t, out, checkpointFile)) == string(file(t, whole, checkpointFile)), "the halved rate is part of the state")
	lines, err := report.ReadMetrics(filepath.Join(whole, metricsFile))
	require.NoError(t, err)
	require.Equal(t, 3, lines[0].RollBacks)
	fresh := trained(t, pictures, "--max-steps", "60", "--lr", "0.004")
	usual, err := report.ReadMetrics(filepath.Join(fresh, metricsFile))
	require.NoError(t, err)
	require.Equal(t, 1, lines[0].Step)
	require.Equal(t, 1, usual[0].Step)
	require.InEpsilon(t, usual[0].LR/8, lines[0].LR, 1e-12)
	require.Contains(t, string(file(t, whole, reportFile)), "diverged 3 times")
}

func TestWatch(t *testing.T) {
	var said bytes.Buffer
	run := &training{progress: cli.NewProgress(&said, "step", cli.LogText, true), trainer: &jepa.Trainer{}}
	run.config.Run.Clip = 1
	bad := jepa.Stats{Skipped: true, GradNorm: math.NaN()}
	wild := jepa.Stats{GradNorm: 2 * soundNorm}
	good := jepa.Stats{GradNorm: 2}
	for range badSteps - 1 {
		require.NoError(t, run.watch(bad))
	}
	require.Equal(t, 1, strings.Count(said.String(), "passed over"), "said once")
	require.NoError(t, run.watch(good))
	for range badSteps - 1 {
		require.NoError(t, run.watch(wild))
	}
	require.ErrorIs(t, run.watch(bad), errDiverged)
	run.config.Run.Clip = 10
	for range 2 * badSteps {
		require.NoError(t, run.watch(jepa.Stats{GradNorm: 5 * soundNorm}), "within what is clipped to")
		run.trainer.Unsound = 0
	}
}

// --stop-on-collapse ends a run with an error and everything saved.
func TestStopOnCollapse(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for long under an emulator; the full run has it")
	}
	grey := t.TempDir()
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, image.NewGray(image.Rect(0, 0, 32, 32))))
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		require.NoError(t, os.WriteFile(filepath.Join(grey, name+".png"), b.Bytes(), 0o644))
	}
	out := filepath.Join(t.TempDir(), "run")
	code, _, stderr := command(t, micro(grey, out, "--max-steps", "60", "--ema", "1", "--stop-on-collapse")...)
	require.Equal(t, cli.ExitFailed, code, stderr)
	require.Contains(t, stderr, "--stop-on-collapse")
	require.FileExists(t, filepath.Join(out, checkpointFile))
	require.FileExists(t, filepath.Join(out, encoderFile))
	require.Contains(t, string(file(t, out, reportFile)), "Collapse")
}

// The best encoders are kept by k-NN where there are labels, by RankMe where there are none; probe, export and report take
// them.
func TestBest(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for long under an emulator; the full run has it")
	}
	pictures := drawn(t, 6)
	for by, more := range map[string][]string{"knn": {"--eval", pictures, "--eval-every", "5"}, "rankme": nil} {
		out := trained(t, pictures, append([]string{"--max-steps", "20"}, more...)...)
		lines, err := report.ReadMetrics(filepath.Join(out, metricsFile))
		require.NoError(t, err)
		kept, most := -1, math.Inf(-1)
		for i, l := range lines {
			if l.Best == "" {
				continue
			}
			require.Equal(t, by, l.Best)
			kept = i
			if by == "knn" {
				require.Greater(t, l.KNN, most)
				most = l.KNN
			}
		}
		require.GreaterOrEqual(t, kept, 0)
		require.Greater(t, lines[kept].Step, 2, "after the warm-up")
		for _, l := range lines {
			require.False(t, by == "knn" && l.Step > 0 && l.KNN > most, "nothing better was passed over")
		}
		f, err := openModel(filepath.Join(out, bestFile))
		require.NoError(t, err)
		_, _, err = loadEncoders(f)
		require.NoError(t, err)
		if lines[kept].Step == 20 {
			want := loaded(t, out, vit.ContextPrefix)
			got, err := vit.LoadEncoder(f, vit.ContextPrefix)
			require.NoError(t, err)
			require.Equal(t, want.Params.Value, got.Params.Value)
		}
		code, _, stderr := command(t, "probe", "--model", out, "--which", "best", "--data", pictures, "--json")
		require.Zero(t, code, stderr)
		code, _, stderr = command(t, "export", "--model", out, "--which", "best", "--format", "f32", "--out", filepath.Join(t.TempDir(), "m.safetensors"))
		require.Zero(t, code, stderr)
		code, _, stderr = command(t, "report", "--run", out, "--which", "best", "--out", filepath.Join(t.TempDir(), "r.html"))
		require.Zero(t, code, stderr)

		require.NoError(t, os.Remove(filepath.Join(out, bestFile)))
		code, _, stderr = command(t, "probe", "--model", out, "--which", "best", "--data", pictures)
		require.Equal(t, cli.ExitUsage, code)
		require.Contains(t, stderr, bestFile)
		code, _, stderr = command(t, "probe", "--model", out, "--which", "first", "--data", pictures)
		require.Equal(t, cli.ExitUsage, code)
		require.Contains(t, stderr, "last or best")
	}
}

// A run that goes on with labels or without them compares no k-NN with a RankMe, and knows the score of the encoders that
// are there, whatever is left of the log.
func TestBestOfTwoKinds(t *testing.T) {
	dir := t.TempDir()
	c := microRun(t)
	pool := parallel.New(1)
	defer pool.Close()
	tr, err := jepa.NewTrainer(c, jepa.Plan{}, pool)
	require.NoError(t, err)
	var said bytes.Buffer
	remembered := func(j *judge) float64 {
		said.Reset()
		run := &training{dir: dir, judge: j, progress: cli.NewProgress(&said, "step", cli.LogText, true)}
		require.NoError(t, run.remember())
		return run.best
	}
	keep := func(s jepa.Score) {
		write := func(w io.Writer) error { return tr.WriteScored(w, s) }
		require.NoError(t, durable.WriteFile(filepath.Join(dir, bestFile), 0o644, write))
	}
	require.Equal(t, math.Inf(-1), remembered(nil))
	keep(jepa.Score{Step: 3, Measure: byRankMe, Value: 80.25})
	require.Equal(t, 80.25, remembered(nil))
	require.Equal(t, math.Inf(-1), remembered(&judge{}), "any k-NN will do")
	keep(jepa.Score{Step: 4, Measure: byKNN, Value: 45})
	require.Equal(t, 45.0, remembered(&judge{}))
	require.Equal(t, math.Inf(1), remembered(nil), "no RankMe will")
	require.Empty(t, said.String())

	// Better ones replace them, worse ones and others do not.
	run := &training{dir: dir, trainer: tr, judge: &judge{}, best: 45, config: runConfig{Run: c}}
	for _, knn := range []float64{44, 45, 46} {
		m := metrics{Step: int(knn), judgement: &judgement{KNN: knn}}
		require.NoError(t, run.keepBest(&m))
		require.Equal(t, knn > 45, m.Best == byKNN)
	}
	s, ok, err := readScore(filepath.Join(dir, bestFile))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, jepa.Score{Step: 46, Measure: byKNN, Value: 46}, s)
	run = &training{dir: dir, trainer: tr, best: remembered(nil), config: runConfig{Run: c}}
	m := metrics{Step: c.Warmup + 1, RankMe: 1e9}
	require.NoError(t, run.keepBest(&m))
	require.Empty(t, m.Best)

	require.NoError(t, os.WriteFile(filepath.Join(dir, bestFile), []byte("no such file"), 0o644))
	require.Equal(t, math.Inf(-1), remembered(nil), "damaged: any will do")
	require.Contains(t, said.String(), bestFile)
}

func microRun(t *testing.T) jepa.Config {
	t.Helper()
	p, err := vit.PresetNamed("micro")
	require.NoError(t, err)
	c := jepa.Default(p, 0, 0)
	c.Batch = 4
	c.SetSteps(20)
	return c
}

// A run that lost the log's newest lines to a crash does not take worse encoders for the best.
func TestBestOutlivesTheLog(t *testing.T) {
	pictures := drawn(t, 6)
	out := trained(t, pictures, "--max-steps", "20", "--eval", pictures, "--eval-every", "5")
	f, err := safetensors.Open(filepath.Join(out, bestFile))
	require.NoError(t, err)
	s, ok, err := jepa.ReadScore(f)
	require.NoError(t, err)
	require.True(t, ok)
	lines, err := report.ReadMetrics(filepath.Join(out, metricsFile))
	require.NoError(t, err)
	most := math.Inf(-1)
	for _, l := range lines {
		if l.Step > 0 && l.KNN > most {
			most = l.KNN
		}
	}
	require.Equal(t, most, s.Value)
	require.NoError(t, os.Remove(filepath.Join(out, checkpointFile)))
	require.NoFileExists(t, filepath.Join(out, durable.PrevName(checkpointFile)))
	want := file(t, out, bestFile)
	code, _, stderr := command(t, "pretrain", "--out", out, "--resume", "--eval", pictures, "--eval-every", "7")
	require.Zero(t, code, stderr)
	require.Contains(t, stderr, "no checkpoint yet")
	after, err := report.ReadMetrics(filepath.Join(out, metricsFile))
	require.NoError(t, err)
	for _, l := range after {
		if l.Best != "" {
			require.Greater(t, l.KNN, s.Value, "at step %d", l.Step)
			want = nil
		}
	}
	if want != nil {
		require.True(t, string(want) == string(file(t, out, bestFile)))
	}
}
