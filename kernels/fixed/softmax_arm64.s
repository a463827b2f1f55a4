//go:build !purego

#include "go_asm.h"
#include "textflag.h"
#include "neon_arm64.h"

// 16 bytes from byte r on are a mask of the last r of 16.
DATA lastBytes<>+0(SB)/8, $0
DATA lastBytes<>+8(SB)/8, $0
DATA lastBytes<>+16(SB)/8, $0xffffffffffffffff
DATA lastBytes<>+24(SB)/8, $0xffffffffffffffff
GLOBL lastBytes<>(SB), RODATA|NOPTR, $32

// WORDS is a constant of eight words.
#define WORDS(w, v) \
	MOVD $w, R10; \
	VDUP R10, v.H8

// DIFFERENCES is min(max - score, limit) >> right of the four scores in a register, which is named twice.
#define DIFFERENCES(x, v) \
	VSUB  v.S4, V16.S4, v.S4; \
	VUMIN V17.S4, v.S4, v.S4; \
	USHL4S(x, x, 18)

// func softmaxI8Row(p *int8, scores *int32, n int, s *Softmax) (sum int32)
//
//	V16 max    V19 left   V22 low 11 bits       V27 0x0202   V28, V29 powers of two   V31 sums
//	V17 limit  V20 32767  V23..V26 c0 c1 c2 c3  V8 0x0100    V9 half, V10 -bits
//	V18 -right V21 mult   V30 mask              V11 zero
TEXT ·softmaxI8Row(SB), NOSPLIT, $0-36
	MOVD p+0(FP), R0
	MOVD scores+8(FP), R1
	MOVD n+16(FP), R2
	MOVD s+24(FP), R3
	ADD  R2<<2, R1, R4
	SUB  $64, R4       // the last 16 scores
	ADD  R2, R0, R5
	SUB  $16, R5

	VLD1 (R4), [V0.S4, V1.S4, V2.S4, V3.S4]
	MOVD R1, R6

max:
	VLD1.P 64(R6), [V4.S4, V5.S4, V6.S4, V7.S4]
	SMAX4S(0, 0, 4)
	SMAX4S(1, 1, 5)
	SMAX4S(2, 2, 6)
	SMAX4S(3, 3, 7)
	CMP R4, R6
	BLT max
	SMAX4S(0, 0, 1)
	SMAX4S(2, 2, 3)
	SMAX4S(0, 0, 2)
	SMAXV4S(0, 0)
	VDUP V0.S[0], V16.S4

	MOVWU Softmax_limit(R3), R10
	VDUP  R10, V17.S4
	MOVW  Softmax_right(R3), R10
	NEG   R10, R10
	VDUP  R10, V18.S4
	MOVW  Softmax_left(R3), R10
	VDUP  R10, V19.H8
	WORDS(0x7fff, V20)
	FMOVQ (Softmax_wide+0)(R3), F21
	WORDS(0x07ff, V22)
	WORDS(0x4000, V23)
	WORDS(const_exp2C1, V24)
	WORDS(const_exp2C2, V25)
	WORDS(const_exp2C3, V26)
	WORDS(0x0202, V27)
	FMOVQ (Softmax_powers+0)(R3), F28
	FMOVQ (Softmax_powers+16)(R3), F29
	WORDS(0x0100, V8)
	FMOVQ (Softmax_wide+32)(R3), F9
	MOVD  Softmax_rights(R3), R10
	NEG   R10, R10
	VDUP  R10, V10.H8
	FMOVQ (Softmax_wide+64)(R3), F11
	VEOR  V31.B16, V31.B16, V31.B16
	VCMEQ V31.B16, V31.B16, V30.B16
	LSR   $4, R2, R7
	AND   $15, R2, R8

block:
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	DIFFERENCES(0, V0)
	DIFFERENCES(1, V1)
	DIFFERENCES(2, V2)
	DIFFERENCES(3, V3)
	XTN4H(0, 0)
	XTN4H(2, 2)
	XTN8H(0, 1)
	XTN8H(2, 3)

	// z in V0 and V2
	USHL8H(0, 0, 19)
	USHL8H(2, 2, 19)
	VUMIN V20.H8, V0.H8, V0.H8
	VUMIN V20.H8, V2.H8, V2.H8
	SQRDMULH8H(1, 0, 21)
	SQRDMULH8H(3, 2, 21)
	SQADD8H(0, 0, 1)
	SQADD8H(2, 2, 3)

	// i in V1 and V3, f in V0 and V2
	VUSHR $11, V0.H8, V1.H8
	VUSHR $11, V2.H8, V3.H8
	VAND  V22.B16, V0.B16, V0.B16
	VAND  V22.B16, V2.B16, V2.B16
	VSHL  $4, V0.H8, V0.H8
	VSHL  $4, V2.H8, V2.H8
	MUL8H(1, 1, 27)
	MUL8H(3, 3, 27)

	// y in V4 and V5, the powers in V1 and V3
	SQRDMULH8H(4, 0, 26)
	SQRDMULH8H(5, 2, 26)
	VADD  V8.H8, V1.H8, V1.H8
	VADD  V8.H8, V3.H8, V3.H8
	VADD  V25.H8, V4.H8, V4.H8
	VADD  V25.H8, V5.H8, V5.H8
	SQRDMULH8H(4, 4, 0)
	SQRDMULH8H(5, 5, 2)
	VTBL  V1.B16, [V28.B16, V29.B16], V1.B16
	VTBL  V3.B16, [V28.B16, V29.B16], V3.B16
	VADD  V24.H8, V4.H8, V4.H8
	VADD  V24.H8, V5.H8, V5.H8
	SQRDMULH8H(4, 4, 0)
	SQRDMULH8H(5, 5, 2)
	VADD  V23.H8, V4.H8, V4.H8
	VADD  V23.H8, V5.H8, V5.H8

	SQRDMULH8H(4, 4, 1)
	SQRDMULH8H(5, 5, 3)
	VADD  V9.H8, V4.H8, V4.H8
	VADD  V9.H8, V5.H8, V5.H8
	USHL8H(4, 4, 10)
	USHL8H(5, 5, 10)
	XTN8B(0, 4)
	XTN16B(0, 5)
	VAND  V30.B16, V0.B16, V1.B16
	VSUB  V11.B16, V0.B16, V0.B16
	UADDLP8H(1, 1)
	VST1.P [V0.B16], 16(R0)
	UADALP4S(31, 1)
	SUBS  $1, R7
	BNE   block

	// What is left: the last 16 once more, of which the last n%16 go into the sum.
	CBZ  R8, done
	MOVD $lastBytes<>(SB), R10
	ADD  R8, R10
	VLD1 (R10), [V30.B16]
	MOVD R4, R1
	MOVD R5, R0
	MOVD $0, R8
	MOVD $1, R7
	B    block

done:
	VADDV V31.S4, V31
	VMOV  V31.S[0], R10
	MOVW  R10, sum+32(FP)
	RET
