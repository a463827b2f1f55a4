//go:build !purego

#include "textflag.h"

// Softmax and its gradient over a block of rows, on AVX2 (two registers of a row at a time) and AVX-512 (one): lane i%16
// takes element i, as in type lanes, and the end of a row goes under a mask. Operation by operation what the Go versions
// do; a product and a sum are never fused. The largest of a row is looked for before the exponentials of the row before,
// which need not wait for it then.
//
//	DI  row              R8  stride       BX  rows left   R9  bytes of whole blocks in a row
//	SI  at               DX  their end    AX  columns after them
//	R10 y, its row       R11 its stride   R12 constants   R13 dx, its row
//	or the next row                                       or masks

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

// EXP2 is Y8 = expNeg(x*scale - max) for x in Y5, and Y2 for x in Y10: in step, so that neither waits for the other.
#define EXP2 \
	VMULPS Y15, Y5, Y5; \
	VMULPS Y15, Y10, Y10; \
	VSUBPS Y14, Y5, Y5; \
	VSUBPS Y14, Y10, Y10; \
	VMULPS LOG2E(R12), Y5, Y6; \
	VMULPS LOG2E(R12), Y10, Y11; \
	VADDPS Y13, Y6, Y6; \
	VADDPS Y13, Y11, Y11; \
	VSUBPS Y13, Y6, Y8; \
	VSUBPS Y13, Y11, Y2; \
	VMULPS LN2HI(R12), Y8, Y9; \
	VMULPS LN2HI(R12), Y2, Y3; \
	VSUBPS Y9, Y5, Y7; \
	VSUBPS Y3, Y10, Y12; \
	VMULPS LN2LO(R12), Y8, Y8; \
	VMULPS LN2LO(R12), Y2, Y2; \
	VSUBPS Y8, Y7, Y7; \
	VSUBPS Y2, Y12, Y12; \
	VCMPPS $0x11, EXPMIN(R12), Y5, Y5; \
	VCMPPS $0x11, EXPMIN(R12), Y10, Y10; \
	VMULPS EXPC6(R12), Y7, Y8; \
	VMULPS EXPC6(R12), Y12, Y2; \
	VADDPS EXPC5(R12), Y8, Y8; \
	VADDPS EXPC5(R12), Y2, Y2; \
	VMULPS Y7, Y8, Y8; \
	VMULPS Y12, Y2, Y2; \
	VADDPS EXPC4(R12), Y8, Y8; \
	VADDPS EXPC4(R12), Y2, Y2; \
	VMULPS Y7, Y8, Y8; \
	VMULPS Y12, Y2, Y2; \
	VADDPS EXPC3(R12), Y8, Y8; \
	VADDPS EXPC3(R12), Y2, Y2; \
	VMULPS Y7, Y8, Y8; \
	VMULPS Y12, Y2, Y2; \
	VADDPS EXPC2(R12), Y8, Y8; \
	VADDPS EXPC2(R12), Y2, Y2; \
	VMULPS Y7, Y7, Y9; \
	VMULPS Y12, Y12, Y3; \
	VMULPS Y9, Y8, Y8; \
	VMULPS Y3, Y2, Y2; \
	VADDPS Y7, Y8, Y8; \
	VADDPS Y12, Y2, Y2; \
	VADDPS ONE(R12), Y8, Y8; \
	VADDPS ONE(R12), Y2, Y2; \
	VPSLLD $23, Y6, Y6; \
	VPSLLD $23, Y11, Y11; \
	VPADDD ONE(R12), Y6, Y6; \
	VPADDD ONE(R12), Y11, Y11; \
	VMULPS Y6, Y8, Y8; \
	VMULPS Y11, Y2, Y2; \
	VANDNPS Y8, Y5, Y8; \
	VANDNPS Y2, Y10, Y2

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

// MASKS2 finds the masks of the columns after the whole blocks.
#define MASKS2(at) \
	LEAQ ·softmaxMasks+64(SB), at; \
	MOVQ AX, CX; \
	SHLQ $2, CX; \
	SUBQ CX, at

// func softmaxRowsAVX2(x *float32, rows, cols, stride int, scale float32)
TEXT ·softmaxRowsAVX2(SB), NOSPLIT, $0-36
	MOVQ x+0(FP), R10
	XORL DI, DI
	MOVQ rows+8(FP), BX
	MOVQ cols+16(FP), CX
	MOVQ stride+24(FP), R8
	VBROADCASTSS scale+32(FP), Y15
	SHLQ $2, R8
	COLUMNS
	MASKS2(R13)
	LEAQ ·softmaxConst(SB), R12
	VMOVUPS MAGIC(R12), Y13

maximum:
	MOVQ R10, SI
	LEAQ (R10)(R9*1), DX
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
	VMOVUPS (R13), Y2
	VMOVUPS 32(R13), Y3
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
	VBROADCASTSS X0, Y4
	TESTQ DI, DI
	JZ   next

row:
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	MOVQ DI, SI
	LEAQ (DI)(R9*1), DX

exp: // x = exp(scale*x - max); lane += x
	CMPQ SI, DX
	JGE  expTail
	VMOVUPS (SI), Y5
	VMOVUPS 32(SI), Y10
	EXP2
	VMOVUPS Y8, (SI)
	VMOVUPS Y2, 32(SI)
	VADDPS Y8, Y0, Y0
	VADDPS Y2, Y1, Y1
	ADDQ $64, SI
	JMP  exp

expTail:
	TESTQ AX, AX
	JZ   inverse
	VMOVUPS (R13), Y6
	VMOVUPS 32(R13), Y11
	VMASKMOVPS (SI), Y6, Y5
	VMASKMOVPS 32(SI), Y11, Y10
	EXP2
	VMOVUPS (R13), Y6
	VMOVUPS 32(R13), Y11
	VMASKMOVPS Y8, Y6, (SI)
	VMASKMOVPS Y2, Y11, 32(SI)
	VANDPS Y6, Y8, Y8
	VANDPS Y11, Y2, Y2
	VADDPS Y8, Y0, Y0
	VADDPS Y2, Y1, Y1

inverse:
	SUM2
	VMOVSS ONE(R12), X1
	VDIVSS X0, X1, X0
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
	JZ   scaled
	VMOVUPS (R13), Y2
	VMOVUPS 32(R13), Y3
	VMASKMOVPS (SI), Y2, Y5
	VMULPS Y0, Y5, Y5
	VMASKMOVPS Y5, Y2, (SI)
	VMASKMOVPS 32(SI), Y3, Y6
	VMULPS Y0, Y6, Y6
	VMASKMOVPS Y6, Y3, 32(SI)

scaled:
	DECQ BX
	JZ   done

next:
	MOVQ R10, DI
	ADDQ R8, R10
	VMOVAPS Y4, Y14
	CMPQ BX, $1
	JEQ  row
	JMP  maximum

done:
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
	MASKS2(SI)
	VMOVUPS (SI), Y2
	VMOVUPS 32(SI), Y3

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

// EXP1TWICE is EXP1, and Z15 for Z11 in step with it.
#define EXP1TWICE \
	VSUBPS Z3, Z5, Z5; \
	VSUBPS Z3, Z11, Z11; \
	VMULPS Z29, Z5, Z6; \
	VMULPS Z29, Z11, Z12; \
	VADDPS Z30, Z6, Z6; \
	VADDPS Z30, Z12, Z12; \
	VSUBPS Z30, Z6, Z7; \
	VSUBPS Z30, Z12, Z13; \
	VMULPS Z28, Z7, Z8; \
	VMULPS Z28, Z13, Z14; \
	VSUBPS Z8, Z5, Z8; \
	VSUBPS Z14, Z11, Z14; \
	VMULPS Z27, Z7, Z7; \
	VMULPS Z27, Z13, Z13; \
	VSUBPS Z7, Z8, Z8; \
	VSUBPS Z13, Z14, Z14; \
	VMULPS Z26, Z8, Z9; \
	VMULPS Z26, Z14, Z15; \
	VADDPS Z25, Z9, Z9; \
	VADDPS Z25, Z15, Z15; \
	VMULPS Z8, Z9, Z9; \
	VMULPS Z14, Z15, Z15; \
	VADDPS Z24, Z9, Z9; \
	VADDPS Z24, Z15, Z15; \
	VMULPS Z8, Z9, Z9; \
	VMULPS Z14, Z15, Z15; \
	VADDPS Z23, Z9, Z9; \
	VADDPS Z23, Z15, Z15; \
	VMULPS Z8, Z9, Z9; \
	VMULPS Z14, Z15, Z15; \
	VADDPS Z22, Z9, Z9; \
	VADDPS Z22, Z15, Z15; \
	VMULPS Z8, Z8, Z10; \
	VMULPS Z14, Z14, Z16; \
	VMULPS Z10, Z9, Z9; \
	VMULPS Z16, Z15, Z15; \
	VADDPS Z8, Z9, Z9; \
	VADDPS Z14, Z15, Z15; \
	VADDPS Z21, Z9, Z9; \
	VADDPS Z21, Z15, Z15; \
	VPSLLD $23, Z6, Z6; \
	VPSLLD $23, Z12, Z12; \
	VPADDD Z21, Z6, Z6; \
	VPADDD Z21, Z12, Z12; \
	VCMPPS $0x15, Z20, Z5, K2; \
	VCMPPS $0x15, Z20, Z11, K3; \
	VMULPS.Z Z6, Z9, K2, Z9; \
	VMULPS.Z Z12, Z15, K3, Z15

// func softmaxRowsAVX512(x *float32, rows, cols, stride int, scale float32)
TEXT ·softmaxRowsAVX512(SB), NOSPLIT, $0-36
	MOVQ x+0(FP), R10
	XORL DI, DI
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

maximum:
	MOVQ R10, SI
	LEAQ (R10)(R9*1), DX
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
	VBROADCASTSS X0, Z4
	TESTQ DI, DI
	JZ   next

row:
	VPXORD Z0, Z0, Z0
	MOVQ DI, SI
	LEAQ (DI)(R9*1), DX

exp: // x = exp(scale*x - max); lane += x
	LEAQ 64(SI), CX
	CMPQ CX, DX
	JGE  expLast
	VMULPS (SI), Z31, Z5
	VMULPS 64(SI), Z31, Z11
	EXP1TWICE
	VMOVUPS Z9, (SI)
	VMOVUPS Z15, 64(SI)
	VADDPS Z9, Z0, Z0
	VADDPS Z15, Z0, Z0
	ADDQ $128, SI
	JMP  exp

expLast:
	CMPQ SI, DX
	JGE  expTail
	VMULPS (SI), Z31, Z5
	EXP1
	VMOVUPS Z9, (SI)
	VADDPS Z9, Z0, Z0
	ADDQ $64, SI

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
	JZ   scaled
	VMULPS.Z (SI), Z0, K1, Z5
	VMOVUPS Z5, K1, (SI)

scaled:
	DECQ BX
	JZ   done

next:
	MOVQ R10, DI
	ADDQ R8, R10
	VMOVAPS Z4, Z3
	CMPQ BX, $1
	JEQ  row
	JMP  maximum

done:
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
