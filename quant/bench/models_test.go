package bench

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// network is a model in the forms that the contestants read. Its weights are those of a run of one step: what they are
// changes nothing about the time.
type network struct {
	name, preset string
	size, patch  int
	float        string // encoder.safetensors
	fixed        string // int8 export
	onnx         string // file, "" without Python
	int8         string // folder of dynamic.onnx and static.onnx
}

// network makes a model, or finds it.
func (b *bench) network(preset string, size, patch int) *network {
	n := &network{name: fmt.Sprintf("%s %d/%d", preset, size, patch), preset: preset, size: size, patch: patch}
	folder := fmt.Sprintf("%s-%d-%d", preset, size, patch)
	run := b.made(folder, func(to string) {
		b.tool(b.program("edge-train"), "pretrain", b.calibrate, "--out", to, "--preset", preset, "--image-size", fmt.Sprint(size),
			"--patch-size", fmt.Sprint(patch), "--batch", "4", "--max-steps", "1", "--force", "--quiet")
	})
	n.float = filepath.Join(run, "encoder.safetensors")
	n.fixed = b.made(folder+".safetensors", func(to string) {
		b.tool(b.program("edge-train"), "export", "--model", run, "--out", to, "--calibrate", b.calibrate, "--report-pictures", "8", "--force", "--quiet")
	})
	if b.python {
		n.onnx = b.made(folder+".onnx", func(to string) { b.tool(*embeddingPython, "export_onnx.py", n.float, to) })
		n.int8 = b.made(folder+".int8", func(to string) { b.tool(*embeddingPython, "pillow_ort.py", "quantize", n.onnx, to, b.calibrate) })
	}
	return n
}

// made returns the path of a name in dir; make is to write it if it is not there.
func (b *bench) made(name string, make func(to string)) string {
	path := filepath.Join(b.dir, name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	unfinished := filepath.Join(b.dir, "unfinished."+name)
	require.NoError(b.t, os.RemoveAll(unfinished))
	make(unfinished)
	require.NoError(b.t, os.Rename(unfinished, path))
	return path
}

// build compiles programs as make does.
func (b *bench) build(packages ...string) {
	b.tool("go", append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", b.programs}, packages...)...)
}

func (b *bench) program(name string) string {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(b.programs, name)
}

// tool runs a command that must succeed and is not measured.
func (b *bench) tool(name string, args ...string) {
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(b.t, err, "%s %q: %s", name, args, out)
}

// pictures counts the regular files at or below a path.
func pictures(t *testing.T, path string) (n int) {
	require.NoError(t, filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	}))
	return n
}

// firstFile is a file of a folder.
func firstFile(t *testing.T, folder string) (file string) {
	require.NoError(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			file = path
			return fs.SkipAll
		}
		return err
	}))
	require.NotEmpty(t, file, "%s: no pictures", folder)
	return file
}
