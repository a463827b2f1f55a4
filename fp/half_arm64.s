//go:build !purego

#include "textflag.h"

// The conversions, which Go's assembler lacks; register numbers in ARM's order, the result first. FPCR is at its default:
// nearest even, IEEE halves, NaNs kept.
#define FCVTN(d, n) WORD $(0x0e216800 | (d) | (n)<<5) // fcvtn d.4h, n.4s
#define FCVTN2(d, n) WORD $(0x4e216800 | (d) | (n)<<5) // fcvtn2 d.8h, n.4s
#define FCVTL(d, n) WORD $(0x0e217800 | (d) | (n)<<5) // fcvtl d.4s, n.4h
#define FCVTL2(d, n) WORD $(0x4e217800 | (d) | (n)<<5) // fcvtl2 d.4s, n.8h

// func encodeHalfBlocks(dst *uint16, src *float32, n int)
TEXT ·encodeHalfBlocks(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD src+8(FP), R1
	MOVD n+16(FP), R2
	SUBS $32, R2
	BLT  tail

loop:
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1.P 64(R1), [V4.S4, V5.S4, V6.S4, V7.S4]
	FCVTN(16, 0)
	FCVTN(17, 2)
	FCVTN(18, 4)
	FCVTN(19, 6)
	FCVTN2(16, 1)
	FCVTN2(17, 3)
	FCVTN2(18, 5)
	FCVTN2(19, 7)
	VST1.P [V16.H8, V17.H8, V18.H8, V19.H8], 64(R0)
	SUBS   $32, R2
	BGE    loop

tail: // R2 is what is left, less 32
	ADDS $32, R2
	BEQ  done

eight:
	VLD1.P 32(R1), [V0.S4, V1.S4]
	FCVTN(16, 0)
	FCVTN2(16, 1)
	VST1.P [V16.H8], 16(R0)
	SUBS   $8, R2
	BNE    eight

done:
	RET

// func decodeHalfBlocks(dst *float32, src *uint16, n int)
TEXT ·decodeHalfBlocks(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD src+8(FP), R1
	MOVD n+16(FP), R2
	SUBS $32, R2
	BLT  tail

loop:
	VLD1.P 64(R1), [V16.H8, V17.H8, V18.H8, V19.H8]
	FCVTL(0, 16)
	FCVTL2(1, 16)
	FCVTL(2, 17)
	FCVTL2(3, 17)
	FCVTL(4, 18)
	FCVTL2(5, 18)
	FCVTL(6, 19)
	FCVTL2(7, 19)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	VST1.P [V4.S4, V5.S4, V6.S4, V7.S4], 64(R0)
	SUBS   $32, R2
	BGE    loop

tail:
	ADDS $32, R2
	BEQ  done

eight:
	VLD1.P 16(R1), [V16.H8]
	FCVTL(0, 16)
	FCVTL2(1, 16)
	VST1.P [V0.S4, V1.S4], 32(R0)
	SUBS   $8, R2
	BNE    eight

done:
	RET
