package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"edgejepa/jepa/tune"
	"edgejepa/quant"
	"edgejepa/vit"
	"edgejepa/vit/heads"
)

// pretrained is a run of some steps on drawn pictures.
func pretrained(t *testing.T, pictures string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "run")
	code, _, err := command(t, "pretrain", pictures, "--out", out, "--preset", "micro", "--batch", "8", "--max-steps", "4", "--report=false", "-q")
	require.Zero(t, code, err)
	return out
}

func figuresOf(t *testing.T, dir string) (f tune.Figures) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, figuresFile))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &f))
	return f
}

// A classifier on a frozen encoder: what it says of itself is in its folder, and its file has encoder and head.
func TestTuneClassify(t *testing.T) {
	pictures := drawn(t, 12)
	run := pretrained(t, pictures)
	out := filepath.Join(t.TempDir(), "head")
	code, stdout, stderr := command(t, "tune", "-t", "classify", "-m", run, "-d", pictures, "-o", out, "--val", pictures, "--epochs", "20", "--batch", "16", "--lr", "0.01")
	require.Zero(t, code, stderr)
	require.Empty(t, stdout)
	require.Contains(t, stderr, "only the head learns")
	f := figuresOf(t, out)
	require.Greater(t, f.Top1, 25.0, "%+v", f)
	require.NotZero(t, f.Temperature)
	require.Contains(t, stderr, "top-1")
	page, err := os.ReadFile(filepath.Join(out, reportFile))
	require.NoError(t, err)
	require.Contains(t, string(page), `class="confusion"`)
	require.Contains(t, string(page), "finished")
	m, err := quant.OpenModel(filepath.Join(out, tunedFile), vit.ContextPrefix)
	require.NoError(t, err)
	require.Equal(t, heads.Linear, m.Head().Config.Kind)
	require.Equal(t, f.Temperature, m.Head().Config.Temperature)
	require.Equal(t, len(f.Classes), len(m.Head().Config.Classes))

	code, _, stderr = command(t, "tune", "-t", "classify", "-m", run, "-d", pictures, "-o", out)
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "--force")

	// A part without some of the classes, and one whose pictures are learnt from, is named before anything is learned.
	part := t.TempDir()
	for _, c := range f.Classes[:2] {
		require.NoError(t, os.CopyFS(filepath.Join(part, c.Name), os.DirFS(filepath.Join(pictures, c.Name))))
	}
	code, _, stderr = command(t, "tune", "-t", "classify", "-m", run, "-d", pictures, "--val", part, "-o", out+"2", "--dry-run")
	require.Zero(t, code, stderr)
	require.Contains(t, stderr, `the pictures to judge on: no picture of class "`+f.Classes[2].Name+`"; it is not judged`)
	require.Contains(t, stderr, "is also in the pictures to learn from, as ")
}

// A tuning that is interrupted goes on with --out alone and ends in the same bytes.
func TestTuneResumes(t *testing.T) {
	pictures := drawn(t, 8)
	run := pretrained(t, pictures)
	args := func(out string) []string {
		return []string{"tune", "-t", "classify", "-m", run, "-d", pictures, "-o", out, "--freeze", "none", "--max-steps", "40", "--batch", "8", "-q"}
	}
	whole, cut := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "cut")
	code, _, stderr := command(t, args(whole)...)
	require.Zero(t, code, stderr)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { // when it has begun
		for ctx.Err() == nil {
			if b, err := os.ReadFile(filepath.Join(cut, metricsFile)); err == nil && len(b) > 0 {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	var errs strings.Builder
	code = run0(ctx, args(cut), &errs)
	cancel()
	require.NotZero(t, code, "it was to be interrupted")
	require.NoFileExists(t, filepath.Join(cut, tunedFile))
	code, _, stderr = command(t, "tune", "-o", cut, "--resume", "--lr", "0.5")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "leave --lr out")
	other := filepath.Join(t.TempDir(), "others")
	require.NoError(t, os.CopyFS(other, os.DirFS(pictures)))
	code, _, stderr = command(t, "tune", "-o", cut, "--resume", "-d", other)
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "--data is "+other)
	code, _, stderr = command(t, append(args(cut), "--resume=auto", "--quiet=false")...) // as a service begins it and goes on
	require.Zero(t, code, stderr)
	require.Contains(t, stderr, "resumed at step")
	for _, name := range []string{tunedFile, checkpointFile} {
		a, err := os.ReadFile(filepath.Join(whole, name))
		require.NoError(t, err)
		b, err := os.ReadFile(filepath.Join(cut, name))
		require.NoError(t, err)
		require.Equal(t, len(a), len(b))
		require.True(t, string(a) == string(b), name)
	}
}

// Pictures that cannot be read are named once, and the run says so at its end. If there are no others it fails.
func TestTunePassesOverPictures(t *testing.T) {
	pictures := drawn(t, 6)
	run := pretrained(t, pictures)
	all, err := filepath.Glob(filepath.Join(pictures, "*", "*"))
	require.NoError(t, err)
	damage := func(path string) {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, b[:len(b)/2], 0o644))
	}
	damage(all[1])
	out := filepath.Join(t.TempDir(), "head")
	tuned := func(freeze string) (int, string) {
		code, _, stderr := command(t, "tune", "-t", "classify", "-m", run, "-d", pictures, "--val", pictures, "-o", out, "--freeze", freeze, "--epochs", "3", "--force")
		return code, stderr
	}
	for _, freeze := range []string{"encoder", "none"} {
		code, stderr := tuned(freeze)
		require.Equal(t, 3, code, stderr)
		require.Equal(t, 2, strings.Count(stderr, "skipping "+all[1]), "one of those to learn from, one of those to judge on: %s", stderr)
		require.Equal(t, len(all)-1, figuresOf(t, out).Pictures)
	}
	for _, path := range all {
		damage(path)
	}
	code, stderr := tuned("none")
	require.Equal(t, 1, code, stderr)
	require.Contains(t, stderr, "can be read")
}

// run0 is the program under a context.
func run0(ctx context.Context, args []string, stderr *strings.Builder) int {
	return run(ctx, args, strings.NewReader(""), stderr, stderr)
}

// What cannot be done is refused before anything is written, and says what to do.
func TestTuneUsage(t *testing.T) {
	pictures := drawn(t, 4)
	run := pretrained(t, pictures)
	for want, args := range map[string][]string{
		"needs --out":         {"-t", "classify"},
		"needs --task":        {"-o", "x"},
		"it must be classify": {"-t", "sing"},
		"N-last-blocks":       {"-t", "classify", "--freeze", "some"},
		"from 1 to 2":         {"-t", "classify", "--freeze", "3-last-blocks"},
		"width and height":    {"-t", "classify", "--size", "big"},
		"patch_size":          {"-t", "classify", "--size", "33x33"},
		"linear, mlp":         {"-t", "classify", "--head", "huge"},
		"none or balanced":    {"-t", "classify", "--class-weights", "some"},
		"no boxes found":      {"-t", "detect"},
		"nothing to go on":    {"-t", "classify", "--resume"},
		"lr is":               {"-t", "classify", "--lr", "-1"},
		"choose one":          {"-t", "classify", "--epochs", "2", "--max-time", "1m"},
		"--jitter is about":   {"-t", "classify", "--jitter", "0.2"},
	} {
		out := filepath.Join(t.TempDir(), "head")
		all := append([]string{"tune"}, args...)
		if want != "needs --out" {
			all = append(all, "-o", out)
		}
		if want != "needs --task" {
			all = append(all, "-m", run, "-d", pictures)
		}
		code, _, stderr := command(t, all...)
		require.Equal(t, 2, code, "%s: %s", want, stderr)
		require.Contains(t, stderr, want)
		require.NoDirExists(t, out, want)
	}
}

// Masks and boxes as people keep them teach heads that say where; what is wrong with labels is named, and is no end.
func TestTuneDense(t *testing.T) {
	run := pretrained(t, drawn(t, 2))
	for task, data := range map[heads.Task]string{heads.Segment: "../../jepa/labels/testdata/nuclei", heads.Detect: "../../jepa/labels/testdata/bccd"} {
		out := filepath.Join(t.TempDir(), "head")
		code, _, stderr := command(t, "tune", "-t", string(task), "-m", run, "-d", data, "--val", data, "-o", out, "--freeze", "1-last-blocks", "--size", "64x48", "--max-steps", "2", "--batch", "2")
		if task == heads.Detect { // one of its objects is empty
			require.Equal(t, 3, code, stderr)
			require.Contains(t, stderr, "BloodImage_00338.xml:157")
		} else {
			require.Zero(t, code, stderr)
		}
		require.Contains(t, stderr, "the last 1 of 2 blocks learn")
		require.Contains(t, stderr, "input 64x48, 192 tokens")
		f := figuresOf(t, out)
		require.Equal(t, task, f.Task)
		require.Positive(t, f.Pictures)
		m, err := quant.OpenModel(filepath.Join(out, tunedFile), vit.ContextPrefix)
		require.NoError(t, err)
		require.Equal(t, 64, m.Config().Width())
		require.Equal(t, task, m.Head().Config.Task)
	}
	// Sizes that nobody chose suit the pictures: a multiple of the patch, and their aspect.
	out := filepath.Join(t.TempDir(), "head")
	code, _, stderr := command(t, "tune", "-t", "detect", "-m", run, "-d", "../../jepa/labels/testdata/bccd", "--split", "train", "--val-split", "val", "-o", out, "--dry-run")
	require.Zero(t, code, stderr)
	require.Contains(t, stderr, "input 56x40")
	require.NoDirExists(t, out)
}

// What evaluate says of a tuned model is what tune said, and of its int8 export nearly that.
func TestEvaluate(t *testing.T) {
	run := pretrained(t, drawn(t, 2))
	pictures, out := drawn(t, 8), filepath.Join(t.TempDir(), "head")
	code, _, stderr := command(t, "tune", "-t", "classify", "-m", run, "-d", pictures, "-o", out, "--val", pictures, "--freeze", "none", "--max-steps", "20", "-q")
	require.Zero(t, code, stderr)
	judged := func(model string, args ...string) (f tune.Figures) {
		code, stdout, stderr := command(t, append([]string{"evaluate", "-m", model, "-d", pictures, "-q", "--json"}, args...)...)
		require.Zero(t, code, stderr)
		require.NoError(t, json.Unmarshal([]byte(stdout), &f))
		return f
	}
	said, f := figuresOf(t, out), judged(out)
	require.Equal(t, said.Confusion, f.Confusion)
	require.InDelta(t, said.NLL, f.NLL, 1e-6)
	exported := filepath.Join(t.TempDir(), "m.safetensors")
	code, _, stderr = command(t, "export", "-m", out, "-o", exported, "--calibrate", pictures, "-q")
	require.Zero(t, code, stderr)
	require.InDelta(t, f.Top1, judged(exported).Top1, 5)
	require.InDelta(t, f.NLL, judged(exported, "--threads", "1").NLL, 0.1)

	code, stdout, stderr := command(t, "evaluate", "-m", out, "-d", pictures)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "top-1")
	require.Contains(t, stdout, f.Classes[0].Name)
	require.Contains(t, stdout, "at temperature")
	row := f.Classes[0].Name
	for _, n := range f.Confusion[0] {
		row += fmt.Sprintf(" +%d", n)
	}
	_, matrix, _ := strings.Cut(stdout, "was taken for:")
	require.Regexp(t, "(?m)^"+row+"$", matrix)
	code, _, stderr = command(t, "evaluate", "-m", run, "-d", pictures)
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "without a head")
	code, _, stderr = command(t, "evaluate", "-m", out, "-d", "../../jepa/labels/testdata/bccd/Annotations")
	require.Equal(t, 2, code)
	require.NotEmpty(t, stderr)

	data := "../../jepa/labels/testdata/nuclei"
	seg := filepath.Join(t.TempDir(), "seg")
	code, _, stderr = command(t, "tune", "-t", "segment", "-m", run, "-d", data, "--val", data, "-o", seg, "--size", "64x48", "--max-steps", "2", "-q")
	require.Zero(t, code, stderr)
	code, stdout, stderr = command(t, "evaluate", "-m", seg, "-d", data, "--json", "-q")
	require.Zero(t, code, stderr)
	require.NoError(t, json.Unmarshal([]byte(stdout), &f))
	require.InDelta(t, figuresOf(t, seg).Dice, f.Dice, 1, "pictures four times as large as the input are scaled in two steps in training")
}
