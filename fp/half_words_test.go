package fp

import (
	"testing"

	"edgejepa/kernels/kerneltest"
)

func TestHalfWords(t *testing.T) {
	kerneltest.CheckWords(t, map[string]kerneltest.Words{"half_arm64.s": {
		"FCVTN(3, 1)":    0x0e216823, // fcvtn v3.4h, v1.4s
		"FCVTN(31, 30)":  0x0e216bdf, // fcvtn v31.4h, v30.4s
		"FCVTN2(3, 1)":   0x4e216823, // fcvtn2 v3.8h, v1.4s
		"FCVTN2(31, 30)": 0x4e216bdf, // fcvtn2 v31.8h, v30.4s
		"FCVTL(3, 1)":    0x0e217823, // fcvtl v3.4s, v1.4h
		"FCVTL(31, 30)":  0x0e217bdf, // fcvtl v31.4s, v30.4h
		"FCVTL2(3, 1)":   0x4e217823, // fcvtl2 v3.4s, v1.8h
		"FCVTL2(31, 30)": 0x4e217bdf, // fcvtl2 v31.4s, v30.8h
	}})
}
