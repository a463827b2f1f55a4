//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cli"
)

func TestNames(t *testing.T) {
	m, dir := model(t), t.TempDir()
	names := []string{"\"quoted\".png", " space", "a,b.png", "new\nline.png", "tab\t\\.png", "ünïcode.png"}
	if runtime.GOOS == "linux" { // elsewhere file systems refuse it
		names = append(names, "\xff\xfe.png", "\xff\xfe\n.png")
	}
	for i, name := range names {
		write(t, filepath.Join(dir, name), drawn(t, 24, 24, i))
	}
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[filepath.Join(dir, n)] = true
	}

	r := execute(t, "", "--model", m, "--quiet", dir)
	require.Equal(t, 0, r.code, r.err)
	require.True(t, utf8.ValidString(r.out))
	require.Equal(t, len(names), strings.Count(r.out, "\n"))
	got := map[string]bool{}
	for _, l := range lines(t, r.out) {
		path := l.Path
		if l.PathBytes != nil {
			require.Contains(t, path, "\ufffd")
			path = string(l.PathBytes)
		}
		got[path] = true
	}
	require.Equal(t, wanted, got)

	r = execute(t, "", "--model", m, "--quiet", "--format", "csv", dir)
	table, err := csv.NewReader(strings.NewReader(r.out)).ReadAll()
	require.NoError(t, err)
	clear(got)
	for _, row := range table[1:] {
		got[row[0]] = true
	}
	require.Equal(t, wanted, got)

	t.Chdir(dir) // so that a path may begin with a double quote
	file := filepath.Join(t.TempDir(), "v.npy")
	r = execute(t, strings.Join(names, "\x00"), "--model", m, "--quiet", "--format", "npy", "-o", file, "--files-from", "-", "-0")
	require.Equal(t, result{}, r)
	text, err := os.ReadFile(file + ".paths.txt")
	require.NoError(t, err)
	var listed []string
	for l := range strings.Lines(string(text)) {
		l = strings.TrimSuffix(l, "\n")
		if strings.HasPrefix(l, `"`) {
			l, err = strconv.Unquote(l)
			require.NoError(t, err)
		}
		listed = append(listed, l)
	}
	require.Equal(t, names, listed)

	r = execute(t, "no\x1b[2Jsuch\nfile.png", "--model", m, "--files-from", "-", "-0")
	require.NotContains(t, r.err, "\x1b", "names do not reach the terminal raw")
}

// A list may name anything: each entry is a row or a line, and the run goes on.
func TestListOfOddFiles(t *testing.T) {
	m, dir := model(t), gallery(t, 2)
	t.Chdir(dir)
	require.NoError(t, syscall.Mkfifo("fifo.png", 0o600))
	require.NoError(t, os.Symlink("loop.png", "loop.png"))
	require.NoError(t, os.Symlink("absent", "dangling"))
	l, err := net.Listen("unix", "socket.png")
	require.NoError(t, err)
	defer l.Close()
	write(t, "empty/notes.txt", []byte("no picture"))
	list := []string{"00.png", "fifo.png", "/dev/zero", "/dev/null", "socket.png", "loop.png", "dangling", "empty", "gone\n.png", "\xff.png", strings.Repeat("x", 300), "a/b\x1b", "01.png"}
	r := execute(t, strings.Join(list, "\x00"), "--model", m, "--quiet", "--files-from", "-", "-0")
	require.Equal(t, cli.ExitSkipped, r.code)
	require.Len(t, lines(t, r.out), 2)
	require.Equal(t, `skipping fifo.png: a FIFO, not a file
skipping /dev/zero: a device, not a file
skipping /dev/null: a device, not a file
skipping socket.png: a socket, not a file
skipping loop.png: too many levels of symbolic links
skipping dangling: no such file or directory
skipping "gone\n.png": no such file or directory
skipping "\xff.png": no such file or directory
skipping `+list[10]+`: file name too long
skipping "a/b\x1b": no such file or directory
`, r.err)
}

func TestBrokenPipe(t *testing.T) {
	m, dir := model(t), gallery(t, 4)
	pr, pw, err := os.Pipe()
	require.NoError(t, err)
	defer pw.Close()
	require.NoError(t, pr.Close())
	for _, format := range formats {
		var stderr bytes.Buffer
		code := run(context.Background(), []string{"--model", m, "--batch", "1", "--format", format, dir}, nil, pw, &stderr)
		require.Equal(t, 0, code)
		require.Empty(t, stderr.String(), "a reader that went away is not worth a word")
	}
}

// interruptible starts a run that reads its list from a pipe, so that the test decides when it waits.
func interruptible(t *testing.T, stdout, stderr io.Writer, args ...string) (list *os.File, interrupt func(), wait func() int) {
	t.Helper()
	pr, pw, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { pw.Close(); pr.Close() })
	ctx, cancel := context.WithCancelCause(context.Background())
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append(args, "--quiet", "--files-from", "-"), pr, stdout, stderr)
	}()
	return pw, func() { cancel(cli.ErrInterrupted) }, func() int {
		select {
		case c := <-code:
			return c
		case <-time.After(20 * time.Second):
			require.FailNow(t, "the run did not end")
			return 0
		}
	}
}

// A slow list gives its rows at once, and an interruption leaves whole rows.
func TestInterrupted(t *testing.T) {
	m, dir := model(t), gallery(t, 2)
	pr, pw, err := os.Pipe()
	require.NoError(t, err)
	defer pr.Close()
	var stderr bytes.Buffer
	list, interrupt, wait := interruptible(t, pw, &stderr, "--model", m)
	out := bufio.NewReader(pr)
	for _, name := range []string{"01.png", "00.png"} {
		_, err = io.WriteString(list, filepath.Join(dir, name)+"\n")
		require.NoError(t, err)
		text, err := out.ReadString('\n') // though the batch is not full
		require.NoError(t, err)
		require.Equal(t, filepath.Join(dir, name), lines(t, text)[0].Path)
	}
	interrupt()
	require.Equal(t, cli.ExitInterrupted, wait())
	require.Contains(t, stderr.String(), "2 rows are written")
	require.NoError(t, pw.Close())
	rest, err := io.ReadAll(out)
	require.NoError(t, err)
	require.Empty(t, rest)
}

// An interrupted file holds the rows that are done, and is not there when there are none.
func TestInterruptedFile(t *testing.T) {
	m, dir := model(t), gallery(t, 1)
	for _, pictures := range []int{0, 1} {
		file := filepath.Join(t.TempDir(), "v.npy")
		pr, pw, err := os.Pipe()
		require.NoError(t, err)
		defer pr.Close()
		defer pw.Close()
		list, interrupt, wait := interruptible(t, io.Discard, pw, "--model", m, "--format", "npy", "-o", file)
		for range pictures {
			_, err := io.WriteString(list, filepath.Join(dir, "00.png")+"\n")
			require.NoError(t, err)
		}
		_, err = io.WriteString(list, filepath.Join(dir, "absent.png")+"\n")
		require.NoError(t, err)
		said, err := bufio.NewReader(pr).ReadString('\n') // in order, so the picture before it was taken
		require.NoError(t, err)
		require.Contains(t, said, "absent.png")
		interrupt()
		require.Equal(t, cli.ExitInterrupted, wait())
		if pictures == 0 {
			require.NoFileExists(t, file)
			continue
		}
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Contains(t, string(data), "'shape': (1, 32)")
		require.FileExists(t, namesFile(file))
	}
}

func TestTerminalRefused(t *testing.T) {
	tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil || !cli.IsTerminal(tty) {
		t.Skip("no pseudo-terminal here")
	}
	defer tty.Close()
	for _, format := range []string{"npy", "f32"} {
		var stderr bytes.Buffer
		code := run(context.Background(), []string{"--model", "m", "--format", format, "x"}, nil, tty, &stderr)
		require.Equal(t, cli.ExitUsage, code)
		require.Contains(t, stderr.String(), "not for a terminal")
	}
}
