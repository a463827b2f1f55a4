//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// The f32 tile kernel on AVX-512: up to 12 rows by 16 columns of C in Z0..Z11, one row of the panel in Z12; a value of A
// is broadcast by the multiply-add that uses it. Per k: 1 load and 12 fused multiply-adds, each sum a chain in k.
//
//	AX  the argument     DX  C            R11 init        R13 rows left
//	SI  A, row 0         R10 C stride     R12 its stride  R8  A row stride (bytes)
//	DI  A, row 3         BX  panel        CX  k left      R9  A k stride (bytes)
//	R15 A of the block; in the loop of 12 the second block: R15 A, row 0, and R14 A, row 3 (ABI0: g is elsewhere)

#define INIT(acc) \
	VMOVUPS (R11), acc; \
	ADDQ R12, R11

#define STORE(acc) \
	VMOVUPS acc, (DX); \
	ADDQ R10, DX

#define BEGIN \
	MOVQ tile_b(AX), BX; \
	MOVQ tile_k(AX), CX

#define PANEL \
	VMOVUPS (BX), Z12; \
	ADDQ $64, BX

#define ROW(a, acc) VFMADD231PS.BCST a, Z12, acc

// func tileF32AVX512(t *tile)
TEXT ·tileF32AVX512(SB), NOSPLIT, $0-8
	MOVQ t+0(FP), AX
	MOVQ tile_rsA(AX), R8
	MOVQ tile_csA(AX), R9
	MOVQ tile_ldc(AX), R10
	MOVQ tile_ldInit(AX), R12
	SHLQ $2, R8
	SHLQ $2, R9
	SHLQ $2, R10
	SHLQ $2, R12
	MOVQ tile_c(AX), DX
	MOVQ tile_init(AX), R11
	TESTQ DX, DX
	JNZ  given
	LEAQ tile_edge(AX), DX
	MOVQ DX, R11

given:
	MOVQ tile_rows(AX), R13
	MOVQ tile_a(AX), R15

rows12:
	CMPQ R13, $12
	JLT  rows6
	MOVQ R15, SI
	LEAQ (SI)(R8*2), DI
	ADDQ R8, DI
	MOVQ tile_bsA(AX), BX
	LEAQ (SI)(BX*4), R15
	LEAQ (DI)(BX*4), R14
	BEGIN
	INIT(Z0)
	INIT(Z1)
	INIT(Z2)
	INIT(Z3)
	INIT(Z4)
	INIT(Z5)
	INIT(Z6)
	INIT(Z7)
	INIT(Z8)
	INIT(Z9)
	INIT(Z10)
	INIT(Z11)

step12:
	PANEL
	ROW((SI), Z0)
	ROW((SI)(R8*1), Z1)
	ROW((SI)(R8*2), Z2)
	ROW((DI), Z3)
	ROW((DI)(R8*1), Z4)
	ROW((DI)(R8*2), Z5)
	ROW((R15), Z6)
	ROW((R15)(R8*1), Z7)
	ROW((R15)(R8*2), Z8)
	ROW((R14), Z9)
	ROW((R14)(R8*1), Z10)
	ROW((R14)(R8*2), Z11)
	ADDQ R9, SI
	ADDQ R9, DI
	ADDQ R9, R15
	ADDQ R9, R14
	DECQ CX
	JNZ  step12
	STORE(Z0)
	STORE(Z1)
	STORE(Z2)
	STORE(Z3)
	STORE(Z4)
	STORE(Z5)
	STORE(Z6)
	STORE(Z7)
	STORE(Z8)
	STORE(Z9)
	STORE(Z10)
	STORE(Z11)
	MOVQ  tile_k(AX), CX
	IMULQ R9, CX
	SUBQ  CX, R15 // back to the second block's first column
	MOVQ  tile_bsA(AX), CX
	LEAQ  (R15)(CX*4), R15
	SUBQ  $12, R13
	JMP   rows12

rows6:
	CMPQ R13, $6
	JLT  rows4
	MOVQ R15, SI
	LEAQ (SI)(R8*2), DI
	ADDQ R8, DI
	BEGIN
	INIT(Z0)
	INIT(Z1)
	INIT(Z2)
	INIT(Z3)
	INIT(Z4)
	INIT(Z5)

step6:
	PANEL
	ROW((SI), Z0)
	ROW((SI)(R8*1), Z1)
	ROW((SI)(R8*2), Z2)
	ROW((DI), Z3)
	ROW((DI)(R8*1), Z4)
	ROW((DI)(R8*2), Z5)
	ADDQ R9, SI
	ADDQ R9, DI
	DECQ CX
	JNZ  step6
	STORE(Z0)
	STORE(Z1)
	STORE(Z2)
	STORE(Z3)
	STORE(Z4)
	STORE(Z5)
	MOVQ tile_bsA(AX), CX
	LEAQ (R15)(CX*4), R15
	SUBQ $6, R13

rows4: // the last block: its rows follow one another at the row stride
	CMPQ R13, $4
	JLT  rows2
	MOVQ R15, SI
	LEAQ (SI)(R8*2), DI
	ADDQ R8, DI
	BEGIN
	INIT(Z0)
	INIT(Z1)
	INIT(Z2)
	INIT(Z3)

step4:
	PANEL
	ROW((SI), Z0)
	ROW((SI)(R8*1), Z1)
	ROW((SI)(R8*2), Z2)
	ROW((DI), Z3)
	ADDQ R9, SI
	ADDQ R9, DI
	DECQ CX
	JNZ  step4
	STORE(Z0)
	STORE(Z1)
	STORE(Z2)
	STORE(Z3)
	LEAQ (R15)(R8*4), R15
	SUBQ $4, R13

rows2:
	CMPQ R13, $2
	JLT  rows1
	MOVQ R15, SI
	BEGIN
	INIT(Z0)
	INIT(Z1)

step2:
	PANEL
	ROW((SI), Z0)
	ROW((SI)(R8*1), Z1)
	ADDQ R9, SI
	DECQ CX
	JNZ  step2
	STORE(Z0)
	STORE(Z1)
	LEAQ (R15)(R8*2), R15
	SUBQ $2, R13

rows1:
	TESTQ R13, R13
	JZ   done
	MOVQ R15, SI
	BEGIN
	INIT(Z0)

step1:
	PANEL
	ROW((SI), Z0)
	ADDQ R9, SI
	DECQ CX
	JNZ  step1
	STORE(Z0)

done:
	VZEROUPPER
	RET
