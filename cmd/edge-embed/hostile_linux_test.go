package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cli"
)

// A process over all the hostile pictures stays below 300 MB. What the system counts includes what this process had
// resident when it started the other: the figure is an upper bound.
func TestHostilePeak(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	m := model(t)
	dir, expect := hostilePictures(t)
	peak := func(args ...string) (int64, result) {
		r, state := executeChild(t, append(args, "--model", m, "--quiet", "--max-megapixels", "50")...)
		return int64(state.SysUsage().(*syscall.Rusage).Maxrss) << 10, r
	}
	got, r := peak(dir)
	require.Equal(t, cli.ExitSkipped, r.code, r.err)
	wrong, _ := account(t, dir, expect, r)
	require.Empty(t, wrong)
	require.Less(t, got, int64(300e6))

	// A large picture shows: 4 and 3 bytes a pixel.
	large, r := peak(write(t, filepath.Join(t.TempDir(), "large.png"), drawn(t, 4000, 3000, 1)))
	require.Zero(t, r.code, r.err)
	require.Greater(t, large, int64(7*4000*3000))
	t.Logf("peak %s over %d files, %s for one of 12 megapixels", cli.Bytes(got), len(expect), cli.Bytes(large))
}

// A folder of a million pictures gives its first row soon, from little memory. They are links to a few files: TMPDIR=/dev/shm
// makes them quickly.
func TestMillionFiles(t *testing.T) {
	if os.Getenv("EDGEJEPA_EXHAUSTIVE") == "" {
		t.Skip("makes a million files: set EDGEJEPA_EXHAUSTIVE=1")
	}
	const n = 1_000_000
	m, dir, file := model(t), t.TempDir(), ""
	for i := range n {
		name := filepath.Join(dir, fmt.Sprintf("IMG_20240101_%07d.png", i*7919%n))
		if i%50_000 == 0 { // ext4 ends at 65000 links
			file = write(t, name, drawn(t, 8, 8, i))
		} else if err := os.Link(file, name); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command(os.Args[0], "--model", m, dir)
	c.Env = append(os.Environ(), "EDGE_EMBED_CHILD=1")
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	begin := time.Now()
	require.NoError(t, c.Start())
	row, err := bufio.NewReader(out).ReadString('\n')
	took := time.Since(begin)
	status, err2 := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Process.Pid))
	require.NoError(t, errors.Join(err, err2, c.Process.Kill()))
	_ = c.Wait() // it was killed
	require.Contains(t, row, "IMG_20240101_0000000.png")
	var kilo int64
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	_, err = fmt.Sscan(rest, &kilo)
	require.NoError(t, err)
	worked := c.ProcessState.UserTime() + c.ProcessState.SystemTime() // of it: the machine may have more to do
	t.Logf("first row after %v, %v of them at work, peak %s", took, worked, cli.Bytes(kilo<<10))
	require.Less(t, worked, 5*time.Second)
	require.Less(t, kilo<<10, int64(150e6))
	require.Greater(t, kilo<<10, int64(n*20), "the names are in memory")
}
