package emulator

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMultiplies(t *testing.T) {
	for word, want := range map[uint32]bool{
		0x4e20cc00: true,  // fmla v0.4s, v0.4s, v0.4s
		0x4f851088: true,  // fmla v8.4s, v4.4s, v5.s[0]
		0x4e8294a1: true,  // sdot v1.4s, v5.16b, v2.16b
		0x4fa2e8a1: true,  // sdot v1.4s, v5.16b, v2.4b[3]
		0x0e25c083: true,  // smull v3.8h, v4.8b, v5.8b
		0x4e258083: true,  // smlal2 v3.8h, v4.16b, v5.16b
		0x4e606883: true,  // sadalp v3.4s, v4.8h
		0x4e20d400: false, // fadd v0.4s, v0.4s, v0.4s
		0x6e20dc00: false, // fmul v0.4s, v0.4s, v0.4s
		0x3dc00041: false, // ldr q1, [x2]
		nop:        false,
	} {
		require.Equal(t, want, multiplies(word), "%08x", word)
	}
}
