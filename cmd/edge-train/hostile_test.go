package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cli"
	"edgejepa/jepa"
	"edgejepa/vit"
)

// A file that is no model of ours is refused in one line that names it, by every command that takes one, for memory in
// proportion to its size, and nothing is written. EDGEJEPA_HOSTILE names another folder of such files than testdata's.
func TestHostileModels(t *testing.T) {
	corpus := os.Getenv("EDGEJEPA_HOSTILE")
	if corpus == "" {
		corpus = filepath.Join("..", "..", "testdata", "hostile")
	}
	files, err := filepath.Glob(filepath.Join(corpus, "models", "*.safetensors"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 69)
	pictures, out, dir := drawn(t, 4), filepath.Join(t.TempDir(), "out"), t.TempDir()
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		inRun := filepath.Join(dir, encoderFile)
		require.NoError(t, os.WriteFile(inRun, data, 0o644))
		for _, c := range []struct {
			named string
			args  []string
		}{
			{file, []string{"probe", "--data", pictures, "--model", file}},
			{file, []string{"export", "--format", "f32", "--out", out, "--model", file}},
			{file, []string{"pretrain", pictures, "--preset", "micro", "--max-steps", "1", "--batch", "2", "--out", out, "--init-from", file}},
			{inRun, []string{"probe", "--data", pictures, "--model", dir}},
		} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			code, stdout, stderr := command(t, c.args...)
			runtime.ReadMemStats(&after)
			require.Equal(t, cli.ExitFailed, code, "%v: %s", c.args, stderr)
			require.Empty(t, stdout)
			require.Regexp(t, `^edge-train: `+regexp.QuoteMeta(c.named)+`: [^[:cntrl:]]{10,400}\n$`, stderr)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2<<20+40*len(data)), "%v", c.args)
			_, err := os.Lstat(out)
			require.ErrorIs(t, err, os.ErrNotExist)
		}
	}
}

// A run's configuration is refused, or is what it says when it is written and read again.
func FuzzRunConfig(f *testing.F) {
	p, err := vit.PresetNamed("micro")
	require.NoError(f, err)
	for _, o := range []jepa.Objective{jepa.IJEPA, jepa.LeJEPA, jepa.BYOL, jepa.MAE} {
		c := jepa.Default(p, 0, 0)
		c.SetObjective(o)
		c.SetSteps(100)
		b, err := json.Marshal(runConfig{Program: "p", Paths: []string{"/a\xff"}, Pictures: 3, MaxMegapixels: 64, Run: c})
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rc, err := parseRunConfig(b)
		if err != nil {
			return
		}
		require.NoError(t, rc.Run.Validate())
		var out bytes.Buffer
		require.NoError(t, writeJSON(&out, rc))
		again, err := parseRunConfig(out.Bytes())
		require.NoError(t, err)
		require.Equal(t, rc, again)
	})
}

// A list of pictures of any content is none, or keeps its fingerprint when it is written and read again.
func FuzzList(f *testing.F) {
	var b bytes.Buffer
	roots := []string{"/photos", "more"}
	require.NoError(f, formatList(&b, []string{"/photos/a.png", "/photos/\xff/b\n", "more", "more/c"}, roots))
	f.Add(b.Bytes())
	f.Add([]byte("0:../../etc/passwd\x0001:\x00-1:x\x009999999999999999999:y\x00no number"))
	f.Fuzz(func(t *testing.T, list []byte) {
		paths := parseList(bytes.NewReader(list), roots)
		require.LessOrEqual(t, len(paths), bytes.Count(list, []byte{0}))
		var b bytes.Buffer
		require.NoError(t, formatList(&b, paths, roots))
		again := parseList(&b, roots)
		require.Equal(t, namesHash(paths, roots), namesHash(again, roots))
	})
}

// A run whose list and configuration agree on no picture at all has no list.
func TestEmptyList(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, writeList(dir, nil, nil))
	paths, err := readList(dir, nil, runConfig{Names: namesHash(nil, nil)})
	require.NoError(t, err)
	require.Nil(t, paths)
}

// What is no file, or too long for one, is not read for a configuration.
func TestConfigThatIsNone(t *testing.T) {
	for says, put := range map[string]func(path string) error{
		"a folder":       func(path string) error { return os.Mkdir(path, 0o755) },
		"without an end": func(path string) error { return os.WriteFile(path, make([]byte, mostConfig+1), 0o644) },
	} {
		out := t.TempDir()
		require.NoError(t, put(filepath.Join(out, configFile)), says)
		code, _, stderr := command(t, "pretrain", "--out", out, "--resume")
		require.Equal(t, cli.ExitUsage, code, stderr)
		require.Contains(t, stderr, "config.json is no configuration", says)
	}
}
