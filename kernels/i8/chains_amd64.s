//go:build !purego

#include "go_asm.h"
#include "textflag.h"
#include "tile_amd64.h"

// The int8 tile kernel on AVX2: up to 3 rows by 16 channels of int32 sums in Y0..Y5. A step is 8 k, four of the lower
// half of a block of 32 (w0) and the four that lie 16 further (w1), in the order of inChains:
//
//	Y6, Y7   w0 of channels 0-7 and 8-15        Y10      sixteen times 1
//	Y8, Y9   w1 of the same                     Y11-Y15  for a row
//
// VPMADDUBSW multiplies |a| by w with the sign of a and adds two products in an int16: the bytes i and i+8 of a block.
// With weights that obey the chain rule those at i+16 and i+24 are added as int16 too. VPMADDWD by 1 then adds
// neighbours in int32.
//
// Where a is negative, -w-1 will do for -w: VPXOR runs on more ports than VPSIGNB, and |a|·(-w-1) = a·w - |a| is short of
// a·w by what no channel changes. The sums begin with what a row is owed for it.
//
//	pairs   VPXOR for w0 and w1:           2 * 128 * -128 = -32768 fits, for any a
//	chains  VPSIGNB for w0, VPXOR for w1:  127 * (255+2) = 32639 fits, for any a but -128

#define PANEL \
	VMOVDQU (BX), Y6; \
	VMOVDQU 32(BX), Y7; \
	VMOVDQU 64(BX), Y8; \
	VMOVDQU 96(BX), Y9

// SIGNED puts the signs of four k of a row, at `at`, to two registers of weights.
#define SIGNED(OP, at, w, v, x, y) \
	VPBROADCASTD (at)(SI), Y11; \
	OP Y11, w, x; \
	OP Y11, v, y

// TIMES leaves the sums of two products in x and y, the magnitudes at `at`.
#define TIMES(at, x, y) \
	VPBROADCASTD (at)(SI), Y11; \
	VPMADDUBSW x, Y11, x; \
	VPMADDUBSW y, Y11, y

#define WIDEN(lo, hi, low, high) \
	VPMADDWD lo, Y10, lo; \
	VPMADDWD hi, Y10, hi; \
	VPADDD lo, low, low; \
	VPADDD hi, high, high

// CHAINS is a row's step with weights that obey the chain rule, PAIRS with any. The row is at `at`.
#define CHAINS(at, low, high) \
	SIGNED(VPSIGNB, at, Y6, Y7, Y12, Y13); \
	SIGNED(VPXOR, at+4, Y8, Y9, Y14, Y15); \
	TIMES(at+ROWLEN, Y12, Y13); \
	TIMES(at+ROWLEN+4, Y14, Y15); \
	VPADDW Y12, Y14, Y12; \
	VPADDW Y13, Y15, Y13; \
	WIDEN(Y12, Y13, low, high)

#define PAIRS(at, low, high) \
	SIGNED(VPXOR, at, Y6, Y7, Y12, Y13); \
	SIGNED(VPXOR, at+4, Y8, Y9, Y14, Y15); \
	TIMES(at+ROWLEN, Y12, Y13); \
	TIMES(at+ROWLEN+4, Y14, Y15); \
	WIDEN(Y12, Y13, low, high); \
	WIDEN(Y14, Y15, low, high)

// FIRST is the sums that row r begins with.
#define FIRST(r, low, high) \
	VPBROADCASTD (tile_owed+4*r)(AX), Y11; \
	VPADDD (R15), Y11, low; \
	VPADDD 32(R15), Y11, high; \
	ADDQ R13, R15

#define ONES \
	VPCMPEQD Y10, Y10, Y10; \
	VPSRLW $15, Y10, Y10

// func tileChainsAVX2(t *tile, b *int8, c, init *int32)
TEXT ·tileChainsAVX2(SB), NOSPLIT, $0-32
	START
	ONES
	CMPQ R9, $2
	JGT  panel3
	JEQ  panel2
	JMP  panel1

panel3:
	BEGIN
	FIRST(0, Y0, Y1)
	FIRST(1, Y2, Y3)
	FIRST(2, Y4, Y5)

step3:
	PANEL
	CHAINS(0, Y0, Y1)
	CHAINS(2*ROWLEN, Y2, Y3)
	CHAINS(4*ROWLEN, Y4, Y5)
	NEXT(8, 128)
	JNZ  step3
	SAVE(Y0, Y1, 32)
	SAVE(Y2, Y3, 32)
	SAVE(Y4, Y5, 32)
	END(64)
	JNZ  panel3
	VZEROUPPER
	RET

panel2:
	BEGIN
	FIRST(0, Y0, Y1)
	FIRST(1, Y2, Y3)

step2:
	PANEL
	CHAINS(0, Y0, Y1)
	CHAINS(2*ROWLEN, Y2, Y3)
	NEXT(8, 128)
	JNZ  step2
	SAVE(Y0, Y1, 32)
	SAVE(Y2, Y3, 32)
	END(64)
	JNZ  panel2
	VZEROUPPER
	RET

panel1:
	BEGIN
	FIRST(0, Y0, Y1)

step1:
	PANEL
	CHAINS(0, Y0, Y1)
	NEXT(8, 128)
	JNZ  step1
	SAVE(Y0, Y1, 32)
	END(64)
	JNZ  panel1
	VZEROUPPER
	RET

// func tilePairsAVX2(t *tile, b *int8, c, init *int32)
TEXT ·tilePairsAVX2(SB), NOSPLIT, $0-32
	START
	ONES
	CMPQ R9, $2
	JGT  panel3
	JEQ  panel2
	JMP  panel1

panel3:
	BEGIN
	FIRST(0, Y0, Y1)
	FIRST(1, Y2, Y3)
	FIRST(2, Y4, Y5)

step3:
	PANEL
	PAIRS(0, Y0, Y1)
	PAIRS(2*ROWLEN, Y2, Y3)
	PAIRS(4*ROWLEN, Y4, Y5)
	NEXT(8, 128)
	JNZ  step3
	SAVE(Y0, Y1, 32)
	SAVE(Y2, Y3, 32)
	SAVE(Y4, Y5, 32)
	END(64)
	JNZ  panel3
	VZEROUPPER
	RET

panel2:
	BEGIN
	FIRST(0, Y0, Y1)
	FIRST(1, Y2, Y3)

step2:
	PANEL
	PAIRS(0, Y0, Y1)
	PAIRS(2*ROWLEN, Y2, Y3)
	NEXT(8, 128)
	JNZ  step2
	SAVE(Y0, Y1, 32)
	SAVE(Y2, Y3, 32)
	END(64)
	JNZ  panel2
	VZEROUPPER
	RET

panel1:
	BEGIN
	FIRST(0, Y0, Y1)

step1:
	PANEL
	PAIRS(0, Y0, Y1)
	NEXT(8, 128)
	JNZ  step1
	SAVE(Y0, Y1, 32)
	END(64)
	JNZ  panel1
	VZEROUPPER
	RET

// func spreadChainsAVX2(dst, src *int8, rows, lda, n int, keep *[32]int8, owed *[3]int32) (lowest bool)
TEXT ·spreadChainsAVX2(SB), NOSPLIT, $0-57
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ rows+16(FP), R9
	MOVQ lda+24(FP), R10
	MOVQ n+32(FP), CX
	MOVQ keep+40(FP), BX
	MOVQ owed+48(FP), DX
	VMOVDQU ·chainOrder+byteOrder_bytes(SB), Y1
	VMOVDQU ·chainOrder+byteOrder_words(SB), Y2
	VMOVDQU (BX), Y3
	VPXOR Y4, Y4, Y4
	VPXOR Y5, Y5, Y5 // all magnitudes

row:
	VPXOR Y6, Y6, Y6 // owed, in four parts
	XORL AX, AX

spread:
	VMOVDQU  (SI)(AX*1), Y0
	VPSHUFB  Y1, Y0, Y0
	VPERMD   Y0, Y2, Y0
	VPABSB   Y0, Y7
	VPCMPGTB Y0, Y4, Y8
	VPAND    Y0, Y3, Y0
	VPOR     Y8, Y0, Y0
	VMOVDQU  Y0, (DI)(AX*1)
	VMOVDQU  Y7, ROWLEN(DI)(AX*1)
	VPOR     Y7, Y5, Y5
	VPANDN   Y8, Y3, Y8
	VPAND    Y7, Y8, Y8
	VPSADBW  Y4, Y8, Y8
	VPADDQ   Y8, Y6, Y6
	ADDQ     $32, AX
	CMPQ     AX, CX
	JLT      spread
	VEXTRACTI128 $1, Y6, X7
	VPADDQ  X7, X6, X6
	VPSRLDQ $8, X6, X7
	VPADDQ  X7, X6, X6
	VMOVD   X6, R8
	ADDL    R8, (DX)
	ADDQ    $4, DX
	ADDQ    R10, SI
	ADDQ    $(2*ROWLEN), DI
	DECQ    R9
	JNZ     row
	VPMOVMSKB Y5, R8
	TESTL   R8, R8
	SETNE   lowest+56(FP)
	VZEROUPPER
	RET
