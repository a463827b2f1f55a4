// What the quantising kernels of amd64 share.

// MAGNITUDE sets Y7 to the mask of everything but the sign.
#define MAGNITUDE \
	VPCMPEQD Y7, Y7, Y7; \
	VPSRLD $1, Y7, Y7

// MAXLANES leaves the largest of the eight uint32 of Y0 in AX.
#define MAXLANES \
	VEXTRACTI128 $1, Y0, X1; \
	VPMAXUD X1, X0, X0; \
	VPSHUFD $0x4e, X0, X1; \
	VPMAXUD X1, X0, X0; \
	VPSHUFD $0xb1, X0, X1; \
	VPMAXUD X1, X0, X0; \
	VMOVD X0, AX

// SCALE8 is y = roundToEven(x * inv) as int32, inv in Y8. Nothing is to be clamped: inv came from the largest magnitude,
// so that no product of finite values reaches 127.5, and what is not finite is cleared afterwards.
#define SCALE8(x, y) \
	VMULPS x, Y8, y; \
	VCVTPS2DQ y, y

// TRANSPOSE8 takes eight registers Y0..Y7 of eight words to eight halves of what is to come: words i and i+4 of the
// first four registers are in Y1, Y3, Y5, Y7 for i = 0..3, of the last four in Y8, Y9, Y0, Y2. VPERM2I128 $0x20 of such
// a pair is word i of all, $0x31 is word i+4.
#define TRANSPOSE8 \
	VPUNPCKLDQ Y1, Y0, Y8; \
	VPUNPCKHDQ Y1, Y0, Y0; \
	VPUNPCKLDQ Y3, Y2, Y9; \
	VPUNPCKHDQ Y3, Y2, Y2; \
	VPUNPCKLDQ Y5, Y4, Y10; \
	VPUNPCKHDQ Y5, Y4, Y4; \
	VPUNPCKLDQ Y7, Y6, Y11; \
	VPUNPCKHDQ Y7, Y6, Y6; \
	VPUNPCKLQDQ Y9, Y8, Y1; \
	VPUNPCKHQDQ Y9, Y8, Y3; \
	VPUNPCKLQDQ Y2, Y0, Y5; \
	VPUNPCKHQDQ Y2, Y0, Y7; \
	VPUNPCKLQDQ Y11, Y10, Y8; \
	VPUNPCKHQDQ Y11, Y10, Y9; \
	VPUNPCKLQDQ Y6, Y4, Y0; \
	VPUNPCKHQDQ Y6, Y4, Y2

// The packs work on the halves of a register; this order of double words puts the bytes back in order.
DATA unpackOrder<>+0(SB)/8, $0x0000000400000000
DATA unpackOrder<>+8(SB)/8, $0x0000000500000001
DATA unpackOrder<>+16(SB)/8, $0x0000000600000002
DATA unpackOrder<>+24(SB)/8, $0x0000000700000003
GLOBL unpackOrder<>(SB), RODATA|NOPTR, $32
