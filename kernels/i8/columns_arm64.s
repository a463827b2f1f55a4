//go:build !purego

#include "go_asm.h"
#include "textflag.h"
#include "neon_arm64.h"
#include "quant_arm64.h"

// Quantisation by chance, and of columns. Registers of both:
//
//	V16 inv      V20 2^24         V23 counters
//	V17 127      V21 noiseMul1    V24 key
//	V18 -127     V22 noiseMul2    V25 what the counters move on by

// CHANCE4 is x = roundByChance(x * inv, noise) as int32, for four values of register number x, which is vx.
#define CHANCE4(x, vx) \
	FMUL(x, x, 16); \
	VUSHR $16, V23.S4, V26.S4; \
	VEOR V23.B16, V26.B16, V26.B16; \
	MULS(26, 26, 21); \
	FMIN(x, x, 17); \
	FMAX(x, x, 18); \
	VUSHR $15, V26.S4, V27.S4; \
	VEOR V24.B16, V26.B16, V26.B16; \
	VEOR V27.B16, V26.B16, V26.B16; \
	MULS(26, 26, 22); \
	FRINTM(28, x); \
	FSUB(x, x, 28); \
	FMUL(x, x, 20); \
	VUSHR $15, V26.S4, V27.S4; \
	VEOR V27.B16, V26.B16, V26.B16; \
	VUSHR $8, V26.S4, V26.S4; \
	SCVTF(26, 26); \
	FCVTNS(28, 28); \
	FCMGT(x, x, 26); \
	VSUB vx.S4, V28.S4, vx.S4; \
	VADD V25.S4, V23.S4, V23.S4

// CHANCES sets what CHANCE4 needs from lanes in R9.
#define CHANCES \
	MOVD $0x4b800000, R3; \
	VDUP R3, V20.S4; \
	MOVD $const_noiseMul1, R3; \
	VDUP R3, V21.S4; \
	MOVD $const_noiseMul2, R3; \
	VDUP R3, V22.S4; \
	VLD1 (R9), [V23.S4, V24.S4, V25.S4]

// The bytes of four rows by four columns, transposed.
DATA transpose4<>+0(SB)/8, $0x0d0905010c080400
DATA transpose4<>+8(SB)/8, $0x0f0b07030e0a0602
GLOBL transpose4<>(SB), RODATA|NOPTR, $16

// POINTERS of a block of columns:
//
//	R0 q         R4 x of the group     R7 groups left
//	R1 its stride  R5 its stride       R8 x of a row
//	R6 inv       R9 lanes
#define POINTERS \
	MOVD q+0(FP), R0; \
	MOVD ldq+8(FP), R1; \
	MOVD x+16(FP), R4; \
	MOVD ldx+24(FP), R5; \
	LSL  $2, R5; \
	MOVD inv+32(FP), R6; \
	MOVD groups+40(FP), R7; \
	LIMITS; \
	MOVD $transpose4<>(SB), R3; \
	VLD1 (R3), [V19.B16]

#define ROW(v) \
	VLD1 (R8), [v]; \
	ADD R5, R8

// FOURROWS makes in vd, of number d, a word of four rows for each of four columns, of rows in V0..V3.
#define FOURROWS(d, vd) \
	SQXTNS(4, 0); \
	SQXTNS2(4, 1); \
	SQXTNS(5, 2); \
	SQXTNS2(5, 3); \
	SQXTNH(d, 4); \
	SQXTNH2(d, 5); \
	VTBL V19.B16, [vd.B16], vd.B16

#define NEAREST(d, vd) \
	ROW(V0.S4); \
	ROW(V1.S4); \
	ROW(V2.S4); \
	ROW(V3.S4); \
	SCALE4(0); \
	SCALE4(1); \
	SCALE4(2); \
	SCALE4(3); \
	FOURROWS(d, vd)

#define CHANCE(d, vd) \
	ROW(V0.S4); \
	ROW(V1.S4); \
	ROW(V2.S4); \
	ROW(V3.S4); \
	CHANCE4(0, V0); \
	CHANCE4(1, V1); \
	CHANCE4(2, V2); \
	CHANCE4(3, V3); \
	FOURROWS(d, vd)

// COLUMNS stores 16 rows of four columns from the words of four rows in V6, V7, V29 and V30.
#define COLUMNS \
	VTRN1 V7.S4, V6.S4, V0.S4; \
	VTRN2 V7.S4, V6.S4, V1.S4; \
	VTRN1 V30.S4, V29.S4, V2.S4; \
	VTRN2 V30.S4, V29.S4, V3.S4; \
	VZIP1 V2.D2, V0.D2, V4.D2; \
	VZIP1 V3.D2, V1.D2, V5.D2; \
	VZIP2 V2.D2, V0.D2, V6.D2; \
	VZIP2 V3.D2, V1.D2, V7.D2; \
	VST1 [V4.B16], (R0); \
	ADD R1, R0; \
	VST1 [V5.B16], (R0); \
	ADD R1, R0; \
	VST1 [V6.B16], (R0); \
	ADD R1, R0; \
	VST1 [V7.B16], (R0); \
	ADD R1, R0; \
	ADD $16, R4; \
	SUBS $1, R7

// func quantizeColumnsNEON(q *int8, ldq int, x *float32, ldx int, inv *float32, groups int)
TEXT ·quantizeColumnsNEON(SB), NOSPLIT, $0-48
	POINTERS

group:
	VLD1.P 16(R6), [V16.S4]
	MOVD R4, R8
	NEAREST(6, V6)
	NEAREST(7, V7)
	NEAREST(29, V29)
	NEAREST(30, V30)
	COLUMNS
	BNE  group
	RET

// func quantizeColumnsStochasticNEON(q *int8, ldq int, x *float32, ldx int, inv *float32, groups int, lanes *noiseLanes)
TEXT ·quantizeColumnsStochasticNEON(SB), NOSPLIT, $0-56
	POINTERS
	MOVD lanes+48(FP), R9
	CHANCES
	VMOV V23.B16, V31.B16

group:
	VLD1.P 16(R6), [V16.S4]
	MOVD R4, R8
	VMOV V31.B16, V23.B16
	CHANCE(6, V6)
	CHANCE(7, V7)
	CHANCE(29, V29)
	CHANCE(30, V30)
	VMOVI $4, V0.B16
	VUSHR $24, V0.S4, V0.S4
	VADD V0.S4, V31.S4, V31.S4
	COLUMNS
	BNE  group
	RET

// func quantizeStochasticNEON(q *int8, x *float32, n int, inv float32, lanes *noiseLanes)
TEXT ·quantizeStochasticNEON(SB), NOSPLIT, $0-40
	MOVD  q+0(FP), R0
	MOVD  x+8(FP), R1
	MOVD  n+16(FP), R2
	MOVWU inv+24(FP), R3
	VDUP  R3, V16.S4
	LIMITS
	MOVD  lanes+32(FP), R9
	CHANCES

loop:
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	CHANCE4(0, V0)
	CHANCE4(1, V1)
	CHANCE4(2, V2)
	CHANCE4(3, V3)
	SQXTNS(4, 0)
	SQXTNS2(4, 1)
	SQXTNS(5, 2)
	SQXTNS2(5, 3)
	SQXTNH(6, 4)
	SQXTNH2(6, 5)
	VST1.P [V6.B16], 16(R0)
	SUBS   $16, R2
	BNE    loop
	RET

// func maxAbsColumnsNEON(absmax *uint32, x *float32, rows, ldx, groups int)
TEXT ·maxAbsColumnsNEON(SB), NOSPLIT, $0-40
	MOVD absmax+0(FP), R0
	MOVD x+8(FP), R1
	MOVD ldx+24(FP), R4
	LSL  $2, R4
	MOVD groups+32(FP), R5
	MAGNITUDE

group:
	VLD1 (R0), [V0.S4]
	MOVD R1, R6
	MOVD rows+16(FP), R2

row:
	VLD1  (R6), [V1.S4]
	ADD   R4, R6
	VAND  V7.B16, V1.B16, V1.B16
	VUMAX V1.S4, V0.S4, V0.S4
	SUBS  $1, R2
	BNE   row
	VST1.P [V0.S4], 16(R0)
	ADD   $16, R1
	SUBS  $1, R5
	BNE   group
	RET
