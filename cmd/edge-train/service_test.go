package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"edgejepa/internal/cli"
	"edgejepa/jepa"
)

// manager is a socket like systemd's. The function returns the messages that were sent since it was last called: one of its
// own follows them, for a socket keeps their order.
func manager(t *testing.T) (messages func() []string) {
	t.Helper()
	name := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"}
	c, err := net.ListenUnixgram("unixgram", name)
	if err != nil && runtime.GOOS == "windows" {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	last, err := net.DialUnix("unixgram", nil, name)
	require.NoError(t, err)
	t.Cleanup(func() { last.Close() })
	t.Setenv("NOTIFY_SOCKET", name.Name)
	return func() (all []string) {
		go last.Write([]byte("END")) // waits where the socket's queue is full
		require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			require.NoError(t, err)
			if string(buf[:n]) == "END" {
				return all
			}
			all = append(all, string(buf[:n]))
		}
	}
}

// eachStep calls at after each step of the runs of a test.
func eachStep(t *testing.T, at func(step int)) {
	t.Helper()
	judged := sound
	t.Cleanup(func() { sound = judged })
	sound = func(st jepa.Stats, clip float64) bool {
		at(st.Step)
		return judged(st, clip)
	}
}

// A run under systemd is ready after its first step, shows where it is, and feeds the watchdog for as long as it makes
// steps: one that hangs sends nothing. What it ends in does not depend on any of that.
func TestNotify(t *testing.T) {
	pictures, dir := drawn(t, 4), t.TempDir()
	plain := filepath.Join(dir, "plain")
	code, _, stderr := command(t, micro(pictures, plain)...)
	require.Zero(t, code, stderr)

	messages := manager(t)
	const limit = 100 * time.Millisecond
	t.Setenv("WATCHDOG_USEC", fmt.Sprint(limit.Microseconds()))
	var all, hung []string
	first := true
	eachStep(t, func(step int) {
		all = append(all, messages()...) // before the socket's queue is full
		if !first {
			return
		}
		if step == 1 {
			require.Contains(t, all, "READY=1")
		}
		if step == 20 {
			time.Sleep(3 * limit)
			hung = messages()
		}
	})
	out := filepath.Join(dir, "run")
	code, _, stderr = command(t, micro(pictures, out, "--eval", pictures, "--eval-every", "10")...)
	require.Zero(t, code, stderr)
	all = append(all, messages()...)
	first = false
	require.Empty(t, hung)
	n := len(all)
	require.Equal(t, "STOPPING=1\nEXTEND_TIMEOUT_USEC=7200000000", all[n-1], "the last of all")
	begun := slices.Index(all, "READY=1")
	for i, m := range all {
		require.Equal(t, i < begun || i == n-1, strings.Contains(m, "EXTEND_TIMEOUT_USEC"), "%d: %s", i, m)
		require.False(t, i < begun && strings.Contains(m, "WATCHDOG"), "the watchdog begins with READY=1")
	}
	status := slices.IndexFunc(all, func(m string) bool { return strings.HasPrefix(m, "STATUS=step 1 of 30, ") })
	require.Greater(t, status, begun)
	require.Regexp(t, `^STATUS=step \d+ of 30, [0-9.]+ images/s$`, all[status])
	require.Contains(t, all, "WATCHDOG=1\nWATCHDOG_USEC=3600000000", "saving and judging are no steps")
	require.True(t, bytes.Equal(file(t, plain, checkpointFile), file(t, out, checkpointFile)))

	// Each step is longer than a quarter of this limit.
	t.Setenv("WATCHDOG_USEC", "1")
	all = nil
	code, _, stderr = command(t, micro(pictures, out, "--force", "--quiet")...)
	require.Zero(t, code, stderr)
	all = append(all, messages()...)
	require.Contains(t, stderr, "asking it to wait")
	raised := slices.IndexFunc(all, func(m string) bool { return strings.HasPrefix(m, "WATCHDOG=1\nWATCHDOG_USEC=") })
	require.Greater(t, raised, 0)
	require.Equal(t, "READY=1", all[raised-1])

	// With nothing left to do it is ready, too.
	code, _, stderr = command(t, micro(pictures, out, "--resume")...)
	require.Zero(t, code, stderr)
	all = messages()
	require.Equal(t, []string{"READY=1", "STOPPING=1\nEXTEND_TIMEOUT_USEC=7200000000"}, all[len(all)-2:])

	// A manager that is gone is no reason to stop.
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "nothing"))
	code, _, stderr = command(t, micro(pictures, out, "--force")...)
	require.Zero(t, code, stderr)
	require.Equal(t, 1, strings.Count(stderr, "systemd cannot be told"), stderr)
	require.True(t, bytes.Equal(file(t, plain, checkpointFile), file(t, out, checkpointFile)))
}

func TestResumeAuto(t *testing.T) {
	pictures, out := drawn(t, 4), filepath.Join(t.TempDir(), "run")
	auto := micro(pictures, out, "--resume=auto")
	code, _, stderr := command(t, append(auto, "--dry-run")...)
	require.Zero(t, code, stderr)
	require.NoDirExists(t, out)
	code, _, stderr = command(t, append(auto, "--max-time", "1ns")...)
	require.Zero(t, code, stderr)
	require.Contains(t, stderr, "time is up at step 1 of 30")
	code, _, stderr = command(t, auto...)
	require.Zero(t, code, stderr)
	require.Contains(t, stderr, "resumed at step 1\n")
	code, _, stderr = command(t, append(auto, "--lr", "0.002")...)
	require.Equal(t, cli.ExitUsage, code, "another run is not begun over it: %s", stderr)
	require.Contains(t, stderr, "lr was 0.001, now 0.002")
	require.NoError(t, os.Remove(filepath.Join(out, configFile)))
	code, _, stderr = command(t, auto...)
	require.Equal(t, cli.ExitUsage, code, stderr)
	require.Contains(t, stderr, "holds a run already")

	for value, want := range map[string]resumeMode{"": resumeNo, "--resume": resumeYes, "--resume=true": resumeYes, "--resume=false": resumeNo, "--resume=auto": resumeAuto} {
		f := &pretrainFlags{resume: resumeNo}
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		f.register(flags)
		require.NoError(t, flags.Parse(strings.Fields(value)))
		require.Equal(t, want, f.resume, value)
	}
	code, _, stderr = command(t, micro(pictures, out, "--resume=maybe")...)
	require.Equal(t, cli.ExitUsage, code)
	require.Contains(t, stderr, "true, false, auto")
}

// unit are the settings of the example of a unit, each with its last value.
func unit(t *testing.T) map[string]string {
	t.Helper()
	settings := map[string]string{}
	for line := range strings.Lines(string(file(t, "edge-train.service"))) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == '[' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		require.True(t, ok, line)
		settings[key] = value
	}
	return settings
}

// The command of the example begins a run and goes on with it; what it exits with is what the unit expects.
func TestUnit(t *testing.T) {
	u := unit(t)
	require.Equal(t, "notify", u["Type"])
	require.Equal(t, fmt.Sprint(cli.ExitSkipped, " ", cli.ExitInterrupted), u["SuccessExitStatus"])
	args := strings.Fields(u["ExecStart"])
	require.Equal(t, []string{"/usr/local/bin/edge-train", "pretrain", u["RequiresMountsFor"]}, args[:3])
	pictures, out := drawn(t, 4), filepath.Join(t.TempDir(), "run")
	at := slices.Index(args, "/var/lib/"+u["StateDirectory"]+"/run")
	require.Equal(t, "--out", args[at-1])
	args[2], args[at] = pictures, out
	args = append(args[1:], "--max-steps", "3", "--batch", "4")
	limited := append(args, "--max-time", "1ns")
	code, _, stderr := command(t, limited...)
	require.Zero(t, code, stderr)
	require.Equal(t, 1, checkpointOf(t, out, "step"))
	code, _, stderr = command(t, args...)
	require.Zero(t, code, stderr)
	require.Equal(t, 3, checkpointOf(t, out, "step"))
}

// systemd itself finds nothing wrong with the unit, and little that it may do.
func TestUnitIsSound(t *testing.T) {
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip(err)
	}
	path := filepath.Join(t.TempDir(), "edge-train.service")
	text := strings.Replace(string(file(t, "edge-train.service")), "/usr/local/bin/edge-train", os.Args[0], 1)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	b, err := exec.Command(program, "verify", path).CombinedOutput()
	require.NoError(t, err, string(b))
	for line := range strings.Lines(string(b)) {
		require.NotContains(t, line, "edge-train.service")
	}
	b, err = exec.Command(program, "security", "--offline=yes", "--no-pager", "--threshold=15", path).CombinedOutput()
	if strings.Contains(string(b), "unrecognized option") {
		t.Skip("systemd before 250 cannot judge a file")
	}
	require.NoError(t, err, string(b))
}

// What the board says of its supply and its clock is told once and noted with each line.
func TestWeakSupply(t *testing.T) {
	was := sensors
	defer func() { sensors = was }()
	for flags, want := range map[string][2]bool{"0": {}, "1": {true, false}, "50005": {true, true}, "e0000": {}, "2": {false, true}} {
		sensors = fstest.MapFS{"sys/devices/platform/soc/soc:firmware/get_throttled": {Data: []byte(flags)}}
		out := filepath.Join(t.TempDir(), "run")
		code, _, stderr := command(t, micro(drawn(t, 4), out, "--max-steps", "3", "--report=false")...)
		require.Zero(t, code, stderr)
		require.Equal(t, want[0], strings.Contains(stderr, "the supply voltage is too low"), stderr)
		require.Equal(t, want[1], strings.Contains(stderr, "because of heat or voltage") && !strings.Contains(stderr, "since the last boot"), stderr)
		for line := range strings.Lines(string(file(t, out, metricsFile))) {
			require.Equal(t, want[0], strings.Contains(line, `"under_voltage":true`), line)
			require.Equal(t, want[1], strings.Contains(line, `"throttled":true`), line)
		}
	}
}
