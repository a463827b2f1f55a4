//go:build !purego

#include "go_asm.h"
#include "textflag.h"
#include "neon_arm64.h"

// The int8 tile kernel on SMMLA, which multiplies two rows of 8 k by two channels of 8 k: 8 rows by 8 channels of sums.
//
//	R0 the argument      R3 steps left       R6  add
//	R1 A at k            R4 panels left      R8..R15 C of eight rows
//	R2 panel at k        R5 skip
//
// Rows 2r and 2r+1 by channels 2j and 2j+1 in V(16+4r+j), 8 k of a pair of rows in V0..V3, of a pair of channels in
// V4..V7.

#define PAIR(a, s0, s1, s2, s3) \
	SMMLA(s0, a, 4); \
	SMMLA(s1, a, 5); \
	SMMLA(s2, a, 6); \
	SMMLA(s3, a, 7)

#define ZERO4(s0, s1, s2, s3) \
	VEOR s0.B16, s0.B16, s0.B16; \
	VEOR s1.B16, s1.B16, s1.B16; \
	VEOR s2.B16, s2.B16, s2.B16; \
	VEOR s3.B16, s3.B16, s3.B16

// ROWS takes two rows apart: the upper in s0 and s2, the lower in s1 and s3.
#define ROWS(s0, s1, s2, s3) \
	VZIP1 s1.D2, s0.D2, V0.D2; \
	VZIP2 s1.D2, s0.D2, s1.D2; \
	VZIP1 s3.D2, s2.D2, V2.D2; \
	VZIP2 s3.D2, s2.D2, s3.D2; \
	VMOV V0.B16, s0.B16; \
	VMOV V2.B16, s2.B16

// func tileMM(t *tileMMArgs)
TEXT ·tileMM(SB), NOSPLIT, $0-8
	MOVD t+0(FP), R0
	LDP  tileMMArgs_c(R0), (R8, R9)
	LDP  (tileMMArgs_c+16)(R0), (R10, R11)
	LDP  (tileMMArgs_c+32)(R0), (R12, R13)
	LDP  (tileMMArgs_c+48)(R0), (R14, R15)
	MOVD tileMMArgs_b(R0), R2
	MOVD tileMMArgs_skip(R0), R5
	MOVD tileMMArgs_panels(R0), R4
	MOVD tileMMArgs_add(R0), R6

panel:
	ADD  $tileMMArgs_a, R0, R1
	MOVD tileMMArgs_steps(R0), R3
	ZERO4(V16, V17, V18, V19)
	ZERO4(V20, V21, V22, V23)
	ZERO4(V24, V25, V26, V27)
	ZERO4(V28, V29, V30, V31)

step:
	FLDPQ.P 32(R1), (F0, F1)
	FLDPQ.P 32(R2), (F4, F5)
	FLDPQ.P 32(R2), (F6, F7)
	FLDPQ.P 32(R1), (F2, F3)
	PAIR(0, 16, 17, 18, 19)
	PAIR(1, 20, 21, 22, 23)
	PAIR(2, 24, 25, 26, 27)
	PAIR(3, 28, 29, 30, 31)
	SUBS    $1, R3
	BNE     step

	ROWS(V16, V17, V18, V19)
	ROWS(V20, V21, V22, V23)
	ROWS(V24, V25, V26, V27)
	ROWS(V28, V29, V30, V31)
	CBZ  R6, store
	VLD1 (R8), [V0.S4, V1.S4]
	VLD1 (R9), [V2.S4, V3.S4]
	VLD1 (R10), [V4.S4, V5.S4]
	VLD1 (R11), [V6.S4, V7.S4]
	VLD1 (R12), [V8.S4, V9.S4]
	VLD1 (R13), [V10.S4, V11.S4]
	VLD1 (R14), [V12.S4, V13.S4]
	VLD1 (R15), [V14.S4, V15.S4]
	VADD V0.S4, V16.S4, V16.S4
	VADD V1.S4, V18.S4, V18.S4
	VADD V2.S4, V17.S4, V17.S4
	VADD V3.S4, V19.S4, V19.S4
	VADD V4.S4, V20.S4, V20.S4
	VADD V5.S4, V22.S4, V22.S4
	VADD V6.S4, V21.S4, V21.S4
	VADD V7.S4, V23.S4, V23.S4
	VADD V8.S4, V24.S4, V24.S4
	VADD V9.S4, V26.S4, V26.S4
	VADD V10.S4, V25.S4, V25.S4
	VADD V11.S4, V27.S4, V27.S4
	VADD V12.S4, V28.S4, V28.S4
	VADD V13.S4, V30.S4, V30.S4
	VADD V14.S4, V29.S4, V29.S4
	VADD V15.S4, V31.S4, V31.S4

store:
	FSTPQ.P (F16, F18), 32(R8)
	FSTPQ.P (F17, F19), 32(R9)
	FSTPQ.P (F20, F22), 32(R10)
	FSTPQ.P (F21, F23), 32(R11)
	FSTPQ.P (F24, F26), 32(R12)
	FSTPQ.P (F25, F27), 32(R13)
	FSTPQ.P (F28, F30), 32(R14)
	FSTPQ.P (F29, F31), 32(R15)
	ADD  R5, R2
	SUBS $1, R4
	BNE  panel
	RET
