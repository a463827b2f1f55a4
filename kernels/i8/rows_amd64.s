//go:build !purego

#include "textflag.h"
#include "quant_amd64.h"

// QuantizeRows for rows of whole blocks of 32. A row is rounded after the largest magnitude of the next one has been
// looked for, so that the divisions by it are done when they are needed.
//
//	SI x of the row     DI q of the row     BX bits of its largest magnitude   R8  rows to round
//	R12 x of the next   R9 its scale        AX bits of its largest magnitude   CX, DX along a row
//	R11 bytes of a row  R10 stride of q     X9 127

#define POINTERS \
	MOVQ q+0(FP), DI; \
	MOVQ ldq+8(FP), R10; \
	MOVQ scale+16(FP), R9; \
	MOVQ x+24(FP), R12; \
	MOVQ rows+32(FP), R8; \
	MOVQ cols+40(FP), R11; \
	SHLQ $2, R11; \
	MOVL $0x42fe0000, AX; \
	VMOVD AX, X9; \
	XORL SI, SI

// SCALES leaves 127/absmax in X10 and stores absmax/127, for absmax in X0 and its bits in AX. If it is tiny both are 0; if
// not finite, NaN is stored.
#define SCALES \
	VDIVSS X0, X9, X10; \
	VDIVSS X9, X0, X0; \
	VMOVSS X0, (R9); \
	CMPL   AX, $0x0d800000; \
	JLO    tiny; \
	CMPL   AX, $0x7f800000; \
	JHS    infinite

// func quantizeRowsAVX2(q *int8, ldq int, scale, x *float32, rows, cols int)
TEXT ·quantizeRowsAVX2(SB), NOSPLIT, $0-48
	POINTERS
	MAGNITUDE
	VMOVDQU unpackOrder<>(SB), Y11

largest:
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	XORL  CX, CX

absmax:
	VPAND   (R12)(CX*1), Y7, Y2
	VPAND   32(R12)(CX*1), Y7, Y3
	VPAND   64(R12)(CX*1), Y7, Y4
	VPAND   96(R12)(CX*1), Y7, Y5
	VPMAXUD Y2, Y0, Y0
	VPMAXUD Y3, Y1, Y1
	VPMAXUD Y4, Y0, Y0
	VPMAXUD Y5, Y1, Y1
	ADDQ    $128, CX
	CMPQ    CX, R11
	JLT     absmax
	VPMAXUD Y1, Y0, Y0
	MAXLANES
	SCALES

scaled:
	TESTQ SI, SI
	JZ    next

round:
	XORL CX, CX
	MOVQ DI, DX
	CMPL BX, $0x7f800000
	JHS  zero

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

rounded:
	ADDQ R10, DI
	DECQ R8
	JZ   done

next:
	MOVQ R12, SI
	ADDQ R11, R12
	ADDQ $4, R9
	MOVL AX, BX
	VBROADCASTSS X10, Y8
	CMPQ R8, $1
	JEQ  round
	JMP  largest

tiny:
	MOVL   $0, (R9)
	VXORPS X10, X10, X10
	JMP    scaled

infinite:
	MOVL $0x7fc00000, (R9)
	JMP  scaled

zero:
	VPXOR Y0, Y0, Y0

zeros:
	VMOVDQU Y0, (DX)
	ADDQ    $32, DX
	ADDQ    $128, CX
	CMPQ    CX, R11
	JLT     zeros
	JMP     rounded

done:
	VZEROUPPER
	RET

// SCALE16 stores roundToEven(x * inv) as int8, inv in Z8; see SCALE8.
#define SCALE16(x, z, xmm, q) \
	VMULPS x, Z8, z; \
	VCVTPS2DQ z, z; \
	VPMOVSDB z, xmm; \
	VMOVDQU xmm, q

// func quantizeRowsAVX512(q *int8, ldq int, scale, x *float32, rows, cols int)
TEXT ·quantizeRowsAVX512(SB), NOSPLIT, $0-48
	POINTERS
	VPTERNLOGD $0xff, Z7, Z7, Z7
	VPSRLD $1, Z7, Z7

largest:
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	XORL  CX, CX

absmax:
	VPANDD  (R12)(CX*1), Z7, Z2
	VPANDD  64(R12)(CX*1), Z7, Z3
	VPMAXUD Z2, Z0, Z0
	VPMAXUD Z3, Z1, Z1
	ADDQ    $128, CX
	CMPQ    CX, R11
	JLT     absmax
	VPMAXUD Z1, Z0, Z0
	VEXTRACTI64X4 $1, Z0, Y1
	VPMAXUD Y1, Y0, Y0
	MAXLANES
	SCALES

scaled:
	TESTQ SI, SI
	JZ    next

round:
	XORL CX, CX
	MOVQ DI, DX
	CMPL BX, $0x7f800000
	JHS  zero

quant:
	SCALE16((SI)(CX*1), Z0, X0, (DX))
	SCALE16(64(SI)(CX*1), Z1, X1, 16(DX))
	ADDQ $32, DX
	ADDQ $128, CX
	CMPQ CX, R11
	JLT  quant

rounded:
	ADDQ R10, DI
	DECQ R8
	JZ   done

next:
	MOVQ R12, SI
	ADDQ R11, R12
	ADDQ $4, R9
	MOVL AX, BX
	VBROADCASTSS X10, Z8
	CMPQ R8, $1
	JEQ  round
	JMP  largest

tiny:
	MOVL   $0, (R9)
	VXORPS X10, X10, X10
	JMP    scaled

infinite:
	MOVL $0x7fc00000, (R9)
	JMP  scaled

zero:
	VPXOR Y0, Y0, Y0

zeros:
	VMOVDQU Y0, (DX)
	ADDQ    $32, DX
	ADDQ    $128, CX
	CMPQ    CX, R11
	JLT     zeros
	JMP     rounded

done:
	VZEROUPPER
	RET
