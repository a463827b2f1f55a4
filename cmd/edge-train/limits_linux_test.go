package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cli"
	"edgejepa/internal/cpu"
)

// group is a memory control group that a test has made, of version 1 or 2.
type group struct{ dir string }

// newGroup makes a group of processes that may use limit bytes and no swap. Where that is not allowed it says so and
// returns false, or fails if EDGEJEPA_REQUIRE_CGROUP is set.
func newGroup(t *testing.T, limit int64) (group, bool) {
	t.Helper()
	var all error
	for _, parent := range groupParents(t) {
		g, err := makeGroup(parent, limit)
		if err == nil {
			t.Cleanup(func() { g.remove(t) })
			return g, true
		}
		all = errors.Join(all, err)
	}
	if os.Getenv("EDGEJEPA_REQUIRE_CGROUP") != "" {
		t.Fatalf("no memory control group could be made: %v", all)
	}
	t.Logf("NO CONTROL GROUP: none could be made, so what a process takes is read from /proc alone: %v", all)
	return group{}, false
}

// groupParents are the folders where a group may be made: the test's own group, and in version 2, where one that has
// processes has no controlled groups inside, the one around it.
func groupParents(t *testing.T) (dirs []string) {
	b, err := os.ReadFile("/proc/self/cgroup")
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // 4:memory:/group or 0::/group
		require.Len(t, parts, 3)
		switch {
		case parts[1] == "memory":
			root := "/sys/fs/cgroup/memory"
			dirs = append(dirs, filepath.Join(root, parts[2]), root) // in a container only the root may be there
		case parts[0] == "0":
			own := filepath.Join("/sys/fs/cgroup", parts[2])
			dirs = append(dirs, own, filepath.Dir(own))
		}
	}
	return dirs
}

func makeGroup(parent string, limit int64) (group, error) {
	if _, err := os.Stat(filepath.Join(parent, "cgroup.procs")); err != nil {
		return group{}, err
	}
	dir, err := os.MkdirTemp(parent, "edgejepa-test-")
	if err != nil {
		return group{}, err
	}
	g := group{dir}
	set := func(name string, value int64) error {
		return os.WriteFile(filepath.Join(dir, name), []byte(strconv.FormatInt(value, 10)), 0)
	}
	err1 := set("memory.limit_in_bytes", limit)
	if err1 == nil {
		_ = set("memory.memsw.limit_in_bytes", limit) // absent where there is no swap to limit
		return g, nil
	}
	err2 := set("memory.max", limit)
	if err2 == nil {
		_ = set("memory.swap.max", 0)
		return g, nil
	}
	return group{}, errors.Join(err1, err2, os.Remove(dir))
}

// remove waits until the group's processes are gone: they have ended.
func (g group) remove(t *testing.T) {
	var err error
	for range 100 {
		if err = os.Remove(g.dir); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("a control group stays behind: %v", err)
}

// most is the most that the group ever used, files that the kernel keeps in memory for it included; 0: not known.
func (g group) most() int64 {
	for _, name := range []string{"memory.max_usage_in_bytes", "memory.peak"} {
		if b, err := os.ReadFile(filepath.Join(g.dir, name)); err == nil {
			n, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
			return n
		}
	}
	return 0
}

// wrap makes a command run in the group from its first instruction on.
func (g group) wrap(c *exec.Cmd) *exec.Cmd {
	enter := []string{"-c", `echo $$ > "$0" && exec "$@"`, filepath.Join(g.dir, "cgroup.procs"), c.Path}
	in := exec.Command("/bin/sh", append(enter, c.Args[1:]...)...)
	in.Env = c.Env
	return in
}

// runLimited runs the program as a process of its own: in a control group of limit bytes and those of the program's file, if
// one can be made. It returns the most that the process had resident, and what it said.
func runLimited(t *testing.T, limit int64, args ...string) (peak int64, said string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "peak")
	c := child(t, args...)
	c.Env = append(c.Env, "EDGE_TRAIN_PEAK="+name)
	program, err := os.Stat(c.Path)
	require.NoError(t, err)
	limit += program.Size()
	g, ok := newGroup(t, limit)
	if ok {
		c = g.wrap(c)
	}
	out, err := c.CombinedOutput()
	require.NoError(t, err, "with %s: %s", cli.Bytes(limit), out)
	b, err := os.ReadFile(name)
	require.NoError(t, err, string(out))
	peak, err = strconv.ParseInt(string(b), 10, 64)
	require.NoError(t, err)
	if ok {
		require.LessOrEqual(t, g.most(), limit)
		t.Logf("the control group used %s of %s", cli.Bytes(g.most()), cli.Bytes(limit))
	}
	return peak, string(out)
}

// The jobs of which it is promised that they train within a limit do so in a control group of that size plus the program,
// and stay below it by their own count, from the first step to the last checkpoint, and when they are resumed.
func TestPeakStaysWithinMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes that take seconds")
	}
	if cpu.ISA() == "generic" {
		t.Skip("pure Go takes the same memory, and minutes")
	}
	pictures := drawn(t, 16)
	for _, j := range []struct {
		memory string
		limit  int64
		long   bool
		args   string
	}{
		{"64MiB", 64 << 20, false, "--preset nano --batch 128 --max-steps 2"},
		{"160MiB", 160 << 20, false, "--preset tiny --image-size 96 --patch-size 8 --batch 128 --max-steps 1"},
		{"48MiB", 48 << 20, false, "--preset nano --batch 128 --max-steps 2 --precision f16"},
		{"2560MiB", 2560 << 20, true, "--preset base --image-size 224 --patch-size 16 --batch 16 --max-steps 1 --precision f16"},
	} {
		t.Run(j.args, func(t *testing.T) {
			if j.long && os.Getenv("EDGEJEPA_EXHAUSTIVE") == "" {
				t.Skip("takes minutes: set EDGEJEPA_EXHAUSTIVE=1")
			}
			out := filepath.Join(t.TempDir(), "run")
			args := append([]string{"pretrain", pictures, "--out", out, "--threads", "2", "--nice", "0", "--memory", j.memory}, strings.Fields(j.args)...)
			peak, said := runLimited(t, j.limit, args...)
			require.Less(t, peak, j.limit, said)
			require.Greater(t, peak, j.limit/2, "the plan makes use of what it is given: %s", said)
			t.Logf("peak %s of %s", cli.Bytes(peak), j.memory)

			peak, said = runLimited(t, j.limit, append(args, "--resume")...)
			require.Less(t, peak, j.limit, said)
			require.Contains(t, said, "resumed at step")
		})
	}
	t.Run("more is taken where there is more", func(t *testing.T) {
		peak, said := runLimited(t, 1<<30, "pretrain", pictures, "--out", filepath.Join(t.TempDir(), "run"), "--preset", "nano", "--batch", "64", "--max-steps", "1", "--nice", "0")
		require.Greater(t, peak, int64(64<<20), "the limit would be kept by anything: %s", said)
	})
}

// The default budget is what a control group leaves, and one that no group of this size can give is refused by name. The
// groups that this rests on do end a process that takes too much.
func TestMemoryOfAControlGroup(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes that take seconds")
	}
	hog := exec.Command("/bin/sh", "-c", "head -c 67108864 /dev/zero | tail -c 67108864 > /dev/null")
	g, ok := newGroup(t, 32<<20)
	if !ok {
		t.Skip("no control group can be made here")
	}
	require.NoError(t, exec.Command(hog.Path, hog.Args[1:]...).Run())
	require.Error(t, g.wrap(hog).Run(), "the limit does not hold")

	const limit = 128 << 20
	run := func(limit int64, more ...string) (code int, said string) {
		g, ok := newGroup(t, limit)
		require.True(t, ok)
		args := []string{"pretrain", drawn(t, 8), "--out", filepath.Join(t.TempDir(), "run"), "--preset", "nano", "--batch", "64", "--max-steps", "1", "--threads", "2", "--nice", "0"}
		c := g.wrap(child(t, append(args, more...)...))
		out, err := c.CombinedOutput()
		if exit := new(exec.ExitError); err != nil {
			require.ErrorAs(t, err, &exit, string(out))
		}
		return c.ProcessState.ExitCode(), string(out)
	}
	if cpu.ISA() != "generic" {
		code, said := run(limit)
		require.Zero(t, code, said)
		require.Contains(t, said, "of "+cli.Bytes(limit-32<<20), "a quarter is left to the rest of the group")
	}
	code, said := run(limit, "--memory", fmt.Sprint(limit+1))
	require.Equal(t, cli.ExitUsage, code, said)
	require.Contains(t, said, "more than the 128 MiB")
}
