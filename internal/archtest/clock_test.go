package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// wallClock are what reads the time of day: of a board without a battery it may be years off, and jump. Spans of time are
// measured by the monotonic clock, which Go's time.Since, Sub and After use on what time.Now gave.
var wallClock = []string{"Unix", "UnixMilli", "UnixMicro", "UnixNano", "ModTime", "YearDay", "Weekday"}

// clockReaders may read the time of day, for nothing but to show it.
var clockReaders = []string{"cmd/edge-train/serve.go", "jepa/report/page.go"}

// clockCalls are the calls in a file of methods or functions that go by the time of day.
func clockCalls(t *testing.T, name string, src any) (calls []string) {
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, name, src, 0)
	require.NoError(t, err)
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		s, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !slices.Contains(wallClock, s.Sel.Name) {
			return true
		}
		calls = append(calls, files.Position(call.Pos()).String()+": "+s.Sel.Name)
		return true
	})
	return calls
}

// Nothing is decided by the time of day: not which checkpoint is the newest, nor when the next one is due. So the clock may
// jump.
func TestNothingGoesByTheTimeOfDay(t *testing.T) {
	seen := 0
	for _, folder := range []string{"cmd", "device", "fp", "internal", "jepa", "kernels", "quant", "vit"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			if seen++; slices.Contains(clockReaders, filepath.ToSlash(rel)) {
				return nil
			}
			for _, call := range clockCalls(t, path, nil) {
				t.Errorf("%s goes by the time of day", call)
			}
			return nil
		})
		require.NoError(t, err)
	}
	require.Greater(t, seen, 100)
}

func TestClockCallsAreFound(t *testing.T) {
	src := "package p\nfunc f() { a.Unix(); b.ModTime(); time.After(1); time.Since(x) }"
	require.Equal(t, []string{"p.go:2:12: Unix", "p.go:2:22: ModTime"}, clockCalls(t, "p.go", src))
}
