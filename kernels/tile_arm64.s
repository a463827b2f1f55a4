//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// The f32 tile kernel: up to 6 rows by 16 columns of C in V0..V23, one row of the panel in V24..V27, one value of
// A spread over V28. Go's VFMLA is Vd += Vn * Vm with one rounding, the operands in the order m, n, d.
//
//	R0  the argument     R5  C            R7  init        R9  rows left
//	R1  A of a step      R6  its stride   R8  its stride  R2  A row stride (bytes)
//	R4  panel            R10 k left       R11 A of a row  R3  A k stride (bytes)
//	R12 A of the block

// ROW is one row's share of a step: acc += a * panel row; R11 moves to the next row of A.
#define ROW(v0, v1, v2, v3) \
	VLD1R (R11), [V28.S4]; \
	ADD R2, R11; \
	VFMLA V24.S4, V28.S4, v0.S4; \
	VFMLA V25.S4, V28.S4, v1.S4; \
	VFMLA V26.S4, V28.S4, v2.S4; \
	VFMLA V27.S4, V28.S4, v3.S4

#define PANEL \
	VLD1.P 64(R4), [V24.S4, V25.S4, V26.S4, V27.S4]; \
	MOVD R1, R11

#define INIT(v0, v1, v2, v3) \
	VLD1 (R7), [v0.S4, v1.S4, v2.S4, v3.S4]; \
	ADD R8, R7

#define STORE(v0, v1, v2, v3) \
	VST1 [v0.S4, v1.S4, v2.S4, v3.S4], (R5); \
	ADD R6, R5

#define BEGIN \
	MOVD tile_b(R0), R4; \
	MOVD tile_k(R0), R10; \
	MOVD R12, R1

// func tileF32NEON(t *tile)
TEXT ·tileF32NEON(SB), NOSPLIT, $0-8
	MOVD t+0(FP), R0
	MOVD tile_rsA(R0), R2
	MOVD tile_csA(R0), R3
	MOVD tile_ldc(R0), R6
	MOVD tile_ldInit(R0), R8
	LSL  $2, R2
	LSL  $2, R3
	LSL  $2, R6
	LSL  $2, R8
	MOVD tile_c(R0), R5
	MOVD tile_init(R0), R7
	CBNZ R5, given
	ADD  $tile_edge, R0, R5
	MOVD R5, R7

given:
	MOVD tile_rows(R0), R9
	MOVD tile_a(R0), R12

rows6:
	CMP $6, R9
	BLT rows4
	BEGIN
	INIT(V0, V1, V2, V3)
	INIT(V4, V5, V6, V7)
	INIT(V8, V9, V10, V11)
	INIT(V12, V13, V14, V15)
	INIT(V16, V17, V18, V19)
	INIT(V20, V21, V22, V23)

step6:
	PANEL
	ROW(V0, V1, V2, V3)
	ROW(V4, V5, V6, V7)
	ROW(V8, V9, V10, V11)
	ROW(V12, V13, V14, V15)
	ROW(V16, V17, V18, V19)
	ROW(V20, V21, V22, V23)
	ADD  R3, R1
	SUBS $1, R10
	BNE  step6
	STORE(V0, V1, V2, V3)
	STORE(V4, V5, V6, V7)
	STORE(V8, V9, V10, V11)
	STORE(V12, V13, V14, V15)
	STORE(V16, V17, V18, V19)
	STORE(V20, V21, V22, V23)
	MOVD tile_bsA(R0), R11
	ADD  R11<<2, R12
	SUB  $6, R9
	B    rows6

rows4: // the last block: its rows follow one another at the row stride
	CMP $4, R9
	BLT rows2
	BEGIN
	INIT(V0, V1, V2, V3)
	INIT(V4, V5, V6, V7)
	INIT(V8, V9, V10, V11)
	INIT(V12, V13, V14, V15)

step4:
	PANEL
	ROW(V0, V1, V2, V3)
	ROW(V4, V5, V6, V7)
	ROW(V8, V9, V10, V11)
	ROW(V12, V13, V14, V15)
	ADD  R3, R1
	SUBS $1, R10
	BNE  step4
	STORE(V0, V1, V2, V3)
	STORE(V4, V5, V6, V7)
	STORE(V8, V9, V10, V11)
	STORE(V12, V13, V14, V15)
	ADD  R2<<2, R12
	SUB  $4, R9

rows2:
	CMP $2, R9
	BLT rows1
	BEGIN
	INIT(V0, V1, V2, V3)
	INIT(V4, V5, V6, V7)

step2:
	PANEL
	ROW(V0, V1, V2, V3)
	ROW(V4, V5, V6, V7)
	ADD  R3, R1
	SUBS $1, R10
	BNE  step2
	STORE(V0, V1, V2, V3)
	STORE(V4, V5, V6, V7)
	ADD  R2<<1, R12
	SUB  $2, R9

rows1:
	CBZ R9, done
	BEGIN
	INIT(V0, V1, V2, V3)

step1:
	PANEL
	ROW(V0, V1, V2, V3)
	ADD  R3, R1
	SUBS $1, R10
	BNE  step1
	STORE(V0, V1, V2, V3)

done:
	RET
