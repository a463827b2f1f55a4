//go:build !purego

#include "go_asm.h"
#include "textflag.h"
#include "neon_arm64.h"

// The int8 tile kernels without SDOT for cores that issue in order: 3 rows by 4 channels, everything that a block of
// 32 k takes loaded at its head, and six chains side by side, as many as a multiplication has cycles of latency.
//
//	R0  the argument     R5  panel at k     R8..R10 C of three rows
//	R1..R3 A at k        R6  blocks left    R12 the last block is still to come
//	R13 skip             R7  panels left
//
// Sums of row r and channel j in V(16+4r+j), four partial sums each; 32 k of three rows in V0..V5, of four channels in
// V6 and V7, V14 and V15, V28 and V29, V30 and V31; int16 products in V8..V13.

// SIX is one instruction for three rows of A by two channels.
#define SIX(op, a0, a1, a2, w0, w1) \
	op(8, a0, w0); \
	op(9, a1, w0); \
	op(10, a2, w0); \
	op(11, a0, w1); \
	op(12, a1, w1); \
	op(13, a2, w1)

#define WIDEN(s0, s1, s2, s3, s4, s5) \
	SADALP(s0, 8); \
	SADALP(s1, 9); \
	SADALP(s2, 10); \
	SADALP(s3, 11); \
	SADALP(s4, 12); \
	SADALP(s5, 13)

// CHAINS is 32 k of two channels, x in x0 and x1, y in y0 and y1, with chains of four; PAIRS with chains of two.
#define CHAINS(x0, x1, y0, y1, s0, s1, s2, s3, s4, s5) \
	SIX(SMULL, 0, 2, 4, x0, y0); \
	SIX(SMLAL2, 0, 2, 4, x0, y0); \
	SIX(SMLAL, 1, 3, 5, x1, y1); \
	SIX(SMLAL2, 1, 3, 5, x1, y1); \
	WIDEN(s0, s1, s2, s3, s4, s5)

#define PAIRS(x0, x1, y0, y1, s0, s1, s2, s3, s4, s5) \
	SIX(SMULL, 0, 2, 4, x0, y0); \
	SIX(SMLAL2, 0, 2, 4, x0, y0); \
	WIDEN(s0, s1, s2, s3, s4, s5); \
	SIX(SMULL, 1, 3, 5, x1, y1); \
	SIX(SMLAL2, 1, 3, 5, x1, y1); \
	WIDEN(s0, s1, s2, s3, s4, s5)

#define POINTERS \
	MOVD t+0(FP), R0; \
	LDP tile_c(R0), (R8, R9); \
	MOVD (tile_c+16)(R0), R10; \
	MOVD tile_b(R0), R5; \
	MOVD tile_skip(R0), R13; \
	MOVD tile_panels(R0), R7

#define ZEROROW(s0, s1, s2, s3) \
	VEOR s0.B16, s0.B16, s0.B16; \
	VEOR s1.B16, s1.B16, s1.B16; \
	VEOR s2.B16, s2.B16, s2.B16; \
	VEOR s3.B16, s3.B16, s3.B16

#define PANEL \
	LDP tile_a(R0), (R1, R2); \
	MOVD (tile_a+16)(R0), R3; \
	MOVD tile_blocks(R0), R6; \
	MOVD tile_rest(R0), R12; \
	ZEROROW(V16, V17, V18, V19); \
	ZEROROW(V20, V21, V22, V23); \
	ZEROROW(V24, V25, V26, V27)

// LASTBLOCK points the rows at their zero-padded ends.
#define LASTBLOCK \
	ADD $tile_tail, R0, R1; \
	ADD $32, R1, R2; \
	ADD $64, R1, R3; \
	MOVD $1, R6; \
	MOVD $0, R12

#define BLOCK \
	FLDPQ.P 32(R1), (F0, F1); \
	FLDPQ.P 32(R2), (F2, F3); \
	FLDPQ.P 32(R3), (F4, F5); \
	FLDPQ.P 32(R5), (F6, F7); \
	FLDPQ.P 32(R5), (F14, F15); \
	FLDPQ.P 32(R5), (F28, F29); \
	FLDPQ.P 32(R5), (F30, F31)

// ROWSUM adds the partial sums of a row's four channels.
#define ROWSUM(s0, s1, s2, s3) \
	VADDP s1.S4, s0.S4, s0.S4; \
	VADDP s3.S4, s2.S4, s2.S4; \
	VADDP s2.S4, s0.S4, s0.S4

#define SUMS \
	ROWSUM(V16, V17, V18, V19); \
	ROWSUM(V20, V21, V22, V23); \
	ROWSUM(V24, V25, V26, V27); \
	MOVD tile_add(R0), R12

#define CONTINUE \
	VLD1 (R8), [V0.S4]; \
	VLD1 (R9), [V1.S4]; \
	VLD1 (R10), [V2.S4]; \
	VADD V0.S4, V16.S4, V16.S4; \
	VADD V1.S4, V20.S4, V20.S4; \
	VADD V2.S4, V24.S4, V24.S4

#define STORE \
	VST1.P [V16.S4], 16(R8); \
	VST1.P [V20.S4], 16(R9); \
	VST1.P [V24.S4], 16(R10); \
	ADD R13, R5

// func tileInOrderNEON(t *tile)
TEXT ·tileInOrderNEON(SB), NOSPLIT, $0-8
	POINTERS

panel:
	PANEL
	CBZ R6, rest

block:
	BLOCK
	CHAINS(6, 7, 14, 15, 16, 20, 24, 17, 21, 25)
	CHAINS(28, 29, 30, 31, 18, 22, 26, 19, 23, 27)
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

// func tilePairInOrderNEON(t *tile)
TEXT ·tilePairInOrderNEON(SB), NOSPLIT, $0-8
	POINTERS

panel:
	PANEL
	CBZ R6, rest

block:
	BLOCK
	PAIRS(6, 7, 14, 15, 16, 20, 24, 17, 21, 25)
	PAIRS(28, 29, 30, 31, 18, 22, 26, 19, 23, 27)
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
