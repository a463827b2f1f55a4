//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// The packs work on the halves of a register; this order of double words puts the bytes back in order.
DATA packedOrder<>+0(SB)/8, $0x0000000400000000
DATA packedOrder<>+8(SB)/8, $0x0000000500000001
DATA packedOrder<>+16(SB)/8, $0x0000000600000002
DATA packedOrder<>+24(SB)/8, $0x0000000700000003
GLOBL packedOrder<>(SB), RODATA|NOPTR, $32

// 32 bytes from byte r on are a mask of the last r of 32.
DATA lastBytes<>+0(SB)/8, $0
DATA lastBytes<>+8(SB)/8, $0
DATA lastBytes<>+16(SB)/8, $0
DATA lastBytes<>+24(SB)/8, $0
DATA lastBytes<>+32(SB)/8, $0xffffffffffffffff
DATA lastBytes<>+40(SB)/8, $0xffffffffffffffff
DATA lastBytes<>+48(SB)/8, $0xffffffffffffffff
DATA lastBytes<>+56(SB)/8, $0xffffffffffffffff
GLOBL lastBytes<>(SB), RODATA|NOPTR, $64

// ALL is a constant of four quadwords w.
#define ALL(name, w) \
	DATA name<>+0(SB)/8, $w; \
	DATA name<>+8(SB)/8, $w; \
	DATA name<>+16(SB)/8, $w; \
	DATA name<>+24(SB)/8, $w; \
	GLOBL name<>(SB), RODATA|NOPTR, $32

ALL(most, 0x7fff7fff7fff7fff)      // 32767
ALL(fraction, 0x07ff07ff07ff07ff)  // the low 11 bits
ALL(c0, 0x4000400040004000)        // 2^14
ALL(c1, 0xd3abd3abd3abd3ab)        // exp2C1
ALL(c2, 0x0efd0efd0efd0efd)        // exp2C2
ALL(c3, 0xfd56fd56fd56fd56)        // exp2C3
ALL(doubled, 0x0202020202020202)   // i as a word -> 2i in both bytes
ALL(wordOf, 0x7170717071707170)    // ... and 2i, 2i+1 in the low bits, above 127 from i = 8 on
ALL(eight, 0x0008000800080008)
ALL(eighth, 0x003f003f003f003f)    // first >> 8

// DIFFERENCES is min(max - score, limit) >> right of 8 scores.
#define DIFFERENCES(off, y) \
	VPSUBD off(SI), Y7, y; \
	VPMINUD Y8, y, y; \
	VPSRLVD Y9, y, y

// WEIGHTS is Softmax's weight of 16 differences in Y0 and 16 in Y2: in step, so that neither waits for the other.
#define WEIGHTS \
	VPSLLW Softmax_lefts(R8), Y0, Y0; \
	VPSLLW Softmax_lefts(R8), Y2, Y2; \
	VPMINUW most<>(SB), Y0, Y0; \
	VPMINUW most<>(SB), Y2, Y2; \
	VPMULHRSW Softmax_wide+0(R8), Y0, Y4; \
	VPMULHRSW Softmax_wide+0(R8), Y2, Y1; \
	VPADDSW Y4, Y0, Y0; \
	VPADDSW Y1, Y2, Y2; \
	VPSRLW $11, Y0, Y4; \
	VPSRLW $11, Y2, Y1; \
	VPAND fraction<>(SB), Y0, Y0; \
	VPAND fraction<>(SB), Y2, Y2; \
	VPSLLW $4, Y0, Y0; \
	VPSLLW $4, Y2, Y2; \
	VPMULHRSW c3<>(SB), Y0, Y5; \
	VPMULHRSW c3<>(SB), Y2, Y3; \
	VPADDW c2<>(SB), Y5, Y5; \
	VPADDW c2<>(SB), Y3, Y3; \
	VPMULHRSW Y0, Y5, Y5; \
	VPMULHRSW Y2, Y3, Y3; \
	VPADDW c1<>(SB), Y5, Y5; \
	VPADDW c1<>(SB), Y3, Y3; \
	VPMULHRSW Y0, Y5, Y5; \
	VPMULHRSW Y2, Y3, Y3; \
	VPADDW c0<>(SB), Y5, Y5; \
	VPADDW c0<>(SB), Y3, Y3; \
	VPMULLW doubled<>(SB), Y4, Y6; \
	VPMULLW doubled<>(SB), Y1, Y10; \
	VPADDB wordOf<>(SB), Y6, Y6; \
	VPADDB wordOf<>(SB), Y10, Y10; \
	VPSHUFB Y6, Y11, Y6; \
	VPSHUFB Y10, Y11, Y10; \
	VPCMPEQW eight<>(SB), Y4, Y4; \
	VPCMPEQW eight<>(SB), Y1, Y1; \
	VPAND eighth<>(SB), Y4, Y4; \
	VPAND eighth<>(SB), Y1, Y1; \
	VPOR Y4, Y6, Y6; \
	VPOR Y1, Y10, Y10; \
	VPMULHRSW Y6, Y5, Y0; \
	VPMULHRSW Y10, Y3, Y2; \
	VPADDW Softmax_wide+32(R8), Y0, Y0; \
	VPADDW Softmax_wide+32(R8), Y2, Y2; \
	VPSRLW Softmax_rights(R8), Y0, Y0; \
	VPSRLW Softmax_rights(R8), Y2, Y2

// func softmaxI8Row(p *int8, scores *int32, n int, s *Softmax) (sum int32)
TEXT ·softmaxI8Row(SB), NOSPLIT, $0-36
	MOVQ p+0(FP), DI
	MOVQ scores+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ s+24(FP), R8
	LEAQ -128(SI)(CX*4), R9 // the last 32 scores
	LEAQ -32(DI)(CX*1), R11

	VMOVDQU (R9), Y0
	VMOVDQU 32(R9), Y1
	VMOVDQU 64(R9), Y2
	VMOVDQU 96(R9), Y3
	MOVQ SI, R10

max:
	VPMAXSD (R10), Y0, Y0
	VPMAXSD 32(R10), Y1, Y1
	VPMAXSD 64(R10), Y2, Y2
	VPMAXSD 96(R10), Y3, Y3
	ADDQ $128, R10
	CMPQ R10, R9
	JLT max
	VPMAXSD Y1, Y0, Y0
	VPMAXSD Y3, Y2, Y2
	VPMAXSD Y2, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPMAXSD X1, X0, X0
	VPSHUFD $0x4e, X0, X1
	VPMAXSD X1, X0, X0
	VPSHUFD $0xb1, X0, X1
	VPMAXSD X1, X0, X0

	VPBROADCASTD X0, Y7
	VPBROADCASTD Softmax_limit(R8), Y8
	VPBROADCASTD Softmax_right(R8), Y9
	VBROADCASTI128 Softmax_powers(R8), Y11
	VMOVDQU packedOrder<>(SB), Y12
	VPCMPEQD Y13, Y13, Y13
	VPXOR Y14, Y14, Y14
	VPXOR Y15, Y15, Y15
	MOVQ CX, BX
	SHRQ $5, BX
	ANDQ $31, CX

block:
	DIFFERENCES(0, Y0)
	DIFFERENCES(32, Y1)
	DIFFERENCES(64, Y2)
	DIFFERENCES(96, Y3)
	VPACKUSDW Y1, Y0, Y0
	VPACKUSDW Y3, Y2, Y2
	WEIGHTS
	VPACKUSWB Y2, Y0, Y0
	VPERMD Y0, Y12, Y0
	VPAND Y13, Y0, Y1
	VPSADBW Y15, Y1, Y1
	VPADDQ Y1, Y14, Y14
	VPSUBB Softmax_wide+64(R8), Y0, Y0
	VMOVDQU Y0, (DI)
	ADDQ $128, SI
	ADDQ $32, DI
	DECQ BX
	JNZ block

	// What is left: the last 32 once more, of which the last n%32 go into the sum.
	TESTQ CX, CX
	JZ done
	LEAQ lastBytes<>(SB), R10
	VMOVDQU (R10)(CX*1), Y13
	MOVQ R9, SI
	MOVQ R11, DI
	XORQ CX, CX
	MOVQ $1, BX
	JMP block

done:
	VEXTRACTI128 $1, Y14, X0
	VPADDQ X14, X0, X0
	VPSRLDQ $8, X0, X1
	VPADDQ X1, X0, X0
	VMOVD X0, AX
	MOVL AX, sum+32(FP)
	VZEROUPPER
	RET
