//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"
#include "quant_arm64.h"

// Quantisation to nearest, and back.

// MAXLANES leaves the largest of the four uint32 of V16 in R3.
#define MAXLANES \
	VEXT $8, V16.B16, V16.B16, V17.B16; \
	VUMAX V17.S4, V16.S4, V16.S4; \
	VEXT $4, V16.B16, V16.B16, V17.B16; \
	VUMAX V17.S4, V16.S4, V16.S4; \
	VMOV V16.S[0], R3

// func maxAbsBitsNEON(x *float32, n int) uint32
TEXT ·maxAbsBitsNEON(SB), NOSPLIT, $0-20
	MOVD x+0(FP), R1
	MOVD n+8(FP), R2
	MAGNITUDE
	VEOR V16.B16, V16.B16, V16.B16
	VEOR V17.B16, V17.B16, V17.B16
	VEOR V18.B16, V18.B16, V18.B16
	VEOR V19.B16, V19.B16, V19.B16

loop:
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	VAND   V7.B16, V0.B16, V0.B16
	VAND   V7.B16, V1.B16, V1.B16
	VAND   V7.B16, V2.B16, V2.B16
	VAND   V7.B16, V3.B16, V3.B16
	VUMAX  V0.S4, V16.S4, V16.S4
	VUMAX  V1.S4, V17.S4, V17.S4
	VUMAX  V2.S4, V18.S4, V18.S4
	VUMAX  V3.S4, V19.S4, V19.S4
	SUBS   $16, R2
	BNE    loop
	VUMAX  V17.S4, V16.S4, V16.S4
	VUMAX  V19.S4, V18.S4, V18.S4
	VUMAX  V18.S4, V16.S4, V16.S4
	MAXLANES
	MOVW   R3, ret+16(FP)
	RET

// CHAIN4 is the sums of four chains, the first weights of which are in a.
#define CHAIN4(a, b, c, d, va, vb, vc, vd) \
	VAND V7.B16, va.B16, va.B16; \
	VAND V7.B16, vb.B16, vb.B16; \
	VAND V7.B16, vc.B16, vc.B16; \
	VAND V7.B16, vd.B16, vd.B16; \
	FADD(a, a, b); \
	FADD(a, a, c); \
	FADD(a, a, d); \
	VAND V7.B16, va.B16, va.B16; \
	VUMAX va.S4, V16.S4, V16.S4

// func maxChainNEON(w *float32, n int) uint32
TEXT ·maxChainNEON(SB), NOSPLIT, $0-20
	MOVD w+0(FP), R1
	MOVD n+8(FP), R2
	MAGNITUDE
	VEOR V16.B16, V16.B16, V16.B16

loop:
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1.P 64(R1), [V20.S4, V21.S4, V22.S4, V23.S4]
	CHAIN4(0, 2, 20, 22, V0, V2, V20, V22)
	CHAIN4(1, 3, 21, 23, V1, V3, V21, V23)
	SUBS   $32, R2
	BNE    loop
	MAXLANES
	MOVW   R3, ret+16(FP)
	RET

// func quantizeNEON(q *int8, x *float32, n int, inv float32)
TEXT ·quantizeNEON(SB), NOSPLIT, $0-28
	MOVD  q+0(FP), R0
	MOVD  x+8(FP), R1
	MOVD  n+16(FP), R2
	MOVWU inv+24(FP), R3
	VDUP  R3, V16.S4
	LIMITS

loop:
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	SCALE4(0)
	SCALE4(1)
	SCALE4(2)
	SCALE4(3)
	SQXTNS(4, 0)
	SQXTNS2(4, 1)
	SQXTNS(5, 2)
	SQXTNS2(5, 3)
	SQXTNH(6, 4)
	SQXTNH2(6, 5)
	VST1.P [V6.B16], 16(R0)
	SUBS   $16, R2
	BNE    loop
	RET

// func dequantNEON(dst *float32, ldd int, acc *int32, ldacc, rows, cols int, sa, sw, bias *float32)
//
// 8 columns at a time; without a bias -0 is added, which changes nothing.
TEXT ·dequantNEON(SB), NOSPLIT, $0-72
	MOVD dst+0(FP), R0
	MOVD ldd+8(FP), R1
	MOVD acc+16(FP), R2
	MOVD ldacc+24(FP), R3
	LSL  $2, R1
	LSL  $2, R3
	MOVD cols+40(FP), R4
	MOVD sw+56(FP), R5
	MOVD bias+64(FP), R6
	MOVD $0x80000000, R7
	VDUP R7, V18.S4
	VDUP R7, V19.S4

columns:
	VLD1.P 32(R5), [V16.S4, V17.S4]
	CBZ    R6, rows
	VLD1.P 32(R6), [V18.S4, V19.S4]

rows:
	MOVD R0, R8
	MOVD R2, R9
	MOVD sa+48(FP), R10
	MOVD rows+32(FP), R11

row:
	VLD1R.P 4(R10), [V20.S4]
	VLD1  (R9), [V0.S4, V1.S4]
	ADD   R3, R9
	FMUL(2, 20, 16)
	FMUL(3, 20, 17)
	SCVTF(0, 0)
	SCVTF(1, 1)
	FMUL(0, 0, 2)
	FMUL(1, 1, 3)
	FADD(0, 0, 18)
	FADD(1, 1, 19)
	VST1  [V0.S4, V1.S4], (R8)
	ADD   R1, R8
	SUBS  $1, R11
	BNE   row
	ADD   $32, R0
	ADD   $32, R2
	SUBS  $8, R4
	BNE   columns
	RET
