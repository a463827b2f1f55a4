//go:build !purego

#include "textflag.h"

// LOOK looks up the 16 entries at off for 64 bytes, 0 for one above 127, and merges what it finds; STEP goes on to the next 16.
#define LOOK(off) \
	VBROADCASTI128 off(BX), Y0; \
	VPSHUFB Y2, Y0, Y4; \
	VPSHUFB Y3, Y0, Y5; \
	VPXOR Y4, Y6, Y6; \
	VPXOR Y5, Y7, Y7

#define STEP(off) \
	VPSUBB Y1, Y2, Y2; \
	VPSUBB Y1, Y3, Y3; \
	LOOK(off)

#define STEPSATURATED(off) \
	VPSUBSB Y1, Y2, Y2; \
	VPSUBSB Y1, Y3, Y3; \
	LOOK(off)

DATA sixteen<>+0(SB)/8, $0x1010101010101010
GLOBL sixteen<>(SB), RODATA|NOPTR, $8

// func lookupI8Blocks(dst, src *int8, n int, parts *[256]int8)
TEXT ·lookupI8Blocks(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ parts+24(FP), BX
	VPBROADCASTQ sixteen<>(SB), Y1

block:
	VMOVDQU (SI), Y2
	VMOVDQU 32(SI), Y3
	VPXOR Y6, Y6, Y6
	VPXOR Y7, Y7, Y7
	LOOK(0)
	STEP(16)
	STEP(32)
	STEP(48)
	STEP(64)
	STEP(80)
	STEP(96)
	STEP(112)
	STEP(128)
	STEPSATURATED(144)
	STEPSATURATED(160)
	STEPSATURATED(176)
	STEPSATURATED(192)
	STEPSATURATED(208)
	STEPSATURATED(224)
	STEPSATURATED(240)
	VMOVDQU Y6, (DI)
	VMOVDQU Y7, 32(DI)
	ADDQ $64, SI
	ADDQ $64, DI
	SUBQ $64, CX
	JNZ block
	VZEROUPPER
	RET
