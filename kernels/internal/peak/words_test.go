package peak

import (
	"fmt"
	"go/token"
	"go/types"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// encoded are uses of the macros for what Go's assembler lacks, and what another assembler (llvm-mc) makes of the
// instruction in the comment: words, or for amd64 bytes in memory order.
var encoded = map[string][]struct{ use, want string }{
	"peak_arm64.s": {
		{"SMULL(27, 16, 16)", "0x0e30c21b"},  // smull v27.8h, v16.8b, v16.8b
		{"SMLAL(20, 16, 16)", "0x0e308214"},  // smlal v20.8h, v16.8b, v16.8b
		{"SMLAL2(20, 16, 16)", "0x4e308214"}, // smlal2 v20.8h, v16.16b, v16.16b
		{"SADALP(7, 27)", "0x4e606b67"},      // sadalp v7.4s, v27.8h
		{"SDOT(15, 16, 16)", "0x4e90960f"},   // sdot v15.4s, v16.16b, v16.16b
		{"SMMLA(9, 16, 16)", "0x4e90a609"},   // smmla v9.4s, v16.16b, v16.16b
	},
	"peak_amd64.s": {
		{"DPBUSD(0xc2, 0xc4)", "c4 c2 1d 50 c4"}, // {vex} vpdpbusd ymm0, ymm12, ymm12
		{"DPBUSD(0xc2, 0xfc)", "c4 c2 1d 50 fc"}, // {vex} vpdpbusd ymm7, ymm12, ymm12
		{"DPBUSD(0x42, 0xc4)", "c4 42 1d 50 c4"}, // {vex} vpdpbusd ymm8, ymm12, ymm12
		{"DPBUSD(0x42, 0xdc)", "c4 42 1d 50 dc"}, // {vex} vpdpbusd ymm11, ymm12, ymm12
	},
}

// assemble is what a macro of the source stands for.
func assemble(t *testing.T, source, use string) string {
	name, args, _ := strings.Cut(strings.TrimSuffix(use, ")"), "(")
	m := regexp.MustCompile(`(?m)^#define ` + name + `\(([^)]*)\) (.*?)(//.*)?$`).FindStringSubmatch(source)
	require.NotNil(t, m, name)
	body, operands := m[2], strings.Split(args, ", ")
	params := strings.Split(m[1], ", ")
	require.Len(t, operands, len(params), use)
	for i, p := range params {
		body = regexp.MustCompile(`\b`+p+`\b`).ReplaceAllString(body, operands[i])
	}
	if word := regexp.MustCompile(`WORD \$(\(.*\))`).FindStringSubmatch(body); word != nil {
		v, err := types.Eval(token.NewFileSet(), nil, token.NoPos, word[1])
		require.NoError(t, err, word[1])
		var x uint32
		_, err = fmt.Sscan(v.Value.ExactString(), &x)
		require.NoError(t, err)
		return fmt.Sprintf("%#08x", x)
	}
	var bytes []string
	for _, b := range regexp.MustCompile(`BYTE \$0x(..)`).FindAllStringSubmatch(body, -1) {
		bytes = append(bytes, b[1])
	}
	return strings.Join(bytes, " ")
}

func TestEncodings(t *testing.T) {
	for file, table := range encoded {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Skip("the source is not here: ", err) // a test binary that was carried to another machine
		}
		used := map[string]bool{}
		for _, e := range table {
			require.Equal(t, e.want, assemble(t, string(b), e.use), e.use)
			name, _, _ := strings.Cut(e.use, "(")
			used[name] = true
		}
		for _, m := range regexp.MustCompile(`(?m)^#define (\w+)\(.*(?:WORD|BYTE)`).FindAllStringSubmatch(string(b), -1) {
			require.True(t, used[m[1]], "%s: macro %s is not in the table", file, m[1])
		}
		// The checker catches another opcode.
		wrong := strings.NewReplacer("0x0e208000", "0x2e208000", "$0x50", "$0x51").Replace(string(b))
		e := map[string]string{"peak_arm64.s": "SMLAL(20, 16, 16)", "peak_amd64.s": "DPBUSD(0xc2, 0xc4)"}[file]
		require.NotEqual(t, assemble(t, string(b), e), assemble(t, wrong, e))
	}
}
