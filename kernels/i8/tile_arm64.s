//go:build !purego

#include "go_asm.h"
#include "textflag.h"
#include "neon_arm64.h"

// The int8 tile kernels. Go's vector mnemonics have the destination last, the macros in parentheses have it first.

// POINTERS of a tile without SDOT.
//
//	R0  the argument     R5  panel at k     R8..R11 C of four rows
//	R1..R4 A at k        R6  blocks left    R12 the last block is still to come
//	R13 skip             R7  panels left
//
// Sums of row r and channel j in V(16+4r+j), four partial sums each; 32 k of four rows in V0..V7, of one channel in V8
// and V9 or V10 and V11; int16 products in V12..V15.
#define POINTERS \
	LDP tile_c(R0), (R8, R9); \
	LDP (tile_c+16)(R0), (R10, R11); \
	MOVD tile_b(R0), R5; \
	MOVD tile_skip(R0), R13; \
	MOVD tile_panels(R0), R7

#define PANEL \
	LDP tile_a(R0), (R1, R2); \
	LDP (tile_a+16)(R0), (R3, R4); \
	MOVD tile_blocks(R0), R6; \
	MOVD tile_rest(R0), R12; \
	VEOR V16.B16, V16.B16, V16.B16; \
	VEOR V17.B16, V17.B16, V17.B16; \
	VEOR V18.B16, V18.B16, V18.B16; \
	VEOR V19.B16, V19.B16, V19.B16; \
	VEOR V20.B16, V20.B16, V20.B16; \
	VEOR V21.B16, V21.B16, V21.B16; \
	VEOR V22.B16, V22.B16, V22.B16; \
	VEOR V23.B16, V23.B16, V23.B16; \
	VEOR V24.B16, V24.B16, V24.B16; \
	VEOR V25.B16, V25.B16, V25.B16; \
	VEOR V26.B16, V26.B16, V26.B16; \
	VEOR V27.B16, V27.B16, V27.B16; \
	VEOR V28.B16, V28.B16, V28.B16; \
	VEOR V29.B16, V29.B16, V29.B16; \
	VEOR V30.B16, V30.B16, V30.B16; \
	VEOR V31.B16, V31.B16, V31.B16

// LASTBLOCK points the rows at their zero-padded ends.
#define LASTBLOCK \
	ADD $tile_tail, R0, R1; \
	ADD $32, R1, R2; \
	ADD $64, R1, R3; \
	ADD $96, R1, R4; \
	MOVD $1, R6; \
	MOVD $0, R12

// BLOCK loads 32 k of the rows and of the first channel.
#define BLOCK \
	FLDPQ.P 32(R1), (F0, F1); \
	FLDPQ.P 32(R5), (F8, F9); \
	FLDPQ.P 32(R2), (F2, F3); \
	FLDPQ.P 32(R3), (F4, F5); \
	FLDPQ.P 32(R4), (F6, F7)

// EIGHT, MORE and MORE2 are 8 k of four rows and one channel (w): a lane's first product, then further ones of the low
// or high half.
#define EIGHT(w, a0, a1, a2, a3) \
	SMULL(12, a0, w); \
	SMULL(13, a1, w); \
	SMULL(14, a2, w); \
	SMULL(15, a3, w)

#define MORE(w, a0, a1, a2, a3) \
	SMLAL(12, a0, w); \
	SMLAL(13, a1, w); \
	SMLAL(14, a2, w); \
	SMLAL(15, a3, w)

#define MORE2(w, a0, a1, a2, a3) \
	SMLAL2(12, a0, w); \
	SMLAL2(13, a1, w); \
	SMLAL2(14, a2, w); \
	SMLAL2(15, a3, w)

#define WIDEN(s0, s1, s2, s3) \
	SADALP(s0, 12); \
	SADALP(s1, 13); \
	SADALP(s2, 14); \
	SADALP(s3, 15)

// CHANNEL4 is 32 k of one channel (w0, w1) with chains of four, CHANNEL2 with chains of two.
#define CHANNEL4(w0, w1, s0, s1, s2, s3) \
	EIGHT(w0, 0, 2, 4, 6); \
	MORE2(w0, 0, 2, 4, 6); \
	MORE(w1, 1, 3, 5, 7); \
	MORE2(w1, 1, 3, 5, 7); \
	WIDEN(s0, s1, s2, s3)

#define CHANNEL2(w0, w1, s0, s1, s2, s3) \
	EIGHT(w0, 0, 2, 4, 6); \
	MORE2(w0, 0, 2, 4, 6); \
	WIDEN(s0, s1, s2, s3); \
	EIGHT(w1, 1, 3, 5, 7); \
	MORE2(w1, 1, 3, 5, 7); \
	WIDEN(s0, s1, s2, s3)

// ROWSUM adds the partial sums of a row's four channels.
#define ROWSUM(s0, s1, s2, s3) \
	VADDP s1.S4, s0.S4, s0.S4; \
	VADDP s3.S4, s2.S4, s2.S4; \
	VADDP s2.S4, s0.S4, s0.S4

#define SUMS \
	ROWSUM(V16, V17, V18, V19); \
	ROWSUM(V20, V21, V22, V23); \
	ROWSUM(V24, V25, V26, V27); \
	ROWSUM(V28, V29, V30, V31); \
	MOVD tile_add(R0), R12

#define CONTINUE \
	VLD1 (R8), [V0.S4]; \
	VLD1 (R9), [V1.S4]; \
	VLD1 (R10), [V2.S4]; \
	VLD1 (R11), [V3.S4]; \
	VADD V0.S4, V16.S4, V16.S4; \
	VADD V1.S4, V20.S4, V20.S4; \
	VADD V2.S4, V24.S4, V24.S4; \
	VADD V3.S4, V28.S4, V28.S4

#define STORE \
	VST1.P [V16.S4], 16(R8); \
	VST1.P [V20.S4], 16(R9); \
	VST1.P [V24.S4], 16(R10); \
	VST1.P [V28.S4], 16(R11); \
	ADD R13, R5

// func tileNEON(t *tile)
TEXT ·tileNEON(SB), NOSPLIT, $0-8
	MOVD t+0(FP), R0
	POINTERS

panel:
	PANEL
	CBZ R6, rest

block:
	BLOCK
	FLDPQ.P 32(R5), (F10, F11)
	CHANNEL4(8, 9, 16, 20, 24, 28)
	FLDPQ.P 32(R5), (F8, F9)
	CHANNEL4(10, 11, 17, 21, 25, 29)
	FLDPQ.P 32(R5), (F10, F11)
	CHANNEL4(8, 9, 18, 22, 26, 30)
	CHANNEL4(10, 11, 19, 23, 27, 31)
	SUBS $1, R6
	BNE  block

rest:
	CBZ R12, sums
	LASTBLOCK
	B   block

sums:
	SUMS
	CBZ  R12, store
	CONTINUE

store:
	STORE
	SUBS $1, R7
	BNE  panel
	RET

// func tilePairNEON(t *tile)
TEXT ·tilePairNEON(SB), NOSPLIT, $0-8
	MOVD t+0(FP), R0
	POINTERS

panel:
	PANEL
	CBZ R6, rest

block:
	BLOCK
	FLDPQ.P 32(R5), (F10, F11)
	CHANNEL2(8, 9, 16, 20, 24, 28)
	FLDPQ.P 32(R5), (F8, F9)
	CHANNEL2(10, 11, 17, 21, 25, 29)
	FLDPQ.P 32(R5), (F10, F11)
	CHANNEL2(8, 9, 18, 22, 26, 30)
	CHANNEL2(10, 11, 19, 23, 27, 31)
	SUBS $1, R6
	BNE  block

rest:
	CBZ R12, sums
	LASTBLOCK
	B   block

sums:
	SUMS
	CBZ  R12, store
	CONTINUE

store:
	STORE
	SUBS $1, R7
	BNE  panel
	RET

// The tile with SDOT: sums of row r in V(8+4r)..V(11+4r), 16 k of row r in Vr, 4 k of 4 channels in V6 or V7.
//
//	R0  the argument     R7  panel at k     R10..R15 C of six rows
//	R1..R6 A at k        R8  blocks left    R19 the last block is still to come
//	R20 skip             R9  panels left
//
// DOT is 4 k (lane l of A) of six rows and 4 channels.
#define DOT(w, l, s0, s1, s2, s3, s4, s5) \
	SDOTL(s0, w, 0, l); \
	SDOTL(s1, w, 1, l); \
	SDOTL(s2, w, 2, l); \
	SDOTL(s3, w, 3, l); \
	SDOTL(s4, w, 4, l); \
	SDOTL(s5, w, 5, l)

#define DOT16(l) \
	FLDPQ.P 32(R7), (F6, F7); \
	DOT(6, l, 8, 12, 16, 20, 24, 28); \
	DOT(7, l, 9, 13, 17, 21, 25, 29); \
	FLDPQ.P 32(R7), (F6, F7); \
	DOT(6, l, 10, 14, 18, 22, 26, 30); \
	DOT(7, l, 11, 15, 19, 23, 27, 31)

#define ZEROROW(s0, s1, s2, s3) \
	VEOR s0.B16, s0.B16, s0.B16; \
	VEOR s1.B16, s1.B16, s1.B16; \
	VEOR s2.B16, s2.B16, s2.B16; \
	VEOR s3.B16, s3.B16, s3.B16

#define LOADROW(c, s0, s1, s2, s3) \
	VLD1 (c), [s0.S4, s1.S4, s2.S4, s3.S4]

#define STOREROW(c, s0, s1, s2, s3) \
	VST1.P [s0.S4, s1.S4, s2.S4, s3.S4], 64(c)

// func tileDotProd(t *tile)
TEXT ·tileDotProd(SB), NOSPLIT, $0-8
	MOVD t+0(FP), R0
	LDP  tile_c(R0), (R10, R11)
	LDP  (tile_c+16)(R0), (R12, R13)
	LDP  (tile_c+32)(R0), (R14, R15)
	MOVD tile_b(R0), R7
	MOVD tile_skip(R0), R20
	MOVD tile_panels(R0), R9

panel:
	LDP  tile_a(R0), (R1, R2)
	LDP  (tile_a+16)(R0), (R3, R4)
	LDP  (tile_a+32)(R0), (R5, R6)
	MOVD tile_blocks(R0), R8
	MOVD tile_rest(R0), R19
	MOVD tile_add(R0), R21
	CBNZ R21, continue
	ZEROROW(V8, V9, V10, V11)
	ZEROROW(V12, V13, V14, V15)
	ZEROROW(V16, V17, V18, V19)
	ZEROROW(V20, V21, V22, V23)
	ZEROROW(V24, V25, V26, V27)
	ZEROROW(V28, V29, V30, V31)
	B    blocks

continue:
	LOADROW(R10, V8, V9, V10, V11)
	LOADROW(R11, V12, V13, V14, V15)
	LOADROW(R12, V16, V17, V18, V19)
	LOADROW(R13, V20, V21, V22, V23)
	LOADROW(R14, V24, V25, V26, V27)
	LOADROW(R15, V28, V29, V30, V31)

blocks:
	CBZ R8, rest

block:
	FMOVQ.P 16(R1), F0
	FMOVQ.P 16(R2), F1
	FMOVQ.P 16(R3), F2
	FMOVQ.P 16(R4), F3
	FMOVQ.P 16(R5), F4
	FMOVQ.P 16(R6), F5
	DOT16(0)
	DOT16(1)
	DOT16(2)
	DOT16(3)
	SUBS    $1, R8
	BNE     block

rest:
	CBZ  R19, store
	ADD  $tile_tail, R0, R1
	ADD  $32, R1, R2
	ADD  $64, R1, R3
	ADD  $96, R1, R4
	ADD  $128, R1, R5
	ADD  $160, R1, R6
	MOVD $1, R8
	MOVD $0, R19
	B    block

store:
	STOREROW(R10, V8, V9, V10, V11)
	STOREROW(R11, V12, V13, V14, V15)
	STOREROW(R12, V16, V17, V18, V19)
	STOREROW(R13, V20, V21, V22, V23)
	STOREROW(R14, V24, V25, V26, V27)
	STOREROW(R15, V28, V29, V30, V31)
	ADD  R20, R7
	SUBS $1, R9
	BNE  panel
	RET
