//go:build !purego

#include "go_asm.h"
#include "textflag.h"
#include "int8_quant_amd64.h"

// Quantisation and back. The tile kernels are in int8_chains_amd64.s and int8_vnni_amd64.s.

// func maxAbsBitsAVX2(x *float32, n int) uint32
TEXT ·maxAbsBitsAVX2(SB), NOSPLIT, $0-20
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), CX
	MAGNITUDE
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3

maxabs:
	VPAND   (SI), Y7, Y4
	VPMAXUD Y4, Y0, Y0
	VPAND   32(SI), Y7, Y5
	VPMAXUD Y5, Y1, Y1
	VPAND   64(SI), Y7, Y4
	VPMAXUD Y4, Y2, Y2
	VPAND   96(SI), Y7, Y5
	VPMAXUD Y5, Y3, Y3
	ADDQ    $128, SI
	SUBQ    $32, CX
	JNZ     maxabs
	VPMAXUD Y1, Y0, Y0
	VPMAXUD Y3, Y2, Y2
	VPMAXUD Y2, Y0, Y0
	MAXLANES
	MOVL AX, ret+16(FP)
	VZEROUPPER
	RET

// func maxChainAVX2(w *float32, n int) uint32
TEXT ·maxChainAVX2(SB), NOSPLIT, $0-20
	MOVQ w+0(FP), SI
	MOVQ n+8(FP), CX
	MAGNITUDE
	VPXOR Y0, Y0, Y0

chain:
	VPAND   (SI), Y7, Y1
	VPAND   32(SI), Y7, Y2
	VPAND   64(SI), Y7, Y3
	VPAND   96(SI), Y7, Y4
	VADDPS  Y2, Y1, Y1
	VADDPS  Y3, Y1, Y1
	VADDPS  Y4, Y1, Y1
	VPAND   Y7, Y1, Y1
	VPMAXUD Y1, Y0, Y0
	ADDQ    $128, SI
	SUBQ    $32, CX
	JNZ     chain
	MAXLANES
	MOVL AX, ret+16(FP)
	VZEROUPPER
	RET

// func quantizeAVX2(q *int8, x *float32, n int, inv float32)
TEXT ·quantizeAVX2(SB), NOSPLIT, $0-28
	MOVQ q+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ n+16(FP), CX
	VBROADCASTSS inv+24(FP), Y8
	MOVL $0x42fe0000, AX // 127
	VMOVD AX, X9
	VPBROADCASTD X9, Y9
	MOVL $0xc2fe0000, AX // -127
	VMOVD AX, X10
	VPBROADCASTD X10, Y10
	VMOVDQU unpackOrder<>(SB), Y11

quant:
	SCALE8((SI), Y0)
	SCALE8(32(SI), Y1)
	SCALE8(64(SI), Y2)
	SCALE8(96(SI), Y3)
	VPACKSSDW Y1, Y0, Y0
	VPACKSSDW Y3, Y2, Y2
	VPACKSSWB Y2, Y0, Y0
	VPERMD    Y0, Y11, Y0
	VMOVDQU   Y0, (DI)
	ADDQ      $128, SI
	ADDQ      $32, DI
	SUBQ      $32, CX
	JNZ       quant
	VZEROUPPER
	RET

// BACK8 is float32(acc) * (sa * sw) + bias for a row and 8 columns.
#define BACK8(at, sw, bias, y) \
	VCVTDQ2PS at(SI), y; \
	VMULPS sw, Y4, Y5; \
	VMULPS Y5, y, y; \
	VADDPS bias, y, y; \
	VMOVUPS y, at(DI)

// func dequantAVX2(dst *float32, ldd int, acc *int32, ldacc, rows, cols int, sa, sw, bias *float32)
//
// 16 columns at a time, then 8; without a bias -0 is added, which changes nothing.
TEXT ·dequantAVX2(SB), NOSPLIT, $0-72
	MOVQ dst+0(FP), R8
	MOVQ ldd+8(FP), R10
	MOVQ acc+16(FP), R9
	MOVQ ldacc+24(FP), R11
	SHLQ $2, R10
	SHLQ $2, R11
	MOVQ cols+40(FP), CX
	MOVQ sw+56(FP), BX
	MOVQ bias+64(FP), DX
	VPCMPEQD Y2, Y2, Y2
	VPSLLD $31, Y2, Y2
	VMOVAPS Y2, Y3

columns16:
	SUBQ $16, CX
	JLT  columns8
	VMOVUPS (BX), Y0
	VMOVUPS 32(BX), Y1
	TESTQ DX, DX
	JZ   rows16
	VMOVUPS (DX), Y2
	VMOVUPS 32(DX), Y3
	ADDQ $64, DX

rows16:
	MOVQ R8, DI
	MOVQ R9, SI
	MOVQ sa+48(FP), R12
	MOVQ rows+32(FP), R13

row16:
	VBROADCASTSS (R12), Y4
	BACK8(0, Y0, Y2, Y6)
	BACK8(32, Y1, Y3, Y7)
	ADDQ $4, R12
	ADDQ R10, DI
	ADDQ R11, SI
	DECQ R13
	JNZ  row16
	ADDQ $64, R8
	ADDQ $64, R9
	ADDQ $64, BX
	JMP  columns16

columns8:
	ADDQ $16, CX
	JZ   done
	VMOVUPS (BX), Y0
	TESTQ DX, DX
	JZ   rows8
	VMOVUPS (DX), Y2

rows8:
	MOVQ sa+48(FP), R12
	MOVQ rows+32(FP), R13
	MOVQ R8, DI
	MOVQ R9, SI

row8:
	VBROADCASTSS (R12), Y4
	BACK8(0, Y0, Y2, Y6)
	ADDQ $4, R12
	ADDQ R10, DI
	ADDQ R11, SI
	DECQ R13
	JNZ  row8

done:
	VZEROUPPER
	RET

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

// func packQuadsAVX2(dst, src *int8, k, blocks, step int, order *i8Order, sums *[8]int32)
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
	VMOVDQU i8Order_bytes(AX), Y12
	VMOVDQU i8Order_words(AX), Y13
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
