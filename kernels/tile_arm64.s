//go:build !purego

#include "go_asm.h"
#include "textflag.h"
#include "neon_arm64.h"
#include "tile_a53_arm64.h"

// The f32 tile kernels: up to 6 rows by 16 columns of C in V0..V23, row r in V(4r)..V(4r+3). A multiply-add takes four
// columns of a panel row and one lane of a register of A, which one load fills in either order of A: with four steps of a
// row that follow one another (by4), or with four rows of a step side by side (across). What fits neither, the last steps
// of a row or other strides, goes step by step with one value in a register (by1).
//
//	R0  the argument     R5  C            R7  init        R9  rows left     R2  A row stride (bytes)
//	R1  A of the block   R6  its stride   R8  its stride  R10 steps left    R3  A step stride (bytes)
//	R4  panel row        R20..R25 A of the rows           R11 panel row stride (bytes)
//
// In STEP V24..V29 hold A, a register a row or rows 0-3 and 4-5, and V30 and V31 take turns at the panel: a core that
// renames registers lets its loads run ahead.

#define START \
	MOVD t+0(FP), R0; \
	MOVD tile_rsA(R0), R2; \
	MOVD tile_csA(R0), R3; \
	MOVD tile_ldc(R0), R6; \
	MOVD tile_ldInit(R0), R8; \
	LSL  $2, R2; \
	LSL  $2, R3; \
	LSL  $2, R6; \
	LSL  $2, R8; \
	MOVD tile_csB(R0), R11; \
	MOVD tile_c(R0), R5; \
	MOVD tile_init(R0), R7; \
	ADD  $tile_edge, R0, R12; \
	CMP  $0, R5; \
	CSEL EQ, R12, R7, R7; \
	CSEL EQ, R12, R5, R5; \
	MOVD tile_rows(R0), R9; \
	MOVD tile_a(R0), R1

// BEGIN starts a block of rows: where A has them, and the way to go through it.
#define BEGIN(across, by1) \
	MOVD tile_b(R0), R4; \
	MOVD tile_k(R0), R10; \
	MOVD R1, R20; \
	CMP  $4, R2; \
	BEQ  across; \
	ADD  R2, R20, R21; \
	ADD  R2, R21, R22; \
	ADD  R2, R22, R23; \
	ADD  R2, R23, R24; \
	ADD  R2, R24, R25; \
	CMP  $4, R3; \
	BNE  by1; \
	CMP  $4, R10; \
	BLT  by1

#define INIT(v0, v1, v2, v3) \
	VLD1 (R7), [v0.S4, v1.S4, v2.S4, v3.S4]; \
	ADD R8, R7

#define STORE(v0, v1, v2, v3) \
	VST1 [v0.S4, v1.S4, v2.S4, v3.S4], (R5); \
	ADD R6, R5

// INIT6 and STORE6 are the first and the last of a block of 6 rows; STORE6 goes on to the next block.
#define INIT6 \
	INIT(V0, V1, V2, V3); \
	INIT(V4, V5, V6, V7); \
	INIT(V8, V9, V10, V11); \
	INIT(V12, V13, V14, V15); \
	INIT(V16, V17, V18, V19); \
	INIT(V20, V21, V22, V23)

#define STORE6 \
	STORE(V0, V1, V2, V3); \
	STORE(V4, V5, V6, V7); \
	STORE(V8, V9, V10, V11); \
	STORE(V12, V13, V14, V15); \
	STORE(V16, V17, V18, V19); \
	STORE(V20, V21, V22, V23); \
	MOVD tile_bsA(R0), R12; \
	ADD  R12<<2, R1; \
	SUB  $6, R9

// Columns 4j..4j+3 of a step from panel register p: lane l of the rows' registers, or the rows as the lanes.
#define LANES1(j, p, l) FMLAE(0+j, p, 24, l)
#define LANES2(j, p, l) LANES1(j, p, l); FMLAE(4+j, p, 25, l)
#define LANES4(j, p, l) LANES2(j, p, l); FMLAE(8+j, p, 26, l); FMLAE(12+j, p, 27, l)
#define LANES6(j, p, l) LANES4(j, p, l); FMLAE(16+j, p, 28, l); FMLAE(20+j, p, 29, l)
#define ACROSS2(j, p, l) FMLAE(0+j, p, 24, 0); FMLAE(4+j, p, 24, 1)
#define ACROSS4(j, p, l) ACROSS2(j, p, l); FMLAE(8+j, p, 24, 2); FMLAE(12+j, p, 24, 3)
#define ACROSS6(j, p, l) ACROSS4(j, p, l); FMLAE(16+j, p, 25, 0); FMLAE(20+j, p, 25, 1)

// STEP adds one step: a panel row times a value of every row.
#define STEP(ROWS, l) \
	FMOVQ (R4), F30; \
	FMOVQ 16(R4), F31; \
	ROWS(0, 30, l); \
	FMOVQ 32(R4), F30; \
	ROWS(1, 31, l); \
	FMOVQ 48(R4), F31; \
	ADD R11, R4; \
	ROWS(2, 30, l); \
	ROWS(3, 31, l)

// BY4 and BY1 leave the condition for another round: GE and NE.
#define BY4(ROWS) \
	STEP(ROWS, 0); \
	STEP(ROWS, 1); \
	STEP(ROWS, 2); \
	STEP(ROWS, 3); \
	SUB $4, R10; \
	CMP $4, R10

#define BY1(ROWS) \
	STEP(ROWS, 0); \
	SUBS $1, R10

// LOAD1 takes one value of every one of 6 rows.
#define LOAD1 \
	FMOVS (R20), F24; \
	FMOVS (R21), F25; \
	FMOVS (R22), F26; \
	FMOVS (R23), F27; \
	FMOVS (R24), F28; \
	FMOVS (R25), F29; \
	ADD   R3, R20; \
	ADD   R3, R21; \
	ADD   R3, R22; \
	ADD   R3, R23; \
	ADD   R3, R24; \
	ADD   R3, R25

// LOAD1ACROSS takes the same from 6 rows side by side.
#define LOAD1ACROSS \
	FMOVQ (R20), F24; \
	FMOVD 16(R20), F25; \
	ADD   R3, R20

// func tileF32NEON(t *tile)
TEXT ·tileF32NEON(SB), NOSPLIT, $0-8
	START

rows6:
	CMP $6, R9
	BLT rest
	INIT6
	BEGIN(across6, rest6)

by4x6:
	FMOVQ.P 16(R20), F24
	FMOVQ.P 16(R21), F25
	FMOVQ.P 16(R22), F26
	FMOVQ.P 16(R23), F27
	FMOVQ.P 16(R24), F28
	FMOVQ.P 16(R25), F29
	BY4(LANES6)
	BGE  by4x6

rest6:
	CBZ R10, store6

by1x6:
	LOAD1
	BY1(LANES6)
	BNE by1x6
	B   store6

across6:
	LOAD1ACROSS
	BY1(ACROSS6)
	BNE across6

store6:
	STORE6
	B rows6

rest:
	B tileF32Rest<>(SB)

// func tileF32A53(t *tile)
TEXT ·tileF32A53(SB), NOSPLIT, $0-8
	START

rows6:
	CMP $6, R9
	BLT rest
	INIT6
	BEGIN(across6, by1x6)

	// Two steps of row 2i in the lower half of V(24+i), of row 2i+1 in the upper.
	MOVD $8, R12
	TURN0
	B    enter

turn:
	TURN4(1, 3)

enter:
	TURN1(0, 2)
	TURN2(0, 2)
	TURN3(1, 3)
	BGE turn
	ENDTURN(1, 3)
	ADD R19, R20
	ADD R19, R21
	ADD R19, R22
	ADD R19, R23
	ADD R19, R24
	ADD R19, R25
	CBZ R10, store6

by1x6:
	LOAD1
	BY1(LANES6)
	BNE by1x6
	B   store6

across6: // a step of rows 2i and 2i+1 in the lower half of V(24+i), the next step in the upper
	CMP $2, R10
	BLT across1x6
	LSL $1, R3, R12
	ADD R3, R20, R21
	ADD $8, R20, R22
	ADD $8, R21, R23
	ADD $16, R20, R24
	ADD $16, R21, R25
	TURN0
	B   enterAcross

turnAcross:
	TURN4(2, 3)

enterAcross:
	TURN1(0, 1)
	TURN2(0, 1)
	TURN3(2, 3)
	BGE turnAcross
	ENDTURN(2, 3)
	ADD R19, R20
	CBZ R10, store6

across1x6:
	LOAD1ACROSS
	BY1(ACROSS6)
	BNE across1x6

store6:
	STORE6
	B rows6

rest:
	B tileF32Rest<>(SB)

// tileF32Rest goes on from the tile kernels with the last block, of less than 6 rows. They follow one another at the row
// stride.
TEXT tileF32Rest<>(SB), NOSPLIT, $0-8
	CMP $4, R9
	BLT rows2
	INIT(V0, V1, V2, V3)
	INIT(V4, V5, V6, V7)
	INIT(V8, V9, V10, V11)
	INIT(V12, V13, V14, V15)
	BEGIN(across4, rest4)

by4x4:
	FMOVQ.P 16(R20), F24
	FMOVQ.P 16(R21), F25
	FMOVQ.P 16(R22), F26
	FMOVQ.P 16(R23), F27
	BY4(LANES4)
	BGE  by4x4

rest4:
	CBZ R10, store4

by1x4:
	FMOVS (R20), F24
	FMOVS (R21), F25
	FMOVS (R22), F26
	FMOVS (R23), F27
	ADD   R3, R20
	ADD   R3, R21
	ADD   R3, R22
	ADD   R3, R23
	BY1(LANES4)
	BNE   by1x4
	B     store4

across4:
	FMOVQ (R20), F24
	ADD   R3, R20
	BY1(ACROSS4)
	BNE   across4

store4:
	STORE(V0, V1, V2, V3)
	STORE(V4, V5, V6, V7)
	STORE(V8, V9, V10, V11)
	STORE(V12, V13, V14, V15)
	ADD  R2<<2, R1
	SUB  $4, R9

rows2:
	CMP $2, R9
	BLT rows1
	INIT(V0, V1, V2, V3)
	INIT(V4, V5, V6, V7)
	BEGIN(across2, rest2)

by4x2:
	FMOVQ.P 16(R20), F24
	FMOVQ.P 16(R21), F25
	BY4(LANES2)
	BGE  by4x2

rest2:
	CBZ R10, store2

by1x2:
	FMOVS (R20), F24
	FMOVS (R21), F25
	ADD   R3, R20
	ADD   R3, R21
	BY1(LANES2)
	BNE   by1x2
	B     store2

across2:
	FMOVD (R20), F24
	ADD   R3, R20
	BY1(ACROSS2)
	BNE   across2

store2:
	STORE(V0, V1, V2, V3)
	STORE(V4, V5, V6, V7)
	ADD  R2<<1, R1
	SUB  $2, R9

rows1:
	CBZ R9, done
	INIT(V0, V1, V2, V3)
	BEGIN(by1x1, rest1)

by4x1:
	FMOVQ.P 16(R20), F24
	BY4(LANES1)
	BGE  by4x1

rest1:
	CBZ R10, store1

by1x1:
	FMOVS (R20), F24
	ADD   R3, R20
	BY1(LANES1)
	BNE   by1x1

store1:
	STORE(V0, V1, V2, V3)

done:
	RET
