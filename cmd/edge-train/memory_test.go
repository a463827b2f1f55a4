package main

import (
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cli"
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
	for _, memory := range []string{"1GiB", "22MiB"} {
		out := filepath.Join(dir, memory)
		code, _, stderr := command(t, micro(pictures, out, "--max-steps", "4", "--memory", memory)...)
		require.Zero(t, code, stderr)
		if memory == "22MiB" {
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
		m, err := share(c, photo(w, h), pixels.Limits{}, 4, 0, limit{asked: true})
		require.NoError(t, err)
		return m
	}
	small, large := plan(32, 32), plan(500, 127)
	require.GreaterOrEqual(t, large.decode-small.decode, int64(4*largestFactor*decodedBytes*(500*127-32*32)))
	require.Less(t, plan(1024, 1040).decode, int64(4*largestFactor*(decodedBytes*130*130+20_000)))

	// When memory is short, fewer pictures are decoded at a time before batches are cut.
	m, err := share(c, photo(500, 127), pixels.Limits{}, 4, 0, limit{bytes: large.need() - large.trainer - large.decode/2 + 60<<20, asked: true})
	require.NoError(t, err)
	require.Equal(t, c.Batch, m.plan.Micro)
	require.LessOrEqual(t, m.need()+m.cache, m.budget)
}
