package kerneltest

import (
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Words gives for uses of macros, such as "SMULL(12, 6, 8)", the word that another assembler (llvm-mc) makes of the
// instruction.
type Words map[string]uint64

// CheckWords checks the instructions of a package's arm64 sources that are given as words, because Go's assembler does
// not know them. tables has those of each file. Each word is the value of a macro with its mnemonic in a comment behind it,
// each macro is in the table of its file, and no WORD stands outside a macro.
func CheckWords(t testing.TB, tables map[string]Words) {
	t.Helper()
	for file, words := range tables {
		source := readSource(t, file)
		used := map[string]bool{}
		for use, word := range words {
			require.Equal(t, word, MacroWord(t, source, use), "%s: %s: want %#08x", file, use, word)
			name, _, _ := strings.Cut(use, "(")
			used[name] = true
		}
		for _, m := range regexp.MustCompile(`(?m)^#define (\w+).*WORD`).FindAllStringSubmatch(source, -1) {
			require.True(t, used[m[1]], "%s: macro %s is not in the table", file, m[1])
		}
	}
	files, err := filepath.Glob("*_arm64.[hs]")
	require.NoError(t, err)
	for _, file := range files {
		for line := range strings.Lines(readSource(t, file)) {
			if strings.Contains(line, "WORD $") {
				require.True(t, strings.HasPrefix(line, "#define "), "%s: a WORD without a name: %s", file, line)
				require.NotEmpty(t, tables[file], "%s has words that no table holds", file)
			}
		}
	}
}

// readSource is a file of the package under test. A test binary that was carried to another machine has none.
func readSource(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Skip("the source is not here: ", err)
	}
	return string(b)
}

// MacroWord is the word that a macro of the header stands for. A WORD's expression is a Go expression too.
func MacroWord(t testing.TB, header, use string) uint64 {
	t.Helper()
	name, args, _ := strings.Cut(strings.TrimSuffix(use, ")"), "(")
	m := regexp.MustCompile(`(?m)^#define ` + name + `\(([^)]*)\) WORD \$\((.*)\)\s+// `).FindStringSubmatch(header)
	require.NotNil(t, m, "no macro %s with its mnemonic behind it", name)
	return EvalMacro(t, m[2], strings.Split(m[1], ", "), strings.Split(args, ", "))
}

// EvalMacro is an expression of a macro with operands for its parameters.
func EvalMacro(t testing.TB, expr string, params, operands []string) uint64 {
	t.Helper()
	require.Len(t, operands, len(params), expr)
	expr = regexp.MustCompile(`\b[a-z]\b`).ReplaceAllStringFunc(expr, func(p string) string {
		for i := range params {
			if params[i] == p {
				return operands[i]
			}
		}
		t.Fatalf("%s: no parameter %s", expr, p)
		return ""
	})
	v, err := types.Eval(token.NewFileSet(), nil, token.NoPos, expr)
	require.NoError(t, err, expr)
	word, err := strconv.ParseUint(v.Value.ExactString(), 10, 32)
	require.NoError(t, err, expr)
	return word
}
