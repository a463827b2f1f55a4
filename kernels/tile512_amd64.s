//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// The f32 tile kernel on AVX-512. Two panels at a time, up to 12 rows by 32 columns of C in Z0..Z23: per k 2 loads of the
// panels, 12 broadcasts of A and 24 fused multiply-adds, so that the two load ports are busy 7 cycles of 12. The last
// panel, if it has no partner, takes up to 12 rows by 16 columns in Z0..Z11 under the mask K1 of its columns; there the
// multiply-add itself broadcasts A. Each sum is a chain in k.
//
//	AX  the argument     DX  C            R11 init        R13 bytes between rows of a panel
//	SI  A, row 0         R10 C stride     R12 its stride  R8  A row stride (bytes)
//	DI  A, row 3         BX  panel        CX  rows or k left  R9  A k stride (bytes)
//	R15 A, row 6         R14 A, row 9     BP  bytes from a panel to the next
//
// Within the steps of a pair AX is three times BP. As on AVX2 a tile fetches the next panels, and what they begin with.
// Rows are R8 apart throughout: bsA is not read.

#define INIT2(x, y) \
	VMOVUPS (R11), x; \
	VMOVUPS 64(R11), y; \
	PREFETCHT0 128(R11); \
	PREFETCHT0 192(R11); \
	ADDQ R12, R11

#define STORE2(x, y) \
	VMOVUPS x, (DX); \
	VMOVUPS y, 64(DX); \
	ADDQ R10, DX

#define PANEL2 \
	VMOVUPS (BX), Z24; \
	VMOVUPS (BX)(BP*1), Z25; \
	PREFETCHT0 (BX)(BP*2); \
	PREFETCHT0 (BX)(AX*1); \
	ADDQ R13, BX

#define ROW2(a, x, y) \
	VBROADCASTSS a, Z26; \
	VFMADD231PS Z24, Z26, x; \
	VFMADD231PS Z25, Z26, y

#define INIT1(x) \
	VMOVUPS.Z (R11), K1, x; \
	ADDQ R12, R11

#define STORE1(x) \
	VMOVUPS x, K1, (DX); \
	ADDQ R10, DX

#define PANEL1 \
	VMOVUPS.Z (BX), K1, Z24; \
	ADDQ R13, BX

#define ROW1(a, x) VFMADD231PS.BCST a, Z24, x

// BEGIN points at the rows of a block and at the panels. a is the block's first row, left the rows from there.
#define BEGIN2 \
	MOVQ a-8(SP), SI; \
	MOVQ b-24(SP), BX; \
	MOVQ t+0(FP), AX; \
	MOVQ tile_k(AX), CX; \
	LEAQ (BP)(BP*2), AX

#define BEGIN4 \
	BEGIN2; \
	LEAQ (SI)(R8*2), DI; \
	ADDQ R8, DI

#define BEGIN8 \
	BEGIN4; \
	LEAQ (DI)(R8*2), R15; \
	ADDQ R8, R15

#define BEGIN12 \
	BEGIN8; \
	LEAQ (R15)(R8*2), R14; \
	ADDQ R8, R14

// NEXT moves a on by n rows and leaves CX = left.
#define NEXT(n) \
	MOVQ a-8(SP), SI; \
	LEAQ (SI)(R8*n), SI; \
	MOVQ SI, a-8(SP); \
	MOVQ left-16(SP), CX; \
	SUBQ $n, CX; \
	MOVQ CX, left-16(SP)

#define NEXT12 \
	LEAQ (R8*4), SI; \
	ADDQ SI, a-8(SP); \
	SUBQ $4, left-16(SP); \
	NEXT(8)

// PANELS points at the rows of A, C and init for the panels at b.
#define PANELS \
	MOVQ t+0(FP), AX; \
	MOVQ tile_a(AX), SI; \
	MOVQ SI, a-8(SP); \
	MOVQ c-32(SP), DX; \
	MOVQ init-40(SP), R11; \
	MOVQ tile_rows(AX), CX; \
	MOVQ CX, left-16(SP)

// func tileF32AVX512(t *tile)
TEXT ·tileF32AVX512(SB), NOSPLIT, $48-8
	MOVQ  t+0(FP), AX
	MOVQ  tile_rsA(AX), R8
	MOVQ  tile_csA(AX), R9
	MOVQ  tile_ldc(AX), R10
	MOVQ  tile_ldInit(AX), R12
	SHLQ  $2, R8
	SHLQ  $2, R9
	SHLQ  $2, R10
	SHLQ  $2, R12
	MOVQ  tile_csB(AX), R13
	MOVQ  tile_bsB(AX), BP
	KMOVW tile_mask(AX), K1
	MOVQ  tile_b(AX), BX
	MOVQ  tile_c(AX), DX
	MOVQ  tile_init(AX), R11
	MOVQ  tile_panels(AX), CX
	MOVQ  BX, b-24(SP)
	MOVQ  DX, c-32(SP)
	MOVQ  R11, init-40(SP)
	MOVQ  CX, panels-48(SP)

pairs:
	CMPQ panels-48(SP), $2
	JLT  single
	PANELS

pairRows: // 16 to 19 rows are better cut into 8 and 8 than into 12 and 4
	CMPQ CX, $20
	JGE  pair12
	CMPQ CX, $16
	JGE  pair8
	CMPQ CX, $12
	JGE  pair12
	CMPQ CX, $8
	JLT  pair4

pair8:
	BEGIN8
	INIT2(Z0, Z1)
	INIT2(Z2, Z3)
	INIT2(Z4, Z5)
	INIT2(Z6, Z7)
	INIT2(Z8, Z9)
	INIT2(Z10, Z11)
	INIT2(Z12, Z13)
	INIT2(Z14, Z15)

	PCALIGN $32
pairStep8:
	PANEL2
	ROW2((SI), Z0, Z1)
	ROW2((SI)(R8*1), Z2, Z3)
	ROW2((SI)(R8*2), Z4, Z5)
	ROW2((DI), Z6, Z7)
	ROW2((DI)(R8*1), Z8, Z9)
	ROW2((DI)(R8*2), Z10, Z11)
	ROW2((R15), Z12, Z13)
	ROW2((R15)(R8*1), Z14, Z15)
	ADDQ R9, SI
	ADDQ R9, DI
	ADDQ R9, R15
	DECQ CX
	JNZ  pairStep8
	STORE2(Z0, Z1)
	STORE2(Z2, Z3)
	STORE2(Z4, Z5)
	STORE2(Z6, Z7)
	STORE2(Z8, Z9)
	STORE2(Z10, Z11)
	STORE2(Z12, Z13)
	STORE2(Z14, Z15)
	NEXT(8)
	JMP  pairRows

pair12:
	BEGIN12
	INIT2(Z0, Z1)
	INIT2(Z2, Z3)
	INIT2(Z4, Z5)
	INIT2(Z6, Z7)
	INIT2(Z8, Z9)
	INIT2(Z10, Z11)
	INIT2(Z12, Z13)
	INIT2(Z14, Z15)
	INIT2(Z16, Z17)
	INIT2(Z18, Z19)
	INIT2(Z20, Z21)
	INIT2(Z22, Z23)

	PCALIGN $32
pairStep12:
	PANEL2
	ROW2((SI), Z0, Z1)
	ROW2((SI)(R8*1), Z2, Z3)
	ROW2((SI)(R8*2), Z4, Z5)
	ROW2((DI), Z6, Z7)
	ROW2((DI)(R8*1), Z8, Z9)
	ROW2((DI)(R8*2), Z10, Z11)
	ROW2((R15), Z12, Z13)
	ROW2((R15)(R8*1), Z14, Z15)
	ROW2((R15)(R8*2), Z16, Z17)
	ROW2((R14), Z18, Z19)
	ROW2((R14)(R8*1), Z20, Z21)
	ROW2((R14)(R8*2), Z22, Z23)
	ADDQ R9, SI
	ADDQ R9, DI
	ADDQ R9, R15
	ADDQ R9, R14
	DECQ CX
	JNZ  pairStep12
	STORE2(Z0, Z1)
	STORE2(Z2, Z3)
	STORE2(Z4, Z5)
	STORE2(Z6, Z7)
	STORE2(Z8, Z9)
	STORE2(Z10, Z11)
	STORE2(Z12, Z13)
	STORE2(Z14, Z15)
	STORE2(Z16, Z17)
	STORE2(Z18, Z19)
	STORE2(Z20, Z21)
	STORE2(Z22, Z23)
	NEXT12
	JMP  pairRows

pair4:
	CMPQ CX, $4
	JLT  pair2
	BEGIN4
	INIT2(Z0, Z1)
	INIT2(Z2, Z3)
	INIT2(Z4, Z5)
	INIT2(Z6, Z7)

	PCALIGN $32
pairStep4:
	PANEL2
	ROW2((SI), Z0, Z1)
	ROW2((SI)(R8*1), Z2, Z3)
	ROW2((SI)(R8*2), Z4, Z5)
	ROW2((DI), Z6, Z7)
	ADDQ R9, SI
	ADDQ R9, DI
	DECQ CX
	JNZ  pairStep4
	STORE2(Z0, Z1)
	STORE2(Z2, Z3)
	STORE2(Z4, Z5)
	STORE2(Z6, Z7)
	NEXT(4)

pair2:
	CMPQ CX, $2
	JLT  pair1
	BEGIN2
	INIT2(Z0, Z1)
	INIT2(Z2, Z3)

	PCALIGN $32
pairStep2:
	PANEL2
	ROW2((SI), Z0, Z1)
	ROW2((SI)(R8*1), Z2, Z3)
	ADDQ R9, SI
	DECQ CX
	JNZ  pairStep2
	STORE2(Z0, Z1)
	STORE2(Z2, Z3)
	NEXT(2)

pair1:
	TESTQ CX, CX
	JZ   paired
	BEGIN2
	INIT2(Z0, Z1)

	PCALIGN $32
pairStep1:
	PANEL2
	ROW2((SI), Z0, Z1)
	ADDQ R9, SI
	DECQ CX
	JNZ  pairStep1
	STORE2(Z0, Z1)

paired:
	MOVQ t+0(FP), AX
	LEAQ (BP)(BP*1), BX
	ADDQ BX, b-24(SP)
	ADDQ $128, c-32(SP)
	MOVQ tile_initStep(AX), CX
	LEAQ (CX)(CX*1), CX
	ADDQ CX, init-40(SP)
	SUBQ $2, panels-48(SP)
	JMP  pairs

single:
	CMPQ panels-48(SP), $1
	JLT  done
	PANELS

rows: // 16 to 19 rows are better cut into 8 and 8 than into 12 and 4
	CMPQ CX, $20
	JGE  rows12
	CMPQ CX, $16
	JGE  rows8
	CMPQ CX, $12
	JGE  rows12
	CMPQ CX, $8
	JLT  rows4

rows8:
	BEGIN8
	INIT1(Z0)
	INIT1(Z1)
	INIT1(Z2)
	INIT1(Z3)
	INIT1(Z4)
	INIT1(Z5)
	INIT1(Z6)
	INIT1(Z7)

	PCALIGN $32
step8:
	PANEL1
	ROW1((SI), Z0)
	ROW1((SI)(R8*1), Z1)
	ROW1((SI)(R8*2), Z2)
	ROW1((DI), Z3)
	ROW1((DI)(R8*1), Z4)
	ROW1((DI)(R8*2), Z5)
	ROW1((R15), Z6)
	ROW1((R15)(R8*1), Z7)
	ADDQ R9, SI
	ADDQ R9, DI
	ADDQ R9, R15
	DECQ CX
	JNZ  step8
	STORE1(Z0)
	STORE1(Z1)
	STORE1(Z2)
	STORE1(Z3)
	STORE1(Z4)
	STORE1(Z5)
	STORE1(Z6)
	STORE1(Z7)
	NEXT(8)
	JMP  rows

rows12:
	BEGIN12
	INIT1(Z0)
	INIT1(Z1)
	INIT1(Z2)
	INIT1(Z3)
	INIT1(Z4)
	INIT1(Z5)
	INIT1(Z6)
	INIT1(Z7)
	INIT1(Z8)
	INIT1(Z9)
	INIT1(Z10)
	INIT1(Z11)

	PCALIGN $32
step12:
	PANEL1
	ROW1((SI), Z0)
	ROW1((SI)(R8*1), Z1)
	ROW1((SI)(R8*2), Z2)
	ROW1((DI), Z3)
	ROW1((DI)(R8*1), Z4)
	ROW1((DI)(R8*2), Z5)
	ROW1((R15), Z6)
	ROW1((R15)(R8*1), Z7)
	ROW1((R15)(R8*2), Z8)
	ROW1((R14), Z9)
	ROW1((R14)(R8*1), Z10)
	ROW1((R14)(R8*2), Z11)
	ADDQ R9, SI
	ADDQ R9, DI
	ADDQ R9, R15
	ADDQ R9, R14
	DECQ CX
	JNZ  step12
	STORE1(Z0)
	STORE1(Z1)
	STORE1(Z2)
	STORE1(Z3)
	STORE1(Z4)
	STORE1(Z5)
	STORE1(Z6)
	STORE1(Z7)
	STORE1(Z8)
	STORE1(Z9)
	STORE1(Z10)
	STORE1(Z11)
	NEXT12
	JMP  rows

rows4:
	CMPQ CX, $4
	JLT  rows2
	BEGIN4
	INIT1(Z0)
	INIT1(Z1)
	INIT1(Z2)
	INIT1(Z3)

	PCALIGN $32
step4:
	PANEL1
	ROW1((SI), Z0)
	ROW1((SI)(R8*1), Z1)
	ROW1((SI)(R8*2), Z2)
	ROW1((DI), Z3)
	ADDQ R9, SI
	ADDQ R9, DI
	DECQ CX
	JNZ  step4
	STORE1(Z0)
	STORE1(Z1)
	STORE1(Z2)
	STORE1(Z3)
	NEXT(4)

rows2:
	CMPQ CX, $2
	JLT  rows1
	BEGIN2
	INIT1(Z0)
	INIT1(Z1)

	PCALIGN $32
step2:
	PANEL1
	ROW1((SI), Z0)
	ROW1((SI)(R8*1), Z1)
	ADDQ R9, SI
	DECQ CX
	JNZ  step2
	STORE1(Z0)
	STORE1(Z1)
	NEXT(2)

rows1:
	TESTQ CX, CX
	JZ   done
	BEGIN2
	INIT1(Z0)

	PCALIGN $32
step1:
	PANEL1
	ROW1((SI), Z0)
	ADDQ R9, SI
	DECQ CX
	JNZ  step1
	STORE1(Z0)

done:
	VZEROUPPER
	RET
