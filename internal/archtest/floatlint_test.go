package archtest

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// portable are the packages whose arithmetic reaches weights, pictures and embeddings.
var portable = []string{"fp", "kernels", "kernels/i8", "kernels/fixed", "vit", "vit/heads", "vit/pixels", "vit/pixels/jpeg", "jepa", "jepa/data", "jepa/optim", "jepa/probe", "jepa/labels", "jepa/metrics", "jepa/tune", "jepa/report", "quant", "cmd/edge-train/demoset"}

// goTool runs the go command for the machine that the tests run on.
func goTool(t *testing.T, args ...string) string {
	out, _ := goToolIn(t, root, nil, args...)
	return out
}

func goToolIn(t *testing.T, dir string, env []string, args ...string) (stdout, stderr string) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs the go command")
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	var messages strings.Builder
	cmd.Stderr = &messages
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "GOOS=") && !strings.HasPrefix(e, "GOARCH=") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.Output()
	require.NoError(t, err, "go %s\n%s", strings.Join(args, " "), &messages)
	return string(out), messages.String()
}

// exportData imports compiled packages, which the go command builds or finds in its cache.
func exportData(t *testing.T, fset *token.FileSet, patterns ...string) types.Importer {
	files := map[string]string{}
	dec := json.NewDecoder(strings.NewReader(goTool(t, append([]string{"list", "-export", "-deps", "-json=ImportPath,Export"}, patterns...)...)))
	for dec.More() {
		var p struct{ ImportPath, Export string }
		require.NoError(t, dec.Decode(&p))
		files[p.ImportPath] = p.Export
	}
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) })
}

func check(fset *token.FileSet, imp types.Importer, path string, files []*ast.File) ([]finding, error) {
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: imp}
	if _, err := conf.Check(path, fset, files, info); err != nil {
		return nil, err
	}
	return lintFloats(fset, files, info), nil
}

// portablePackages lists the folders of portable and the same as arguments of the go command. While there are no programs
// yet, some may be missing.
func portablePackages(t *testing.T) (present, patterns []string) {
	_, err := os.Stat(filepath.Join(root, "cmd"))
	complete := err == nil
	for _, pkg := range portable {
		_, err := os.Stat(filepath.Join(root, pkg))
		if !complete && err != nil {
			continue
		}
		require.NoError(t, err)
		present = append(present, pkg)
		patterns = append(patterns, "./"+pkg)
	}
	return present, patterns
}

// TestFloats lints each package as it is built for amd64, for arm64 and without assembly.
func TestFloats(t *testing.T) {
	present, patterns := portablePackages(t)
	fset := token.NewFileSet()
	imp := exportData(t, fset, patterns...)
	builds := []build.Context{build.Default, build.Default, build.Default}
	builds[0].GOARCH, builds[1].GOARCH, builds[2].GOARCH = "amd64", "arm64", "arm"
	seen := map[string]bool{}
	for _, pkg := range present {
		for _, b := range builds {
			b.GOOS, b.CgoEnabled = "linux", false
			dir, err := b.ImportDir(filepath.Join(root, pkg), 0)
			require.NoError(t, err)
			var files []*ast.File
			for _, name := range dir.GoFiles {
				f, err := parser.ParseFile(fset, filepath.Join(root, pkg, name), nil, parser.ParseComments|parser.SkipObjectResolution)
				require.NoError(t, err)
				files = append(files, f)
			}
			findings, err := check(fset, imp, module+"/"+pkg, files)
			require.NoError(t, err, "%s for %s", pkg, b.GOARCH)
			for _, f := range findings {
				if !seen[f.String()] {
					t.Error(f)
				}
				seen[f.String()] = true
			}
		}
	}
}

// TestLintFinds is the control: every line marked "want" is found, with that word in the message, and no other.
func TestLintFinds(t *testing.T) {
	const source = `package snippet

import "math"

type S struct{ f float32 }
type Float interface{ ~float32 | ~float64 }
type num float32

func add(a, b float32) float32 { return a + b }

func direct(a, b, c float32, x []float64, i, j int, n num) {
	_ = a*b + c // want product
	_ = c - (a * b) // want product
	_ = -(a * b) + c // want product
	_ = c + float32(a*b)
	_ = float32(a*b) - float32(b*c)
	_ = a*b - b*c // want product product
	c += a * b // want product
	c -= -a * b // want product
	x[0] += x[1] * x[2] // want product
	c += float32(a * b)
	c += a / b
	_ = i*j + i
	i += j * j
	_ = n*n + n // want product
	_ = float32(i*j) + c
	_ = float32(a*b+c) // want product
	_ = 2.0*3.0 + c
	_ = (a+b)*c
	_ = a*b*c
	_ = a*b < c
	_ = max(a*b, c) + c
}

func generic[T Float](a, b T) {
	_ = a*b + b // want product
	_ = T(a*b) + b
}

func stored(a, b, c float32, x []float32, s *S, i int) {
	t := a * b // want stored
	_ = t + c
	u := a * b
	_ = u * c
	v := a
	v *= b // want stored
	v += c
	w := a * b
	_ = float32(w) + c
	x[i] = a * b // want stored
	c += x[i]
	x[i+1] = a * b
	s.f = a * b // want stored
	_ = c - s.f
	var y = a * b // want stored
	y++
	z := float32(a * b)
	_ = z + c
	p, q := a*b, float32(a*b) // want stored
	_ = p + q
}

func passed(a, b, c float32) float32 {
	_ = math.Sqrt(float64(a) * float64(b))
	return add(a*b, c)
}

func library(x float64) {
	_ = math.Exp(x) // want fp
	_ = math.Sqrt(math.Abs(x))
	_ = math.FMA(x, x, x) // want fp
	g := math.Tanh // want fp
	_ = g
}

func excused(a, b, c float64) {
	_ = a*b + c //fma:ok the product is exact
	//fma:ok a fused operation is wanted
	_ = math.FMA(a, b, c)
	_ = a*b + c //fma:ok
	_ = a + c //fma:ok nothing to excuse
}
`
	fset := token.NewFileSet()
	imp := exportData(t, fset, "math")
	file, err := parser.ParseFile(fset, "snippet.go", source, parser.ParseComments|parser.SkipObjectResolution)
	require.NoError(t, err)
	findings, err := check(fset, imp, "snippet", []*ast.File{file})
	require.NoError(t, err)
	got := map[int][]string{}
	for _, f := range findings {
		got[f.pos.Line] = append(got[f.pos.Line], f.msg)
	}
	for i, text := range strings.Split(source, "\n") {
		_, marks, _ := strings.Cut(text, "// want ")
		want := strings.Fields(marks)
		switch strings.TrimSpace(text) {
		case "_ = a*b + c //fma:ok":
			want = []string{"needs a reason", "product"}
		case "_ = a + c //fma:ok nothing to excuse":
			want = []string{"excuses nothing"}
		}
		require.Len(t, got[i+1], len(want), "line %d: %s\n%v", i+1, text, got[i+1])
		for j, w := range want {
			require.Contains(t, got[i+1][j], w, text)
		}
	}
}

var fusedPattern = regexp.MustCompile(`\(([^()\s]+):(\d+)\)\s+(FN?M(?:ADD|SUB)[SD])\s`)

// fused lists the fused instructions that the compiler emits for arm64, as "file:line instruction", without the lines
// that a comment excuses.
func fused(t *testing.T, dir string, patterns ...string) []string {
	env := []string{"GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0"}
	_, listing := goToolIn(t, dir, env, append([]string{"build", "-gcflags=-S"}, patterns...)...)
	require.Contains(t, listing, "STEXT", "the compiler must print its listing")
	var out []string
	sources := map[string][]string{}
	for _, m := range fusedPattern.FindAllStringSubmatch(listing, -1) {
		file, instruction := m[1], m[3]
		line, err := strconv.Atoi(m[2])
		require.NoError(t, err)
		if sources[file] == nil {
			b, err := os.ReadFile(file)
			require.NoError(t, err)
			sources[file] = append([]string{""}, strings.Split(string(b), "\n")...)
		}
		if text := sources[file]; strings.Contains(text[line], escape) || strings.Contains(text[line-1], escape) {
			continue
		}
		if found := fmt.Sprintf("%s:%d %s", file, line, instruction); !slices.Contains(out, found) {
			out = append(out, found)
		}
	}
	return out
}

// TestNoFusedInstructions reads what the compiler makes of the packages for arm64, with everything inlined.
func TestNoFusedInstructions(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles for another machine")
	}
	_, patterns := portablePackages(t)
	for _, f := range fused(t, root, patterns...) {
		t.Errorf("%s: a product is fused with a sum; convert the product explicitly", f)
	}
}

// TestFusedFinds is the control.
func TestFusedFinds(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles for another machine")
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module snippet\n\ngo 1.26\n"), 0o600))
	const source = `package snippet

func Mul(a, b float64) float64 { return a * b }

func Through(a, b, c float64) float64 {
	return Mul(a, b) + c // line 6
}

func Stored(a, b float32, x []float32) float32 {
	t := a * b
	return x[0] - t // line 11
}

func Converted(a, b, c float64) float64 { return float64(a*b) + c }

func Excused(a, b, c float64) float64 {
	return a*b + c //fma:ok wanted
}
`
	file := filepath.Join(dir, "snippet.go")
	require.NoError(t, os.WriteFile(file, []byte(source), 0o600))
	real, err := filepath.EvalSymlinks(dir)
	require.NoError(t, err)
	var got []string
	for _, f := range fused(t, real, ".") {
		got = append(got, filepath.Base(f))
	}
	require.Equal(t, []string{"snippet.go:6 FMADDD", "snippet.go:11 FMSUBS"}, got)
}
