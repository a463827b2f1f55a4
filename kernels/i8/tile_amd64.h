// What the int8 tile kernels of amd64 share: they walk along panels, and in each panel over k.
//
//	AX  the argument     DX  C of a panel     R8  panels left     R12 first sums of a panel
//	SI  A at k           DI  C of a row       R9  rows            R13 their row stride (bytes)
//	BX  panel at k       R10 C stride (bytes) R11 first panel     R15 first sums of a row
//	CX  steps left

#define ROWLEN const_rowLen

#define START \
	MOVQ t+0(FP), AX; \
	MOVQ b+8(FP), R11; \
	MOVQ c+16(FP), DX; \
	MOVQ init+24(FP), R12; \
	MOVQ tile_ldc(AX), R10; \
	SHLQ $2, R10; \
	MOVQ tile_ldInit(AX), R13; \
	SHLQ $2, R13; \
	MOVQ tile_panels(AX), R8; \
	MOVQ tile_rows(AX), R9

// BEGIN starts a panel.
#define BEGIN \
	LEAQ tile_a(AX), SI; \
	MOVQ R11, BX; \
	MOVQ tile_steps(AX), CX; \
	MOVQ DX, DI; \
	MOVQ R12, R15

// NEXT ends a step that took a bytes of each row of A and b of the panel.
#define NEXT(a, b) \
	ADDQ $a, SI; \
	ADDQ $b, BX; \
	DECQ CX

// END leads to the next panel, width bytes further in C.
#define END(width) \
	ADDQ tile_bStep(AX), R11; \
	ADDQ $width, DX; \
	ADDQ $width, R12; \
	DECQ R8

// INIT and SAVE are the sums of a row: two registers of size bytes.
#define INIT(lo, hi, size) \
	VMOVUPS (R15), lo; \
	VMOVUPS size(R15), hi; \
	ADDQ R13, R15

#define SAVE(lo, hi, size) \
	VMOVUPS lo, (DI); \
	VMOVUPS hi, size(DI); \
	ADDQ R10, DI
