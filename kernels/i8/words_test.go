package i8

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/kernels/kerneltest"
)

func TestNEONWords(t *testing.T) {
	kerneltest.CheckWords(t, map[string]kerneltest.Words{"neon_arm64.h": neonWords})
}

var neonWords = kerneltest.Words{
	"SMULL(0, 0, 0)":      0x0e20c000, // smull v0.8h, v0.8b, v0.8b
	"SMULL(12, 6, 8)":     0x0e28c0cc, // smull v12.8h, v6.8b, v8.8b
	"SMULL(31, 30, 29)":   0x0e3dc3df, // smull v31.8h, v30.8b, v29.8b
	"SMULL(1, 2, 4)":      0x0e24c041, // smull v1.8h, v2.8b, v4.8b
	"SMLAL(0, 0, 0)":      0x0e208000, // smlal v0.8h, v0.8b, v0.8b
	"SMLAL(12, 6, 8)":     0x0e2880cc, // smlal v12.8h, v6.8b, v8.8b
	"SMLAL(31, 30, 29)":   0x0e3d83df, // smlal v31.8h, v30.8b, v29.8b
	"SMLAL(1, 2, 4)":      0x0e248041, // smlal v1.8h, v2.8b, v4.8b
	"SMLAL2(0, 0, 0)":     0x4e208000, // smlal2 v0.8h, v0.16b, v0.16b
	"SMLAL2(12, 6, 8)":    0x4e2880cc, // smlal2 v12.8h, v6.16b, v8.16b
	"SMLAL2(31, 30, 29)":  0x4e3d83df, // smlal2 v31.8h, v30.16b, v29.16b
	"SMLAL2(1, 2, 4)":     0x4e248041, // smlal2 v1.8h, v2.16b, v4.16b
	"SADALP(0, 0)":        0x4e606800, // sadalp v0.4s, v0.8h
	"SADALP(31, 12)":      0x4e60699f, // sadalp v31.4s, v12.8h
	"SADALP(5, 26)":       0x4e606b45, // sadalp v5.4s, v26.8h
	"SDOTL(31, 6, 0, 0)":  0x4f80e0df, // sdot v31.4s, v6.16b, v0.4b[0]
	"SDOTL(8, 7, 5, 1)":   0x4fa5e0e8, // sdot v8.4s, v7.16b, v5.4b[1]
	"SDOTL(19, 6, 3, 2)":  0x4f83e8d3, // sdot v19.4s, v6.16b, v3.4b[2]
	"SDOTL(1, 2, 31, 3)":  0x4fbfe841, // sdot v1.4s, v2.16b, v31.4b[3]
	"SDOTL(0, 31, 16, 0)": 0x4f90e3e0, // sdot v0.4s, v31.16b, v16.4b[0]
	"SMMLA(0, 0, 0)":      0x4e80a400, // smmla v0.4s, v0.16b, v0.16b
	"SMMLA(31, 6, 12)":    0x4e8ca4df, // smmla v31.4s, v6.16b, v12.16b
	"SMMLA(5, 30, 29)":    0x4e9da7c5, // smmla v5.4s, v30.16b, v29.16b
	"SMMLA(1, 2, 4)":      0x4e84a441, // smmla v1.4s, v2.16b, v4.16b
	"FMUL(0, 0, 0)":       0x6e20dc00, // fmul v0.4s, v0.4s, v0.4s
	"FMUL(12, 6, 8)":      0x6e28dccc, // fmul v12.4s, v6.4s, v8.4s
	"FMUL(31, 30, 29)":    0x6e3ddfdf, // fmul v31.4s, v30.4s, v29.4s
	"FMUL(1, 2, 4)":       0x6e24dc41, // fmul v1.4s, v2.4s, v4.4s
	"MULS(0, 0, 0)":       0x4ea09c00, // mul v0.4s, v0.4s, v0.4s
	"MULS(31, 30, 29)":    0x4ebd9fdf, // mul v31.4s, v30.4s, v29.4s
	"MULS(1, 2, 4)":       0x4ea49c41, // mul v1.4s, v2.4s, v4.4s
	"FSUB(0, 0, 0)":       0x4ea0d400, // fsub v0.4s, v0.4s, v0.4s
	"FSUB(31, 30, 29)":    0x4ebdd7df, // fsub v31.4s, v30.4s, v29.4s
	"FSUB(1, 2, 4)":       0x4ea4d441, // fsub v1.4s, v2.4s, v4.4s
	"FCMGT(0, 0, 0)":      0x6ea0e400, // fcmgt v0.4s, v0.4s, v0.4s
	"FCMGT(31, 30, 29)":   0x6ebde7df, // fcmgt v31.4s, v30.4s, v29.4s
	"FCMGT(1, 2, 4)":      0x6ea4e441, // fcmgt v1.4s, v2.4s, v4.4s
	"FRINTM(0, 0)":        0x4e219800, // frintm v0.4s, v0.4s
	"FRINTM(31, 12)":      0x4e21999f, // frintm v31.4s, v12.4s
	"FRINTM(5, 26)":       0x4e219b45, // frintm v5.4s, v26.4s
	"FADD(0, 0, 0)":       0x4e20d400, // fadd v0.4s, v0.4s, v0.4s
	"FADD(12, 6, 8)":      0x4e28d4cc, // fadd v12.4s, v6.4s, v8.4s
	"FADD(31, 30, 29)":    0x4e3dd7df, // fadd v31.4s, v30.4s, v29.4s
	"FADD(1, 2, 4)":       0x4e24d441, // fadd v1.4s, v2.4s, v4.4s
	"FMAX(0, 0, 0)":       0x4e20f400, // fmax v0.4s, v0.4s, v0.4s
	"FMAX(12, 6, 8)":      0x4e28f4cc, // fmax v12.4s, v6.4s, v8.4s
	"FMAX(31, 30, 29)":    0x4e3df7df, // fmax v31.4s, v30.4s, v29.4s
	"FMAX(1, 2, 4)":       0x4e24f441, // fmax v1.4s, v2.4s, v4.4s
	"FMIN(0, 0, 0)":       0x4ea0f400, // fmin v0.4s, v0.4s, v0.4s
	"FMIN(12, 6, 8)":      0x4ea8f4cc, // fmin v12.4s, v6.4s, v8.4s
	"FMIN(31, 30, 29)":    0x4ebdf7df, // fmin v31.4s, v30.4s, v29.4s
	"FMIN(1, 2, 4)":       0x4ea4f441, // fmin v1.4s, v2.4s, v4.4s
	"SCVTF(0, 0)":         0x4e21d800, // scvtf v0.4s, v0.4s
	"SCVTF(31, 12)":       0x4e21d99f, // scvtf v31.4s, v12.4s
	"SCVTF(5, 26)":        0x4e21db45, // scvtf v5.4s, v26.4s
	"FCVTNS(0, 0)":        0x4e21a800, // fcvtns v0.4s, v0.4s
	"FCVTNS(31, 12)":      0x4e21a99f, // fcvtns v31.4s, v12.4s
	"FCVTNS(5, 26)":       0x4e21ab45, // fcvtns v5.4s, v26.4s
	"SQXTNS(0, 0)":        0x0e614800, // sqxtn v0.4h, v0.4s
	"SQXTNS(31, 12)":      0x0e61499f, // sqxtn v31.4h, v12.4s
	"SQXTNS(5, 26)":       0x0e614b45, // sqxtn v5.4h, v26.4s
	"SQXTNS2(0, 0)":       0x4e614800, // sqxtn2 v0.8h, v0.4s
	"SQXTNS2(31, 12)":     0x4e61499f, // sqxtn2 v31.8h, v12.4s
	"SQXTNS2(5, 26)":      0x4e614b45, // sqxtn2 v5.8h, v26.4s
	"SQXTNH(0, 0)":        0x0e214800, // sqxtn v0.8b, v0.8h
	"SQXTNH(31, 12)":      0x0e21499f, // sqxtn v31.8b, v12.8h
	"SQXTNH(5, 26)":       0x0e214b45, // sqxtn v5.8b, v26.8h
	"SQXTNH2(0, 0)":       0x4e214800, // sqxtn2 v0.16b, v0.8h
	"SQXTNH2(31, 12)":     0x4e21499f, // sqxtn2 v31.16b, v12.8h
	"SQXTNH2(5, 26)":      0x4e214b45, // sqxtn2 v5.16b, v26.8h
}

// vnniBytes are uses of the macro in vnni_amd64.h and the bytes that another assembler (llvm-mc) makes of it.
var vnniBytes = []struct {
	use   string
	bytes []byte
}{
	{"DPBUSD(0, 0, 0)", []byte{0xc4, 0xe2, 0x7d, 0x50, 0xc0}},    // {vex} vpdpbusd ymm0, ymm0, ymm0
	{"DPBUSD(0, 12, 13)", []byte{0xc4, 0xc2, 0x1d, 0x50, 0xc5}},  // {vex} vpdpbusd ymm0, ymm12, ymm13
	{"DPBUSD(11, 12, 14)", []byte{0xc4, 0x42, 0x1d, 0x50, 0xde}}, // {vex} vpdpbusd ymm11, ymm12, ymm14
	{"DPBUSD(15, 8, 7)", []byte{0xc4, 0x62, 0x3d, 0x50, 0xff}},   // {vex} vpdpbusd ymm15, ymm8, ymm7
	{"DPBUSD(7, 7, 8)", []byte{0xc4, 0xc2, 0x45, 0x50, 0xf8}},    // {vex} vpdpbusd ymm7, ymm7, ymm8
	{"DPBUSD(15, 15, 15)", []byte{0xc4, 0x42, 0x05, 0x50, 0xff}}, // {vex} vpdpbusd ymm15, ymm15, ymm15
	{"DPBUSD(2, 4, 1)", []byte{0xc4, 0xe2, 0x5d, 0x50, 0xd1}},    // {vex} vpdpbusd ymm2, ymm4, ymm1
}

// macroBytes is what the BYTEs of a macro of the header come to.
func macroBytes(t *testing.T, header, use string) (b []byte) {
	t.Helper()
	header = strings.ReplaceAll(header, "\\\n", "")
	name, args, _ := strings.Cut(strings.TrimSuffix(use, ")"), "(")
	m := regexp.MustCompile(`(?m)^#define ` + name + `\(([^)]*)\)(.*)// `).FindStringSubmatch(header)
	require.NotNil(t, m, "no macro %s with its mnemonic behind it", name)
	for _, expr := range regexp.MustCompile(`BYTE \$([^;]*)`).FindAllStringSubmatch(m[2], -1) {
		b = append(b, byte(kerneltest.EvalMacro(t, expr[1], strings.Split(m[1], ", "), strings.Split(args, ", "))))
	}
	return b
}

func TestVNNIBytes(t *testing.T) {
	b, err := os.ReadFile("vnni_amd64.h")
	if err != nil {
		t.Skip("the source is not here: ", err) // a test binary that was carried to another machine
	}
	header := string(b)
	for _, w := range vnniBytes {
		require.Equal(t, w.bytes, macroBytes(t, header, w.use), w.use)
	}
	require.Equal(t, 1, strings.Count(header, "#define"), "a macro that is not in the table")

	// The checker catches a wrong base, and a register number that is put in the wrong bit.
	wrong := strings.Replace(header, "0xe2", "0xe1", 1)
	require.NotEqual(t, vnniBytes[0].bytes, macroBytes(t, wrong, vnniBytes[0].use))
	wrong = strings.Replace(header, "((s)>>3)<<5", "((s)>>3)<<6", 1)
	require.NotEqual(t, vnniBytes[1].bytes, macroBytes(t, wrong, vnniBytes[1].use))
}
