//go:build !purego

#include "go_asm.h"
#include "textflag.h"
#include "neon_arm64.h"

// Registers of the routines that take two rows at a time:
//
//	R0  the argument      R3  multipliers   R8   columns left   R12, R13  from a row to the next
//	R1, R2  the rows' sums    R4  addends   R9   rows left      R10, R11  the first row's sums and results
//	R6, R7  their results     R5  shifts    V31  lift           V0..V3, V4..V7  16 channels of the two rows
//
// CHANNELS starts at the first channel, ROWS at the first of two rows: the same row twice where only one is left.
#define CHANNELS \
	MOVD requantArgs_mult(R0), R3; \
	MOVD requantArgs_add(R0), R4; \
	MOVD requantArgs_shift(R0), R5; \
	MOVD requantArgs_n(R0), R8

#define ROWS \
	CHANNELS; \
	MOVD R10, R1; \
	MOVD R11, R6; \
	CMP  $1, R9; \
	CSEL EQ, ZR, R12, R2; \
	CSEL EQ, ZR, R13, R7; \
	ADD  R10, R2; \
	ADD  R11, R7

// NEXTROWS steps two rows on; what is left is above 0 while there are more.
#define NEXTROWS \
	ADD  R12<<1, R10; \
	ADD  R13<<1, R11; \
	SUBS $2, R9

#define BEGIN \
	MOVD a+0(FP), R0; \
	MOVD requantArgs_lift(R0), R1; \
	VDUP R1, V31.S4; \
	VEOR V29.B16, V29.B16, V29.B16; \
	MOVD requantArgs_rows(R0), R9; \
	MOVD requantArgs_acc(R0), R10; \
	MOVD requantArgs_ldacc(R0), R12; \
	MOVD requantArgs_ldd(R0), R13

// PARAMETERS is multipliers, addends and negative shifts of 16 channels in V16..V19, V20..V23, V24..V27.
#define PARAMETERS \
	VLD1.P 64(R3), [V16.S4, V17.S4, V18.S4, V19.S4]; \
	VLD1.P 64(R4), [V20.S4, V21.S4, V22.S4, V23.S4]; \
	VLD1.P 64(R5), [V24.S4, V25.S4, V26.S4, V27.S4]; \
	NEGATE(V24, V25, V26, V27)

#define NEGATE(a, b, c, d) \
	VSUB a.S4, V29.S4, a.S4; \
	VSUB b.S4, V29.S4, b.S4; \
	VSUB c.S4, V29.S4, c.S4; \
	VSUB d.S4, V29.S4, d.S4

// SHIFT4, MULTIPLY4 and ADD4 are a step of four registers each.
#define SHIFT4(a, b, c, d, s0, s1, s2, s3) \
	SSHL4S(a, a, s0); \
	SSHL4S(b, b, s1); \
	SSHL4S(c, c, s2); \
	SSHL4S(d, d, s3)

#define MULTIPLY4(a, b, c, d, m0, m1, m2, m3) \
	SQDMULH4S(a, a, m0); \
	SQDMULH4S(b, b, m1); \
	SQDMULH4S(c, c, m2); \
	SQDMULH4S(d, d, m3)

#define ADD4(a, b, c, d, x0, x1, x2, x3) \
	VADD x0.S4, a.S4, a.S4; \
	VADD x1.S4, b.S4, b.S4; \
	VADD x2.S4, c.S4, c.S4; \
	VADD x3.S4, d.S4, d.S4

// REQUANT is 16 channels of a row with the numbers of PARAMETERS: in four registers, which are named twice.
#define REQUANT(a, b, c, d, va, vb, vc, vd) \
	SHIFT4(a, b, c, d, 31, 31, 31, 31); \
	MULTIPLY4(a, b, c, d, 16, 17, 18, 19); \
	ADD4(va, vb, vc, vd, V20, V21, V22, V23); \
	SHIFT4(a, b, c, d, 24, 25, 26, 27)

// REQUANT16 is 16 channels of both rows.
#define REQUANT16 \
	PARAMETERS; \
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]; \
	VLD1.P 64(R2), [V4.S4, V5.S4, V6.S4, V7.S4]; \
	REQUANT(0, 1, 2, 3, V0, V1, V2, V3); \
	REQUANT(4, 5, 6, 7, V4, V5, V6, V7)

// NARROW is 16 bytes in d, saturated, of 16 words in a, b, c, e.
#define NARROW(d, a, b, c, e) \
	SQXTN4H(a, a); \
	SQXTN8H(a, b); \
	SQXTN4H(c, c); \
	SQXTN8H(c, e); \
	SQXTN8B(d, a); \
	SQXTN16B(d, c)

#define MINUS127 \
	MOVD $0x81, R1; \
	VDUP R1, V30.B16

// func requantI8Rows(a *requantArgs)
TEXT ·requantI8Rows(SB), NOSPLIT, $0-8
	BEGIN
	MINUS127
	MOVD requantArgs_dst(R0), R11

rows:
	ROWS

block:
	REQUANT16
	NARROW(8, 0, 1, 2, 3)
	NARROW(9, 4, 5, 6, 7)
	SMAX16B(8, 8, 30)
	SMAX16B(9, 9, 30)
	VST1.P [V8.B16], 16(R6)
	VST1.P [V9.B16], 16(R7)
	SUBS $16, R8
	BNE  block
	NEXTROWS
	BGT  rows
	RET

// SATURATE adds the sums of r to four registers and keeps them within V30 and V28.
#define SATURATE(r, a, b, c, d, va, vb, vc, vd) \
	VLD1 (r), [V8.S4, V9.S4, V10.S4, V11.S4]; \
	ADD4(va, vb, vc, vd, V8, V9, V10, V11); \
	SMIN4S(a, a, 30); \
	SMIN4S(b, b, 30); \
	SMIN4S(c, c, 30); \
	SMIN4S(d, d, 30); \
	SMAX4S(a, a, 28); \
	SMAX4S(b, b, 28); \
	SMAX4S(c, c, 28); \
	SMAX4S(d, d, 28)

// func addRequantRows(a *requantArgs)
TEXT ·addRequantRows(SB), NOSPLIT, $0-8
	BEGIN
	MOVD $const_ResidualMax, R1
	VDUP R1, V30.S4
	VSUB V30.S4, V29.S4, V28.S4
	MOVD requantArgs_res(R0), R11

rows:
	ROWS

block:
	REQUANT16
	SATURATE(R6, 0, 1, 2, 3, V0, V1, V2, V3)
	SATURATE(R7, 4, 5, 6, 7, V4, V5, V6, V7)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R6)
	VST1.P [V4.S4, V5.S4, V6.S4, V7.S4], 64(R7)
	SUBS $16, R8
	BNE  block
	NEXTROWS
	BGT  rows
	RET

// The parabolas of geluDip, eight words each.
DATA dip<>+0(SB)/8, $0x19a728b5279e0000 // c0
DATA dip<>+8(SB)/8, $0x0035010703f50ba2
DATA dip<>+16(SB)/8, $0xef45f3930eb63f4c // c1
DATA dip<>+24(SB)/8, $0xffb1fea0fb79f547
DATA dip<>+32(SB)/8, $0x02b2fd48f228e820 // c2
DATA dip<>+40(SB)/8, $0x00220090019f0314
GLOBL dip<>(SB), RODATA|NOPTR, $48

// REQUANTWORDS is 16 channels of one row, saturated to words in V0 and V2.
#define REQUANTWORDS \
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]; \
	VLD1.P 64(R3), [V4.S4, V5.S4, V6.S4, V7.S4]; \
	VLD1.P 64(R4), [V8.S4, V9.S4, V10.S4, V11.S4]; \
	VLD1.P 64(R5), [V12.S4, V13.S4, V14.S4, V15.S4]; \
	SHIFT4(0, 1, 2, 3, 31, 31, 31, 31); \
	NEGATE(V12, V13, V14, V15); \
	MULTIPLY4(0, 1, 2, 3, 4, 5, 6, 7); \
	ADD4(V0, V1, V2, V3, V8, V9, V10, V11); \
	SHIFT4(0, 1, 2, 3, 12, 13, 14, 15); \
	SQXTN4H(0, 0); \
	SQXTN4H(2, 2); \
	SQXTN8H(0, 1); \
	SQXTN8H(2, 3)

// GELU16 is GELU on the words of V0 and V2. Constants: V16 limit, V17 left, V18 the low 11 bits, V19 0x0202, V20
// 0x0100, V21, V22, V23 the parabolas, V24 2^(Fraction-1), V25 mult, V26 add, V27 -shift, V29 zero.
#define GELU16 \
	ABS8H(4, 0); \
	ABS8H(5, 2); \
	VUMIN V16.H8, V4.H8, V4.H8; \
	VUMIN V16.H8, V5.H8, V5.H8; \
	USHL8H(4, 4, 17); \
	USHL8H(5, 5, 17); \
	VUSHR $11, V4.H8, V6.H8; \
	VUSHR $11, V5.H8, V7.H8; \
	MUL8H(6, 6, 19); \
	MUL8H(7, 7, 19); \
	VAND V18.B16, V4.B16, V4.B16; \
	VAND V18.B16, V5.B16, V5.B16; \
	VADD V20.H8, V6.H8, V6.H8; \
	VADD V20.H8, V7.H8, V7.H8; \
	VSHL $4, V4.H8, V4.H8; \
	VSHL $4, V5.H8, V5.H8; \
	VTBL V6.B16, [V23.B16], V8.B16; \
	VTBL V7.B16, [V23.B16], V9.B16; \
	VTBL V6.B16, [V22.B16], V10.B16; \
	VTBL V7.B16, [V22.B16], V11.B16; \
	SQRDMULH8H(8, 8, 4); \
	SQRDMULH8H(9, 9, 5); \
	VTBL V6.B16, [V21.B16], V6.B16; \
	VTBL V7.B16, [V21.B16], V7.B16; \
	VADD V10.H8, V8.H8, V8.H8; \
	VADD V11.H8, V9.H8, V9.H8; \
	SQRDMULH8H(8, 8, 4); \
	SQRDMULH8H(9, 9, 5); \
	SMAX8H(0, 0, 29); \
	SMAX8H(2, 2, 29); \
	VADD V6.H8, V8.H8, V8.H8; \
	VADD V7.H8, V9.H8, V9.H8; \
	SQRDMULH8H(8, 8, 24); \
	SQRDMULH8H(9, 9, 24); \
	VSUB V8.H8, V0.H8, V0.H8; \
	VSUB V9.H8, V2.H8, V2.H8; \
	SQRDMULH8H(0, 0, 25); \
	SQRDMULH8H(2, 2, 25); \
	SQADD8H(0, 0, 26); \
	SQADD8H(2, 2, 26); \
	SSHL8H(0, 0, 27); \
	SSHL8H(2, 2, 27)

// func requantGELURows(a *requantArgs)
TEXT ·requantGELURows(SB), NOSPLIT, $0-8
	BEGIN
	MOVD requantArgs_dst(R0), R11
	MOVD requantArgs_gelu(R0), R14
	FMOVQ (GELU_wide+0)(R14), F16
	FMOVQ (GELU_wide+32)(R14), F24
	FMOVQ (GELU_wide+64)(R14), F25
	FMOVQ (GELU_wide+96)(R14), F26
	MOVD GELU_left(R14), R15
	VDUP R15, V17.H8
	MOVD GELU_right(R14), R15
	NEG  R15, R15
	VDUP R15, V27.H8
	MOVD $0x07ff, R15
	VDUP R15, V18.H8
	MOVD $0x0202, R15
	VDUP R15, V19.H8
	MOVD $0x0100, R15
	VDUP R15, V20.H8
	MOVD $dip<>(SB), R15
	VLD1 (R15), [V21.B16, V22.B16, V23.B16]

rows:
	CHANNELS
	MOVD R10, R1
	MOVD R11, R6

block:
	REQUANTWORDS
	GELU16
	SQXTN8B(0, 0)
	SQXTN16B(0, 2)
	VST1.P [V0.B16], 16(R6)
	SUBS $16, R8
	BNE  block
	ADD  R12, R10
	ADD  R13, R11
	SUBS $1, R9
	BNE  rows
	RET

// ROWSCALE loads the scaling of a row: lift, mean, multiplier, negative shift in V12, V13, V14, V15.
#define ROWSCALE \
	MOVW rowScale_lift(R14), R15; \
	VDUP R15, V12.S4; \
	MOVW rowScale_mean(R14), R15; \
	VDUP R15, V13.S4; \
	MOVW rowScale_mult(R14), R15; \
	VDUP R15, V14.S4; \
	MOVW rowScale_shift(R14), R15; \
	NEG  R15, R15; \
	VDUP R15, V15.S4

// SCALE is rowScale's apply on V0..V3.
#define SCALE \
	SHIFT4(0, 1, 2, 3, 12, 12, 12, 12); \
	VSUB V13.S4, V0.S4, V0.S4; \
	VSUB V13.S4, V1.S4, V1.S4; \
	VSUB V13.S4, V2.S4, V2.S4; \
	VSUB V13.S4, V3.S4, V3.S4; \
	MULTIPLY4(0, 1, 2, 3, 14, 14, 14, 14); \
	SHIFT4(0, 1, 2, 3, 15, 15, 15, 15)

// func scaleI8Rows(a *requantArgs)
TEXT ·scaleI8Rows(SB), NOSPLIT, $0-8
	BEGIN
	MINUS127
	MOVD requantArgs_dst(R0), R11
	MOVD requantArgs_scales(R0), R14

rows:
	CHANNELS
	ROWSCALE
	MOVD R10, R1
	MOVD R11, R6
	MOVD requantArgs_base(R0), R2

block:
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	CBZ    R2, scale
	VLD1.P 64(R2), [V4.S4, V5.S4, V6.S4, V7.S4]
	VSUB   V4.S4, V0.S4, V0.S4
	VSUB   V5.S4, V1.S4, V1.S4
	VSUB   V6.S4, V2.S4, V2.S4
	VSUB   V7.S4, V3.S4, V3.S4

scale:
	PARAMETERS
	SCALE
	REQUANT(0, 1, 2, 3, V0, V1, V2, V3)
	NARROW(8, 0, 1, 2, 3)
	SMAX16B(8, 8, 30)
	VST1.P [V8.B16], 16(R6)
	SUBS $16, R8
	BNE  block
	ADD  R12, R10
	ADD  R13, R11
	ADD  $rowScale__size, R14
	SUBS $1, R9
	BNE  rows
	RET

// func sumScaledRows(a *requantArgs)
TEXT ·sumScaledRows(SB), NOSPLIT, $0-8
	BEGIN
	MOVD requantArgs_scales(R0), R14

rows:
	ROWSCALE
	MOVD R10, R1
	MOVD requantArgs_sum(R0), R6
	MOVD requantArgs_n(R0), R8

block:
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	MOVD   R6, R7
	VLD1.P 64(R7), [V4.D2, V5.D2, V6.D2, V7.D2]
	VLD1   (R7), [V8.D2, V9.D2, V10.D2, V11.D2]
	SCALE
	SADDW2D(4, 4, 0)
	SADDW2D2(5, 5, 0)
	SADDW2D(6, 6, 1)
	SADDW2D2(7, 7, 1)
	SADDW2D(8, 8, 2)
	SADDW2D2(9, 9, 2)
	SADDW2D(10, 10, 3)
	SADDW2D2(11, 11, 3)
	VST1.P [V4.D2, V5.D2, V6.D2, V7.D2], 64(R6)
	VST1.P [V8.D2, V9.D2, V10.D2, V11.D2], 64(R6)
	SUBS   $16, R8
	BNE    block
	ADD  R12, R10
	ADD  $rowScale__size, R14
	SUBS $1, R9
	BNE  rows
	RET

// func rowMomentsBlocks(x *int32, n int) (sum int64, squares uint64)
TEXT ·rowMomentsBlocks(SB), NOSPLIT, $0-32
	MOVD x+0(FP), R1
	MOVD n+8(FP), R2
	VEOR V16.B16, V16.B16, V16.B16
	VEOR V17.B16, V17.B16, V17.B16
	VEOR V18.B16, V18.B16, V18.B16
	VEOR V19.B16, V19.B16, V19.B16
	VEOR V20.B16, V20.B16, V20.B16
	VEOR V21.B16, V21.B16, V21.B16

moments:
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	SADALP2D(16, 0)
	SADALP2D(17, 1)
	SMLAL2D(18, 0, 0)
	SMLAL2D2(19, 0, 0)
	SMLAL2D(20, 1, 1)
	SMLAL2D2(21, 1, 1)
	SADALP2D(16, 2)
	SADALP2D(17, 3)
	SMLAL2D(18, 2, 2)
	SMLAL2D2(19, 2, 2)
	SMLAL2D(20, 3, 3)
	SMLAL2D2(21, 3, 3)
	SUBS $16, R2
	BNE  moments
	VADD  V17.D2, V16.D2, V16.D2
	VADD  V19.D2, V18.D2, V18.D2
	VADD  V21.D2, V20.D2, V20.D2
	VADD  V20.D2, V18.D2, V18.D2
	VADDP V18.D2, V16.D2, V16.D2
	VMOV  V16.D[0], R3
	VMOV  V16.D[1], R4
	MOVD  R3, sum+16(FP)
	MOVD  R4, squares+24(FP)
	RET
