package archtest

import (
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const root = "../.."

// layers says for each package what it builds on: packages of this module, and libraries with a dot in their name. A
// package may import what it builds on and everything below that. "internal/*" is every package in that folder.
var layers = map[string][]string{
	"internal/rng":         nil,
	"internal/parallel":    nil,
	"internal/cli":         {"github.com/spf13/pflag", "go.yaml.in/yaml/v3", "golang.org/x/term", "github.com/schollz/progressbar/v3"},
	"internal/durable":     {"github.com/gofrs/flock", "github.com/google/renameio/v2"},
	"internal/safetensors": {"github.com/x448/float16"},
	"internal/cpu":         {"golang.org/x/sys/cpu"},
	"internal/arena":       {"fp"},
	"internal/archtest":    nil,
	"internal/licenses":    nil,
	"internal/sdnotify":    nil,

	"internal/licenses/gen":      nil,
	"internal/durable/crashtest": {"internal/durable"},
	"internal/noise":             nil,
	"fp":                         {"internal/cpu", "github.com/x448/float16"},
	"kernels":                    {"fp", "internal/cpu", "internal/noise", "internal/parallel", "kernels/internal/coef"},
	"kernels/i8":                 {"kernels"},
	"kernels/fixed":              {"fp", "internal/cpu"},
	"kernels/kerneltest":         {"kernels", "kernels/internal/peak", "internal/cpu", "golang.org/x/sys", "github.com/stretchr/testify"},
	"kernels/bench":              {"kernels/i8", "kernels/fixed", "kernels/internal/peak"},
	"kernels/internal/coef":      nil,
	"kernels/internal/peak":      {"internal/cpu"},
	"kernels/internal/asmgen":    {"kernels/internal/coef"},
	"kernels/internal/armmodel":  {"quant", "jepa", "kernels/internal/armcount/emulator"},
	"kernels/internal/armcount":  {"quant", "kernels/internal/armcount/emulator"},

	"kernels/internal/armcount/emulator": nil,

	"vit/pixels/jpeg": nil,
	"vit/pixels":      {"vit/pixels/jpeg", "golang.org/x/image", "github.com/bep/imagemeta"},
	"vit":             {"kernels", "kernels/i8", "fp", "internal/*"},
	"vit/heads":       {"vit", "vit/pixels", "kernels", "fp", "internal/*"},

	"jepa/optim":   {"kernels", "fp"},
	"jepa/data":    {"fp", "vit/pixels", "internal/rng", "internal/parallel", "github.com/edsrzf/mmap-go"},
	"jepa":         {"vit", "jepa/data", "jepa/optim", "kernels", "internal/*"},
	"jepa/probe":   {"vit", "jepa/optim", "kernels", "gonum.org/v1/gonum"},
	"jepa/metrics": {"fp"},
	"jepa/labels":  {"vit/pixels", "go.yaml.in/yaml/v3"},
	"jepa/tune":    {"vit/heads", "jepa/data", "jepa/labels", "jepa/metrics", "jepa/optim", "kernels", "fp", "internal/*"},
	"jepa/report":  {"jepa", "jepa/data", "jepa/tune", "vit/heads", "vit", "vit/pixels", "kernels", "fp", "internal/*"},

	"device": {"internal/cpu", "golang.org/x/sys"},
	"quant":  {"vit", "vit/heads", "kernels", "kernels/i8", "kernels/fixed", "fp", "internal/*"},

	"quant/bench":          {"quant"},
	"quant/bench/plain":    {"vit", "golang.org/x/image", "gonum.org/v1/gonum"},
	"quant/bench/pictures": nil,

	"cmd/edge-embed":         {"vit", "vit/heads", "vit/pixels", "quant", "device", "internal/*", "github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/edsrzf/mmap-go", "golang.org/x/image"},
	"cmd/edge-train/demoset": {"fp", "internal/rng", "golang.org/x/image"},
	"cmd/edge-train":         {"*", "cmd/edge-train/demoset", "github.com/spf13/cobra"},
}

// testOnly are packages that nothing but tests imports.
var testOnly = []string{"kernels/kerneltest", "kernels/bench", "kernels/internal/peak", "quant/bench", "quant/bench/plain", "quant/bench/pictures", "internal/archtest", "internal/durable/crashtest"}

// TestLayersHaveNoCycle also shows that below ends.
func TestLayersHaveNoCycle(t *testing.T) {
	for pkg := range layers {
		if pkg != "cmd/edge-train" {
			for dep := range below(pkg) {
				require.NotEqual(t, pkg, dep, "%s is below itself", pkg)
			}
		}
	}
}

// below is everything that pkg may import.
func below(pkg string) map[string]bool {
	out := map[string]bool{}
	var add func(string)
	add = func(p string) {
		for _, dep := range layers[p] {
			for _, d := range expand(dep) {
				if !out[d] {
					out[d] = true
					add(d)
				}
			}
		}
	}
	add(pkg)
	return out
}

func expand(pattern string) []string {
	prefix, wild := strings.CutSuffix(pattern, "*")
	if !wild {
		return []string{pattern}
	}
	var out []string
	for p := range layers {
		if strings.HasPrefix(p, prefix) && !slices.Contains(testOnly, p) && !strings.HasPrefix(p, "cmd/") {
			out = append(out, p)
		}
	}
	return out
}

// allows tells whether a package that may import what allowed has may import dep: a package of the module by its path
// from the root, or a library.
func allows(allowed map[string]bool, dep string) bool {
	for ; dep != "." && dep != "/"; dep = path.Dir(dep) {
		if allowed[dep] {
			return true
		}
		if !strings.Contains(strings.SplitN(dep, "/", 2)[0], ".") {
			return false // a package of the module must be named itself, a library's packages belong to it
		}
	}
	return false
}

func TestRules(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"kernels", "fp", true}, {"fp", "kernels", false}, {"jepa", "fp", true}, {"vit", "jepa", false},
		{"vit/pixels", "internal/parallel", false}, {"vit/pixels", "golang.org/x/image/bmp", true}, {"kernels", "golang.org/x/sys/cpu", true},
		{"vit", "golang.org/x/image", false}, {"cmd/edge-embed", "jepa", false}, {"cmd/edge-embed", "jepa/optim", false},
		{"cmd/edge-embed", "vit/pixels", true}, {"cmd/edge-train", "jepa/probe", true}, {"cmd/edge-train", "kernels/kerneltest", false},
		{"quant", "jepa", false}, {"device", "kernels", false}, {"jepa/probe", "jepa/data", false},
	} {
		require.Equal(t, c.ok, allows(below(c.from), c.to), "%s -> %s", c.from, c.to)
	}
}

// TestImports reads every file, whatever machine it is for.
func TestImports(t *testing.T) {
	found := packages(t)
	require.Contains(t, found, "internal/archtest")
	for pkg, imports := range found {
		if _, known := layers[pkg]; !known {
			t.Errorf("package %s has no place in the architecture; give it one in layers", pkg)
			continue
		}
		allowed := below(pkg)
		for dep, file := range imports {
			inModule, isOurs := strings.CutPrefix(dep, module+"/")
			switch {
			case isOurs:
				dep = inModule
			case !strings.Contains(strings.SplitN(dep, "/", 2)[0], "."):
				continue // standard library
			}
			if !allows(allowed, dep) {
				t.Errorf("%s: package %s must not import %s", file, pkg, dep)
			}
		}
	}
}

// packages maps every package folder to its imports, each with a file that has it. Test files and files that belong to
// no build are left out, and folders with a go.mod of their own.
func packages(t *testing.T) map[string]map[string]string {
	out := map[string]map[string]string{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			_, err := os.Stat(filepath.Join(file, "go.mod"))
			nested := err == nil && file != root
			if nested || name == "testdata" || file != root && strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		for _, group := range f.Comments {
			for _, c := range group.List {
				if constraint.IsGoBuild(c.Text) && strings.Contains(c.Text, "ignore") {
					return nil
				}
			}
		}
		rel, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(rel)
		if out[pkg] == nil {
			out[pkg] = map[string]string{}
		}
		for _, spec := range f.Imports {
			dep, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			out[pkg][dep] = file
		}
		return nil
	})
	require.NoError(t, err)
	return out
}

// TestEmbedLinksNoTraining asks the go tool what edge-embed is built from.
func TestEmbedLinksNoTraining(t *testing.T) {
	if _, err := os.Stat(filepath.Join(root, "cmd")); err != nil {
		t.Skip("no programs yet")
	}
	for _, program := range []string{"edge-embed", "edge-train"} {
		require.DirExists(t, filepath.Join(root, "cmd", program))
	}
	deps := map[string]bool{}
	for line := range strings.Lines(goTool(t, "list", "-deps", module+"/cmd/edge-embed")) {
		deps[strings.TrimSpace(line)] = true
	}
	require.True(t, deps[module+"/vit"], "the list must be that of edge-embed")
	for _, dep := range slices.Sorted(maps.Keys(deps)) {
		if dep == module+"/jepa" || strings.HasPrefix(dep, module+"/jepa/") {
			t.Errorf("edge-embed links %s", dep)
		}
	}
}
