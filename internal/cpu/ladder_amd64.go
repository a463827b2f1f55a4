//go:build !purego

package cpu

import "golang.org/x/sys/cpu"

func ladder() []path {
	x := &cpu.X86
	avx2 := x.HasAVX2 && x.HasFMA && x.HasF16C
	avx512 := avx2 && x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL
	return []path{
		{"avx2", &HasAVX2FMA, avx2},
		{"avxvnni", &HasAVXVNNI, avx2 && x.HasAVXVNNI},
		{"avx512", &HasAVX512, avx512},
		{"avx512vnni", &HasAVX512VNNI, avx512 && x.HasAVX512VNNI},
	}
}
