package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"edgejepa/cmd/edge-train/demoset"
	"edgejepa/internal/cli"
	"edgejepa/internal/cpu"
)

// TestMain makes the test binary the program itself when a test starts it as a child, to be killed.
func TestMain(m *testing.M) {
	if os.Getenv("EDGE_TRAIN_CHILD") != "" {
		code := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
		reportPeak()
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// command runs the program in this process.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(context.Background(), args, strings.NewReader(""), &out, &err)
	return code, out.String(), err.String()
}

// drawn is a folder of a few drawn pictures.
func drawn(t *testing.T, perClass int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pictures")
	require.NoError(t, demoset.Write(dir, demoset.Options{PerClass: perClass, Size: 32, Seed: 1}))
	return dir
}

// micro is the command line of a run of seconds.
func micro(pictures, out string, more ...string) []string {
	return append([]string{"pretrain", pictures, "--out", out, "--preset", "micro", "--batch", "8", "--max-steps", "30", "--threads", "2"}, more...)
}

func file(t *testing.T, parts ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	require.NoError(t, err)
	return b
}

func TestUsage(t *testing.T) {
	pictures := drawn(t, 2)
	out := filepath.Join(t.TempDir(), "run")
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"pretrain"}, "--out"},
		{[]string{"pretrain", "--out", out}, "requires at least 1 arg"},
		{[]string{"pretrain", pictures}, "--out"},
		{[]string{"frobnicate"}, "unknown command"},
		{[]string{"pretrain", pictures, "--out", out, "--preset", "huge"}, "nano, mini, tiny, small, base"},
		{[]string{"pretrain", pictures, "--out", out, "--image-size", "30"}, "divide"},
		{[]string{"pretrain", pictures, "--out", out, "--precision", "f64"}, "choose one of f32, f16, int8"},
		{[]string{"pretrain", pictures, "--out", out, "--memory", "1MiB"}, "--memory"},
		{[]string{"pretrain", pictures, "--out", out, "--epochs", "1", "--max-steps", "2"}, "contradict"},
		{[]string{"pretrain", pictures, "--out", out, "--ema", "1,2,3"}, "--ema"},
		{[]string{"pretrain", pictures, "--out", out, "--lr", "-1"}, "lr"},
		{[]string{"pretrain", pictures, "--out", out, "--resume"}, "no run"},
		{[]string{"pretrain", pictures, "--out", out, "--no-such-flag"}, "unknown flag"},
		{[]string{"probe"}, "--model"},
		{[]string{"probe", "--model", out, "--data", pictures}, "no such file"},
		{[]string{"export", "--model", out}, "--out"},
		{[]string{"export", "--model", out, "--out", "x", "--format", "int4"}, "int8, f16 or f32"},
	} {
		code, stdout, stderr := command(t, c.args...)
		require.Equal(t, cli.ExitUsage, code, "%v: %s", c.args, stderr)
		require.Contains(t, stderr, c.says, "%v", c.args)
		require.Empty(t, stdout)
		require.NoDirExists(t, out, "%v: nothing may be touched", c.args)
	}
}

func TestHelpShowsExamples(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"pretrain", "--help"}, {"probe", "--help"}, {"export", "--help"}, {"demo", "--help"}, {"device", "--help"}, {"licenses", "--help"}} {
		code, stdout, _ := command(t, args...)
		require.Zero(t, code)
		require.Contains(t, stdout, "edge-train", "%v", args)
		if len(args) > 1 {
			require.Contains(t, stdout, "Examples:\n  edge-train "+args[0], "%v", args)
		}
	}
}

// What this test is linked from is what the program is linked from, and testify.
func TestLicensesNameWhatIsLinked(t *testing.T) {
	code, out, _ := command(t, "licenses")
	require.Zero(t, code)
	info, ok := debug.ReadBuildInfo()
	require.True(t, ok)
	require.NotEmpty(t, info.Deps)
	for _, dep := range info.Deps {
		if dep.Path != "github.com/stretchr/testify" {
			require.Regexp(t, `(?m)^`+regexp.QuoteMeta(dep.Path)+` +`+regexp.QuoteMeta(dep.Version)+` `, out, "make generate")
		}
	}
}

func TestDryRunTouchesNothing(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	code, _, stderr := command(t, micro(drawn(t, 4), out, "--dry-run")...)
	require.Zero(t, code, stderr)
	require.Contains(t, stderr, "pictures")
	require.Contains(t, stderr, "memory")
	require.NoDirExists(t, out)
}

func TestPretrainProbeExport(t *testing.T) {
	pictures, dir := drawn(t, 12), t.TempDir()
	out := filepath.Join(dir, "run")
	code, _, stderr := command(t, micro(pictures, out, "--eval", pictures, "--eval-every", "15")...)
	require.Zero(t, code, stderr)
	for _, name := range []string{configFile, metricsFile, checkpointFile, encoderFile} {
		require.FileExists(t, filepath.Join(out, name))
	}
	var last map[string]any
	lines := strings.Split(strings.TrimSpace(string(file(t, out, metricsFile))), "\n")
	for _, l := range lines {
		last = nil
		require.NoError(t, json.Unmarshal([]byte(l), &last), l)
	}
	require.EqualValues(t, 30, last["step"])
	for _, key := range []string{"epoch", "loss", "lr", "weight_decay", "ema", "grad_norm", "images_per_second", "feature_std", "rankme",
		"skipped_steps", "knn", "linear", "knn_random", "linear_random"} {
		require.Contains(t, last, key)
	}

	code, _, stderr = command(t, micro(pictures, out)...)
	require.Equal(t, cli.ExitUsage, code, "a finished run is not overwritten: %s", stderr)

	code, stdout, stderr := command(t, "probe", "--model", out, "--data", pictures, "--json")
	require.Zero(t, code, stderr)
	var r map[string]float64
	require.NoError(t, json.Unmarshal([]byte(stdout), &r))
	for _, key := range []string{"linear", "knn", "linear_random", "knn_random", "rankme", "feature_std", "classes", "train", "test"} {
		require.Contains(t, r, key)
	}

	sizes := map[string]int64{}
	for _, format := range []string{"int8", "f16", "f32"} {
		model := filepath.Join(dir, format+".safetensors")
		code, stdout, stderr = command(t, "export", "--model", out, "--out", model, "--format", format, "--calibrate", pictures, "--report", model+".json")
		require.Zero(t, code, stderr)
		require.Contains(t, stdout, format)
		require.True(t, json.Valid(file(t, model+".json")))
		st, err := os.Stat(model)
		require.NoError(t, err)
		sizes[format] = st.Size()
	}
	require.Less(t, sizes["f16"], sizes["f32"])
	require.Less(t, sizes["int8"], sizes["f16"])
	code, _, stderr = command(t, "export", "--model", out, "--out", filepath.Join(dir, "f32.safetensors"), "--format", "f32")
	require.Equal(t, cli.ExitUsage, code)
	require.Contains(t, stderr, "--force")
}

func TestResumeNamesWhatDiffers(t *testing.T) {
	pictures := drawn(t, 4)
	out := filepath.Join(t.TempDir(), "run")
	code, _, stderr := command(t, micro(pictures, out)...)
	require.Zero(t, code, stderr)
	code, _, stderr = command(t, micro(pictures, out, "--resume", "--lr", "0.002", "--seed", "9")...)
	require.Equal(t, cli.ExitUsage, code)
	require.Contains(t, stderr, "lr was 0.001, now 0.002")
	require.Contains(t, stderr, "seed was 0, now 9")
	code, _, stderr = command(t, micro(pictures, out, "--resume", "--precision", "f16")...)
	require.Equal(t, cli.ExitUsage, code)
	require.Contains(t, stderr, `precision was "f32", now "f16"`)
	other := t.TempDir()
	code, _, stderr = command(t, micro(other, out, "--resume")...)
	require.Equal(t, cli.ExitUsage, code)
	require.Contains(t, stderr, "none of the run's pictures is under "+other)
	code, _, stderr = command(t, micro(pictures, out, "--resume", other)...)
	require.Equal(t, cli.ExitUsage, code)
	require.Contains(t, stderr, "began with 1 folders, now there are 2")

	// Without its list of pictures a run looks at the folder again.
	require.NoError(t, os.Remove(filepath.Join(out, listFile)))
	code, _, stderr = command(t, micro(drawn(t, 5), out, "--resume")...)
	require.Equal(t, cli.ExitUsage, code)
	require.Contains(t, stderr, "pictures were")
	code, _, stderr = command(t, micro(pictures, out, "--resume")...)
	require.Zero(t, code, stderr)
}

func TestUnreadablePicturesArePassedOver(t *testing.T) {
	pictures := drawn(t, 6)
	require.NoError(t, os.WriteFile(filepath.Join(pictures, "broken.jpg"), []byte("\xff\xd8\xff\xe0 no more"), 0o644))
	out := filepath.Join(t.TempDir(), "run")
	code, _, stderr := command(t, micro(pictures, out)...)
	require.Equal(t, cli.ExitSkipped, code, stderr)
	require.Contains(t, stderr, "broken.jpg")
}

// child starts the program as a process of its own.
func child(t *testing.T, args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), "EDGE_TRAIN_CHILD=1")
	return c
}

// One run at a time has a folder: others end at once, name the one that has it, and touch nothing. Its end, however it
// comes, lets the next go on.
func TestTwoRunsInOneFolder(t *testing.T) {
	pictures, out := drawn(t, 4), filepath.Join(t.TempDir(), "run")
	args := micro(pictures, out, "--max-steps", "1000000")
	first := child(t, args...)
	if err := first.Start(); errors.Is(err, syscall.ENOEXEC) {
		t.Skip(err) // under an emulator that the kernel does not know of
	} else {
		require.NoError(t, err)
	}
	defer first.Process.Kill()
	require.Eventually(t, func() bool {
		b, err := os.ReadFile(filepath.Join(out, metricsFile))
		return err == nil && len(b) > 0
	}, time.Minute, 10*time.Millisecond)
	config := file(t, out, configFile)
	for _, more := range []string{"--resume", "--force"} {
		begun := time.Now()
		code, _, stderr := command(t, append(args, more)...)
		require.Equal(t, cli.ExitFailed, code, stderr)
		require.Contains(t, stderr, fmt.Sprintf("is in use by process %d on ", first.Process.Pid))
		require.Less(t, time.Since(begun), 30*time.Second)
		require.Equal(t, config, file(t, out, configFile))
	}
	require.NoError(t, first.Process.Kill())
	require.Error(t, first.Wait())
	code, _, stderr := command(t, append(args, "--resume", "--max-time", "1ms")...)
	require.Zero(t, code, stderr)
}

// Killed again and again at random moments, a run that is resumed ends in the bytes of one left alone. Stopped by
// SIGTERM as well, which must exit with 130.
func TestKilledRunsEndInTheSameBytes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes and takes seconds")
	}
	steps := "1000"
	if cpu.ISA() == "generic" { // a tenth of the speed
		steps = "120"
	}
	pictures, dir := drawn(t, 8), t.TempDir()
	args := func(out string, more ...string) []string {
		return append([]string{"pretrain", pictures, "--out", out, "--preset", "micro", "--batch", "16", "--max-steps", steps, "--threads", "2",
			"--checkpoint-every", "50ms"}, more...)
	}
	whole, broken := filepath.Join(dir, "whole"), filepath.Join(dir, "broken")
	begin := time.Now()
	b, err := child(t, args(whole)...).CombinedOutput()
	require.NoError(t, err, string(b))
	took := time.Since(begin)

	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	kills, terms, ends := 0, 0, 0
	for i := 0; ; i++ {
		more := []string{}
		if _, err := os.Stat(filepath.Join(broken, configFile)); err == nil {
			more = []string{"--resume"}
		}
		c := child(t, args(broken, more...)...)
		var out bytes.Buffer
		c.Stderr = &out
		require.NoError(t, c.Start())
		if i < 25 {
			time.Sleep(time.Duration(random.Int64N(int64(took/30) + 1)))
			if i%5 == 4 {
				c.Process.Signal(syscall.SIGTERM)
			} else {
				c.Process.Kill()
			}
		}
		err := c.Wait()
		switch code := c.ProcessState.ExitCode(); {
		case err == nil:
			require.Equal(t, file(t, whole, checkpointFile), file(t, broken, checkpointFile))
			require.Equal(t, file(t, whole, encoderFile), file(t, broken, encoderFile))
			if i >= 25 {
				t.Logf("%d kills, %d interruptions", kills, terms)
				require.GreaterOrEqual(t, kills, 10)
				return
			}
			ends++ // sooner than the first run let expect: another one
			broken = filepath.Join(dir, fmt.Sprint("broken", ends))
		case code == -1:
			kills++
		case code == cli.ExitInterrupted:
			terms++
		default:
			t.Fatalf("exit %d: %s", code, out.String())
		}
	}
}
