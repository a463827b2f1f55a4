//go:build !purego

#include "textflag.h"

// Each loop has independent chains, more than latency times throughput on any core. What Go's assembler does not know
// stands in words, operands in ARM's order.

#define SMULL(d, n, m) WORD $(0x0e20c000 | (d) | (n)<<5 | (m)<<16)  // smull vd.8h, vn.8b, vm.8b
#define SMLAL(d, n, m) WORD $(0x0e208000 | (d) | (n)<<5 | (m)<<16)  // smlal vd.8h, vn.8b, vm.8b
#define SMLAL2(d, n, m) WORD $(0x4e208000 | (d) | (n)<<5 | (m)<<16) // smlal2 vd.8h, vn.16b, vm.16b
#define SADALP(d, n) WORD $(0x4e606800 | (d) | (n)<<5)              // sadalp vd.4s, vn.8h
#define SDOT(d, n, m) WORD $(0x4e809400 | (d) | (n)<<5 | (m)<<16)   // sdot vd.4s, vn.16b, vm.16b
#define SMMLA(d, n, m) WORD $(0x4e80a400 | (d) | (n)<<5 | (m)<<16)  // smmla vd.4s, vn.16b, vm.16b

// CLEAR zeroes V0 to V16: the accumulators and the operand.
#define CLEAR \
	VEOR V0.B16, V0.B16, V0.B16; \
	VEOR V1.B16, V1.B16, V1.B16; \
	VEOR V2.B16, V2.B16, V2.B16; \
	VEOR V3.B16, V3.B16, V3.B16; \
	VEOR V4.B16, V4.B16, V4.B16; \
	VEOR V5.B16, V5.B16, V5.B16; \
	VEOR V6.B16, V6.B16, V6.B16; \
	VEOR V7.B16, V7.B16, V7.B16; \
	VEOR V8.B16, V8.B16, V8.B16; \
	VEOR V9.B16, V9.B16, V9.B16; \
	VEOR V10.B16, V10.B16, V10.B16; \
	VEOR V11.B16, V11.B16, V11.B16; \
	VEOR V12.B16, V12.B16, V12.B16; \
	VEOR V13.B16, V13.B16, V13.B16; \
	VEOR V14.B16, V14.B16, V14.B16; \
	VEOR V15.B16, V15.B16, V15.B16; \
	VEOR V16.B16, V16.B16, V16.B16

// func loopFMLA(turns int)
TEXT ·loopFMLA(SB), NOSPLIT, $0-8
	MOVD turns+0(FP), R0
	CLEAR

more:
	VFMLA V16.S4, V16.S4, V0.S4
	VFMLA V16.S4, V16.S4, V1.S4
	VFMLA V16.S4, V16.S4, V2.S4
	VFMLA V16.S4, V16.S4, V3.S4
	VFMLA V16.S4, V16.S4, V4.S4
	VFMLA V16.S4, V16.S4, V5.S4
	VFMLA V16.S4, V16.S4, V6.S4
	VFMLA V16.S4, V16.S4, V7.S4
	VFMLA V16.S4, V16.S4, V8.S4
	VFMLA V16.S4, V16.S4, V9.S4
	VFMLA V16.S4, V16.S4, V10.S4
	VFMLA V16.S4, V16.S4, V11.S4
	VFMLA V16.S4, V16.S4, V12.S4
	VFMLA V16.S4, V16.S4, V13.S4
	VFMLA V16.S4, V16.S4, V14.S4
	VFMLA V16.S4, V16.S4, V15.S4
	SUBS $1, R0
	BNE  more
	RET

// func loopSMULL(turns int)
TEXT ·loopSMULL(SB), NOSPLIT, $0-8
	MOVD turns+0(FP), R0
	CLEAR

more:
	SMULL(20, 16, 16)
	SMULL(21, 16, 16)
	SMULL(22, 16, 16)
	SMULL(23, 16, 16)
	SMLAL2(20, 16, 16)
	SMLAL2(21, 16, 16)
	SMLAL2(22, 16, 16)
	SMLAL2(23, 16, 16)
	SMLAL(20, 16, 16)
	SMLAL(21, 16, 16)
	SMLAL(22, 16, 16)
	SMLAL(23, 16, 16)
	SMLAL2(20, 16, 16)
	SMLAL2(21, 16, 16)
	SMLAL2(22, 16, 16)
	SMLAL2(23, 16, 16)
	SADALP(0, 20)
	SADALP(1, 21)
	SADALP(2, 22)
	SADALP(3, 23)
	SMULL(24, 16, 16)
	SMULL(25, 16, 16)
	SMULL(26, 16, 16)
	SMULL(27, 16, 16)
	SMLAL2(24, 16, 16)
	SMLAL2(25, 16, 16)
	SMLAL2(26, 16, 16)
	SMLAL2(27, 16, 16)
	SMLAL(24, 16, 16)
	SMLAL(25, 16, 16)
	SMLAL(26, 16, 16)
	SMLAL(27, 16, 16)
	SMLAL2(24, 16, 16)
	SMLAL2(25, 16, 16)
	SMLAL2(26, 16, 16)
	SMLAL2(27, 16, 16)
	SADALP(4, 24)
	SADALP(5, 25)
	SADALP(6, 26)
	SADALP(7, 27)
	SUBS $1, R0
	BNE  more
	RET

// func loopSDOT(turns int)
TEXT ·loopSDOT(SB), NOSPLIT, $0-8
	MOVD turns+0(FP), R0
	CLEAR

more:
	SDOT(0, 16, 16)
	SDOT(1, 16, 16)
	SDOT(2, 16, 16)
	SDOT(3, 16, 16)
	SDOT(4, 16, 16)
	SDOT(5, 16, 16)
	SDOT(6, 16, 16)
	SDOT(7, 16, 16)
	SDOT(8, 16, 16)
	SDOT(9, 16, 16)
	SDOT(10, 16, 16)
	SDOT(11, 16, 16)
	SDOT(12, 16, 16)
	SDOT(13, 16, 16)
	SDOT(14, 16, 16)
	SDOT(15, 16, 16)
	SUBS $1, R0
	BNE  more
	RET

// func loopSMMLA(turns int)
TEXT ·loopSMMLA(SB), NOSPLIT, $0-8
	MOVD turns+0(FP), R0
	CLEAR

more:
	SMMLA(0, 16, 16)
	SMMLA(1, 16, 16)
	SMMLA(2, 16, 16)
	SMMLA(3, 16, 16)
	SMMLA(4, 16, 16)
	SMMLA(5, 16, 16)
	SMMLA(6, 16, 16)
	SMMLA(7, 16, 16)
	SMMLA(8, 16, 16)
	SMMLA(9, 16, 16)
	SMMLA(10, 16, 16)
	SMMLA(11, 16, 16)
	SMMLA(12, 16, 16)
	SMMLA(13, 16, 16)
	SMMLA(14, 16, 16)
	SMMLA(15, 16, 16)
	SUBS $1, R0
	BNE  more
	RET

// ADD8 is eight additions of one chain.
#define ADD8 ADD R1, R2; ADD R1, R2; ADD R1, R2; ADD R1, R2; ADD R1, R2; ADD R1, R2; ADD R1, R2; ADD R1, R2

// loopADD is a chain of 64 additions a turn, each waiting for the one before.
//
// func loopADD(turns int)
TEXT ·loopADD(SB), NOSPLIT, $0-8
	MOVD turns+0(FP), R0
	MOVD R0, R1

more:
	ADD8
	ADD8
	ADD8
	ADD8
	ADD8
	ADD8
	ADD8
	ADD8
	SUBS $1, R0
	BNE  more
	RET
