//go:build !purego

#include "go_asm.h"
#include "textflag.h"
#include "quant_amd64.h"

// Quantisation to nearest, and back.

// func maxAbsBitsAVX2(x *float32, n int) uint32
TEXT ·maxAbsBitsAVX2(SB), NOSPLIT, $0-20
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), CX
	MAGNITUDE
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3

maxabs:
	VPAND   (SI), Y7, Y4
	VPMAXUD Y4, Y0, Y0
	VPAND   32(SI), Y7, Y5
	VPMAXUD Y5, Y1, Y1
	VPAND   64(SI), Y7, Y4
	VPMAXUD Y4, Y2, Y2
	VPAND   96(SI), Y7, Y5
	VPMAXUD Y5, Y3, Y3
	ADDQ    $128, SI
	SUBQ    $32, CX
	JNZ     maxabs
	VPMAXUD Y1, Y0, Y0
	VPMAXUD Y3, Y2, Y2
	VPMAXUD Y2, Y0, Y0
	MAXLANES
	MOVL AX, ret+16(FP)
	VZEROUPPER
	RET

// func maxChainAVX2(w *float32, n int) uint32
TEXT ·maxChainAVX2(SB), NOSPLIT, $0-20
	MOVQ w+0(FP), SI
	MOVQ n+8(FP), CX
	MAGNITUDE
	VPXOR Y0, Y0, Y0

chain:
	VPAND   (SI), Y7, Y1
	VPAND   32(SI), Y7, Y2
	VPAND   64(SI), Y7, Y3
	VPAND   96(SI), Y7, Y4
	VADDPS  Y2, Y1, Y1
	VADDPS  Y3, Y1, Y1
	VADDPS  Y4, Y1, Y1
	VPAND   Y7, Y1, Y1
	VPMAXUD Y1, Y0, Y0
	ADDQ    $128, SI
	SUBQ    $32, CX
	JNZ     chain
	MAXLANES
	MOVL AX, ret+16(FP)
	VZEROUPPER
	RET

// func quantizeAVX2(q *int8, x *float32, n int, inv float32)
TEXT ·quantizeAVX2(SB), NOSPLIT, $0-28
	MOVQ q+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ n+16(FP), CX
	VBROADCASTSS inv+24(FP), Y8
	MOVL $0x42fe0000, AX // 127
	VMOVD AX, X9
	VPBROADCASTD X9, Y9
	MOVL $0xc2fe0000, AX // -127
	VMOVD AX, X10
	VPBROADCASTD X10, Y10
	VMOVDQU unpackOrder<>(SB), Y11

quant:
	SCALE8((SI), Y0)
	SCALE8(32(SI), Y1)
	SCALE8(64(SI), Y2)
	SCALE8(96(SI), Y3)
	VPACKSSDW Y1, Y0, Y0
	VPACKSSDW Y3, Y2, Y2
	VPACKSSWB Y2, Y0, Y0
	VPERMD    Y0, Y11, Y0
	VMOVDQU   Y0, (DI)
	ADDQ      $128, SI
	ADDQ      $32, DI
	SUBQ      $32, CX
	JNZ       quant
	VZEROUPPER
	RET

// BACK8 is float32(acc) * (sa * sw) + bias for a row and 8 columns.
#define BACK8(at, sw, bias, y) \
	VCVTDQ2PS at(SI), y; \
	VMULPS sw, Y4, Y5; \
	VMULPS Y5, y, y; \
	VADDPS bias, y, y; \
	VMOVUPS y, at(DI)

// func dequantAVX2(dst *float32, ldd int, acc *int32, ldacc, rows, cols int, sa, sw, bias *float32)
//
// 16 columns at a time, then 8; without a bias -0 is added, which changes nothing.
TEXT ·dequantAVX2(SB), NOSPLIT, $0-72
	MOVQ dst+0(FP), R8
	MOVQ ldd+8(FP), R10
	MOVQ acc+16(FP), R9
	MOVQ ldacc+24(FP), R11
	SHLQ $2, R10
	SHLQ $2, R11
	MOVQ cols+40(FP), CX
	MOVQ sw+56(FP), BX
	MOVQ bias+64(FP), DX
	VPCMPEQD Y2, Y2, Y2
	VPSLLD $31, Y2, Y2
	VMOVAPS Y2, Y3

columns16:
	SUBQ $16, CX
	JLT  columns8
	VMOVUPS (BX), Y0
	VMOVUPS 32(BX), Y1
	TESTQ DX, DX
	JZ   rows16
	VMOVUPS (DX), Y2
	VMOVUPS 32(DX), Y3
	ADDQ $64, DX

rows16:
	MOVQ R8, DI
	MOVQ R9, SI
	MOVQ sa+48(FP), R12
	MOVQ rows+32(FP), R13

row16:
	VBROADCASTSS (R12), Y4
	BACK8(0, Y0, Y2, Y6)
	BACK8(32, Y1, Y3, Y7)
	ADDQ $4, R12
	ADDQ R10, DI
	ADDQ R11, SI
	DECQ R13
	JNZ  row16
	ADDQ $64, R8
	ADDQ $64, R9
	ADDQ $64, BX
	JMP  columns16

columns8:
	ADDQ $16, CX
	JZ   done
	VMOVUPS (BX), Y0
	TESTQ DX, DX
	JZ   rows8
	VMOVUPS (DX), Y2

rows8:
	MOVQ sa+48(FP), R12
	MOVQ rows+32(FP), R13
	MOVQ R8, DI
	MOVQ R9, SI

row8:
	VBROADCASTSS (R12), Y4
	BACK8(0, Y0, Y2, Y6)
	ADDQ $4, R12
	ADDQ R10, DI
	ADDQ R11, SI
	DECQ R13
	JNZ  row8

done:
	VZEROUPPER
	RET
