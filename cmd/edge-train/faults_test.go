package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/cmd/edge-train/demoset"
	"edgejepa/internal/cpu"
	"edgejepa/internal/durable"
	"edgejepa/internal/durable/crashtest"
)

// faulty is a short run with a checkpoint after every step, and what it ends in undisturbed.
type faulty struct {
	pictures string
	want     map[string]string // file: content
	ops      int               // operations on the file system
}

func newFaulty(t *testing.T) *faulty {
	before := lastFor
	lastFor = 0
	t.Cleanup(func() { lastFor = before })
	w := &faulty{pictures: drawn(t, 2)}
	dir := t.TempDir()
	m := mirror(t, dir)
	code, said := w.run(t, dir, m)
	require.Zero(t, code, said)
	w.want, w.ops = w.result(t, dir), m.Ops
	return w
}

func mirror(t *testing.T, dir string) *crashtest.Mirror {
	m, err := crashtest.NewMirror(dir)
	require.NoError(t, err)
	m.Err = errors.New("the power is gone")
	return m
}

// run trains in dir on a file system, from where it was, as far as it gets.
func (w *faulty) run(t *testing.T, dir string, d durable.FS, more ...string) (code int, said string) {
	t.Helper()
	defer durable.Replace(d)()
	args := append([]string{"pretrain", w.pictures, "--out", dir, "--preset", "micro", "--batch", "4", "--max-steps", "5", "--threads", "1",
		"--checkpoint-every", "1ns", "--report=false"}, more...)
	if _, err := os.Stat(filepath.Join(dir, configFile)); err == nil {
		args = append(args, "--resume")
	}
	code, _, said = command(t, args...)
	return code, said
}

// result is what must not depend on what happened on the way: checkpoint and encoders to the bit, and the steps logged.
func (w *faulty) result(t *testing.T, dir string) map[string]string {
	t.Helper()
	var steps []string
	for line := range strings.Lines(string(file(t, dir, metricsFile))) {
		var m struct{ Step int }
		require.NoError(t, json.Unmarshal([]byte(line), &m), line)
		steps = append(steps, fmt.Sprint(m.Step))
	}
	return map[string]string{
		checkpointFile: string(file(t, dir, checkpointFile)), encoderFile: string(file(t, dir, encoderFile)),
		"last logged step": steps[len(steps)-1],
	}
}

// finish goes on with what is left in dir, undisturbed, and compares.
func (w *faulty) finish(t *testing.T, dir, says string) {
	t.Helper()
	code, said := w.run(t, dir, durable.Disk{})
	require.Zero(t, code, "%s: %s", says, said)
	for name, want := range w.want {
		require.True(t, want == w.result(t, dir)[name], "%s: %s differs", says, name)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*.tmp"))
	require.NoError(t, err)
	require.Empty(t, left, says)
}

// every is how many fault points lie between two that are tried, where there is little time.
func every(t *testing.T) int {
	switch {
	case os.Getenv("EDGEJEPA_EXHAUSTIVE") != "":
		return 1
	case testing.Short() || cpu.ISA() == "generic":
		return 23
	}
	return 3
}

// The power goes before each operation of a run on the file system, and before one of the run that goes on after it; each
// time what was not flushed is lost, torn or kept in another order. The run that goes on ends in the bytes of one left alone.
func TestPowerLossAtAnyWrite(t *testing.T) {
	w := newFaulty(t)
	points := 0
	for at := 1; at <= w.ops; at += every(t) {
		r := rand.New(rand.NewPCG(uint64(at), 1))
		dir, journal := t.TempDir(), at%2 == 0
		for life, cut := range []int{at, 1 + r.IntN(w.ops)} {
			m := mirror(t, dir)
			m.FailAt = cut
			code, said := w.run(t, dir, m)
			if m.Ops < cut {
				require.Zero(t, code, said)
			}
			points++
			back := t.TempDir()
			require.NoError(t, m.Crash(r, journal).WriteTo(back), "life %d of %d", life, at)
			dir = back
		}
		w.finish(t, dir, fmt.Sprintf("power lost at operation %d", at))
	}
	t.Logf("%d power losses in runs of %d operations", points, w.ops)
}

// Each operation of a run on the file system fails, once and from then on, in each of the ways in which cards and disks do.
// The run goes on as long as there is any use; nothing that was saved before is lost, and going on after the fault ends in
// the bytes of a run left alone.
func TestFaultAtAnyWrite(t *testing.T) {
	w := newFaulty(t)
	points, ended := 0, 0
	faults := []error{syscall.ENOSPC, syscall.EIO, syscall.EROFS, syscall.EDQUOT}
	for i, fault := range faults {
		for _, once := range []bool{true, false} {
			for at := 1 + i; at <= w.ops; at += every(t) {
				dir := t.TempDir()
				m := mirror(t, dir)
				m.FailAt, m.Once, m.Err, m.Short = at, once, fault, at%2 == 0
				code, said := w.run(t, dir, m)
				points++
				if code == 0 {
					ended++
				} else {
					require.Contains(t, said, fault.Error(), "operation %d", at)
				}
				if !once && at <= w.ops-2 { // the last two close the log, of which all is saved
					require.NotZero(t, code, "operation %d and all after it failed with %v, and the run says it is done", at, fault)
				}
				w.finish(t, dir, fmt.Sprintf("operation %d: %v, once %v", at, fault, once))
			}
		}
	}
	require.NotZero(t, ended, "a fault that passes is no reason to end")
	t.Logf("%d faults in runs of %d operations; %d runs went on to their end", points, w.ops, ended)
}

// What these tests are for: they notice a checkpoint that is not flushed.
func TestPowerLossIsNoticed(t *testing.T) {
	w := newFaulty(t)
	lost := 0
	for at := w.ops / 2; at <= w.ops && lost == 0; at++ {
		dir, back := t.TempDir(), t.TempDir()
		m := mirror(t, dir)
		m.FailAt = at
		w.run(t, dir, unflushed{m})
		require.NoError(t, m.Crash(rand.New(rand.NewPCG(uint64(at), 2)), false).WriteTo(back))
		if _, err := os.Stat(filepath.Join(back, configFile)); err != nil {
			lost++
			continue
		}
		if code, _ := w.run(t, back, durable.Disk{}); code != 0 {
			lost++
		}
	}
	require.NotZero(t, lost)
}

// unflushed says that it flushes.
type unflushed struct{ *crashtest.Mirror }

func (unflushed) SyncDir(string) error { return nil }

// A run that was cut off goes on with the pictures it began with: those that came since are left out, and those that have
// gone are passed over. So is one whose folder moved.
func TestFolderChangesWhileARunIsCutOff(t *testing.T) {
	w := newFaulty(t)
	cutOff := func() string {
		dir := t.TempDir()
		m := mirror(t, dir)
		m.FailAt = w.ops * 2 / 3
		code, said := w.run(t, dir, m)
		require.NotZero(t, code, said)
		return dir
	}
	grown, moved, shrunk := cutOff(), cutOff(), cutOff()

	require.NoError(t, demoset.Write(w.pictures, demoset.Options{PerClass: 3, Size: 32, Seed: 1}))
	w.finish(t, grown, "pictures came")

	away := filepath.Join(t.TempDir(), "moved")
	require.NoError(t, os.Rename(w.pictures, away))
	code, said := w.run(t, moved, durable.Disk{})
	require.NotZero(t, code)
	require.Contains(t, said, "none of the run's pictures")
	w.pictures = away
	w.finish(t, moved, "the folder moved")

	gone, err := filepath.Glob(filepath.Join(away, "*", "0001.jpg"))
	require.NoError(t, err)
	require.NotEmpty(t, gone)
	require.NoError(t, os.Remove(gone[0]))
	code, said = w.run(t, shrunk, durable.Disk{})
	require.Contains(t, []int{0, 3}, code, said) // it may not have been drawn again
	if code == 3 {
		require.Contains(t, said, gone[0])
	}
}
