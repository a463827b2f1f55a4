//go:build !purego

#include "go_asm.h"
#include "textflag.h"
#include "tile_amd64.h"
#include "vnni_amd64.h"

// The int8 tile kernels on VPDPBUSD: it multiplies four unsigned bytes by four signed ones and adds the products to an
// int32, modulo 2^32 and without saturation. The unsigned bytes are a+128, and the sums begin at -128 times the sum of the
// channel's weights, so that they end at the sum of a*w modulo 2^32. That sum fits in an int32 for K <= MaxK, as the
// start does (128 * 127 * MaxK < 2^31), so the result is exact although (a+128)*w alone may wrap on the way.

// Up to 12 rows by 32 channels of sums in Z0..Z23, 4 k of a row's activations spread over Z24, 4 k of the panel in Z25
// and Z26.

#define ROW512(at, lo, hi) \
	VPBROADCASTD at, Z24; \
	VPDPBUSD Z25, Z24, lo; \
	VPDPBUSD Z26, Z24, hi

#define PANEL512 \
	VMOVDQU32 (BX), Z25; \
	VMOVDQU32 64(BX), Z26

// func tileAVX512VNNI(t *tile, b *int8, c, init *int32)
TEXT ·tileAVX512VNNI(SB), NOSPLIT, $0-32
	START
	CMPQ R9, $4
	JGT  panel12
	JEQ  panel4
	CMPQ R9, $2
	JEQ  panel2
	JMP  panel1

panel12:
	BEGIN
	INIT(Z0, Z1, 64)
	INIT(Z2, Z3, 64)
	INIT(Z4, Z5, 64)
	INIT(Z6, Z7, 64)
	INIT(Z8, Z9, 64)
	INIT(Z10, Z11, 64)
	INIT(Z12, Z13, 64)
	INIT(Z14, Z15, 64)
	INIT(Z16, Z17, 64)
	INIT(Z18, Z19, 64)
	INIT(Z20, Z21, 64)
	INIT(Z22, Z23, 64)

step12:
	PANEL512
	ROW512((SI), Z0, Z1)
	ROW512((1*ROWLEN)(SI), Z2, Z3)
	ROW512((2*ROWLEN)(SI), Z4, Z5)
	ROW512((3*ROWLEN)(SI), Z6, Z7)
	ROW512((4*ROWLEN)(SI), Z8, Z9)
	ROW512((5*ROWLEN)(SI), Z10, Z11)
	ROW512((6*ROWLEN)(SI), Z12, Z13)
	ROW512((7*ROWLEN)(SI), Z14, Z15)
	ROW512((8*ROWLEN)(SI), Z16, Z17)
	ROW512((9*ROWLEN)(SI), Z18, Z19)
	ROW512((10*ROWLEN)(SI), Z20, Z21)
	ROW512((11*ROWLEN)(SI), Z22, Z23)
	NEXT(4, 128)
	JNZ  step12
	SAVE(Z0, Z1, 64)
	SAVE(Z2, Z3, 64)
	SAVE(Z4, Z5, 64)
	SAVE(Z6, Z7, 64)
	SAVE(Z8, Z9, 64)
	SAVE(Z10, Z11, 64)
	SAVE(Z12, Z13, 64)
	SAVE(Z14, Z15, 64)
	SAVE(Z16, Z17, 64)
	SAVE(Z18, Z19, 64)
	SAVE(Z20, Z21, 64)
	SAVE(Z22, Z23, 64)
	END(128)
	JNZ  panel12
	VZEROUPPER
	RET

panel4:
	BEGIN
	INIT(Z0, Z1, 64)
	INIT(Z2, Z3, 64)
	INIT(Z4, Z5, 64)
	INIT(Z6, Z7, 64)

step4:
	PANEL512
	ROW512((SI), Z0, Z1)
	ROW512((1*ROWLEN)(SI), Z2, Z3)
	ROW512((2*ROWLEN)(SI), Z4, Z5)
	ROW512((3*ROWLEN)(SI), Z6, Z7)
	NEXT(4, 128)
	JNZ  step4
	SAVE(Z0, Z1, 64)
	SAVE(Z2, Z3, 64)
	SAVE(Z4, Z5, 64)
	SAVE(Z6, Z7, 64)
	END(128)
	JNZ  panel4
	VZEROUPPER
	RET

panel2:
	BEGIN
	INIT(Z0, Z1, 64)
	INIT(Z2, Z3, 64)

step2:
	PANEL512
	ROW512((SI), Z0, Z1)
	ROW512((1*ROWLEN)(SI), Z2, Z3)
	NEXT(4, 128)
	JNZ  step2
	SAVE(Z0, Z1, 64)
	SAVE(Z2, Z3, 64)
	END(128)
	JNZ  panel2
	VZEROUPPER
	RET

panel1:
	BEGIN
	INIT(Z0, Z1, 64)

step1:
	PANEL512
	ROW512((SI), Z0, Z1)
	NEXT(4, 128)
	JNZ  step1
	SAVE(Z0, Z1, 64)
	END(128)
	JNZ  panel1
	VZEROUPPER
	RET

// Up to 6 rows by 16 channels of sums in Y0..Y11, 4 k of a row's activations spread over Y12, 4 k of the panel in Y13
// and Y14.

#define ROW256(at, lo, hi) \
	VPBROADCASTD at, Y12; \
	DPBUSD(lo, 12, 13); \
	DPBUSD(hi, 12, 14)

#define PANEL256 \
	VMOVDQU (BX), Y13; \
	VMOVDQU 32(BX), Y14

// func tileAVXVNNI(t *tile, b *int8, c, init *int32)
TEXT ·tileAVXVNNI(SB), NOSPLIT, $0-32
	START
	CMPQ R9, $4
	JGT  panel6
	JEQ  panel4
	CMPQ R9, $2
	JEQ  panel2
	JMP  panel1

panel6:
	BEGIN
	INIT(Y0, Y1, 32)
	INIT(Y2, Y3, 32)
	INIT(Y4, Y5, 32)
	INIT(Y6, Y7, 32)
	INIT(Y8, Y9, 32)
	INIT(Y10, Y11, 32)

step6:
	PANEL256
	ROW256((SI), 0, 1)
	ROW256((1*ROWLEN)(SI), 2, 3)
	ROW256((2*ROWLEN)(SI), 4, 5)
	ROW256((3*ROWLEN)(SI), 6, 7)
	ROW256((4*ROWLEN)(SI), 8, 9)
	ROW256((5*ROWLEN)(SI), 10, 11)
	NEXT(4, 64)
	JNZ  step6
	SAVE(Y0, Y1, 32)
	SAVE(Y2, Y3, 32)
	SAVE(Y4, Y5, 32)
	SAVE(Y6, Y7, 32)
	SAVE(Y8, Y9, 32)
	SAVE(Y10, Y11, 32)
	END(64)
	JNZ  panel6
	VZEROUPPER
	RET

panel4:
	BEGIN
	INIT(Y0, Y1, 32)
	INIT(Y2, Y3, 32)
	INIT(Y4, Y5, 32)
	INIT(Y6, Y7, 32)

step4:
	PANEL256
	ROW256((SI), 0, 1)
	ROW256((1*ROWLEN)(SI), 2, 3)
	ROW256((2*ROWLEN)(SI), 4, 5)
	ROW256((3*ROWLEN)(SI), 6, 7)
	NEXT(4, 64)
	JNZ  step4
	SAVE(Y0, Y1, 32)
	SAVE(Y2, Y3, 32)
	SAVE(Y4, Y5, 32)
	SAVE(Y6, Y7, 32)
	END(64)
	JNZ  panel4
	VZEROUPPER
	RET

panel2:
	BEGIN
	INIT(Y0, Y1, 32)
	INIT(Y2, Y3, 32)

step2:
	PANEL256
	ROW256((SI), 0, 1)
	ROW256((1*ROWLEN)(SI), 2, 3)
	NEXT(4, 64)
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
	PANEL256
	ROW256((SI), 0, 1)
	NEXT(4, 64)
	JNZ  step1
	SAVE(Y0, Y1, 32)
	END(64)
	JNZ  panel1
	VZEROUPPER
	RET

// func spreadBiasedAVX2(dst, src *int8, rows, lda, n int)
TEXT ·spreadBiasedAVX2(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ rows+16(FP), R9
	MOVQ lda+24(FP), R10
	MOVQ n+32(FP), CX
	MOVL $0x80808080, AX
	VMOVD AX, X1
	VPBROADCASTD X1, Y1
	XORL AX, AX

bias:
	VPXOR   (SI)(AX*1), Y1, Y0
	VMOVDQU Y0, (DI)(AX*1)
	ADDQ    $32, AX
	CMPQ    AX, CX
	JLT     bias
	XORL    AX, AX
	ADDQ    R10, SI
	ADDQ    $ROWLEN, DI
	DECQ    R9
	JNZ     bias
	VZEROUPPER
	RET
