//go:build !purego

#include "textflag.h"

// Softmax and its gradient over a block of rows, on AVX2 (two registers of a row at a time) and AVX-512 (one): lane i%16
// takes element i, as in type lanes, and the end of a row goes under a mask. Operation by operation what the Go versions
// do; a product and a sum are never fused.
//
//	DI  row              R8  stride       BX  rows left   R9  bytes of whole blocks in a row
//	SI  at               DX  their end    AX  columns after them
//	R10 y, its row       R11 its stride   R12 constants   R13 dx, its row

#define LOG2E 0
#define MAGIC 32
#define LN2HI 64
#define LN2LO 96
#define EXPC6 128
#define EXPC5 160
#define EXPC4 192
#define EXPC3 224
#define EXPC2 256
#define ONE 288
#define EXPMIN 320
#define MINUSINF 352

// COLUMNS splits cols, in CX, into whole blocks and the rest.
#define COLUMNS \
	MOVQ CX, AX; \
	ANDQ $15, AX; \
	MOVQ CX, R9; \
	SHRQ $4, R9; \
	SHLQ $6, R9

// EXP2 is Y9 = expNeg(x*scale - max) for x in Y5.
#define EXP2 \
	VMULPS Y15, Y5, Y5; \
	VSUBPS Y14, Y5, Y5; \
	VMULPS Y12, Y5, Y6; \
	VADDPS Y13, Y6, Y6; \
	VSUBPS Y13, Y6, Y7; \
	VMULPS Y11, Y7, Y8; \
	VSUBPS Y8, Y5, Y8; \
	VMULPS LN2LO(R12), Y7, Y7; \
	VSUBPS Y7, Y8, Y8; \
	VMULPS EXPC6(R12), Y8, Y9; \
	VADDPS EXPC5(R12), Y9, Y9; \
	VMULPS Y8, Y9, Y9; \
	VADDPS EXPC4(R12), Y9, Y9; \
	VMULPS Y8, Y9, Y9; \
	VADDPS EXPC3(R12), Y9, Y9; \
	VMULPS Y8, Y9, Y9; \
	VADDPS EXPC2(R12), Y9, Y9; \
	VMULPS Y8, Y8, Y10; \
	VMULPS Y10, Y9, Y9; \
	VADDPS Y8, Y9, Y9; \
	VADDPS Y4, Y9, Y9; \
	VPSLLD $23, Y6, Y6; \
	VPADDD Y4, Y6, Y6; \
	VMULPS Y6, Y9, Y9; \
	VCMPPS $0x11, EXPMIN(R12), Y5, Y5; \
	VANDNPS Y9, Y5, Y9

// SUM2 folds the lanes in Y0 and Y1 to their sum in X0, in the order of lanes.sum.
#define SUM2 \
	VADDPS Y1, Y0, Y0; \
	SUM4

#define SUM4 \
	VEXTRACTF128 $1, Y0, X1; \
	VADDPS X1, X0, X0; \
	VMOVHLPS X0, X0, X1; \
	VADDPS X1, X0, X0; \
	VMOVSHDUP X0, X1; \
	VADDSS X1, X0, X0

// MASKS2 loads the masks of the columns after the whole blocks.
#define MASKS2 \
	LEAQ ·softmaxMasks+64(SB), SI; \
	MOVQ AX, CX; \
	SHLQ $2, CX; \
	SUBQ CX, SI; \
	VMOVUPS (SI), Y2; \
	VMOVUPS 32(SI), Y3

// func softmaxRowsAVX2(x *float32, rows, cols, stride int, scale float32)
TEXT ·softmaxRowsAVX2(SB), NOSPLIT, $0-36
	MOVQ x+0(FP), DI
	MOVQ rows+8(FP), BX
	MOVQ cols+16(FP), CX
	MOVQ stride+24(FP), R8
	VBROADCASTSS scale+32(FP), Y15
	SHLQ $2, R8
	COLUMNS
	MASKS2
	LEAQ ·softmaxConst(SB), R12
	VMOVUPS MAGIC(R12), Y13
	VMOVUPS LOG2E(R12), Y12
	VMOVUPS LN2HI(R12), Y11
	VMOVUPS ONE(R12), Y4

row:
	MOVQ DI, SI
	LEAQ (DI)(R9*1), DX
	VMOVUPS MINUSINF(R12), Y0
	VMOVAPS Y0, Y1

largest: // lane = scale*x > lane ? scale*x : lane
	CMPQ SI, DX
	JGE  largestTail
	VMULPS (SI), Y15, Y5
	VMULPS 32(SI), Y15, Y6
	VMAXPS Y0, Y5, Y0
	VMAXPS Y1, Y6, Y1
	ADDQ $64, SI
	JMP  largest

largestTail:
	TESTQ AX, AX
	JZ   largestSum
	VMASKMOVPS (SI), Y2, Y5
	VMASKMOVPS 32(SI), Y3, Y6
	VMULPS Y15, Y5, Y5
	VMULPS Y15, Y6, Y6
	VMAXPS Y0, Y5, Y5
	VMAXPS Y1, Y6, Y6
	VBLENDVPS Y2, Y5, Y0, Y0
	VBLENDVPS Y3, Y6, Y1, Y1

largestSum:
	VMAXPS Y1, Y0, Y0
	VEXTRACTF128 $1, Y0, X1
	VMAXPS X1, X0, X0
	VMOVHLPS X0, X0, X1
	VMAXPS X1, X0, X0
	VMOVSHDUP X0, X1
	VMAXSS X1, X0, X0
	VBROADCASTSS X0, Y14
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	MOVQ DI, SI

exp: // x = exp(scale*x - max); lane += x
	CMPQ SI, DX
	JGE  expTail
	VMOVUPS (SI), Y5
	EXP2
	VMOVUPS Y9, (SI)
	VADDPS Y9, Y0, Y0
	VMOVUPS 32(SI), Y5
	EXP2
	VMOVUPS Y9, 32(SI)
	VADDPS Y9, Y1, Y1
	ADDQ $64, SI
	JMP  exp

expTail:
	TESTQ AX, AX
	JZ   inverse
	VMASKMOVPS (SI), Y2, Y5
	EXP2
	VMASKMOVPS Y9, Y2, (SI)
	VANDPS Y2, Y9, Y9
	VADDPS Y9, Y0, Y0
	CMPQ AX, $8
	JLE  inverse
	VMASKMOVPS 32(SI), Y3, Y5
	EXP2
	VMASKMOVPS Y9, Y3, 32(SI)
	VANDPS Y3, Y9, Y9
	VADDPS Y9, Y1, Y1

inverse:
	SUM2
	VDIVSS X0, X4, X0
	VBROADCASTSS X0, Y0
	MOVQ DI, SI

scale: // x *= 1/sum
	CMPQ SI, DX
	JGE  scaleTail
	VMULPS (SI), Y0, Y5
	VMULPS 32(SI), Y0, Y6
	VMOVUPS Y5, (SI)
	VMOVUPS Y6, 32(SI)
	ADDQ $64, SI
	JMP  scale

scaleTail:
	TESTQ AX, AX
	JZ   next
	VMASKMOVPS (SI), Y2, Y5
	VMULPS Y0, Y5, Y5
	VMASKMOVPS Y5, Y2, (SI)
	CMPQ AX, $8
	JLE  next
	VMASKMOVPS 32(SI), Y3, Y6
	VMULPS Y0, Y6, Y6
	VMASKMOVPS Y6, Y3, 32(SI)

next:
	ADDQ R8, DI
	DECQ BX
	JNZ  row
	VZEROUPPER
	RET

// func softmaxGradRowsAVX2(dx, dy, y *float32, rows, cols, stride, stridey int, scale float32)
TEXT ·softmaxGradRowsAVX2(SB), NOSPLIT, $0-60
	MOVQ dx+0(FP), R13
	MOVQ dy+8(FP), DI
	MOVQ y+16(FP), R10
	MOVQ rows+24(FP), BX
	MOVQ cols+32(FP), CX
	MOVQ stride+40(FP), R8
	MOVQ stridey+48(FP), R11
	VBROADCASTSS scale+56(FP), Y15
	SHLQ $2, R8
	SHLQ $2, R11
	COLUMNS
	MASKS2

row:
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	XORQ SI, SI

dot: // lane += dy*y
	CMPQ SI, R9
	JGE  dotTail
	VMOVUPS (DI)(SI*1), Y5
	VMOVUPS 32(DI)(SI*1), Y6
	VMULPS (R10)(SI*1), Y5, Y5
	VMULPS 32(R10)(SI*1), Y6, Y6
	VADDPS Y5, Y0, Y0
	VADDPS Y6, Y1, Y1
	ADDQ $64, SI
	JMP  dot

dotTail:
	TESTQ AX, AX
	JZ   dotSum
	VMASKMOVPS (DI)(SI*1), Y2, Y5
	VMASKMOVPS 32(DI)(SI*1), Y3, Y6
	VMASKMOVPS (R10)(SI*1), Y2, Y7
	VMASKMOVPS 32(R10)(SI*1), Y3, Y8
	VMULPS Y7, Y5, Y5
	VMULPS Y8, Y6, Y6
	VADDPS Y5, Y0, Y0
	VADDPS Y6, Y1, Y1

dotSum:
	SUM2
	VBROADCASTSS X0, Y0
	XORQ SI, SI

grad: // dx = scale*y*(dy - dot)
	CMPQ SI, R9
	JGE  gradTail
	VMOVUPS (DI)(SI*1), Y5
	VMOVUPS 32(DI)(SI*1), Y6
	VMULPS (R10)(SI*1), Y15, Y7
	VMULPS 32(R10)(SI*1), Y15, Y8
	VSUBPS Y0, Y5, Y5
	VSUBPS Y0, Y6, Y6
	VMULPS Y7, Y5, Y5
	VMULPS Y8, Y6, Y6
	VMOVUPS Y5, (R13)(SI*1)
	VMOVUPS Y6, 32(R13)(SI*1)
	ADDQ $64, SI
	JMP  grad

gradTail:
	TESTQ AX, AX
	JZ   next
	VMASKMOVPS (DI)(SI*1), Y2, Y5
	VMASKMOVPS 32(DI)(SI*1), Y3, Y6
	VMASKMOVPS (R10)(SI*1), Y2, Y7
	VMASKMOVPS 32(R10)(SI*1), Y3, Y8
	VMULPS Y15, Y7, Y7
	VMULPS Y15, Y8, Y8
	VSUBPS Y0, Y5, Y5
	VSUBPS Y0, Y6, Y6
	VMULPS Y7, Y5, Y5
	VMULPS Y8, Y6, Y6
	VMASKMOVPS Y5, Y2, (R13)(SI*1)
	VMASKMOVPS Y6, Y3, 32(R13)(SI*1)

next:
	ADDQ R8, DI
	ADDQ R8, R13
	ADDQ R11, R10
	DECQ BX
	JNZ  row
	VZEROUPPER
	RET

// MASK puts the columns after the whole blocks into K1.
#define MASK \
	MOVQ AX, CX; \
	MOVQ $1, DX; \
	SHLQ CX, DX; \
	DECQ DX; \
	KMOVW DX, K1

// SUM1 folds the lanes in Z0 to their sum in X0, in the order of lanes.sum.
#define SUM1 \
	VEXTRACTF64X4 $1, Z0, Y1; \
	SUM2

// EXP1 is Z9 = expNeg(x - max) for x in Z5: 0 where K2, not below, is clear.
#define EXP1 \
	VSUBPS Z3, Z5, Z5; \
	VMULPS Z29, Z5, Z6; \
	VADDPS Z30, Z6, Z6; \
	VSUBPS Z30, Z6, Z7; \
	VMULPS Z28, Z7, Z8; \
	VSUBPS Z8, Z5, Z8; \
	VMULPS Z27, Z7, Z7; \
	VSUBPS Z7, Z8, Z8; \
	VMULPS Z26, Z8, Z9; \
	VADDPS Z25, Z9, Z9; \
	VMULPS Z8, Z9, Z9; \
	VADDPS Z24, Z9, Z9; \
	VMULPS Z8, Z9, Z9; \
	VADDPS Z23, Z9, Z9; \
	VMULPS Z8, Z9, Z9; \
	VADDPS Z22, Z9, Z9; \
	VMULPS Z8, Z8, Z10; \
	VMULPS Z10, Z9, Z9; \
	VADDPS Z8, Z9, Z9; \
	VADDPS Z21, Z9, Z9; \
	VPSLLD $23, Z6, Z6; \
	VPADDD Z21, Z6, Z6; \
	VCMPPS $0x15, Z20, Z5, K2; \
	VMULPS.Z Z6, Z9, K2, Z9

// func softmaxRowsAVX512(x *float32, rows, cols, stride int, scale float32)
TEXT ·softmaxRowsAVX512(SB), NOSPLIT, $0-36
	MOVQ x+0(FP), DI
	MOVQ rows+8(FP), BX
	MOVQ cols+16(FP), CX
	MOVQ stride+24(FP), R8
	VBROADCASTSS scale+32(FP), Z31
	SHLQ $2, R8
	COLUMNS
	MASK
	LEAQ ·softmaxConst(SB), R12
	VBROADCASTSS MAGIC(R12), Z30
	VBROADCASTSS LOG2E(R12), Z29
	VBROADCASTSS LN2HI(R12), Z28
	VBROADCASTSS LN2LO(R12), Z27
	VBROADCASTSS EXPC6(R12), Z26
	VBROADCASTSS EXPC5(R12), Z25
	VBROADCASTSS EXPC4(R12), Z24
	VBROADCASTSS EXPC3(R12), Z23
	VBROADCASTSS EXPC2(R12), Z22
	VBROADCASTSS ONE(R12), Z21
	VBROADCASTSS EXPMIN(R12), Z20
	VBROADCASTSS MINUSINF(R12), Z19

row:
	MOVQ DI, SI
	LEAQ (DI)(R9*1), DX
	VMOVAPS Z19, Z0

largest: // lane = scale*x > lane ? scale*x : lane
	CMPQ SI, DX
	JGE  largestTail
	VMULPS (SI), Z31, Z5
	VMAXPS Z0, Z5, Z0
	ADDQ $64, SI
	JMP  largest

largestTail:
	TESTQ AX, AX
	JZ   largestSum
	VMULPS.Z (SI), Z31, K1, Z5
	VMAXPS Z0, Z5, K1, Z0

largestSum:
	VEXTRACTF64X4 $1, Z0, Y1
	VMAXPS Y1, Y0, Y0
	VEXTRACTF128 $1, Y0, X1
	VMAXPS X1, X0, X0
	VMOVHLPS X0, X0, X1
	VMAXPS X1, X0, X0
	VMOVSHDUP X0, X1
	VMAXSS X1, X0, X0
	VBROADCASTSS X0, Z3
	VPXORD Z0, Z0, Z0
	MOVQ DI, SI

exp: // x = exp(scale*x - max); lane += x
	CMPQ SI, DX
	JGE  expTail
	VMULPS (SI), Z31, Z5
	EXP1
	VMOVUPS Z9, (SI)
	VADDPS Z9, Z0, Z0
	ADDQ $64, SI
	JMP  exp

expTail:
	TESTQ AX, AX
	JZ   inverse
	VMULPS.Z (SI), Z31, K1, Z5
	EXP1
	VMOVUPS Z9, K1, (SI)
	VADDPS Z9, Z0, K1, Z0

inverse:
	SUM1
	VDIVSS X0, X21, X0
	VBROADCASTSS X0, Z0
	MOVQ DI, SI

scale: // x *= 1/sum
	CMPQ SI, DX
	JGE  scaleTail
	VMULPS (SI), Z0, Z5
	VMOVUPS Z5, (SI)
	ADDQ $64, SI
	JMP  scale

scaleTail:
	TESTQ AX, AX
	JZ   next
	VMULPS.Z (SI), Z0, K1, Z5
	VMOVUPS Z5, K1, (SI)

next:
	ADDQ R8, DI
	DECQ BX
	JNZ  row
	VZEROUPPER
	RET

// func softmaxGradRowsAVX512(dx, dy, y *float32, rows, cols, stride, stridey int, scale float32)
TEXT ·softmaxGradRowsAVX512(SB), NOSPLIT, $0-60
	MOVQ dx+0(FP), R13
	MOVQ dy+8(FP), DI
	MOVQ y+16(FP), R10
	MOVQ rows+24(FP), BX
	MOVQ cols+32(FP), CX
	MOVQ stride+40(FP), R8
	MOVQ stridey+48(FP), R11
	VBROADCASTSS scale+56(FP), Z31
	SHLQ $2, R8
	SHLQ $2, R11
	COLUMNS
	MASK

row:
	VPXORD Z0, Z0, Z0
	XORQ SI, SI

dot: // lane += dy*y
	CMPQ SI, R9
	JGE  dotTail
	VMOVUPS (DI)(SI*1), Z5
	VMULPS (R10)(SI*1), Z5, Z5
	VADDPS Z5, Z0, Z0
	ADDQ $64, SI
	JMP  dot

dotTail:
	TESTQ AX, AX
	JZ   dotSum
	VMOVUPS.Z (DI)(SI*1), K1, Z5
	VMULPS.Z (R10)(SI*1), Z5, K1, Z5
	VADDPS Z5, Z0, K1, Z0

dotSum:
	SUM1
	VBROADCASTSS X0, Z0
	XORQ SI, SI

grad: // dx = scale*y*(dy - dot)
	CMPQ SI, R9
	JGE  gradTail
	VMOVUPS (DI)(SI*1), Z5
	VMULPS (R10)(SI*1), Z31, Z7
	VSUBPS Z0, Z5, Z5
	VMULPS Z7, Z5, Z5
	VMOVUPS Z5, (R13)(SI*1)
	ADDQ $64, SI
	JMP  grad

gradTail:
	TESTQ AX, AX
	JZ   next
	VMOVUPS.Z (DI)(SI*1), K1, Z5
	VMULPS.Z (R10)(SI*1), Z31, K1, Z7
	VSUBPS Z0, Z5, Z5
	VMULPS Z7, Z5, Z5
	VMOVUPS Z5, K1, (R13)(SI*1)

next:
	ADDQ R8, DI
	ADDQ R8, R13
	ADDQ R11, R10
	DECQ BX
	JNZ  row
	VZEROUPPER
	RET
