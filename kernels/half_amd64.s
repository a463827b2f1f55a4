//go:build !purego

#include "textflag.h"

// ROW loads eight halves of row r to the lower half of y and of row r+8 to the upper half.
#define ROW(lo, hi, x, y) \
	VMOVDQU lo, x; \
	VINSERTI128 $1, hi, y, y

// COLUMN widens a column of 16 halves and stores it as row d/64 of the panel.
#define COLUMN(y, x, d) \
	VEXTRACTI128 $1, y, X8; \
	VCVTPH2PS x, Y9; \
	VCVTPH2PS X8, Y8; \
	VMOVUPS Y9, d(DI); \
	VMOVUPS Y8, d+32(DI)

// Eight columns of 16 rows: halves are interleaved, then pairs, then fours, each in both halves of the registers.
//
//	DI  panel           R8 stride       R10 5 strides
//	SI  row 0           R9 3 strides    R11 7 strides
//	DX  row 8           CX columns left
//
// func packTHalf16(dst *float32, src *uint16, k, stride int)
TEXT ·packTHalf16(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ k+16(FP), CX
	MOVQ stride+24(FP), R8
	LEAQ (R8)(R8*2), R9
	LEAQ (R8)(R8*4), R10
	LEAQ (R9)(R8*4), R11
	LEAQ (SI)(R8*8), DX

loop:
	ROW((SI), (DX), X0, Y0)
	ROW((SI)(R8*1), (DX)(R8*1), X1, Y1)
	ROW((SI)(R8*2), (DX)(R8*2), X2, Y2)
	ROW((SI)(R9*1), (DX)(R9*1), X3, Y3)
	ROW((SI)(R8*4), (DX)(R8*4), X4, Y4)
	ROW((SI)(R10*1), (DX)(R10*1), X5, Y5)
	ROW((SI)(R9*2), (DX)(R9*2), X6, Y6)
	ROW((SI)(R11*1), (DX)(R11*1), X7, Y7)

	VPUNPCKLWD Y1, Y0, Y8
	VPUNPCKHWD Y1, Y0, Y9
	VPUNPCKLWD Y3, Y2, Y10
	VPUNPCKHWD Y3, Y2, Y11
	VPUNPCKLWD Y5, Y4, Y12
	VPUNPCKHWD Y5, Y4, Y13
	VPUNPCKLWD Y7, Y6, Y14
	VPUNPCKHWD Y7, Y6, Y15

	VPUNPCKLDQ Y10, Y8, Y0
	VPUNPCKHDQ Y10, Y8, Y1
	VPUNPCKLDQ Y11, Y9, Y2
	VPUNPCKHDQ Y11, Y9, Y3
	VPUNPCKLDQ Y14, Y12, Y4
	VPUNPCKHDQ Y14, Y12, Y5
	VPUNPCKLDQ Y15, Y13, Y6
	VPUNPCKHDQ Y15, Y13, Y7

	VPUNPCKLQDQ Y4, Y0, Y10
	VPUNPCKHQDQ Y4, Y0, Y11
	VPUNPCKLQDQ Y5, Y1, Y12
	VPUNPCKHQDQ Y5, Y1, Y13
	VPUNPCKLQDQ Y6, Y2, Y14
	VPUNPCKHQDQ Y6, Y2, Y15
	VPUNPCKLQDQ Y7, Y3, Y0
	VPUNPCKHQDQ Y7, Y3, Y1

	COLUMN(Y10, X10, 0)
	COLUMN(Y11, X11, 64)
	COLUMN(Y12, X12, 128)
	COLUMN(Y13, X13, 192)
	COLUMN(Y14, X14, 256)
	COLUMN(Y15, X15, 320)
	COLUMN(Y0, X0, 384)
	COLUMN(Y1, X1, 448)

	ADDQ $16, SI
	ADDQ $16, DX
	ADDQ $512, DI
	SUBQ $8, CX
	JNZ  loop
	VZEROUPPER
	RET
