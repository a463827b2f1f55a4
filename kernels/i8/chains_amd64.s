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
// VPMADDUBSW multiplies |a| by w with the sign of a and adds two products in an int16: |a| is at most 128 and the
// weights are at least -127, so 128 * (127+127) = 32512 is exact. The bytes that meet in an int16 are i and i+8 of a
// block; with weights that obey the chain rule those at i+16 and i+24 are added as int16 too: 128 * 255 = 32640.
// VPMADDWD by 1 then adds neighbours in int32.

#define PANEL \
	VMOVDQU (BX), Y6; \
	VMOVDQU 32(BX), Y7; \
	VMOVDQU 64(BX), Y8; \
	VMOVDQU 96(BX), Y9

// PRODUCTS leaves the sums of two products of w0 in Y12 and Y13, of w1 in Y14 and Y15. A row of A is at `at`.
#define PRODUCTS(at) \
	VPBROADCASTD (at)(SI), Y11; \
	VPSIGNB Y11, Y6, Y12; \
	VPSIGNB Y11, Y7, Y13; \
	VPBROADCASTD (at+ROWLEN)(SI), Y11; \
	VPMADDUBSW Y12, Y11, Y12; \
	VPMADDUBSW Y13, Y11, Y13; \
	VPBROADCASTD (at+4)(SI), Y11; \
	VPSIGNB Y11, Y8, Y14; \
	VPSIGNB Y11, Y9, Y15; \
	VPBROADCASTD (at+ROWLEN+4)(SI), Y11; \
	VPMADDUBSW Y14, Y11, Y14; \
	VPMADDUBSW Y15, Y11, Y15

#define WIDEN(lo, hi, low, high) \
	VPMADDWD lo, Y10, lo; \
	VPMADDWD hi, Y10, hi; \
	VPADDD lo, low, low; \
	VPADDD hi, high, high

// CHAINS is a row's step with weights that obey the chain rule, PAIRS with any.
#define CHAINS(at, low, high) \
	PRODUCTS(at); \
	VPADDW Y12, Y14, Y12; \
	VPADDW Y13, Y15, Y13; \
	WIDEN(Y12, Y13, low, high)

#define PAIRS(at, low, high) \
	PRODUCTS(at); \
	WIDEN(Y12, Y13, low, high); \
	WIDEN(Y14, Y15, low, high)

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
	INIT(Y0, Y1, 32)
	INIT(Y2, Y3, 32)
	INIT(Y4, Y5, 32)

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
	INIT(Y0, Y1, 32)
	INIT(Y2, Y3, 32)

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
	INIT(Y0, Y1, 32)

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
	INIT(Y0, Y1, 32)
	INIT(Y2, Y3, 32)
	INIT(Y4, Y5, 32)

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
	INIT(Y0, Y1, 32)
	INIT(Y2, Y3, 32)

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
	INIT(Y0, Y1, 32)

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

// func spreadChainsAVX2(dst, src *int8, rows, lda, n int)
TEXT ·spreadChainsAVX2(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ rows+16(FP), R9
	MOVQ lda+24(FP), R10
	MOVQ n+32(FP), CX
	VMOVDQU ·chainOrder+byteOrder_bytes(SB), Y1
	VMOVDQU ·chainOrder+byteOrder_words(SB), Y2
	XORL AX, AX

spread:
	VMOVDQU (SI)(AX*1), Y0
	VPSHUFB Y1, Y0, Y0
	VPERMD  Y0, Y2, Y0
	VMOVDQU Y0, (DI)(AX*1)
	VPABSB  Y0, Y0
	VMOVDQU Y0, ROWLEN(DI)(AX*1)
	ADDQ    $32, AX
	CMPQ    AX, CX
	JLT     spread
	XORL    AX, AX
	ADDQ    R10, SI
	ADDQ    $(2*ROWLEN), DI
	DECQ    R9
	JNZ     spread
	VZEROUPPER
	RET
