//go:build !purego

package peak

import "golang.org/x/sys/cpu"

//go:noescape
func loopFMA256(turns int)

//go:noescape
func loopFMA512(turns int)

//go:noescape
func loopPMADDWD256(turns int)

//go:noescape
func loopPMADDUBSW256(turns int)

//go:noescape
func loopCHAINS256(turns int)

//go:noescape
func loopDPBUSD256(turns int)

//go:noescape
func loopDPBUSD512(turns int)

//go:noescape
func loopDIV256(turns int)

//go:noescape
func loopSQRT256(turns int)

//go:noescape
func loopADDPS(turns int)

//go:noescape
func loopADD(turns int)

// What one turn of the loops for the clock and for the latency of an addition waits for, one after the other.
const (
	clockChain = 64
	floatChain = 16
)

var clockLoop = loopADD

// floatLoop is nil where the instructions are missing.
func floatLoop() func(turns int) {
	if !cpu.X86.HasAVX2 {
		return nil
	}
	return loopADDPS
}

func loops() []Loop {
	x := &cpu.X86
	avx2 := x.HasAVX2 && x.HasFMA
	avx512 := avx2 && x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL
	return []Loop{
		{"avx2", "f32", "VFMADD231PS ymm", 12 * 8, avx2, loopFMA256},
		{"avx512", "f32", "VFMADD231PS zmm", 12 * 16, avx512, loopFMA512},
		// The first int8 loop of a path has the instructions of its kernel.
		{"avx2", "int8", "2 (VPSIGNB+VPMADDUBSW), VPADDW, VPMADDWD, VPADDD", 12 * 64, avx2, loopCHAINS256},
		{"avx2", "int8", "VPMADDWD, VPADDD", 12 * 16, avx2, loopPMADDWD256},
		{"avx2", "int8", "VPMADDUBSW, VPMADDWD, VPADDD (saturates)", 12 * 32, avx2, loopPMADDUBSW256},
		{"avxvnni", "int8", "VPDPBUSD ymm", 12 * 32, avx2 && x.HasAVXVNNI, loopDPBUSD256},
		{"avx512vnni", "int8", "VPDPBUSD zmm", 12 * 64, avx512 && x.HasAVX512VNNI, loopDPBUSD512},
		{"avx2", "div", "VDIVPS ymm", 12 * 8, avx2, loopDIV256},
		{"avx2", "sqrt", "VSQRTPS ymm", 12 * 8, avx2, loopSQRT256},
	}
}
