//go:build !purego

#include "textflag.h"

// Widening, which Go's assembler lacks; register numbers in ARM's order, the result first.
#define FCVTL(d, n) WORD $(0x0e217800 | (d) | (n)<<5) // fcvtl d.4s, n.4h
#define FCVTL2(d, n) WORD $(0x4e217800 | (d) | (n)<<5) // fcvtl2 d.4s, n.8h

// ROW loads eight halves and moves on to the next row.
#define ROW(v) \
	VLD1 (R5), [v.H8]; \
	ADD R3, R5

// COLUMN widens a column of eight halves, stores it and moves on to the next row of the panel.
#define COLUMN(n) \
	FCVTL(24, n); \
	FCVTL2(25, n); \
	VST1 [V24.S4, V25.S4], (R6); \
	ADD $64, R6

// Eight columns of 16 rows, eight rows at a time: halves are interleaved, then pairs, then fours.
//
//	R0 panel        R2 columns left    R5 row of the source
//	R1 row 0        R3 stride          R6 row of the panel
//	R4 half: 0, 1
//
// func packTHalf16(dst *float32, src *uint16, k, stride int)
TEXT ·packTHalf16(SB), NOSPLIT, $0-32
	MOVD dst+0(FP), R0
	MOVD src+8(FP), R1
	MOVD k+16(FP), R2
	MOVD stride+24(FP), R3

loop:
	MOVD R1, R5
	MOVD R0, R6
	MOVD $2, R4

eight:
	ROW(V0)
	ROW(V1)
	ROW(V2)
	ROW(V3)
	ROW(V4)
	ROW(V5)
	ROW(V6)
	ROW(V7)

	VZIP1 V1.H8, V0.H8, V16.H8
	VZIP2 V1.H8, V0.H8, V17.H8
	VZIP1 V3.H8, V2.H8, V18.H8
	VZIP2 V3.H8, V2.H8, V19.H8
	VZIP1 V5.H8, V4.H8, V20.H8
	VZIP2 V5.H8, V4.H8, V21.H8
	VZIP1 V7.H8, V6.H8, V22.H8
	VZIP2 V7.H8, V6.H8, V23.H8

	VZIP1 V18.S4, V16.S4, V0.S4
	VZIP2 V18.S4, V16.S4, V1.S4
	VZIP1 V19.S4, V17.S4, V2.S4
	VZIP2 V19.S4, V17.S4, V3.S4
	VZIP1 V22.S4, V20.S4, V4.S4
	VZIP2 V22.S4, V20.S4, V5.S4
	VZIP1 V23.S4, V21.S4, V6.S4
	VZIP2 V23.S4, V21.S4, V7.S4

	VZIP1 V4.D2, V0.D2, V16.D2
	VZIP2 V4.D2, V0.D2, V17.D2
	VZIP1 V5.D2, V1.D2, V18.D2
	VZIP2 V5.D2, V1.D2, V19.D2
	VZIP1 V6.D2, V2.D2, V20.D2
	VZIP2 V6.D2, V2.D2, V21.D2
	VZIP1 V7.D2, V3.D2, V22.D2
	VZIP2 V7.D2, V3.D2, V23.D2

	COLUMN(16)
	COLUMN(17)
	COLUMN(18)
	COLUMN(19)
	COLUMN(20)
	COLUMN(21)
	COLUMN(22)
	COLUMN(23)

	ADD  $32, R0, R6
	SUBS $1, R4
	BNE  eight

	ADD  $16, R1
	ADD  $512, R0
	SUBS $8, R2
	BNE  loop
	RET
