//go:build !purego

#include "textflag.h"

// VCVTPS2PH $0 rounds to nearest even whatever MXCSR says; neither instruction heeds its flush-to-zero.

// func encodeHalfBlocks(dst *uint16, src *float32, n int)
TEXT ·encodeHalfBlocks(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	SUBQ $32, CX
	JLT  tail

loop:
	VMOVUPS   (SI), Y0
	VMOVUPS   32(SI), Y1
	VMOVUPS   64(SI), Y2
	VMOVUPS   96(SI), Y3
	VCVTPS2PH $0, Y0, X0
	VCVTPS2PH $0, Y1, X1
	VCVTPS2PH $0, Y2, X2
	VCVTPS2PH $0, Y3, X3
	VMOVUPS   X0, (DI)
	VMOVUPS   X1, 16(DI)
	VMOVUPS   X2, 32(DI)
	VMOVUPS   X3, 48(DI)
	ADDQ      $128, SI
	ADDQ      $64, DI
	SUBQ      $32, CX
	JGE       loop

tail: // CX is what is left, less 32
	ADDQ $32, CX
	JZ   done

eight:
	VMOVUPS   (SI), Y0
	VCVTPS2PH $0, Y0, X0
	VMOVUPS   X0, (DI)
	ADDQ      $32, SI
	ADDQ      $16, DI
	SUBQ      $8, CX
	JNZ       eight

done:
	VZEROUPPER
	RET

// func decodeHalfBlocks(dst *float32, src *uint16, n int)
TEXT ·decodeHalfBlocks(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	SUBQ $32, CX
	JLT  tail

loop:
	VCVTPH2PS (SI), Y0
	VCVTPH2PS 16(SI), Y1
	VCVTPH2PS 32(SI), Y2
	VCVTPH2PS 48(SI), Y3
	VMOVUPS   Y0, (DI)
	VMOVUPS   Y1, 32(DI)
	VMOVUPS   Y2, 64(DI)
	VMOVUPS   Y3, 96(DI)
	ADDQ      $64, SI
	ADDQ      $128, DI
	SUBQ      $32, CX
	JGE       loop

tail:
	ADDQ $32, CX
	JZ   done

eight:
	VCVTPH2PS (SI), Y0
	VMOVUPS   Y0, (DI)
	ADDQ      $16, SI
	ADDQ      $32, DI
	SUBQ      $8, CX
	JNZ       eight

done:
	VZEROUPPER
	RET
