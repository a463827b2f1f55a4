package durable_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/durable"
	"edgejepa/internal/durable/crashtest"
)

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.npy")
	require.NoError(t, durable.WriteFile(path, 0o600, writer([]byte("one"))))
	require.NoError(t, os.Chmod(path, 0o640))
	require.NoError(t, durable.WriteFile(path, 0o600, writer([]byte("two"))))
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "two", string(b))
	if runtime.GOOS != "windows" {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o640), info.Mode().Perm())
	}

	// A failing or panicking writer changes nothing and leaves nothing.
	boom := errors.New("boom")
	err = durable.WriteFile(path, 0o600, func(w io.Writer) error {
		_, _ = w.Write(make([]byte, 1<<20))
		return boom
	})
	require.ErrorIs(t, err, boom)
	require.ErrorContains(t, err, "cannot write "+path)
	require.Panics(t, func() { _ = durable.WriteFile(path, 0o600, func(io.Writer) error { panic("p") }) })
	b, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "two", string(b))
	require.Equal(t, []string{path}, ls(t, dir))

	require.ErrorContains(t, durable.WriteFile(dir, 0o600, writer(nil)), "it is a folder")
	err = durable.WriteFile(filepath.Join(dir, "none", "x"), 0o600, writer(nil))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NotContains(t, err.Error(), ".tmp")
	long := filepath.Join(dir, strings.Repeat("n", 250))
	require.NoError(t, durable.WriteFile(long, 0o600, writer([]byte("x"))))
}

func TestWriteFileFollowsLinksAndSparesDevices(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(target, []byte("old"), 0o600))
	if err := os.Symlink("target", link); err != nil {
		t.Skip(err)
	}
	require.NoError(t, durable.WriteFile(link, 0o600, writer([]byte("new"))))
	b, err := os.ReadFile(target)
	require.NoError(t, err)
	require.Equal(t, "new", string(b))

	before, err := os.Stat(os.DevNull)
	require.NoError(t, err)
	require.NoError(t, durable.WriteFile(os.DevNull, 0o600, writer([]byte("gone"))))
	after, err := os.Stat(os.DevNull)
	require.NoError(t, err)
	require.Equal(t, before.Mode(), after.Mode())
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, ".m.safetensors.0123456789abcdef.tmp")
	require.NoError(t, os.WriteFile(stale, nil, 0o600))
	for _, keep := range []string{"m.safetensors", ".lock", ".x.tmp", "m.0123456789abcdef.tmp", ".m.0123456789ABCDEF.tmp"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, keep), nil, 0o600))
	}
	require.NoError(t, durable.Sweep(dir))
	require.NoFileExists(t, stale)
	require.Len(t, ls(t, dir), 5)
	require.Error(t, durable.Sweep(filepath.Join(dir, "none")))
}

func TestLock(t *testing.T) {
	if runtime.GOOS == "js" {
		t.Skip("no file locks")
	}
	dir := t.TempDir()
	l, err := durable.LockDir(dir)
	require.NoError(t, err)
	_, err = durable.LockDir(dir)
	var locked *durable.LockedError
	require.ErrorAs(t, err, &locked)
	require.ErrorContains(t, err, fmt.Sprintf("%s is in use by process %d on ", dir, os.Getpid()))
	require.NoError(t, l.Unlock())
	l, err = durable.LockDir(dir)
	require.NoError(t, err)
	require.NoError(t, l.Unlock())
	_, err = durable.LockDir(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	type row struct {
		Step int `json:"step"`
	}
	add := func(steps ...int) {
		l, err := durable.AppendLines(path)
		require.NoError(t, err)
		for _, s := range steps {
			require.NoError(t, l.Append(row{s}))
		}
		require.NoError(t, l.Sync())
		require.NoError(t, l.Close())
	}
	read := func() string {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(b)
	}
	require.NoError(t, durable.TruncateJSONL(path, func([]byte) bool { return true }), "missing")
	add(1, 2)
	tear := func(tail string) {
		require.NoError(t, os.WriteFile(path, []byte(read()+tail), 0o600))
	}
	tear(`{"step":3`)
	add(4)
	require.Equal(t, "{\"step\":1}\n{\"step\":2}\n{\"step\":4}\n", read())
	tear(strings.Repeat("\x00", 10_000)) // a torn line longer than one block
	add(5)
	tear("\x00\x00\n{\"step\":6}\n{\"st")
	require.NoError(t, durable.TruncateJSONL(path, func(line []byte) bool { return string(line) != `{"step":4}` }))
	require.Equal(t, "{\"step\":1}\n{\"step\":2}\n{\"step\":5}\n{\"step\":6}\n", read())

	require.NoError(t, os.WriteFile(path, []byte("torn"), 0o600))
	add()
	require.Empty(t, read())
}

// A line that the disk does not take is written with the next that it takes, once, whatever was written of it before.
func TestLinesOutliveFaults(t *testing.T) {
	for at := 3; at <= 6; at++ { // after the log has been opened
		for _, short := range []bool{false, true} {
			s := crashtest.NewSim("run")
			s.FailAt, s.Once, s.Err, s.Short = at, true, errors.New("full"), short
			func() {
				defer durable.Replace(s)()
				l, err := durable.AppendLines("run/metrics.jsonl")
				require.NoError(t, err)
				failed := 0
				for step := range 3 {
					if l.Append(map[string]int{"step": step}) != nil {
						failed++
					}
				}
				if l.Close() != nil {
					failed++
				}
				require.Equal(t, 1, failed, at)
			}()
			require.Equal(t, "{\"step\":0}\n{\"step\":1}\n{\"step\":2}\n", string(s.Files()["metrics.jsonl"]), "%d %v", at, short)
		}
	}
}

func TestWritten(t *testing.T) {
	dir, before := t.TempDir(), durable.Written()
	text := func(w io.Writer) error {
		_, err := io.WriteString(w, "12345")
		return err
	}
	require.NoError(t, durable.WriteFile(filepath.Join(dir, "file"), 0o644, text))
	require.Equal(t, before+5, durable.Written())
	require.NoError(t, durable.SaveCheckpoint(dir, "checkpoint", text))
	require.Equal(t, before+10, durable.Written())
	l, err := durable.AppendLines(filepath.Join(dir, "lines"))
	require.NoError(t, err)
	require.NoError(t, l.Append(7))
	require.NoError(t, l.Close())
	require.Equal(t, before+12, durable.Written(), "a line end as well")
}

func TestMkdirAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "c")
	require.NoError(t, durable.MkdirAll(path, 0o755))
	require.NoError(t, durable.MkdirAll(path, 0o755))
	require.DirExists(t, path)
	t.Chdir(dir)
	require.NoError(t, durable.MkdirAll("d", 0o755))
	require.DirExists(t, filepath.Join(dir, "d"))
	require.NoError(t, os.WriteFile("file", nil, 0o600))
	require.Error(t, durable.MkdirAll(filepath.Join("file", "e"), 0o755))
}
