package kernels

import (
	"go/token"
	"go/types"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// neonI8Words are uses of the macros in int8_neon_arm64.h and the words that another assembler (llvm-mc) makes of the
// instruction in the comment.
var neonI8Words = []struct {
	use  string
	word uint64
}{
	{"SMULL(0, 0, 0)", 0x0e20c000},      // smull v0.8h, v0.8b, v0.8b
	{"SMULL(12, 6, 8)", 0x0e28c0cc},     // smull v12.8h, v6.8b, v8.8b
	{"SMULL(31, 30, 29)", 0x0e3dc3df},   // smull v31.8h, v30.8b, v29.8b
	{"SMULL(1, 2, 4)", 0x0e24c041},      // smull v1.8h, v2.8b, v4.8b
	{"SMLAL(0, 0, 0)", 0x0e208000},      // smlal v0.8h, v0.8b, v0.8b
	{"SMLAL(12, 6, 8)", 0x0e2880cc},     // smlal v12.8h, v6.8b, v8.8b
	{"SMLAL(31, 30, 29)", 0x0e3d83df},   // smlal v31.8h, v30.8b, v29.8b
	{"SMLAL(1, 2, 4)", 0x0e248041},      // smlal v1.8h, v2.8b, v4.8b
	{"SMLAL2(0, 0, 0)", 0x4e208000},     // smlal2 v0.8h, v0.16b, v0.16b
	{"SMLAL2(12, 6, 8)", 0x4e2880cc},    // smlal2 v12.8h, v6.16b, v8.16b
	{"SMLAL2(31, 30, 29)", 0x4e3d83df},  // smlal2 v31.8h, v30.16b, v29.16b
	{"SMLAL2(1, 2, 4)", 0x4e248041},     // smlal2 v1.8h, v2.16b, v4.16b
	{"SADALP(0, 0)", 0x4e606800},        // sadalp v0.4s, v0.8h
	{"SADALP(31, 12)", 0x4e60699f},      // sadalp v31.4s, v12.8h
	{"SADALP(5, 26)", 0x4e606b45},       // sadalp v5.4s, v26.8h
	{"SDOTL(31, 6, 0, 0)", 0x4f80e0df},  // sdot v31.4s, v6.16b, v0.4b[0]
	{"SDOTL(8, 7, 5, 1)", 0x4fa5e0e8},   // sdot v8.4s, v7.16b, v5.4b[1]
	{"SDOTL(19, 6, 3, 2)", 0x4f83e8d3},  // sdot v19.4s, v6.16b, v3.4b[2]
	{"SDOTL(1, 2, 31, 3)", 0x4fbfe841},  // sdot v1.4s, v2.16b, v31.4b[3]
	{"SDOTL(0, 31, 16, 0)", 0x4f90e3e0}, // sdot v0.4s, v31.16b, v16.4b[0]
	{"FMUL(0, 0, 0)", 0x6e20dc00},       // fmul v0.4s, v0.4s, v0.4s
	{"FMUL(12, 6, 8)", 0x6e28dccc},      // fmul v12.4s, v6.4s, v8.4s
	{"FMUL(31, 30, 29)", 0x6e3ddfdf},    // fmul v31.4s, v30.4s, v29.4s
	{"FMUL(1, 2, 4)", 0x6e24dc41},       // fmul v1.4s, v2.4s, v4.4s
	{"FADD(0, 0, 0)", 0x4e20d400},       // fadd v0.4s, v0.4s, v0.4s
	{"FADD(12, 6, 8)", 0x4e28d4cc},      // fadd v12.4s, v6.4s, v8.4s
	{"FADD(31, 30, 29)", 0x4e3dd7df},    // fadd v31.4s, v30.4s, v29.4s
	{"FADD(1, 2, 4)", 0x4e24d441},       // fadd v1.4s, v2.4s, v4.4s
	{"FMAX(0, 0, 0)", 0x4e20f400},       // fmax v0.4s, v0.4s, v0.4s
	{"FMAX(12, 6, 8)", 0x4e28f4cc},      // fmax v12.4s, v6.4s, v8.4s
	{"FMAX(31, 30, 29)", 0x4e3df7df},    // fmax v31.4s, v30.4s, v29.4s
	{"FMAX(1, 2, 4)", 0x4e24f441},       // fmax v1.4s, v2.4s, v4.4s
	{"FMIN(0, 0, 0)", 0x4ea0f400},       // fmin v0.4s, v0.4s, v0.4s
	{"FMIN(12, 6, 8)", 0x4ea8f4cc},      // fmin v12.4s, v6.4s, v8.4s
	{"FMIN(31, 30, 29)", 0x4ebdf7df},    // fmin v31.4s, v30.4s, v29.4s
	{"FMIN(1, 2, 4)", 0x4ea4f441},       // fmin v1.4s, v2.4s, v4.4s
	{"SCVTF(0, 0)", 0x4e21d800},         // scvtf v0.4s, v0.4s
	{"SCVTF(31, 12)", 0x4e21d99f},       // scvtf v31.4s, v12.4s
	{"SCVTF(5, 26)", 0x4e21db45},        // scvtf v5.4s, v26.4s
	{"FCVTNS(0, 0)", 0x4e21a800},        // fcvtns v0.4s, v0.4s
	{"FCVTNS(31, 12)", 0x4e21a99f},      // fcvtns v31.4s, v12.4s
	{"FCVTNS(5, 26)", 0x4e21ab45},       // fcvtns v5.4s, v26.4s
	{"SQXTNS(0, 0)", 0x0e614800},        // sqxtn v0.4h, v0.4s
	{"SQXTNS(31, 12)", 0x0e61499f},      // sqxtn v31.4h, v12.4s
	{"SQXTNS(5, 26)", 0x0e614b45},       // sqxtn v5.4h, v26.4s
	{"SQXTNS2(0, 0)", 0x4e614800},       // sqxtn2 v0.8h, v0.4s
	{"SQXTNS2(31, 12)", 0x4e61499f},     // sqxtn2 v31.8h, v12.4s
	{"SQXTNS2(5, 26)", 0x4e614b45},      // sqxtn2 v5.8h, v26.4s
	{"SQXTNH(0, 0)", 0x0e214800},        // sqxtn v0.8b, v0.8h
	{"SQXTNH(31, 12)", 0x0e21499f},      // sqxtn v31.8b, v12.8h
	{"SQXTNH(5, 26)", 0x0e214b45},       // sqxtn v5.8b, v26.8h
	{"SQXTNH2(0, 0)", 0x4e214800},       // sqxtn2 v0.16b, v0.8h
	{"SQXTNH2(31, 12)", 0x4e21499f},     // sqxtn2 v31.16b, v12.8h
	{"SQXTNH2(5, 26)", 0x4e214b45},      // sqxtn2 v5.16b, v26.8h
}

// macroWord is the word that a macro of the header stands for. A WORD's expression is a Go expression too.
func macroWord(t *testing.T, header, use string) uint64 {
	t.Helper()
	name, args, _ := strings.Cut(strings.TrimSuffix(use, ")"), "(")
	m := regexp.MustCompile(`(?m)^#define ` + name + `\(([^)]*)\) WORD \$\((.*)\)\s+// `).FindStringSubmatch(header)
	require.NotNil(t, m, "no macro %s with its mnemonic behind it", name)
	operands := strings.Split(args, ", ")
	params := strings.Split(m[1], ", ")
	require.Len(t, operands, len(params), use)
	expr := regexp.MustCompile(`\b[a-z]\b`).ReplaceAllStringFunc(m[2], func(p string) string {
		for i := range params {
			if params[i] == p {
				return operands[i]
			}
		}
		t.Fatalf("%s: no parameter %s", name, p)
		return ""
	})
	v, err := types.Eval(token.NewFileSet(), nil, token.NoPos, expr)
	require.NoError(t, err, expr)
	word, err := strconv.ParseUint(v.Value.ExactString(), 10, 32)
	require.NoError(t, err, expr)
	return word
}

func TestI8Words(t *testing.T) {
	b, err := os.ReadFile("int8_neon_arm64.h")
	if err != nil {
		t.Skip("the source is not here: ", err) // a test binary that was carried to another machine
	}
	header := string(b)
	used := map[string]bool{}
	for _, w := range neonI8Words {
		require.Equal(t, w.word, macroWord(t, header, w.use), "%s: want %#08x", w.use, w.word)
		name, _, _ := strings.Cut(w.use, "(")
		used[name] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^#define (\w+)`).FindAllStringSubmatch(header, -1) {
		require.True(t, used[m[1]], "macro %s is not in the table", m[1])
	}

	// The checker catches a wrong base, and a lane that is put in the wrong bits.
	wrong := strings.Replace(header, "0x4e606800", "0x4e206800", 1)
	require.NotEqual(t, uint64(0x4e60681f), macroWord(t, wrong, "SADALP(31, 0)"))
	wrong = strings.Replace(header, "((l)&1)<<21", "((l)&1)<<20", 1)
	require.NotEqual(t, macroWord(t, header, "SDOTL(8, 7, 5, 1)"), macroWord(t, wrong, "SDOTL(8, 7, 5, 1)"))
}
