//go:build !purego

#include "go_asm.h"
#include "textflag.h"
#include "quant_amd64.h"

// Quantisation to nearest, and back.

// The way back takes two rows at a time: they share sw and bias; the last of an odd number goes with itself.
//
//	R8, R9  dst       R10 its stride    AX sa     R12 bytes of a row
//	SI, DI  acc       R11 its stride    BX sw     R13 rows left
//	CX      column                      DX bias
#define ROWS \
	MOVQ dst+0(FP), R8; \
	MOVQ ldd+8(FP), R10; \
	MOVQ acc+16(FP), SI; \
	MOVQ ldacc+24(FP), R11; \
	MOVQ rows+32(FP), R13; \
	MOVQ cols+40(FP), R12; \
	SHLQ $2, R10; \
	SHLQ $2, R11; \
	SHLQ $2, R12; \
	MOVQ sa+48(FP), AX; \
	MOVQ sw+56(FP), BX; \
	MOVQ bias+64(FP), DX

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

// BACK8 is float32(acc) * (sa * sw) + bias for 8 columns of two rows: sw in Y2, bias in Y3, sa in Y4 and Y5.
#define BACK8 \
	VCVTDQ2PS (SI)(CX*1), Y6; \
	VCVTDQ2PS (DI)(CX*1), Y7; \
	VMULPS Y2, Y4, Y8; \
	VMULPS Y2, Y5, Y9; \
	VMULPS Y8, Y6, Y6; \
	VMULPS Y9, Y7, Y7; \
	VADDPS Y3, Y6, Y6; \
	VADDPS Y3, Y7, Y7

// ADD8 adds dst, STORE8 stores it and goes on to the next columns.
#define ADD8 \
	VADDPS (R8)(CX*1), Y6, Y6; \
	VADDPS (R9)(CX*1), Y7, Y7

#define STORE8 \
	VMOVUPS Y6, (R8)(CX*1); \
	VMOVUPS Y7, (R9)(CX*1); \
	ADDQ $32, CX; \
	CMPQ CX, R12

#define PAIR \
	VBROADCASTSS (AX), Y4; \
	VMOVAPS Y4, Y5; \
	MOVQ R8, R9; \
	MOVQ SI, DI; \
	XORL CX, CX; \
	CMPQ R13, $1

#define SECOND \
	VBROADCASTSS 4(AX), Y5; \
	ADDQ R10, R9; \
	ADDQ R11, DI

#define NEXTPAIR \
	ADDQ $8, AX; \
	LEAQ (R8)(R10*2), R8; \
	LEAQ (SI)(R11*2), SI; \
	SUBQ $2, R13

// NOBIAS is -0, which changes nothing when it is added.
#define NOBIAS \
	VPCMPEQD Y3, Y3, Y3; \
	VPSLLD   $31, Y3, Y3

// func dequantAVX2(dst *float32, ldd int, acc *int32, ldacc, rows, cols int, sa, sw, bias *float32)
TEXT ·dequantAVX2(SB), NOSPLIT, $0-72
	ROWS

rows:
	PAIR
	JEQ pair
	SECOND

pair:
	TESTQ DX, DX
	JZ    plain

biased:
	VMOVUPS (BX)(CX*1), Y2
	VMOVUPS (DX)(CX*1), Y3
	BACK8
	STORE8
	JLT  biased
	JMP  next

plain:
	NOBIAS

unbiased:
	VMOVUPS (BX)(CX*1), Y2
	BACK8
	STORE8
	JLT unbiased

next:
	NEXTPAIR
	JGT rows
	VZEROUPPER
	RET

// func addDequantAVX2(dst *float32, ldd int, acc *int32, ldacc, rows, cols int, sa, sw, bias *float32)
TEXT ·addDequantAVX2(SB), NOSPLIT, $0-72
	ROWS

rows:
	PAIR
	JEQ pair
	SECOND

pair:
	TESTQ DX, DX
	JZ    plain

biased:
	VMOVUPS (BX)(CX*1), Y2
	VMOVUPS (DX)(CX*1), Y3
	BACK8
	ADD8
	STORE8
	JLT  biased
	JMP  next

plain:
	NOBIAS

unbiased:
	VMOVUPS (BX)(CX*1), Y2
	BACK8
	ADD8
	STORE8
	JLT unbiased

next:
	NEXTPAIR
	JGT rows
	VZEROUPPER
	RET

// func hasMinInt8AVX2(q *int8, n int) bool
TEXT ·hasMinInt8AVX2(SB), NOSPLIT, $0-17
	MOVQ q+0(FP), SI
	MOVQ n+8(FP), CX
	MOVL $0x80808080, AX
	VMOVD AX, X2
	VPBROADCASTD X2, Y2
	VPXOR Y3, Y3, Y3
	VPXOR Y4, Y4, Y4

lowest:
	VPCMPEQB (SI), Y2, Y0
	VPCMPEQB 32(SI), Y2, Y1
	VPOR     Y0, Y3, Y3
	VPOR     Y1, Y4, Y4
	ADDQ     $64, SI
	SUBQ     $64, CX
	JNZ      lowest
	VPOR      Y4, Y3, Y3
	VPMOVMSKB Y3, AX
	TESTL     AX, AX
	SETNE     ret+16(FP)
	VZEROUPPER
	RET
