//go:build !purego

#include "go_asm.h"
#include "textflag.h"
#include "quant_amd64.h"

// Quantisation by chance, and of columns. Registers of both:
//
//	Y5  2^24            Y8  inv      Y11 counters
//	Y6  noiseMul1       Y9  127      Y14 key
//	Y7  noiseMul2       Y10 -127     Y15 what the counters move on by

// CHANCE8 is y = roundByChance(x * inv, noise) as int32, for eight values.
#define CHANCE8(x, y) \
	VMULPS x, Y8, y; \
	VMINPS Y9, y, y; \
	VMAXPS Y10, y, y; \
	VPSRLD $16, Y11, Y12; \
	VPXOR Y11, Y12, Y12; \
	VPMULLD Y6, Y12, Y12; \
	VPSRLD $15, Y12, Y13; \
	VPXOR Y14, Y12, Y12; \
	VPXOR Y13, Y12, Y12; \
	VPMULLD Y7, Y12, Y12; \
	VPSRLD $15, Y12, Y13; \
	VPXOR Y13, Y12, Y12; \
	VPSRLD $8, Y12, Y12; \
	VCVTDQ2PS Y12, Y12; \
	VROUNDPS $9, y, Y13; \
	VSUBPS Y13, y, y; \
	VMULPS Y5, y, y; \
	VCMPPS $1, y, Y12, y; \
	VCVTPS2DQ Y13, Y13; \
	VPSUBD y, Y13, y; \
	VPADDD Y15, Y11, Y11

// SPREAD is y = 8 times the 32 bits.
#define SPREAD(bits, x, y) \
	MOVL bits, R8; \
	VMOVD R8, x; \
	VPBROADCASTD x, y

#define LIMITS \
	SPREAD($0x42fe0000, X9, Y9); \
	SPREAD($0xc2fe0000, X10, Y10)

#define CHANCES \
	LIMITS; \
	SPREAD($0x4b800000, X5, Y5); \
	SPREAD($const_noiseMul1, X6, Y6); \
	SPREAD($const_noiseMul2, X7, Y7); \
	VMOVDQU noiseLanes_counter(AX), Y11; \
	VMOVDQU noiseLanes_key(AX), Y14; \
	VMOVDQU noiseLanes_step(AX), Y15

// The bytes of four rows by four columns, transposed.
DATA transpose4<>+0(SB)/8, $0x0d0905010c080400
DATA transpose4<>+8(SB)/8, $0x0f0b07030e0a0602
DATA transpose4<>+16(SB)/8, $0x0d0905010c080400
DATA transpose4<>+24(SB)/8, $0x0f0b07030e0a0602
GLOBL transpose4<>(SB), RODATA|NOPTR, $32

// FOURROWS makes a word of four rows for each of eight columns, of rows in Y0..Y3.
#define FOURROWS \
	VPACKSSDW Y1, Y0, Y0; \
	VPACKSSDW Y3, Y2, Y2; \
	VPACKSSWB Y2, Y0, Y0; \
	VPSHUFB transpose4<>(SB), Y0, Y0; \
	VMOVDQU Y0, (DX); \
	ADDQ $32, DX

// COLUMNS stores 32 rows of eight columns from the words of four rows.
#define COLUMNS \
	VMOVDQU (SP), Y0; \
	VMOVDQU 32(SP), Y1; \
	VMOVDQU 64(SP), Y2; \
	VMOVDQU 96(SP), Y3; \
	VMOVDQU 128(SP), Y4; \
	VMOVDQU 160(SP), Y5; \
	VMOVDQU 192(SP), Y6; \
	VMOVDQU 224(SP), Y7; \
	TRANSPOSE8; \
	WORDS(0x20, Y8, Y1, (DI)); \
	WORDS(0x20, Y9, Y3, (DI)(R9*1)); \
	WORDS(0x20, Y0, Y5, (DI)(R9*2)); \
	WORDS(0x20, Y2, Y7, (DI)(R11*1)); \
	LEAQ (DI)(R9*4), DI; \
	WORDS(0x31, Y8, Y1, (DI)); \
	WORDS(0x31, Y9, Y3, (DI)(R9*1)); \
	WORDS(0x31, Y0, Y5, (DI)(R9*2)); \
	WORDS(0x31, Y2, Y7, (DI)(R11*1)); \
	LEAQ (DI)(R9*4), DI

#define WORDS(half, hi, lo, at) \
	VPERM2I128 $half, hi, lo, Y4; \
	VMOVDQU Y4, at

// POINTERS of a block of columns:
//
//	DI q     R9  its stride       BX inv           DX four rows on the stack
//	SI x     R10 its stride       CX groups left   R13 fours of rows left
//	R12 x of the group            R11 3 strides of q
#define POINTERS \
	MOVQ q+0(FP), DI; \
	MOVQ ldq+8(FP), R9; \
	LEAQ (R9)(R9*2), R11; \
	MOVQ x+16(FP), R12; \
	MOVQ ldx+24(FP), R10; \
	SHLQ $2, R10; \
	MOVQ inv+32(FP), BX; \
	MOVQ groups+40(FP), CX

#define GROUP \
	VMOVUPS (BX), Y8; \
	MOVQ R12, SI; \
	MOVQ SP, DX; \
	MOVQ $8, R13

#define NEXTGROUP \
	ADDQ $32, R12; \
	ADDQ $32, BX; \
	DECQ CX

// func quantizeStochasticAVX2(q *int8, x *float32, n int, inv float32, lanes *noiseLanes)
TEXT ·quantizeStochasticAVX2(SB), NOSPLIT, $0-40
	MOVQ q+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ n+16(FP), CX
	VBROADCASTSS inv+24(FP), Y8
	MOVQ lanes+32(FP), AX
	CHANCES
	VMOVDQU unpackOrder<>(SB), Y4

loop:
	CHANCE8((SI), Y0)
	CHANCE8(32(SI), Y1)
	CHANCE8(64(SI), Y2)
	CHANCE8(96(SI), Y3)
	VPACKSSDW Y1, Y0, Y0
	VPACKSSDW Y3, Y2, Y2
	VPACKSSWB Y2, Y0, Y0
	VPERMD    Y0, Y4, Y0
	VMOVDQU   Y0, (DI)
	ADDQ      $128, SI
	ADDQ      $32, DI
	SUBQ      $32, CX
	JNZ       loop
	VZEROUPPER
	RET

// LARGER takes eight columns of a row into their largest magnitudes, KEEP takes those into absmax.
#define LARGER(at, y, most) \
	VPAND at(BX), Y7, y; \
	VPMAXUD y, most, most

#define KEEP(at, most) \
	VPMAXUD at(DI), most, most; \
	VMOVDQU most, at(DI)

// func maxAbsColumnsAVX2(absmax *uint32, x *float32, rows, ldx, groups int)
TEXT ·maxAbsColumnsAVX2(SB), NOSPLIT, $0-40
	MOVQ absmax+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ ldx+24(FP), R10
	SHLQ $2, R10
	MOVQ groups+32(FP), CX
	MAGNITUDE

// Eight groups at a time, so that the lines of a row are read side by side.
groups8:
	SUBQ $8, CX
	JLT  groups1
	VPXOR Y8, Y8, Y8
	VPXOR Y9, Y9, Y9
	VPXOR Y10, Y10, Y10
	VPXOR Y11, Y11, Y11
	VPXOR Y12, Y12, Y12
	VPXOR Y13, Y13, Y13
	VPXOR Y14, Y14, Y14
	VPXOR Y15, Y15, Y15
	MOVQ SI, BX
	MOVQ rows+16(FP), R9

row8:
	LARGER(0, Y0, Y8)
	LARGER(32, Y1, Y9)
	LARGER(64, Y2, Y10)
	LARGER(96, Y3, Y11)
	LARGER(128, Y0, Y12)
	LARGER(160, Y1, Y13)
	LARGER(192, Y2, Y14)
	LARGER(224, Y3, Y15)
	ADDQ R10, BX
	DECQ R9
	JNZ  row8
	KEEP(0, Y8)
	KEEP(32, Y9)
	KEEP(64, Y10)
	KEEP(96, Y11)
	KEEP(128, Y12)
	KEEP(160, Y13)
	KEEP(192, Y14)
	KEEP(224, Y15)
	ADDQ $256, DI
	ADDQ $256, SI
	JMP  groups8

groups1:
	ADDQ $8, CX
	JZ   done

group:
	VMOVDQU (DI), Y0
	MOVQ SI, BX
	MOVQ rows+16(FP), R9

row:
	VPAND   (BX), Y7, Y1
	VPMAXUD Y1, Y0, Y0
	ADDQ    R10, BX
	DECQ    R9
	JNZ     row
	VMOVDQU Y0, (DI)
	ADDQ    $32, DI
	ADDQ    $32, SI
	DECQ    CX
	JNZ     group

done:
	VZEROUPPER
	RET

// func quantizeColumnsAVX2(q *int8, ldq int, x *float32, ldx int, inv *float32, groups int)
TEXT ·quantizeColumnsAVX2(SB), NOSPLIT, $256-48
	POINTERS

group:
	GROUP

rows:
	SCALE8((SI), Y0)
	SCALE8((SI)(R10*1), Y1)
	LEAQ (SI)(R10*2), SI
	SCALE8((SI), Y2)
	SCALE8((SI)(R10*1), Y3)
	LEAQ (SI)(R10*2), SI
	FOURROWS
	DECQ R13
	JNZ  rows
	COLUMNS
	NEXTGROUP
	JNZ  group
	VZEROUPPER
	RET

// func quantizeColumnsStochasticAVX2(q *int8, ldq int, x *float32, ldx int, inv *float32, groups int, lanes *noiseLanes)
TEXT ·quantizeColumnsStochasticAVX2(SB), NOSPLIT, $256-56
	POINTERS
	MOVQ lanes+48(FP), AX

group:
	GROUP
	CHANCES
	SPREAD($8, X0, Y0)
	VPADDD  Y0, Y11, Y0
	VMOVDQU Y0, noiseLanes_counter(AX)

rows:
	CHANCE8((SI), Y0)
	CHANCE8((SI)(R10*1), Y1)
	LEAQ (SI)(R10*2), SI
	CHANCE8((SI), Y2)
	CHANCE8((SI)(R10*1), Y3)
	LEAQ (SI)(R10*2), SI
	FOURROWS
	DECQ R13
	JNZ  rows
	COLUMNS
	NEXTGROUP
	JNZ  group
	VZEROUPPER
	RET
