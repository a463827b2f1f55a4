//go:build !purego

#include "textflag.h"
#include "quant_amd64.h"

// QuantizeRows for rows of whole blocks of 32. The rows of both:
//
//	SI x of the row     DI q of the row     R9  scale     R8 rows left
//	R11 bytes of a row  R10 stride of q     CX, DX along the row

#define POINTERS \
	MOVQ q+0(FP), DI; \
	MOVQ ldq+8(FP), R10; \
	MOVQ scale+16(FP), R9; \
	MOVQ x+24(FP), SI; \
	MOVQ rows+32(FP), R8; \
	MOVQ cols+40(FP), R11; \
	SHLQ $2, R11; \
	MOVL $0x42fe0000, AX; \
	VMOVD AX, X9; \
	VBROADCASTSS X9, Y9; \
	MOVL $0xc2fe0000, AX; \
	VMOVD AX, X10; \
	VBROADCASTSS X10, Y10

// SCALES leaves 127/absmax in X8 and stores absmax/127: the pattern of absmax is in AX, 127 in X9.
#define SCALES \
	VMOVD AX, X0; \
	VDIVSS X0, X9, X8; \
	VDIVSS X9, X0, X0; \
	VMOVSS X0, (R9)

#define NEXTROW \
	ADDQ $4, R9; \
	ADDQ R11, SI; \
	ADDQ R10, DI; \
	DECQ R8

// func quantizeRowsAVX2(q *int8, ldq int, scale, x *float32, rows, cols int)
TEXT ·quantizeRowsAVX2(SB), NOSPLIT, $0-48
	POINTERS
	MAGNITUDE
	VMOVDQU unpackOrder<>(SB), Y11

row:
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	XORL  CX, CX

absmax:
	VPAND   (SI)(CX*1), Y7, Y2
	VPAND   32(SI)(CX*1), Y7, Y3
	VPAND   64(SI)(CX*1), Y7, Y4
	VPAND   96(SI)(CX*1), Y7, Y5
	VPMAXUD Y2, Y0, Y0
	VPMAXUD Y3, Y1, Y1
	VPMAXUD Y4, Y0, Y0
	VPMAXUD Y5, Y1, Y1
	ADDQ    $128, CX
	CMPQ    CX, R11
	JLT     absmax
	VPMAXUD Y1, Y0, Y0
	MAXLANES
	XORL    CX, CX
	MOVQ    DI, DX
	CMPL    AX, $0x7f800000 // infinity
	JHS     infinite
	CMPL    AX, $0x0d800000 // tinyRow
	JLO     tiny
	SCALES
	VBROADCASTSS X8, Y8

quant:
	SCALE8((SI)(CX*1), Y0)
	SCALE8(32(SI)(CX*1), Y1)
	SCALE8(64(SI)(CX*1), Y2)
	SCALE8(96(SI)(CX*1), Y3)
	VPACKSSDW Y1, Y0, Y0
	VPACKSSDW Y3, Y2, Y2
	VPACKSSWB Y2, Y0, Y0
	VPERMD    Y0, Y11, Y0
	VMOVDQU   Y0, (DX)
	ADDQ      $32, DX
	ADDQ      $128, CX
	CMPQ      CX, R11
	JLT       quant

next:
	NEXTROW
	JNZ  row
	VZEROUPPER
	RET

infinite:
	MOVL $0x7fc00000, (R9)
	JMP  zeros

tiny:
	MOVL $0, (R9)

zeros:
	VPXOR Y0, Y0, Y0

zero:
	VMOVDQU Y0, (DX)
	ADDQ    $32, DX
	ADDQ    $128, CX
	CMPQ    CX, R11
	JLT     zero
	JMP     next

// SCALE16 stores roundToEven(clamp(x * inv)) as int8: inv in Z8, 127 in Z9, -127 in Z10.
#define SCALE16(x, z, xmm, q) \
	VMULPS x, Z8, z; \
	VMINPS Z9, z, z; \
	VMAXPS Z10, z, z; \
	VCVTPS2DQ z, z; \
	VPMOVSDB z, xmm; \
	VMOVDQU xmm, q

// func quantizeRowsAVX512(q *int8, ldq int, scale, x *float32, rows, cols int)
TEXT ·quantizeRowsAVX512(SB), NOSPLIT, $0-48
	POINTERS
	VBROADCASTSS X9, Z9
	VBROADCASTSS X10, Z10
	VPTERNLOGD $0xff, Z7, Z7, Z7
	VPSRLD $1, Z7, Z7

row:
	VPXORD Z0, Z0, Z0
	VPXORD Z1, Z1, Z1
	XORL   CX, CX

absmax:
	VPANDD  (SI)(CX*1), Z7, Z2
	VPANDD  64(SI)(CX*1), Z7, Z3
	VPMAXUD Z2, Z0, Z0
	VPMAXUD Z3, Z1, Z1
	ADDQ    $128, CX
	CMPQ    CX, R11
	JLT     absmax
	VPMAXUD Z1, Z0, Z0
	VEXTRACTI64X4 $1, Z0, Y1
	VPMAXUD Y1, Y0, Y0
	MAXLANES
	XORL    CX, CX
	MOVQ    DI, DX
	CMPL    AX, $0x7f800000 // infinity
	JHS     infinite
	CMPL    AX, $0x0d800000 // tinyRow
	JLO     tiny
	SCALES
	VBROADCASTSS X8, Z8

quant:
	SCALE16((SI)(CX*1), Z0, X0, (DX))
	SCALE16(64(SI)(CX*1), Z1, X1, 16(DX))
	ADDQ $32, DX
	ADDQ $128, CX
	CMPQ CX, R11
	JLT  quant

next:
	NEXTROW
	JNZ  row
	VZEROUPPER
	RET

infinite:
	MOVL $0x7fc00000, (R9)
	JMP  zeros

tiny:
	MOVL $0, (R9)

zeros:
	VPXOR Y0, Y0, Y0

zero:
	VMOVDQU Y0, (DX)
	ADDQ    $32, DX
	ADDQ    $128, CX
	CMPQ    CX, R11
	JLT     zero
	JMP     next
