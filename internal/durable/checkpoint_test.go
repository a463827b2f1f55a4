package durable_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/durable"
	"edgejepa/internal/durable/crashtest"
)

const name = "checkpoint.safetensors"

// payload is a checkpoint of step: the step, size bytes, and the SHA-256 of both.
func payload(step uint64, size int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, step)
	for i := range size {
		b = append(b, byte(uint64(i)*step))
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// stepOf validates a checkpoint.
func stepOf(b []byte) (uint64, error) {
	n := len(b) - sha256.Size
	if n < 8 {
		return 0, errNoSum
	}
	if sum := sha256.Sum256(b[:n]); !bytes.Equal(sum[:], b[n:]) {
		return 0, errNoSum
	}
	return binary.LittleEndian.Uint64(b), nil
}

func writer(b []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}
}

// validator stores the step of the accepted file in step; read is os.ReadFile or a simulation's.
func validator(read func(string) ([]byte, error), step *uint64) func(string) error {
	return func(path string) error {
		b, err := read(path)
		if err == nil {
			*step, err = stepOf(b)
		}
		return err
	}
}

// on does something on a file system.
func on(fs durable.FS, do func() error) error {
	defer durable.Replace(fs)()
	return do()
}

func save(fs durable.FS, step uint64, size int) error {
	return on(fs, func() error { return durable.SaveCheckpoint("run", name, writer(payload(step, size))) })
}

var errNoSum = errors.New("checksum does not match")

// TestCrashStates cuts the power after every operation of three saves, many times each, recovers, saves again and cuts
// again. A save that returned is never lost.
func TestCrashStates(t *testing.T) {
	states := 0
	errCut := errors.New("power cut")
	for _, journal := range []bool{true, false} {
		for seed := range uint64(400) {
			r := rand.New(rand.NewPCG(seed, 1))
			disk := crashtest.NewSim("run")
			var saved, attempted uint64
			for range 6 { // lives
				disk.Ops, disk.Err, disk.FailAt, disk.Once = 0, errCut, 1+r.IntN(24), false
				for disk.Ops < disk.FailAt {
					attempted++
					if save(disk, attempted, 50) == nil {
						saved = attempted
					}
				}
				disk = disk.Crash(r, journal)
				states++
				var step uint64
				err := on(disk, func() error {
					_, _, err := durable.Recover("run", name, validator(disk.ReadFile, &step))
					return err
				})
				if saved == 0 && errors.Is(err, fs.ErrNotExist) {
					continue
				}
				require.NoError(t, err, "journal %v seed %d", journal, seed)
				require.GreaterOrEqual(t, step, saved, "journal %v seed %d", journal, seed)
				require.LessOrEqual(t, step, attempted)
				saved = step
				for path := range disk.Files() {
					require.NotContains(t, path, ".tmp")
				}
			}
		}
	}
	require.Equal(t, 2*400*6, states)
}

// TestCrashFindsBadProtocols is the control: without either flush, checkpoints do get lost in the same simulation.
func TestCrashFindsBadProtocols(t *testing.T) {
	for what, d := range map[string]func(*crashtest.Sim) durable.FS{
		"no file flush":   func(s *crashtest.Sim) durable.FS { return noSync{s} },
		"no folder flush": func(s *crashtest.Sim) durable.FS { return noSyncDir{s} },
	} {
		lost := 0
		for seed := range uint64(200) {
			r := rand.New(rand.NewPCG(seed, 2))
			disk := crashtest.NewSim("run")
			for step := range uint64(3) {
				require.NoError(t, save(d(disk), step+1, 50))
			}
			disk = disk.Crash(r, false)
			var step uint64
			if _, err := durable.LoadNewest("run", name, validator(disk.ReadFile, &step)); err != nil || step != 3 {
				lost++
			}
		}
		require.Greater(t, lost, 50, what)
	}
}

type noSync struct{ *crashtest.Sim }

func (s noSync) Create(path string, perm fs.FileMode) (durable.File, error) {
	f, err := s.Sim.Create(path, perm)
	return unsynced{f}, err
}

type unsynced struct{ durable.File }

func (unsynced) Sync() error { return nil }

type noSyncDir struct{ *crashtest.Sim }

func (noSyncDir) SyncDir(string) error { return nil }

// TestSaveFaults fails every operation of a save in every way, once and lastingly. The checkpoint before it survives, the
// error is told, and the next save after the fault works.
func TestSaveFaults(t *testing.T) {
	points := 0
	for _, fault := range []error{syscall.EIO, syscall.ENOSPC, syscall.EROFS, syscall.EDQUOT, io.ErrShortWrite} {
		for _, once := range []bool{true, false} {
			for at := 1; ; at++ {
				disk := crashtest.NewSim("run")
				for step := range uint64(2) {
					require.NoError(t, save(disk, step+1, 600<<10))
				}
				disk.Ops, disk.FailAt, disk.Once, disk.Err = 0, at, once, fault
				disk.Short = fault == io.ErrShortWrite
				err := save(disk, 3, 600<<10)
				if disk.Ops < at {
					require.NoError(t, err)
					break // the save has fewer operations
				}
				points++
				disk.FailAt = 0
				var step uint64
				_, lerr := durable.LoadNewest("run", name, validator(disk.ReadFile, &step))
				require.NoError(t, lerr)
				if err == nil {
					t.Fatalf("operation %d failed with %v and the save said nothing", at, fault)
				}
				require.ErrorIs(t, err, fault)
				require.Contains(t, []uint64{2, 3}, step)
				if once {
					for path := range disk.Files() {
						require.NotContains(t, path, ".tmp")
					}
				}
				require.NoError(t, save(disk, 4, 10))
				_, lerr = durable.LoadNewest("run", name, validator(disk.ReadFile, &step))
				require.NoError(t, lerr)
				require.Equal(t, uint64(4), step)
			}
		}
	}
	require.GreaterOrEqual(t, points, 70)
}

func TestCheckpointPair(t *testing.T) {
	dir := t.TempDir()
	var step uint64
	_, err := durable.LoadNewest(dir, name, validator(os.ReadFile, &step))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, dir)
	for s := range uint64(3) {
		require.NoError(t, durable.SaveCheckpoint(dir, name, writer(payload(s+1, 10))))
	}
	newest, prev := filepath.Join(dir, name), filepath.Join(dir, "checkpoint.prev.safetensors")
	require.Equal(t, []string{prev, newest}, ls(t, dir))
	path, err := durable.LoadNewest(dir, name, validator(os.ReadFile, &step))
	require.NoError(t, err)
	require.Equal(t, newest, path)
	require.Equal(t, uint64(3), step)

	// A damaged newest gives way to the one before it and does not push that out at the next save.
	require.NoError(t, os.WriteFile(newest, []byte("damaged by the card, long enough for a sum"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".checkpoint.safetensors.0123456789abcdef.tmp"), nil, 0o600))
	path, refused, err := durable.Recover(dir, name, validator(os.ReadFile, &step))
	require.NoError(t, err)
	require.Equal(t, prev, path)
	require.Equal(t, uint64(2), step)
	require.Len(t, refused, 1)
	require.ErrorContains(t, refused[0], newest+": checksum does not match")
	require.Equal(t, []string{filepath.Join(dir, "checkpoint.damaged.safetensors"), prev}, ls(t, dir))
	require.NoError(t, durable.SaveCheckpoint(dir, name, writer(payload(9, 10))))
	require.NoError(t, validator(os.ReadFile, &step)(prev))
	require.Equal(t, uint64(2), step)

	// Both damaged: an error with both reasons.
	require.NoError(t, os.WriteFile(newest, nil, 0o600))
	require.NoError(t, os.WriteFile(prev, nil, 0o600))
	_, _, err = durable.Recover(dir, name, validator(os.ReadFile, &step))
	require.ErrorContains(t, err, newest)
	require.ErrorContains(t, err, prev)
	require.NotErrorIs(t, err, fs.ErrNotExist)
}

func ls(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	slices.Sort(paths)
	return paths
}

// TestMain saves checkpoints for ever when TestKill starts this binary as a child.
func TestMain(m *testing.M) {
	dir := os.Getenv("DURABLE_TEST_DIR")
	if dir == "" {
		os.Exit(m.Run())
	}
	first, _ := strconv.ParseUint(os.Getenv("DURABLE_TEST_STEP"), 10, 64)
	for step := first; ; step++ {
		if err := durable.SaveCheckpoint(dir, name, writer(payload(step, 100<<10))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(step)
	}
}

// TestKill kills a process with SIGKILL while it saves, 20 times. What it said it saved is there, and durable.Recover leaves
// nothing else.
func TestKill(t *testing.T) {
	if runtime.GOOS == "js" {
		t.Skip("no child processes")
	}
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	var saved, step uint64
	kills, temps := 0, 0
	for range 20 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), "DURABLE_TEST_DIR="+dir, fmt.Sprintf("DURABLE_TEST_STEP=%d", saved+1))
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		require.NoError(t, err)
		if err := child.Start(); err != nil {
			t.Skipf("cannot start a child process: %v", err)
		}
		lines := bufio.NewScanner(out)
		killed := false
		for lines.Scan() {
			saved, err = strconv.ParseUint(lines.Text(), 10, 64)
			require.NoError(t, err)
			if !killed {
				killed = true
				time.AfterFunc(time.Duration(r.IntN(20_000))*time.Microsecond, func() { child.Process.Kill() })
			}
		}
		require.Error(t, child.Wait())
		kills++
		for _, path := range ls(t, dir) {
			if strings.HasSuffix(path, ".tmp") {
				temps++
			}
		}
		_, refused, err := durable.Recover(dir, name, validator(os.ReadFile, &step))
		require.NoError(t, err)
		require.Empty(t, refused)
		require.GreaterOrEqual(t, step, saved)
		saved = step
		for _, path := range ls(t, dir) {
			require.False(t, strings.HasSuffix(path, ".tmp"), path)
		}
	}
	t.Logf("%d kills, %d temporary files swept, last step %d", kills, temps, saved)
}
