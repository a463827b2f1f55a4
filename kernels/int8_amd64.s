//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// The int8 tile kernel: up to 6 rows by 16 channels of int32 sums in Y0..Y11. A panel holds 2 k of 16 channels in 32
// bytes, which VPMOVSXBW widens to Y12 and Y13; 2 k of a row of A, widened already, are spread over Y14. VPMADDWD
// multiplies the pairs and adds the two products in int32, so every step is exact: |a*w| * 2 <= 2 * 128 * 127.
//
//	AX  the argument     DX  C of a panel     R8  panels left
//	SI  A at k           DI  C of a row       R9  rows
//	BX  panel at k       R10 C stride (bytes)
//	CX  steps left       R11 first panel

#define ROWLEN (2*const_i8RowLen)

// ROW is one row's share of 2 k: acc += a0*w0 + a1*w1.
#define ROW(a, lo, hi) \
	VPBROADCASTD a, Y14; \
	VPMADDWD Y12, Y14, Y15; \
	VPADDD Y15, lo, lo; \
	VPMADDWD Y13, Y14, Y14; \
	VPADDD Y14, hi, hi

#define PANEL(at) \
	VPMOVSXBW at(BX), Y12; \
	VPMOVSXBW (at+16)(BX), Y13

// BEGIN starts a panel, NEXT a step of 4 k (8 bytes of A, 64 of the panel).
#define BEGIN \
	LEAQ tileI8_a(AX), SI; \
	MOVQ R11, BX; \
	MOVQ tileI8_steps(AX), CX; \
	MOVQ DX, DI

#define NEXT \
	ADDQ $8, SI; \
	ADDQ $64, BX; \
	DECQ CX

// END leads to the next panel.
#define END \
	ADDQ tileI8_bStep(AX), R11; \
	ADDQ $64, DX; \
	DECQ R8

#define ZERO(lo, hi) \
	VPXOR lo, lo, lo; \
	VPXOR hi, hi, hi

#define LOAD(lo, hi) \
	VMOVDQU (DI), lo; \
	VMOVDQU 32(DI), hi; \
	ADDQ R10, DI

#define STORE(lo, hi) \
	VMOVDQU lo, (DI); \
	VMOVDQU hi, 32(DI); \
	ADDQ R10, DI

// func tileI8AVX2(t *tileI8)
TEXT ·tileI8AVX2(SB), NOSPLIT, $0-8
	MOVQ t+0(FP), AX
	MOVQ tileI8_b(AX), R11
	MOVQ tileI8_c(AX), DX
	MOVQ tileI8_ldc(AX), R10
	SHLQ $2, R10
	MOVQ tileI8_panels(AX), R8
	MOVQ tileI8_rows(AX), R9
	CMPQ R9, $4
	JGT  panel6
	JEQ  panel4
	CMPQ R9, $2
	JEQ  panel2
	JMP  panel1

panel6:
	BEGIN
	ZERO(Y0, Y1)
	ZERO(Y2, Y3)
	ZERO(Y4, Y5)
	ZERO(Y6, Y7)
	ZERO(Y8, Y9)
	ZERO(Y10, Y11)
	CMPB tileI8_add(AX), $0
	JEQ  step6
	LOAD(Y0, Y1)
	LOAD(Y2, Y3)
	LOAD(Y4, Y5)
	LOAD(Y6, Y7)
	LOAD(Y8, Y9)
	LOAD(Y10, Y11)
	MOVQ DX, DI

step6:
	PANEL(0)
	ROW((0*ROWLEN)(SI), Y0, Y1)
	ROW((1*ROWLEN)(SI), Y2, Y3)
	ROW((2*ROWLEN)(SI), Y4, Y5)
	ROW((3*ROWLEN)(SI), Y6, Y7)
	ROW((4*ROWLEN)(SI), Y8, Y9)
	ROW((5*ROWLEN)(SI), Y10, Y11)
	PANEL(32)
	ROW((0*ROWLEN+4)(SI), Y0, Y1)
	ROW((1*ROWLEN+4)(SI), Y2, Y3)
	ROW((2*ROWLEN+4)(SI), Y4, Y5)
	ROW((3*ROWLEN+4)(SI), Y6, Y7)
	ROW((4*ROWLEN+4)(SI), Y8, Y9)
	ROW((5*ROWLEN+4)(SI), Y10, Y11)
	NEXT
	JNZ  step6
	STORE(Y0, Y1)
	STORE(Y2, Y3)
	STORE(Y4, Y5)
	STORE(Y6, Y7)
	STORE(Y8, Y9)
	STORE(Y10, Y11)
	END
	JNZ  panel6
	VZEROUPPER
	RET

panel4:
	BEGIN
	ZERO(Y0, Y1)
	ZERO(Y2, Y3)
	ZERO(Y4, Y5)
	ZERO(Y6, Y7)
	CMPB tileI8_add(AX), $0
	JEQ  step4
	LOAD(Y0, Y1)
	LOAD(Y2, Y3)
	LOAD(Y4, Y5)
	LOAD(Y6, Y7)
	MOVQ DX, DI

step4:
	PANEL(0)
	ROW((0*ROWLEN)(SI), Y0, Y1)
	ROW((1*ROWLEN)(SI), Y2, Y3)
	ROW((2*ROWLEN)(SI), Y4, Y5)
	ROW((3*ROWLEN)(SI), Y6, Y7)
	PANEL(32)
	ROW((0*ROWLEN+4)(SI), Y0, Y1)
	ROW((1*ROWLEN+4)(SI), Y2, Y3)
	ROW((2*ROWLEN+4)(SI), Y4, Y5)
	ROW((3*ROWLEN+4)(SI), Y6, Y7)
	NEXT
	JNZ  step4
	STORE(Y0, Y1)
	STORE(Y2, Y3)
	STORE(Y4, Y5)
	STORE(Y6, Y7)
	END
	JNZ  panel4
	VZEROUPPER
	RET

panel2:
	BEGIN
	ZERO(Y0, Y1)
	ZERO(Y2, Y3)
	CMPB tileI8_add(AX), $0
	JEQ  step2
	LOAD(Y0, Y1)
	LOAD(Y2, Y3)
	MOVQ DX, DI

step2:
	PANEL(0)
	ROW((0*ROWLEN)(SI), Y0, Y1)
	ROW((1*ROWLEN)(SI), Y2, Y3)
	PANEL(32)
	ROW((0*ROWLEN+4)(SI), Y0, Y1)
	ROW((1*ROWLEN+4)(SI), Y2, Y3)
	NEXT
	JNZ  step2
	STORE(Y0, Y1)
	STORE(Y2, Y3)
	END
	JNZ  panel2
	VZEROUPPER
	RET

panel1:
	BEGIN
	ZERO(Y0, Y1)
	CMPB tileI8_add(AX), $0
	JEQ  step1
	LOAD(Y0, Y1)
	MOVQ DX, DI

step1:
	PANEL(0)
	ROW((SI), Y0, Y1)
	PANEL(32)
	ROW(4(SI), Y0, Y1)
	NEXT
	JNZ  step1
	STORE(Y0, Y1)
	END
	JNZ  panel1
	VZEROUPPER
	RET

// func widenI8AVX2(dst *int16, src *int8, n int)
TEXT ·widenI8AVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX

widen:
	VPMOVSXBW (SI), Y0
	VMOVDQU   Y0, (DI)
	ADDQ      $16, SI
	ADDQ      $32, DI
	SUBQ      $16, CX
	JNZ       widen
	VZEROUPPER
	RET

// MAXLANES leaves the largest of the eight uint32 of Y0 in AX.
#define MAXLANES \
	VEXTRACTI128 $1, Y0, X1; \
	VPMAXUD X1, X0, X0; \
	VPSHUFD $0x4e, X0, X1; \
	VPMAXUD X1, X0, X0; \
	VPSHUFD $0xb1, X0, X1; \
	VPMAXUD X1, X0, X0; \
	VMOVD X0, AX

// MAGNITUDE sets Y7 to the mask of everything but the sign.
#define MAGNITUDE \
	VPCMPEQD Y7, Y7, Y7; \
	VPSRLD $1, Y7, Y7

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

// SCALE8 is Y = roundToEven(clamp(x * inv)) as int32: inv in Y8, 127 in Y9, -127 in Y10.
#define SCALE8(x, y) \
	VMULPS x, Y8, y; \
	VMINPS Y9, y, y; \
	VMAXPS Y10, y, y; \
	VCVTPS2DQ y, y

// The packs work on the halves of a register; this order of double words puts the bytes back in order.
DATA unpackOrder<>+0(SB)/8, $0x0000000400000000
DATA unpackOrder<>+8(SB)/8, $0x0000000500000001
DATA unpackOrder<>+16(SB)/8, $0x0000000600000002
DATA unpackOrder<>+24(SB)/8, $0x0000000700000003
GLOBL unpackOrder<>(SB), RODATA|NOPTR, $32

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

// func dequantAVX2(dst *float32, acc *int32, sa float32, sw, bias *float32, n int)
TEXT ·dequantAVX2(SB), NOSPLIT, $0-48
	MOVQ dst+0(FP), DI
	MOVQ acc+8(FP), SI
	VBROADCASTSS sa+16(FP), Y8
	MOVQ sw+24(FP), BX
	MOVQ bias+32(FP), DX
	MOVQ n+40(FP), CX
	TESTQ DX, DX
	JZ   plain

biased:
	VCVTDQ2PS (SI), Y0
	VMULPS    (BX), Y8, Y1
	VMULPS    Y1, Y0, Y0
	VADDPS    (DX), Y0, Y0
	VMOVUPS   Y0, (DI)
	ADDQ      $32, SI
	ADDQ      $32, BX
	ADDQ      $32, DX
	ADDQ      $32, DI
	SUBQ      $8, CX
	JNZ       biased
	VZEROUPPER
	RET

plain:
	VCVTDQ2PS (SI), Y0
	VMULPS    (BX), Y8, Y1
	VMULPS    Y1, Y0, Y0
	VMOVUPS   Y0, (DI)
	ADDQ      $32, SI
	ADDQ      $32, BX
	ADDQ      $32, DI
	SUBQ      $8, CX
	JNZ       plain
	VZEROUPPER
	RET
