//go:build !purego

#include "go_asm.h"
#include "textflag.h"
#include "quant_amd64.h"

// ORDERED loads 32 bytes of a channel in the layout's order: Y12 of the bytes, Y13 of the words.
#define ORDERED(at, y) \
	VMOVDQU at, y; \
	VPSHUFB Y12, y, y; \
	VPERMD y, Y13, y

// WORD8 stores a word of eight channels and adds its four bytes to their sums: 1 as bytes in Y14, as int16 in Y13.
#define WORD8(y, at) \
	VMOVDQU y, at; \
	VPMADDUBSW y, Y14, y; \
	VPMADDWD Y13, y, y; \
	VPADDD y, Y15, Y15

// func packQuadsAVX2(dst, src *int8, k, blocks, step int, order *byteOrder, sums *[8]int32)
//
// Eight channels by eight words of four k are transposed: first the words of channel c in Yc.
TEXT ·packQuadsAVX2(SB), NOSPLIT, $0-56
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ k+16(FP), R8
	MOVQ blocks+24(FP), CX
	MOVQ step+32(FP), R10
	MOVQ order+40(FP), AX
	MOVQ sums+48(FP), DX
	LEAQ (R8)(R8*2), R9   // 3k
	LEAQ (SI)(R8*4), BX   // channel 4
	LEAQ (R10)(R10*2), R11 // 3 steps

	VMOVDQU (DX), Y15

block:
	VMOVDQU byteOrder_bytes(AX), Y12
	VMOVDQU byteOrder_words(AX), Y13
	ORDERED((SI), Y0)
	ORDERED((SI)(R8*1), Y1)
	ORDERED((SI)(R8*2), Y2)
	ORDERED((SI)(R9*1), Y3)
	ORDERED((BX), Y4)
	ORDERED((BX)(R8*1), Y5)
	ORDERED((BX)(R8*2), Y6)
	ORDERED((BX)(R9*1), Y7)

	TRANSPOSE8
	VPCMPEQD Y14, Y14, Y14
	VPSRLW   $15, Y14, Y13 // 1 in each of 16
	VPABSB   Y14, Y14      // 1 in each of 32
	VPERM2I128 $0x20, Y8, Y1, Y4
	WORD8(Y4, (DI))
	VPERM2I128 $0x20, Y9, Y3, Y4
	WORD8(Y4, (DI)(R10*1))
	VPERM2I128 $0x20, Y0, Y5, Y4
	WORD8(Y4, (DI)(R10*2))
	VPERM2I128 $0x20, Y2, Y7, Y4
	WORD8(Y4, (DI)(R11*1))
	LEAQ (DI)(R10*4), DI
	VPERM2I128 $0x31, Y8, Y1, Y4
	WORD8(Y4, (DI))
	VPERM2I128 $0x31, Y9, Y3, Y4
	WORD8(Y4, (DI)(R10*1))
	VPERM2I128 $0x31, Y0, Y5, Y4
	WORD8(Y4, (DI)(R10*2))
	VPERM2I128 $0x31, Y2, Y7, Y4
	WORD8(Y4, (DI)(R11*1))
	LEAQ (DI)(R10*4), DI
	ADDQ $32, SI
	ADDQ $32, BX
	DECQ CX
	JNZ  block
	VMOVDQU Y15, (DX)
	VZEROUPPER
	RET

// func brokenChainsAVX2(q *int8, blocks int) bool
//
// Of the magnitudes of four chained weights the first and third are added, and the second and fourth: at most 254 each.
// Their sum is above 255 where one is above 255 less the other.
TEXT ·brokenChainsAVX2(SB), NOSPLIT, $0-17
	MOVQ q+0(FP), SI
	MOVQ blocks+8(FP), CX
	VPXOR X3, X3, X3
	VPCMPEQD X4, X4, X4

chains:
	VPABSB   (SI), X0
	VPABSB   16(SI), X1
	VPADDB   X1, X0, X0
	VPSRLDQ  $8, X0, X1
	VPXOR    X4, X0, X0
	VPSUBUSB X0, X1, X1
	VPOR     X1, X3, X3
	ADDQ     $32, SI
	DECQ     CX
	JNZ      chains
	VMOVQ    X3, AX
	TESTQ    AX, AX
	SETNE    ret+16(FP)
	RET
