// tileF32A53 is tileF32NEON for cores that issue in order, made for the strictest of them. A Cortex-A53 spends two cycles
// on a vector load of 16 bytes and one on a load of 8, and starts no multiply-add in them; nor does it like a vector load
// four cycles after a multiply-add. So the loops go by blocks of four cycles:
//
//	FMOVD, VMOV   the lower half of a register; the upper half of the one before, from an integer register
//	FMLAE, MOVD   the upper half on its way to an integer register
//	FMLAE
//	FMLAE
//
// A turn is two steps: 16 blocks, 48 multiply-adds, 11 registers loaded. While columns 0-7 of a panel row, in V27 and V28,
// are at work, columns 8-15 come to V29 and V30, and the other way round. V24, V25 and V26 hold rows 0-1, 2-3 and 4-5 of
// both steps; each is loaded for the next turn between its last use and its first.
//
//	R13..R15  upper halves of V24..V26            R19 how far A is
//	R16, R17  upper halves of panel registers     R12 how far it goes in a turn
//	R20..R25  where the lower and the upper half of V24, of V25, of V26 come from, at R19

// Three multiply-adds each, with an instruction in the shadow of the first: columns 4j..4j+7 of the panel in p and q,
// lanes e and o of the even and the odd row.
#define ROWS01(j, p, q, e, o, x) FMLAE(0+j, p, 24, e); x; FMLAE(4+j, p, 24, o); FMLAE(1+j, q, 24, e)
#define ROWS123(j, p, q, e, o, x) FMLAE(5+j, q, 24, o); x; FMLAE(8+j, p, 25, e); FMLAE(12+j, p, 25, o)
#define ROWS234(j, p, q, e, o, x) FMLAE(9+j, q, 25, e); x; FMLAE(13+j, q, 25, o); FMLAE(16+j, p, 26, e)
#define ROWS45(j, p, q, e, o, x) FMLAE(20+j, p, 26, o); x; FMLAE(17+j, q, 26, e); FMLAE(21+j, q, 26, o)

// Instructions for the shadow: the upper half of a register from the panel or from A, and what moves the loop on.
#define UPPER(at, r) MOVD at(R4), r
#define UPPERA(ptr, r) MOVD (ptr)(R19), r
#define NEXTB ADD R11, R4
#define NEXTA ADD R12, R19
#define SUBTURN SUB $2, R10
#define CMPTURN CMP $2, R10
#define NONE

// TURN0 loads what the first turn begins with.
#define TURN0 \
	MOVD $0, R19; \
	FMOVD (R20), F24; \
	MOVD (R21), R13; \
	FMOVD (R22), F25; \
	MOVD (R23), R14; \
	FMOVQ (R4), F27; \
	FMOVQ 16(R4), F28; \
	VMOV R13, V24.D[1]

// TURN1 and TURN2 are columns 0-7 and 8-15 of a turn's first step, in lanes e and o; TURN3 and TURN4 those of its second.
#define TURN1(e, o) \
	FMOVD (R24)(R19), F26; \
	VMOV R14, V25.D[1]; \
	ROWS01(0, 27, 28, e, o, UPPERA(R25, R15)); \
	FMOVD 32(R4), F29; \
	VMOV R15, V26.D[1]; \
	ROWS123(0, 27, 28, e, o, UPPER(40, R16)); \
	FMOVD 48(R4), F30; \
	VMOV R16, V29.D[1]; \
	ROWS234(0, 27, 28, e, o, UPPER(56, R17)); \
	VMOV R17, V30.D[1]; \
	NEXTB; \
	ROWS45(0, 27, 28, e, o, NEXTA)

#define TURN2(e, o) \
	FMOVD (R4), F27; \
	ROWS01(2, 29, 30, e, o, UPPER(8, R16)); \
	FMOVD 16(R4), F28; \
	ROWS123(2, 29, 30, e, o, UPPER(24, R17)); \
	VMOV R16, V27.D[1]; \
	ROWS234(2, 29, 30, e, o, SUBTURN); \
	VMOV R17, V28.D[1]; \
	ROWS45(2, 29, 30, e, o, NONE)

#define TURN3(e, o) \
	FMOVD 32(R4), F29; \
	ROWS01(0, 27, 28, e, o, UPPER(40, R16)); \
	FMOVD 48(R4), F30; \
	ROWS123(0, 27, 28, e, o, UPPER(56, R17)); \
	VMOV R16, V29.D[1]; \
	ROWS234(0, 27, 28, e, o, NEXTB); \
	VMOV R17, V30.D[1]; \
	ROWS45(0, 27, 28, e, o, CMPTURN)

#define TURN4(e, o) \
	FMOVD (R4), F27; \
	ROWS01(2, 29, 30, e, o, UPPER(8, R16)); \
	FMOVD 16(R4), F28; \
	VMOV R16, V27.D[1]; \
	ROWS123(2, 29, 30, e, o, UPPER(24, R17)); \
	FMOVD (R20)(R19), F24; \
	VMOV R17, V28.D[1]; \
	ROWS234(2, 29, 30, e, o, UPPERA(R21, R13)); \
	FMOVD (R22)(R19), F25; \
	VMOV R13, V24.D[1]; \
	ROWS45(2, 29, 30, e, o, UPPERA(R23, R14))

// ENDTURN is TURN4 when no turn follows.
#define ENDTURN(e, o) \
	ROWS01(2, 29, 30, e, o, NONE); \
	ROWS123(2, 29, 30, e, o, NONE); \
	ROWS234(2, 29, 30, e, o, NONE); \
	ROWS45(2, 29, 30, e, o, NONE)
