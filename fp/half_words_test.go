package fp

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// The words of the macros in half_arm64.s are those of llvm-mc for OP v3, v1 and OP v31, v30.
func TestHalfWords(t *testing.T) {
	text, err := os.ReadFile("half_arm64.s")
	if err != nil {
		t.Skip("the source is not here: ", err) // a test binary that was carried to another machine
	}
	want := map[string][2]uint32{
		"FCVTN":  {0x0e216823, 0x0e216bdf}, // fcvtn v3.4h, v1.4s
		"FCVTN2": {0x4e216823, 0x4e216bdf}, // fcvtn2 v3.8h, v1.4s
		"FCVTL":  {0x0e217823, 0x0e217bdf}, // fcvtl v3.4s, v1.4h
		"FCVTL2": {0x4e217823, 0x4e217bdf}, // fcvtl2 v3.4s, v1.8h
	}
	macro := regexp.MustCompile(`(?m)^#define (\w+)\(d, n\) WORD \$\((0x\w{8}) \| \(d\) \| \(n\)<<5\) // `)
	found := macro.FindAllStringSubmatch(string(text), -1)
	require.Len(t, found, len(want))
	require.Len(t, regexp.MustCompile(`(?m)^#define|\bWORD\b`).FindAllString(string(text), -1), 2*len(want), "a word outside a macro")
	for _, m := range found {
		base, err := strconv.ParseUint(m[2], 0, 32)
		require.NoError(t, err)
		require.Equal(t, want[m[1]], [2]uint32{uint32(base) | 3 | 1<<5, uint32(base) | 31 | 30<<5}, m[1])
	}
}
