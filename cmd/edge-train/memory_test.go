package main

import (
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cli"
	"edgejepa/internal/cpu"
	"edgejepa/jepa"
	"edgejepa/jepa/data"
	"edgejepa/vit"
	"edgejepa/vit/pixels"
)

// reportPeak writes the most memory that this process ever had resident, in bytes, to the file that a test names.
func reportPeak() {
	name := os.Getenv("EDGE_TRAIN_PEAK")
	if name == "" {
		return
	}
	status, err := os.ReadFile("/proc/self/status")
	m := regexp.MustCompile(`VmHWM:\s*(\d+) kB`).FindSubmatch(status)
	if err != nil || m == nil {
		return
	}
	kilo, _ := strconv.ParseInt(string(m[1]), 10, 64)
	os.WriteFile(name, []byte(strconv.FormatInt(kilo<<10, 10)), 0o600)
}

// peakOf runs the program as a process of its own and returns its peak, and what it said.
func peakOf(t *testing.T, args ...string) (int64, string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "peak")
	c := child(t, args...)
	c.Env = append(c.Env, "EDGE_TRAIN_PEAK="+name)
	out, err := c.CombinedOutput()
	require.NoError(t, err, string(out))
	b, err := os.ReadFile(name)
	require.NoError(t, err, string(out))
	peak, err := strconv.ParseInt(string(b), 10, 64)
	require.NoError(t, err)
	return peak, string(out)
}

// The jobs of which it is promised that they train within a limit stay below it, from the first step to the last
// checkpoint, and when they are resumed.
func TestPeakStaysWithinMemory(t *testing.T) {
	if testing.Short() || runtime.GOOS != "linux" {
		t.Skip("starts processes that take seconds, and reads /proc")
	}
	if cpu.ISA() == "generic" {
		t.Skip("pure Go takes the same memory, and minutes")
	}
	pictures := drawn(t, 16)
	for _, j := range []struct {
		memory string
		limit  int64
		args   []string
	}{
		{"64MiB", 64 << 20, []string{"--preset", "nano", "--max-steps", "2"}},
		{"160MiB", 160 << 20, []string{"--preset", "tiny", "--image-size", "96", "--patch-size", "8", "--max-steps", "1"}},
		{"48MiB", 48 << 20, []string{"--preset", "nano", "--max-steps", "2", "--precision", "f16"}},
	} {
		out := filepath.Join(t.TempDir(), "run")
		args := append([]string{"pretrain", pictures, "--out", out, "--batch", "128", "--threads", "2"}, j.args...)
		peak, said := peakOf(t, append(args, "--memory", j.memory)...)
		require.Less(t, peak, j.limit, said)
		require.Greater(t, peak, j.limit/2, "the plan makes use of what it is given: %s", said)
		t.Logf("%v: peak %s of %s", j.args, cli.Bytes(peak), j.memory)

		peak, said = peakOf(t, append(args, "--memory", j.memory, "--resume")...)
		require.Less(t, peak, j.limit, said)
		require.Contains(t, said, "resumed at step")
	}
	peak, said := peakOf(t, "pretrain", pictures, "--out", filepath.Join(t.TempDir(), "run"), "--preset", "nano", "--batch", "64", "--max-steps", "1")
	require.Greater(t, peak, int64(64<<20), "the limit would be kept by anything: %s", said)
}

func TestMemoryIsRefusedByName(t *testing.T) {
	pictures, out := drawn(t, 4), filepath.Join(t.TempDir(), "run")
	args := []string{"pretrain", pictures, "--out", out, "--preset", "nano", "--batch", "8", "--threads", "2", "--dry-run"}
	code, _, stderr := command(t, append(args, "--memory", "30MiB")...)
	require.Equal(t, cli.ExitUsage, code, stderr)
	least := regexp.MustCompile(`raise --memory to (\d+)MiB`).FindStringSubmatch(stderr)
	require.NotNil(t, least, stderr)
	code, _, stderr = command(t, append(args, "--memory", least[1]+"MiB")...)
	require.Zero(t, code, "the budget that was named must do: %s", stderr)
	require.Contains(t, stderr, "micro-batches of ")
	n, err := strconv.Atoi(least[1])
	require.NoError(t, err)
	code, _, _ = command(t, append(args, "--memory", fmt.Sprint(n-1, "MiB"))...)
	require.Equal(t, cli.ExitUsage, code)
	require.NoDirExists(t, out)
}

// --dry-run lists what takes the memory.
func TestDryRunListsParts(t *testing.T) {
	code, _, stderr := command(t, micro(drawn(t, 4), filepath.Join(t.TempDir(), "run"), "--dry-run")...)
	require.Zero(t, code)
	for _, part := range []string{"context encoder", "target encoder", "moments", "predictor pass", "3 batches of pictures", "decoding, 2 at a time", "program and garbage"} {
		require.Contains(t, stderr, part)
	}
}

// A budget changes how a run is done and not what comes out.
func TestMemoryChangesNoBit(t *testing.T) {
	pictures, dir := drawn(t, 4), t.TempDir()
	var want []byte
	for _, memory := range []string{"1GiB", "20MiB"} {
		out := filepath.Join(dir, memory)
		code, _, stderr := command(t, micro(pictures, out, "--max-steps", "4", "--memory", memory)...)
		require.Zero(t, code, stderr)
		if memory == "20MiB" {
			require.True(t, strings.Contains(stderr, "recomputed") || strings.Contains(stderr, "micro-batches"), "the budget must bite: %s", stderr)
		}
		got := file(t, out, checkpointFile)
		if want == nil {
			want = got
		}
		require.True(t, string(want) == string(got), memory)
	}
}

// What decoding takes is planned for: a large photograph needs a larger budget than a small one, and a JPEG less than its
// pixels, since it is decoded at reduced size.
func TestShareCountsDecoding(t *testing.T) {
	photo := func(w, h int) *data.Set {
		dir := t.TempDir()
		f, err := os.Create(filepath.Join(dir, "photo.jpg"))
		require.NoError(t, err)
		require.NoError(t, jpeg.Encode(f, image.NewGray(image.Rect(0, 0, w, h)), nil))
		require.NoError(t, f.Close())
		set, err := data.Open([]string{dir}, data.Options{ImageSize: 32})
		require.NoError(t, err)
		return set
	}
	p, err := vit.PresetNamed("nano")
	require.NoError(t, err)
	c := jepa.Default(p, 0, 0)
	c.SetSteps(1)
	plan := func(w, h int) memoryPlan {
		m, err := share(c, photo(w, h), pixels.Limits{}, 4, 0, 0)
		require.NoError(t, err)
		return m
	}
	small, large := plan(32, 32), plan(500, 127)
	require.GreaterOrEqual(t, large.decode-small.decode, int64(4*largestFactor*decodedBytes*(500*127-32*32)))
	require.Less(t, plan(1024, 1040).decode, int64(4*largestFactor*(decodedBytes*130*130+20_000)))

	// When memory is short, fewer pictures are decoded at a time before batches are cut.
	m, err := share(c, photo(500, 127), pixels.Limits{}, 4, 0, large.need()-large.trainer-large.decode/2+60<<20)
	require.NoError(t, err)
	require.Equal(t, c.Batch, m.plan.Micro)
	require.LessOrEqual(t, m.need()+m.cache, m.budget)
}
