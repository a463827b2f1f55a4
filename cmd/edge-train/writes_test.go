package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cli"
	"edgejepa/internal/durable"
)

// What a run says that it wrote is what its lines add up to but for the last files, and no less than the files that are
// there.
func TestBytesWritten(t *testing.T) {
	pictures, out := drawn(t, 4), filepath.Join(t.TempDir(), "run")
	before := durable.Written()
	code, _, stderr := command(t, micro(pictures, out, "--eval", pictures, "--eval-every", "10")...)
	require.Zero(t, code, stderr)
	all := durable.Written() - before
	require.Contains(t, stderr, "wrote "+cli.Bytes(all)+" in ")
	var logged, files int64
	for line := range strings.Lines(string(file(t, out, metricsFile))) {
		var m struct {
			Bytes int64 `json:"bytes_written"`
		}
		require.NoError(t, json.Unmarshal([]byte(line), &m))
		logged += m.Bytes
	}
	entries, err := os.ReadDir(out)
	require.NoError(t, err)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		files += info.Size()
	}
	size := func(name string) int64 { return int64(len(file(t, out, name))) }
	last := size(checkpointFile) + size(encoderFile) + size(reportFile)
	require.GreaterOrEqual(t, all, files-size(".lock"))
	require.InDelta(t, all-last, logged, lineBytes, "and the last line")
	require.LessOrEqual(t, size(metricsFile), int64(lineBytes*strings.Count(string(file(t, out, metricsFile)), "\n")))
	require.LessOrEqual(t, size(reportFile), int64(reportBytes))
}

// A dry run says how much will be written a day.
func TestDailyWrites(t *testing.T) {
	pictures, out := drawn(t, 4), filepath.Join(t.TempDir(), "run")
	says := func(more ...string) string {
		code, _, stderr := command(t, micro(pictures, out, append(more, "--dry-run")...)...)
		require.Zero(t, code, stderr)
		return regexp.MustCompile(`writes: .*`).FindString(stderr)
	}
	c := microRun(t)
	c.Batch = 8
	checkpoint, encoders := c.FileBytes()
	text := says("--report=false", "--checkpoint-every", "20m")
	daily := 72*(checkpoint+encoders) + 8640*lineBytes
	require.Equal(t, "writes: at most "+cli.Bytes(daily)+" a day with a checkpoint of "+cli.Bytes(checkpoint)+" every 20m00s, and "+
		cli.Bytes(9*checkpoint)+" in the whole run to go back to and for evaluations", text)
	require.Contains(t, says("--report=false", "--checkpoint-every", "20m", "--eval", pictures), cli.Bytes(72*checkpoint+8640*lineBytes)+" a day")
	require.Contains(t, says("--report=false", "--eval", pictures), cli.Bytes(9*checkpoint+10*(encoders+lineBytes))+" in the whole run")
	require.Contains(t, says("--report=false", "--eval", pictures, "--eval-every", "4"), cli.Bytes(9*checkpoint+8*(encoders+lineBytes))+" in the whole run", "30 steps")
	require.Contains(t, says("--checkpoint-every", "1ms"), "every step")

	// The reports of a day: when they are due, and no oftener.
	p := &plan{config: runConfig{Run: c}}
	reports := (p.dailyWrites(time.Hour, false, true) - p.dailyWrites(time.Hour, false, false)) / reportBytes
	begun := time.Unix(0, 0)
	r := &reporter{begun: begun}
	n := int64(0)
	for now := begun; now.Before(begun.Add(day)); now = now.Add(time.Second) {
		if r.due(now) {
			r.written = now
			n++
		}
	}
	require.InDelta(t, n, reports, 3)
}

func TestWritesText(t *testing.T) {
	require.Equal(t, "wrote 1.00 MiB in 2m00s", writesText(1<<20, 2*time.Minute))
	require.Equal(t, "wrote 1.00 GiB in 8h00m, at a rate of 3.00 GiB a day", writesText(1<<30, 8*time.Hour))
}
