package kerneltest

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each way for a word to escape the table is found out.
func TestCheckWords(t *testing.T) {
	const right = `#define FADD(m, n, d) WORD $(0x4e20d400 | (m)<<16 | (n)<<5 | (d)) // fadd d.4s, n.4s, m.4s
#define OTHER(d) VMOV d, V0
	FADD(1, 2, 3)
`
	table := Words{"FADD(4, 2, 1)": 0x4e24d441, "FADD(29, 30, 31)": 0x4e3dd7df}
	check := func(source string, tables map[string]Words) bool {
		require.NoError(t, os.WriteFile("x_arm64.s", []byte(source), 0o600))
		return !fails(t, func(t testing.TB) { CheckWords(t, tables) })
	}
	t.Chdir(t.TempDir())
	require.True(t, check(right, map[string]Words{"x_arm64.s": table}))
	require.False(t, check(right, nil), "no table")
	require.False(t, check(right, map[string]Words{"x_arm64.s": {}}), "an empty table")
	require.False(t, check(right, map[string]Words{"x_arm64.s": {"FSUB(1, 2, 3)": 0}}), "no such macro")
	for name, source := range map[string]string{
		"another instruction": strings.Replace(right, "0x4e20d400", "0x4ea0d400", 1),
		"a shifted register":  strings.Replace(right, "(n)<<5", "(n)<<6", 1),
		"a macro more":        right + "#define FMUL(m) WORD $(0x6e20dc00 | (m)<<16) // fmul\n",
		"a bare word":         right + "\tWORD $0x4e20d400\n",
		"no mnemonic":         strings.Replace(right, "//", "", 1),
		"a free parameter":    strings.Replace(right, "(d)) ", "(e)) ", 1),
	} {
		require.False(t, check(source, map[string]Words{"x_arm64.s": table}), name)
	}
}
