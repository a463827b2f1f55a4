package kernels

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/kernels/kerneltest"
)

// neonWords has the tables of the sources for arm64, by file.
var neonWords = map[string]kerneltest.Words{
	"neon_arm64.h":   neonF32Words,
	"half_arm64.s":   halfWords,
	"vector_arm64.s": vectorWords,
}

var neonF32Words = kerneltest.Words{
	"FMLAE(0, 0, 0, 0)":    0x4f801000, // fmla v0.4s, v0.4s, v0.s[0]
	"FMLAE(31, 30, 29, 1)": 0x4fbd13df, // fmla v31.4s, v30.4s, v29.s[1]
	"FMLAE(8, 6, 15, 2)":   0x4f8f18c8, // fmla v8.4s, v6.4s, v15.s[2]
	"FMLAE(1, 2, 16, 3)":   0x4fb01841, // fmla v1.4s, v2.4s, v16.s[3]
	"FMLAE(23, 31, 24, 0)": 0x4f9813f7, // fmla v23.4s, v31.4s, v24.s[0]
}

var halfWords = kerneltest.Words{
	"FCVTL(0, 0)":    0x0e217800, // fcvtl v0.4s, v0.4h
	"FCVTL(31, 12)":  0x0e21799f, // fcvtl v31.4s, v12.4h
	"FCVTL(5, 26)":   0x0e217b45, // fcvtl v5.4s, v26.4h
	"FCVTL2(0, 0)":   0x4e217800, // fcvtl2 v0.4s, v0.8h
	"FCVTL2(31, 12)": 0x4e21799f, // fcvtl2 v31.4s, v12.8h
	"FCVTL2(5, 26)":  0x4e217b45, // fcvtl2 v5.4s, v26.8h
}

var vectorWords = kerneltest.Words{
	"FADD4S(0, 0, 0)":     0x4e20d400, // fadd v0.4s, v0.4s, v0.4s
	"FADD4S(12, 6, 8)":    0x4e28d4cc, // fadd v12.4s, v6.4s, v8.4s
	"FADD4S(31, 30, 29)":  0x4e3dd7df, // fadd v31.4s, v30.4s, v29.4s
	"FADD4S(1, 2, 4)":     0x4e24d441, // fadd v1.4s, v2.4s, v4.4s
	"FSUB4S(0, 0, 0)":     0x4ea0d400, // fsub v0.4s, v0.4s, v0.4s
	"FSUB4S(12, 6, 8)":    0x4ea8d4cc, // fsub v12.4s, v6.4s, v8.4s
	"FSUB4S(31, 30, 29)":  0x4ebdd7df, // fsub v31.4s, v30.4s, v29.4s
	"FSUB4S(1, 2, 4)":     0x4ea4d441, // fsub v1.4s, v2.4s, v4.4s
	"FMUL4S(0, 0, 0)":     0x6e20dc00, // fmul v0.4s, v0.4s, v0.4s
	"FMUL4S(12, 6, 8)":    0x6e28dccc, // fmul v12.4s, v6.4s, v8.4s
	"FMUL4S(31, 30, 29)":  0x6e3ddfdf, // fmul v31.4s, v30.4s, v29.4s
	"FMUL4S(1, 2, 4)":     0x6e24dc41, // fmul v1.4s, v2.4s, v4.4s
	"FDIV4S(0, 0, 0)":     0x6e20fc00, // fdiv v0.4s, v0.4s, v0.4s
	"FDIV4S(12, 6, 8)":    0x6e28fccc, // fdiv v12.4s, v6.4s, v8.4s
	"FDIV4S(31, 30, 29)":  0x6e3dffdf, // fdiv v31.4s, v30.4s, v29.4s
	"FDIV4S(1, 2, 4)":     0x6e24fc41, // fdiv v1.4s, v2.4s, v4.4s
	"FSQRT4S(0, 0)":       0x6ea1f800, // fsqrt v0.4s, v0.4s
	"FSQRT4S(31, 12)":     0x6ea1f99f, // fsqrt v31.4s, v12.4s
	"FSQRT4S(5, 26)":      0x6ea1fb45, // fsqrt v5.4s, v26.4s
	"FCMGT4S(0, 0, 0)":    0x6ea0e400, // fcmgt v0.4s, v0.4s, v0.4s
	"FCMGT4S(12, 6, 8)":   0x6ea8e4cc, // fcmgt v12.4s, v6.4s, v8.4s
	"FCMGT4S(31, 30, 29)": 0x6ebde7df, // fcmgt v31.4s, v30.4s, v29.4s
	"FCMGT4S(1, 2, 4)":    0x6ea4e441, // fcmgt v1.4s, v2.4s, v4.4s
	"BIC16B(0, 0, 0)":     0x4e601c00, // bic v0.16b, v0.16b, v0.16b
	"BIC16B(12, 6, 8)":    0x4e681ccc, // bic v12.16b, v6.16b, v8.16b
	"BIC16B(31, 30, 29)":  0x4e7d1fdf, // bic v31.16b, v30.16b, v29.16b
	"BIC16B(1, 2, 4)":     0x4e641c41, // bic v1.16b, v2.16b, v4.16b
	"FCVTL2D(0, 0)":       0x0e617800, // fcvtl v0.2d, v0.2s
	"FCVTL2D(31, 12)":     0x0e61799f, // fcvtl v31.2d, v12.2s
	"FCVTL2D(5, 26)":      0x0e617b45, // fcvtl v5.2d, v26.2s
	"FCVTL2D2(0, 0)":      0x4e617800, // fcvtl2 v0.2d, v0.4s
	"FCVTL2D2(31, 12)":    0x4e61799f, // fcvtl2 v31.2d, v12.4s
	"FCVTL2D2(5, 26)":     0x4e617b45, // fcvtl2 v5.2d, v26.4s
	"FADD2D(0, 0, 0)":     0x4e60d400, // fadd v0.2d, v0.2d, v0.2d
	"FADD2D(12, 6, 8)":    0x4e68d4cc, // fadd v12.2d, v6.2d, v8.2d
	"FADD2D(31, 30, 29)":  0x4e7dd7df, // fadd v31.2d, v30.2d, v29.2d
	"FADD2D(1, 2, 4)":     0x4e64d441, // fadd v1.2d, v2.2d, v4.2d
	"FMUL2D(0, 0, 0)":     0x6e60dc00, // fmul v0.2d, v0.2d, v0.2d
	"FMUL2D(12, 6, 8)":    0x6e68dccc, // fmul v12.2d, v6.2d, v8.2d
	"FMUL2D(31, 30, 29)":  0x6e7ddfdf, // fmul v31.2d, v30.2d, v29.2d
	"FMUL2D(1, 2, 4)":     0x6e64dc41, // fmul v1.2d, v2.2d, v4.2d
	"MUL4S(0, 0, 0)":      0x4ea09c00, // mul v0.4s, v0.4s, v0.4s
	"MUL4S(12, 6, 8)":     0x4ea89ccc, // mul v12.4s, v6.4s, v8.4s
	"MUL4S(31, 30, 29)":   0x4ebd9fdf, // mul v31.4s, v30.4s, v29.4s
	"MUL4S(1, 2, 4)":      0x4ea49c41, // mul v1.4s, v2.4s, v4.4s
	"FMIN4S(0, 0, 0)":     0x4ea0f400, // fmin v0.4s, v0.4s, v0.4s
	"FMIN4S(12, 6, 8)":    0x4ea8f4cc, // fmin v12.4s, v6.4s, v8.4s
	"FMIN4S(31, 30, 29)":  0x4ebdf7df, // fmin v31.4s, v30.4s, v29.4s
	"FMIN4S(1, 2, 4)":     0x4ea4f441, // fmin v1.4s, v2.4s, v4.4s
	"FCVTL4S(0, 0)":       0x0e217800, // fcvtl v0.4s, v0.4h
	"FCVTL4S(31, 12)":     0x0e21799f, // fcvtl v31.4s, v12.4h
	"FCVTL4S(5, 26)":      0x0e217b45, // fcvtl v5.4s, v26.4h
	"FCVTN4H(0, 0)":       0x0e216800, // fcvtn v0.4h, v0.4s
	"FCVTN4H(31, 12)":     0x0e21699f, // fcvtn v31.4h, v12.4s
	"FCVTN4H(5, 26)":      0x0e216b45, // fcvtn v5.4h, v26.4s
}

func TestNEONWords(t *testing.T) {
	kerneltest.CheckWords(t, neonWords)

	// The checker catches a wrong base, and a lane that is put in the wrong bits.
	for _, c := range []struct{ file, use, right, wrong string }{
		{"neon_arm64.h", "FMLAE(8, 7, 5, 1)", "((l)&1)<<21", "((l)&1)<<20"},
		{"vector_arm64.s", "FADD4S(8, 7, 5)", "0x4e20d400", "0x4e20d000"},
	} {
		b, err := os.ReadFile(c.file)
		require.NoError(t, err)
		require.Contains(t, string(b), c.right)
		wrong := strings.ReplaceAll(string(b), c.right, c.wrong)
		require.NotEqual(t, kerneltest.MacroWord(t, string(b), c.use), kerneltest.MacroWord(t, wrong, c.use))
	}
}
