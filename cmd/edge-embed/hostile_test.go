package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cli"
	"edgejepa/vit/heads"
)

// TestMain makes the test binary the program itself when a test starts it as a child.
func TestMain(m *testing.M) {
	if os.Getenv("EDGE_EMBED_CHILD") != "" {
		code := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
		if name := os.Getenv("EDGE_EMBED_PEAK"); name != "" {
			status, _ := os.ReadFile("/proc/self/status")
			_, rest, _ := strings.Cut(string(status), "VmHWM:")
			os.WriteFile(name, []byte(rest), 0o600)
		}
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// executeChild is execute as a process of its own.
func executeChild(t *testing.T, args ...string) result {
	t.Helper()
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), "EDGE_EMBED_CHILD=1")
	var out, err bytes.Buffer
	c.Stdout, c.Stderr = &out, &err
	if failed := c.Run(); failed != nil {
		require.IsType(t, &exec.ExitError{}, failed)
	}
	return result{c.ProcessState.ExitCode(), out.String(), err.String()}
}

// hostileDir holds images and models, and an index.json in each or beside them: testdata's selection, or another one that
// EDGEJEPA_HOSTILE names.
func hostileDir() string {
	if dir := os.Getenv("EDGEJEPA_HOSTILE"); dir != "" {
		return dir
	}
	return filepath.Join("..", "..", "testdata", "hostile")
}

// hostilePictures is a folder of broken, odd and dangerous files, and by name what must come of each: ok, error or any.
func hostilePictures(t *testing.T) (dir string, expect map[string]string) {
	t.Helper()
	dir = filepath.Join(hostileDir(), "images")
	data, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		data, err = os.ReadFile(filepath.Join(dir, "..", "index.json"))
	}
	require.NoError(t, err)
	var index []struct{ File, Expect string }
	require.NoError(t, json.Unmarshal(data, &index))
	expect = map[string]string{}
	for _, c := range index {
		if _, err := os.Stat(filepath.Join(dir, filepath.Base(c.File))); err == nil {
			expect[filepath.Base(c.File)] = c.Expect
		}
	}
	require.GreaterOrEqual(t, len(expect), 64)
	return dir, expect
}

// account compares what a run over the files of dir gave with what was expected: a row of a good picture, one line about a
// bad one, never both. It returns what is wrong, and how many bad files were passed over without a line.
func account(t *testing.T, dir string, expect map[string]string, r result) (wrong []string, silent int) {
	rows, told := map[string]int{}, map[string]int{}
	for _, l := range lines(t, r.out) {
		rows[filepath.Base(l.Path)]++
	}
	for l := range strings.Lines(r.err) {
		rest, about := strings.CutPrefix(l, "skipping "+dir+string(filepath.Separator))
		name, reason, _ := strings.Cut(rest, ": ")
		switch {
		case about && len(reason) > len("\n") && expect[name] != "":
			told[name]++
		default:
			wrong = append(wrong, "a line about nothing: "+l)
		}
	}
	for name, want := range expect {
		got := fmt.Sprintf("%d rows, %d lines", rows[name], told[name])
		is := map[string]string{"1 rows, 0 lines": "ok", "0 rows, 1 lines": "error", "0 rows, 0 lines": "silent"}[got]
		switch {
		case is == "silent" && want != "ok":
			silent++
		case is == "silent" || is == "" || is != want && want != "any":
			wrong = append(wrong, name+": "+got+" where "+want+" is due")
		}
		delete(rows, name)
	}
	for name := range rows {
		wrong = append(wrong, "a row of "+name)
	}
	return wrong, silent
}

// Every file gives a row or a line that names it, whatever the threads, and the same bytes every time.
func TestHostilePictures(t *testing.T) {
	m := model(t)
	dir, expect := hostilePictures(t)
	args := []string{"--model", m, "--max-megapixels", "50", "--quiet"}
	whole := execute(t, "", append(args, dir)...)
	require.Equal(t, cli.ExitSkipped, whole.code, whole.err)
	wrong, silent := account(t, dir, expect, whole)
	require.Empty(t, wrong)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	others := int64(len(entries) - len(expect) + silent) // index.json, and what is no picture by name either
	if others > 0 {
		require.Contains(t, execute(t, "", append(args, "--quiet=false", dir)...).err, ", "+cli.OtherFiles(others)+" (model ")
	}
	if os.Getenv("EDGEJEPA_HOSTILE") == "" {
		require.Zero(t, silent)
	}

	// What is named is reported in any case.
	var list strings.Builder
	for name := range expect {
		list.WriteString(filepath.Join(dir, name) + "\n")
	}
	named := execute(t, list.String(), append(args, "--files-from", "-")...)
	require.Equal(t, cli.ExitSkipped, named.code)
	wrong, silent = account(t, dir, expect, named)
	require.Empty(t, wrong)
	require.Zero(t, silent)

	require.Equal(t, whole, execute(t, "", append(args, dir)...))
	for _, threads := range []int{1, 2, 5} {
		require.Equal(t, whole, execute(t, "", append(args, "--threads", strconv.Itoa(threads), dir)...), "%d threads", threads)
	}

	// The accounting notices what is missing, superfluous or of the wrong kind.
	row, line := whole.out[strings.Index(whole.out, "\n")+1:], whole.err[strings.Index(whole.err, "\n")+1:]
	for _, r := range []result{
		{3, row, whole.err},
		{3, whole.out[:len(whole.out)-len(row)] + whole.out, whole.err},
		{3, whole.out, whole.err[:len(whole.err)-len(line)] + whole.err},
		{3, whole.out, "panic\n" + whole.err},
	} {
		wrong, _ := account(t, dir, expect, r)
		require.NotEmpty(t, wrong)
	}
	_, before := account(t, dir, expect, whole)
	_, after := account(t, dir, expect, result{3, whole.out, line})
	require.Equal(t, before+1, after)
}

// So it is when they are segmented, and each row has its mask and its drawing.
func TestHostilePredictions(t *testing.T) {
	m := modelWith(t, headFor(t, heads.Segment, "background", "b"))
	dir, expect := hostilePictures(t)
	var whole result
	var files map[string]string
	for _, threads := range []string{"1", "2"} {
		out := t.TempDir()
		args := []string{"predict", "--model", m, "--max-megapixels", "50", "--quiet", "--threads", threads}
		r := execute(t, "", append(args, "--masks", filepath.Join(out, "masks"), "--draw", filepath.Join(out, "drawn"), "--draw-format", "jpg", dir)...)
		require.Equal(t, cli.ExitSkipped, r.code, r.err)
		var paths strings.Builder
		masks := 0
		for _, p := range predicted(t, result{out: r.out}) {
			_, err := os.Stat(p.Mask)
			require.NoError(t, err)
			text, err := json.Marshal(line{Path: p.Path, PathBytes: p.PathBytes})
			require.NoError(t, err)
			paths.Write(append(text, '\n'))
			masks++
		}
		wrong, _ := account(t, dir, expect, result{r.code, paths.String(), r.err})
		require.Empty(t, wrong)
		r.out = strings.ReplaceAll(r.out, out, "")
		written := tree(t, out)
		if files == nil {
			whole, files = r, written
		}
		require.Equal(t, whole, r)
		require.True(t, maps.Equal(files, written))
		require.Len(t, files, 2*masks)
	}
}

// Files that shrink, grow, vanish and come back while they are embedded are rows or lines, and the others are rows.
func TestFilesChangeMeanwhile(t *testing.T) {
	m, dir := model(t), gallery(t, 12)
	whole := drawn(t, 40, 40, 1)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			path := filepath.Join(dir, fmt.Sprintf("%02d.png", i%6*2)) // what happens to fail on some system does no harm
			switch i % 5 {
			case 0:
				os.Truncate(path, 70)
			case 1:
				os.Remove(path)
			case 2:
				os.WriteFile(path, append(whole[:len(whole):len(whole)], make([]byte, 1<<20)...), 0o644)
			case 3:
				os.Mkdir(path, 0o755)
			default:
				os.Remove(path)
				os.WriteFile(path, whole, 0o644)
			}
		}
	}()
	codes := map[int]int{}
	for range 30 {
		r := execute(t, "", "--model", m, "--quiet", dir)
		codes[r.code]++
		rows := map[string]bool{}
		for _, l := range lines(t, r.out) {
			rows[filepath.Base(l.Path)] = true
		}
		for i := 1; i < 12; i += 2 {
			require.True(t, rows[fmt.Sprintf("%02d.png", i)], r.out)
		}
		for l := range strings.Lines(r.err) {
			require.True(t, strings.HasPrefix(l, "skipping "+dir), l)
		}
	}
	close(stop)
	<-stopped
	require.Positive(t, codes[cli.ExitSkipped])
	require.Equal(t, 30, codes[cli.ExitOK]+codes[cli.ExitSkipped], codes)
}

// A file that is no model of ours is refused in one line that names it, for memory in proportion to its size.
func TestHostileModels(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(hostileDir(), "models", "*.safetensors"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 69)
	dir := gallery(t, 1)
	for _, file := range files {
		st, err := os.Stat(file)
		require.NoError(t, err)
		for _, args := range [][]string{{"--model", file, dir}, {"predict", "--model", file, dir}, {"info", "--model", file}} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r := execute(t, "", args...)
			runtime.ReadMemStats(&after)
			require.Equal(t, cli.ExitFailed, r.code, "%s: %s", file, r.err)
			require.Empty(t, r.out)
			require.Regexp(t, `^edge-embed: `+regexp.QuoteMeta(file)+`: [^[:cntrl:]]{10,400}\n$`, r.err)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20+40*st.Size()), file)
		}
	}
}

// Any name comes through a list, and can be had back from each format that holds names.
func FuzzNames(f *testing.F) {
	for _, name := range []string{"a.png", " a,\"b\"\\.png\n", "\xff\xfe\r.png", "\"\x00\x7f\u2028\ufffd", "\xed\xa0\x80"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		name = strings.ReplaceAll(name, "\x00", "0")
		if name == "" || len(name) >= longestPath {
			return
		}
		for got, err := range entries(strings.NewReader("\x00\x00"+name+"\x00"), true) {
			require.NoError(t, err)
			require.Equal(t, name, got)
		}
		v, s := []float32{1}, shape{Dim: 1}
		l := lines(t, string(appendJSONL(nil, name, v, s)))
		require.Len(t, l, 1)
		got := l[0].Path
		if l[0].PathBytes != nil {
			got = string(l[0].PathBytes)
		}
		require.Equal(t, name, got)

		line := strings.TrimSuffix(string(appendLine(nil, name)), "\n")
		require.False(t, strings.ContainsAny(line, "\r\n"))
		if strings.HasPrefix(line, `"`) {
			var err error
			line, err = strconv.Unquote(line)
			require.NoError(t, err)
		}
		require.Equal(t, name, line)

		table, err := csv.NewReader(strings.NewReader(string(appendCSV(nil, name, v, s)))).ReadAll()
		require.NoError(t, err)
		require.Equal(t, strings.ReplaceAll(name, "\r\n", "\n"), table[0][0], "this reader changes line ends itself")
	})
}
