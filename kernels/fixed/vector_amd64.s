//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// The packs work on the halves of a register; this order of double words puts the bytes back in order.
DATA byteOrder<>+0(SB)/8, $0x0000000400000000
DATA byteOrder<>+8(SB)/8, $0x0000000500000001
DATA byteOrder<>+16(SB)/8, $0x0000000600000002
DATA byteOrder<>+24(SB)/8, $0x0000000700000003
GLOBL byteOrder<>(SB), RODATA|NOPTR, $32

// Registers of the routines that take two rows at a time:
//
//	AX  the argument         BX, DX  the rows' sums      Y8, Y9  twice the multipliers of even, of odd channels
//	R8  multipliers          DI, SI  the rows' results   Y15     lift
//	R9  addends              CX      columns left        R12     rows left
//	R10 shifts                                           R14, R15  the first row's sums and results
//
// CHANNELS starts at the first channel, ROWS at the first of two rows: the same row twice where only one is left.
#define CHANNELS \
	MOVQ requantArgs_mult(AX), R8; \
	MOVQ requantArgs_add(AX), R9; \
	MOVQ requantArgs_shift(AX), R10; \
	MOVQ requantArgs_n(AX), CX

#define LIFT(y) \
	VMOVD requantArgs_lift(AX), X15; \
	VPBROADCASTD X15, y

#define ROWS \
	CHANNELS; \
	XORQ R11, R11; \
	XORQ R13, R13; \
	CMPQ R12, $1; \
	CMOVQNE requantArgs_ldacc(AX), R11; \
	CMOVQNE requantArgs_ldd(AX), R13; \
	MOVQ R14, BX; \
	LEAQ (R14)(R11*1), DX; \
	MOVQ R15, DI; \
	LEAQ (R15)(R13*1), SI

// NEXTROWS steps two rows on; what is left is above 0 while there are more.
#define NEXTROWS \
	MOVQ requantArgs_ldacc(AX), R11; \
	LEAQ (R14)(R11*2), R14; \
	MOVQ requantArgs_ldd(AX), R11; \
	LEAQ (R15)(R11*2), R15; \
	SUBQ $2, R12

// PAIR is twice the multipliers of 8 channels.
#define PAIR(off) \
	VMOVDQU off(R8), Y8; \
	VPADDD Y8, Y8, Y8; \
	VPSRLQ $32, Y8, Y9

// MULTIPLY is y = (y * multiplier) >> 31 for the multipliers of PAIR.
#define MULTIPLY(y, tmp) \
	VPSRLQ $32, y, tmp; \
	VPMULDQ Y8, y, y; \
	VPMULDQ Y9, tmp, tmp; \
	VPSRLQ $32, y, y; \
	VPBLENDD $0xaa, tmp, y, y

// FINISH is y = (y + addend) >> shift.
#define FINISH(off, y) \
	VPADDD off(R9), y, y; \
	VPSRAVD off(R10), y, y

#define REQUANT(src, off, y, tmp) \
	VMOVDQU src, y; \
	VPSLLVD Y15, y, y; \
	MULTIPLY(y, tmp); \
	FINISH(off, y)

// REQUANT16 is 16 channels of both rows: Y0, Y1 and Y2, Y3.
#define REQUANT16 \
	PAIR(0); \
	REQUANT((BX), 0, Y0, Y4); \
	REQUANT((DX), 0, Y2, Y5); \
	PAIR(32); \
	REQUANT(32(BX), 32, Y1, Y6); \
	REQUANT(32(DX), 32, Y3, Y7)

#define ADVANCE \
	ADDQ $64, BX; \
	ADDQ $64, DX; \
	ADDQ $64, R8; \
	ADDQ $64, R9; \
	ADDQ $64, R10

// func requantI8Rows(a *requantArgs)
TEXT ·requantI8Rows(SB), NOSPLIT, $0-8
	MOVQ a+0(FP), AX
	LIFT(Y15)
	VMOVDQU byteOrder<>(SB), Y14
	MOVL $0x81818181, BX // -127
	VMOVD BX, X13
	VPBROADCASTD X13, Y13
	MOVQ requantArgs_rows(AX), R12
	MOVQ requantArgs_acc(AX), R14
	MOVQ requantArgs_dst(AX), R15

rows:
	ROWS

block:
	REQUANT16
	VPACKSSDW Y1, Y0, Y0
	VPACKSSDW Y3, Y2, Y2
	VPACKSSWB Y2, Y0, Y0
	VPERMD Y0, Y14, Y0
	VPMAXSB Y13, Y0, Y0
	VMOVDQU X0, (DI)
	VEXTRACTI128 $1, Y0, (SI)
	ADVANCE
	ADDQ $16, DI
	ADDQ $16, SI
	SUBQ $16, CX
	JNZ block

	NEXTROWS
	JGT rows
	VZEROUPPER
	RET

// SATURATE is the sum of y and off(r) within Y13 and Y12.
#define SATURATE(off, r, y) \
	VPADDD off(r), y, y; \
	VPMINSD Y13, y, y; \
	VPMAXSD Y12, y, y

// func addRequantRows(a *requantArgs)
TEXT ·addRequantRows(SB), NOSPLIT, $0-8
	MOVQ a+0(FP), AX
	LIFT(Y15)
	MOVL $const_ResidualMax, BX
	VMOVD BX, X13
	VPBROADCASTD X13, Y13
	VPXOR Y12, Y12, Y12
	VPSUBD Y13, Y12, Y12
	MOVQ requantArgs_rows(AX), R12
	MOVQ requantArgs_acc(AX), R14
	MOVQ requantArgs_res(AX), R15

rows:
	ROWS

block:
	REQUANT16
	SATURATE(0, DI, Y0)
	SATURATE(32, DI, Y1)
	SATURATE(0, SI, Y2)
	SATURATE(32, SI, Y3)
	VMOVDQU Y0, (DI)
	VMOVDQU Y1, 32(DI)
	VMOVDQU Y2, (SI)
	VMOVDQU Y3, 32(SI)
	ADVANCE
	ADDQ $64, DI
	ADDQ $64, SI
	SUBQ $16, CX
	JNZ block

	NEXTROWS
	JGT rows
	VZEROUPPER
	RET

// The parabolas of geluDip, eight words each and twice.
DATA dip<>+0(SB)/8, $0x19a728b5279e0000 // c0
DATA dip<>+8(SB)/8, $0x0035010703f50ba2
DATA dip<>+16(SB)/8, $0x19a728b5279e0000
DATA dip<>+24(SB)/8, $0x0035010703f50ba2
DATA dip<>+32(SB)/8, $0xef45f3930eb63f4c // c1
DATA dip<>+40(SB)/8, $0xffb1fea0fb79f547
DATA dip<>+48(SB)/8, $0xef45f3930eb63f4c
DATA dip<>+56(SB)/8, $0xffb1fea0fb79f547
DATA dip<>+64(SB)/8, $0x02b2fd48f228e820 // c2
DATA dip<>+72(SB)/8, $0x00220090019f0314
DATA dip<>+80(SB)/8, $0x02b2fd48f228e820
DATA dip<>+88(SB)/8, $0x00220090019f0314
GLOBL dip<>(SB), RODATA|NOPTR, $96

// WORDS16 is a constant of 16 words w.
#define WORDS16(name, w) \
	DATA name<>+0(SB)/8, $w; \
	DATA name<>+8(SB)/8, $w; \
	DATA name<>+16(SB)/8, $w; \
	DATA name<>+24(SB)/8, $w; \
	GLOBL name<>(SB), RODATA|NOPTR, $32

WORDS16(fraction11, 0x07ff07ff07ff07ff) // the low 11 bits
WORDS16(twice, 0x0202020202020202)      // i as a word -> 2i in both bytes
WORDS16(oneHigh, 0x0100010001000100)    // ... and 2i+1 in the upper

// GELU16 is GELU on the 16 words of x: DX, the GELU; Y11, Y12, Y13, the parabolas; Y10, zero.
#define GELU16(x) \
	VPABSW x, Y4; \
	VPMINUW GELU_wide+0(R11), Y4, Y4; \
	VPSLLW GELU_left(R11), Y4, Y4; \
	VPSRLW $11, Y4, Y5; \
	VPMULLW twice<>(SB), Y5, Y5; \
	VPADDB oneHigh<>(SB), Y5, Y5; \
	VPAND fraction11<>(SB), Y4, Y4; \
	VPSLLW $4, Y4, Y4; \
	VPSHUFB Y5, Y13, Y6; \
	VPMULHRSW Y4, Y6, Y6; \
	VPSHUFB Y5, Y12, Y7; \
	VPADDW Y7, Y6, Y6; \
	VPMULHRSW Y4, Y6, Y6; \
	VPSHUFB Y5, Y11, Y7; \
	VPADDW Y7, Y6, Y6; \
	VPMULHRSW GELU_wide+32(R11), Y6, Y6; \
	VPMAXSW Y10, x, x; \
	VPSUBW Y6, x, x; \
	VPMULHRSW GELU_wide+64(R11), x, x; \
	VPADDSW GELU_wide+96(R11), x, x; \
	VPSRAW GELU_right(R11), x, x

// func requantGELURows(a *requantArgs)
TEXT ·requantGELURows(SB), NOSPLIT, $0-8
	MOVQ a+0(FP), AX
	LIFT(Y15)
	VMOVDQU byteOrder<>(SB), Y14
	VMOVDQU dip<>+0(SB), Y11
	VMOVDQU dip<>+32(SB), Y12
	VMOVDQU dip<>+64(SB), Y13
	VPXOR Y10, Y10, Y10
	MOVQ requantArgs_rows(AX), R12
	MOVQ requantArgs_acc(AX), R14
	MOVQ requantArgs_dst(AX), R15

rows:
	ROWS
	MOVQ requantArgs_gelu(AX), R11

block:
	REQUANT16
	VPACKSSDW Y1, Y0, Y0
	VPACKSSDW Y3, Y2, Y2
	GELU16(Y0)
	GELU16(Y2)
	VPACKSSWB Y2, Y0, Y0
	VPERMD Y0, Y14, Y0
	VMOVDQU X0, (DI)
	VEXTRACTI128 $1, Y0, (SI)
	ADVANCE
	ADDQ $16, DI
	ADDQ $16, SI
	SUBQ $16, CX
	JNZ block

	NEXTROWS
	JGT rows
	VZEROUPPER
	RET

// ROWSCALE loads the scaling of a row: lift, mean, twice the multiplier, shift in Y10, Y11, Y12, Y13.
#define ROWSCALE \
	VPBROADCASTD rowScale_lift(SI), Y10; \
	VPBROADCASTD rowScale_mean(SI), Y11; \
	VPBROADCASTD rowScale_mult(SI), Y12; \
	VPADDD Y12, Y12, Y12; \
	VPBROADCASTD rowScale_shift(SI), Y13

// SCALE is rowScale's apply.
#define SCALE(y, tmp) \
	VPSLLVD Y10, y, y; \
	VPSUBD Y11, y, y; \
	VPSRLQ $32, y, tmp; \
	VPMULDQ Y12, y, y; \
	VPMULDQ Y12, tmp, tmp; \
	VPSRLQ $32, y, y; \
	VPBLENDD $0xaa, tmp, y, y; \
	VPSRAVD Y13, y, y

// func scaleI8Rows(a *requantArgs)
TEXT ·scaleI8Rows(SB), NOSPLIT, $0-8
	MOVQ a+0(FP), AX
	LIFT(Y15)
	VMOVDQU byteOrder<>(SB), Y14
	MOVL $0x81818181, BX // -127
	VMOVD BX, X7
	MOVQ requantArgs_rows(AX), R12
	MOVQ requantArgs_scales(AX), SI
	MOVQ requantArgs_acc(AX), R11
	MOVQ requantArgs_dst(AX), R13

rows:
	CHANNELS
	ROWSCALE
	MOVQ R11, BX
	MOVQ R13, DI
	MOVQ requantArgs_base(AX), DX

block:
	VMOVDQU (BX), Y0
	VMOVDQU 32(BX), Y1
	TESTQ DX, DX
	JZ scale
	VPSUBD (DX), Y0, Y0
	VPSUBD 32(DX), Y1, Y1
	ADDQ $64, DX

scale:
	SCALE(Y0, Y2)
	SCALE(Y1, Y3)
	VPSLLVD Y15, Y0, Y0
	VPSLLVD Y15, Y1, Y1
	PAIR(0)
	MULTIPLY(Y0, Y2)
	PAIR(32)
	MULTIPLY(Y1, Y3)
	FINISH(0, Y0)
	FINISH(32, Y1)
	VPACKSSDW Y1, Y0, Y0
	VPACKSSWB Y0, Y0, Y0
	VPERMD Y0, Y14, Y0
	VPSHUFD $0, X7, X1
	VPMAXSB X1, X0, X0
	VMOVDQU X0, (DI)
	ADDQ $64, BX
	ADDQ $64, R8
	ADDQ $64, R9
	ADDQ $64, R10
	ADDQ $16, DI
	SUBQ $16, CX
	JNZ block

	ADDQ requantArgs_ldacc(AX), R11
	ADDQ requantArgs_ldd(AX), R13
	ADDQ $rowScale__size, SI
	DECQ R12
	JNZ rows
	VZEROUPPER
	RET

// SUM8 adds the 8 int32 of y to the sums at off(DI).
#define SUM8(off, y, x, tmp) \
	VPMOVSXDQ x, tmp; \
	VPADDQ off(DI), tmp, tmp; \
	VMOVDQU tmp, off(DI); \
	VEXTRACTI128 $1, y, x; \
	VPMOVSXDQ x, tmp; \
	VPADDQ (off+32)(DI), tmp, tmp; \
	VMOVDQU tmp, (off+32)(DI)

// func sumScaledRows(a *requantArgs)
TEXT ·sumScaledRows(SB), NOSPLIT, $0-8
	MOVQ a+0(FP), AX
	MOVQ requantArgs_rows(AX), R12
	MOVQ requantArgs_scales(AX), SI
	MOVQ requantArgs_acc(AX), R11

rows:
	ROWSCALE
	MOVQ R11, BX
	MOVQ requantArgs_sum(AX), DI
	MOVQ requantArgs_n(AX), CX

block:
	VMOVDQU (BX), Y0
	VMOVDQU 32(BX), Y1
	SCALE(Y0, Y2)
	SCALE(Y1, Y3)
	SUM8(0, Y0, X0, Y2)
	SUM8(64, Y1, X1, Y3)
	ADDQ $64, BX
	ADDQ $128, DI
	SUBQ $16, CX
	JNZ block

	ADDQ requantArgs_ldacc(AX), R11
	ADDQ $rowScale__size, SI
	DECQ R12
	JNZ rows
	VZEROUPPER
	RET

// MOMENTS adds four values, and their squares.
#define MOMENTS(off, y, sum, squares) \
	VPMOVSXDQ off(SI), y; \
	VPADDQ y, sum, sum; \
	VPMULDQ y, y, y; \
	VPADDQ y, squares, squares

// FOLD adds the four int64 of y into r.
#define FOLD(y, x, xt, r) \
	VEXTRACTI128 $1, y, xt; \
	VPADDQ xt, x, x; \
	VPSRLDQ $8, x, xt; \
	VPADDQ xt, x, x; \
	VMOVQ x, r

// func rowMomentsBlocks(x *int32, n int) (sum int64, squares uint64)
TEXT ·rowMomentsBlocks(SB), NOSPLIT, $0-32
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), CX
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3

moments:
	MOMENTS(0, Y4, Y0, Y2)
	MOMENTS(16, Y5, Y1, Y3)
	MOMENTS(32, Y6, Y0, Y2)
	MOMENTS(48, Y7, Y1, Y3)
	ADDQ $64, SI
	SUBQ $16, CX
	JNZ moments
	VPADDQ Y1, Y0, Y0
	VPADDQ Y3, Y2, Y2
	FOLD(Y0, X0, X1, AX)
	FOLD(Y2, X2, X3, BX)
	MOVQ AX, sum+16(FP)
	MOVQ BX, squares+24(FP)
	VZEROUPPER
	RET
