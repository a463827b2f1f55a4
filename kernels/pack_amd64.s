//go:build !purego

#include "textflag.h"

// Packing for the tile kernels: one panel, 16 columns of B, into rows of 64 bytes.

// COLUMNS4 transposes 8 rows by 4 columns, off bytes from p: the rows r and r+4 share a register, so that two rounds of
// unpacking make columns of 8. They go to the rows of the panel, d bytes from DI. Rows are R8 bytes apart; R9, R10, R11 are 3, 5, 7 R8.
#define COLUMNS4(p, off, d) \
	VMOVUPS off(p), X0; \
	VMOVUPS off(p)(R8*1), X1; \
	VMOVUPS off(p)(R8*2), X2; \
	VMOVUPS off(p)(R9*1), X3; \
	VINSERTF128 $1, off(p)(R8*4), Y0, Y0; \
	VINSERTF128 $1, off(p)(R10*1), Y1, Y1; \
	VINSERTF128 $1, off(p)(R9*2), Y2, Y2; \
	VINSERTF128 $1, off(p)(R11*1), Y3, Y3; \
	VUNPCKLPS Y1, Y0, Y4; \
	VUNPCKHPS Y1, Y0, Y5; \
	VUNPCKLPS Y3, Y2, Y6; \
	VUNPCKHPS Y3, Y2, Y7; \
	VUNPCKLPD Y6, Y4, Y0; \
	VUNPCKHPD Y6, Y4, Y1; \
	VUNPCKLPD Y7, Y5, Y2; \
	VUNPCKHPD Y7, Y5, Y3; \
	VMOVUPS Y0, d+0(DI); \
	VMOVUPS Y1, d+64(DI); \
	VMOVUPS Y2, d+128(DI); \
	VMOVUPS Y3, d+192(DI)

// func packT16(dst, src *float32, k, stride int)
TEXT ·packT16(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ k+16(FP), CX
	MOVQ stride+24(FP), R8
	LEAQ (R8)(R8*2), R9
	LEAQ (R8)(R8*4), R10
	LEAQ (R9)(R8*4), R11
	LEAQ (SI)(R8*8), DX

lines: // a cache line of each row: eight rows, then the other eight, so that few lines are in use if their sets collide
	CMPQ CX, $16
	JLT  fours
	COLUMNS4(SI, 0, 0)
	COLUMNS4(SI, 16, 256)
	COLUMNS4(SI, 32, 512)
	COLUMNS4(SI, 48, 768)
	COLUMNS4(DX, 0, 32)
	COLUMNS4(DX, 16, 288)
	COLUMNS4(DX, 32, 544)
	COLUMNS4(DX, 48, 800)
	ADDQ $64, SI
	ADDQ $64, DX
	ADDQ $1024, DI
	SUBQ $16, CX
	JMP  lines

fours:
	CMPQ CX, $4
	JLT  done
	COLUMNS4(SI, 0, 0)
	COLUMNS4(DX, 0, 32)
	ADDQ $16, SI
	ADDQ $16, DX
	ADDQ $256, DI
	SUBQ $4, CX
	JMP  fours

done:
	VZEROUPPER
	RET

// func packRows16(dst, src *float32, rows, stride int)
TEXT ·packRows16(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ rows+16(FP), CX
	MOVQ stride+24(FP), R8
	LEAQ (R8)(R8*2), R9

rows4:
	CMPQ CX, $4
	JLT  rows1
	VMOVUPS (SI), Y0
	VMOVUPS 32(SI), Y1
	VMOVUPS (SI)(R8*1), Y2
	VMOVUPS 32(SI)(R8*1), Y3
	VMOVUPS (SI)(R8*2), Y4
	VMOVUPS 32(SI)(R8*2), Y5
	VMOVUPS (SI)(R9*1), Y6
	VMOVUPS 32(SI)(R9*1), Y7
	VMOVUPS Y0, (DI)
	VMOVUPS Y1, 32(DI)
	VMOVUPS Y2, 64(DI)
	VMOVUPS Y3, 96(DI)
	VMOVUPS Y4, 128(DI)
	VMOVUPS Y5, 160(DI)
	VMOVUPS Y6, 192(DI)
	VMOVUPS Y7, 224(DI)
	LEAQ (SI)(R8*4), SI
	ADDQ $256, DI
	SUBQ $4, CX
	JMP  rows4

rows1:
	TESTQ CX, CX
	JZ   done
	VMOVUPS (SI), Y0
	VMOVUPS 32(SI), Y1
	VMOVUPS Y0, (DI)
	VMOVUPS Y1, 32(DI)
	ADDQ R8, SI
	ADDQ $64, DI
	DECQ CX
	JMP  rows1

done:
	VZEROUPPER
	RET

// func packRows24(dst, src *float32, rows, stride int)
TEXT ·packRows24(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ rows+16(FP), CX
	MOVQ stride+24(FP), R8

row:
	VMOVUPS (SI), Y0
	VMOVUPS 32(SI), Y1
	VMOVUPS 64(SI), Y2
	VMOVUPS Y0, (DI)
	VMOVUPS Y1, 32(DI)
	VMOVUPS Y2, 64(DI)
	ADDQ R8, SI
	ADDQ $96, DI
	DECQ CX
	JNZ  row
	VZEROUPPER
	RET
