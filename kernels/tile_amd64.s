//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// The f32 tile kernel: up to 6 rows by 16 columns of C in Y0..Y11, one row of the panel in Y12 and Y13, one
// value of A spread over Y14. Per k: 2 loads, 6 broadcasts, 12 fused multiply-adds, each sum a chain in k. Panels follow
// one another at bsB, whole ones only unless there is but one.
//
//	AX  the argument     DX  C            R11 init        R13 rows left
//	SI  A, row 0         R10 C stride     R12 its stride  R8  A row stride (bytes)
//	DI  A, row 3         BX  panel        CX  k left      R9  A k stride (bytes)
//	R15 A of the block   R14 bytes between rows of a panel
//	                     BP  bytes from a panel to the next
//
// The first tile of a panel fetches the next one out of whatever cache it is in, row by row and long before it is needed:
// a line in six cycles, where waiting for the third-level cache would take fifteen. The other tiles find it fetched.

// ROW is one row's share of a step: acc += a * panel row.
#define ROW(a, lo, hi) \
	VBROADCASTSS a, Y14; \
	VFMADD231PS Y12, Y14, lo; \
	VFMADD231PS Y13, Y14, hi

#define PANEL \
	VMOVUPS (BX), Y12; \
	VMOVUPS 32(BX), Y13; \
	PREFETCHT0 (BX)(BP*1); \
	ADDQ R14, BX

// INIT and STORE move one row between memory and registers and step to the next row. INIT fetches what the next panel
// will begin with there.
#define INIT(lo, hi) \
	VMOVUPS (R11), lo; \
	VMOVUPS 32(R11), hi; \
	PREFETCHT0 64(R11); \
	ADDQ R12, R11

#define STORE(lo, hi) \
	VMOVUPS lo, (DX); \
	VMOVUPS hi, 32(DX); \
	ADDQ R10, DX

#define BEGIN \
	MOVQ b-8(SP), BX; \
	MOVQ tile_k(AX), CX

// func tileF32AVX2(t *tile)
TEXT ·tileF32AVX2(SB), NOSPLIT, $32-8
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
	MOVQ tile_csB(AX), R14
	MOVQ tile_bsB(AX), BP
	MOVQ tile_b(AX), BX
	MOVQ tile_panels(AX), CX
	MOVQ BX, b-8(SP)
	MOVQ DX, c-16(SP)
	MOVQ R11, init-24(SP)
	MOVQ CX, panels-32(SP)

panel:
	MOVQ tile_rows(AX), R13
	MOVQ tile_a(AX), R15

rows6:
	CMPQ R13, $6
	JLT  rows4
	MOVQ R15, SI
	LEAQ (SI)(R8*2), DI
	ADDQ R8, DI
	BEGIN
	INIT(Y0, Y1)
	INIT(Y2, Y3)
	INIT(Y4, Y5)
	INIT(Y6, Y7)
	INIT(Y8, Y9)
	INIT(Y10, Y11)

step6:
	PANEL
	ROW((SI), Y0, Y1)
	ROW((SI)(R8*1), Y2, Y3)
	ROW((SI)(R8*2), Y4, Y5)
	ROW((DI), Y6, Y7)
	ROW((DI)(R8*1), Y8, Y9)
	ROW((DI)(R8*2), Y10, Y11)
	ADDQ R9, SI
	ADDQ R9, DI
	DECQ CX
	JNZ  step6
	STORE(Y0, Y1)
	STORE(Y2, Y3)
	STORE(Y4, Y5)
	STORE(Y6, Y7)
	STORE(Y8, Y9)
	STORE(Y10, Y11)
	MOVQ tile_bsA(AX), CX
	LEAQ (R15)(CX*4), R15
	SUBQ $6, R13
	JMP  rows6

rows4: // the last block: its rows follow one another at the row stride
	CMPQ R13, $4
	JLT  rows2
	MOVQ R15, SI
	LEAQ (SI)(R8*2), DI
	ADDQ R8, DI
	BEGIN
	INIT(Y0, Y1)
	INIT(Y2, Y3)
	INIT(Y4, Y5)
	INIT(Y6, Y7)

step4:
	PANEL
	ROW((SI), Y0, Y1)
	ROW((SI)(R8*1), Y2, Y3)
	ROW((SI)(R8*2), Y4, Y5)
	ROW((DI), Y6, Y7)
	ADDQ R9, SI
	ADDQ R9, DI
	DECQ CX
	JNZ  step4
	STORE(Y0, Y1)
	STORE(Y2, Y3)
	STORE(Y4, Y5)
	STORE(Y6, Y7)
	LEAQ (R15)(R8*4), R15
	SUBQ $4, R13

rows2:
	CMPQ R13, $2
	JLT  rows1
	MOVQ R15, SI
	BEGIN
	INIT(Y0, Y1)
	INIT(Y2, Y3)

step2:
	PANEL
	ROW((SI), Y0, Y1)
	ROW((SI)(R8*1), Y2, Y3)
	ADDQ R9, SI
	DECQ CX
	JNZ  step2
	STORE(Y0, Y1)
	STORE(Y2, Y3)
	LEAQ (R15)(R8*2), R15
	SUBQ $2, R13

rows1:
	TESTQ R13, R13
	JZ    next
	MOVQ  R15, SI
	BEGIN
	INIT(Y0, Y1)

step1:
	PANEL
	ROW((SI), Y0, Y1)
	ADDQ R9, SI
	DECQ CX
	JNZ  step1
	STORE(Y0, Y1)

next:
	DECQ panels-32(SP)
	JZ   done
	MOVQ tile_initStep(AX), R11
	ADDQ BP, b-8(SP)
	ADDQ $64, c-16(SP)
	ADDQ R11, init-24(SP)
	MOVQ c-16(SP), DX
	MOVQ init-24(SP), R11
	JMP  panel

done:
	VZEROUPPER
	RET
