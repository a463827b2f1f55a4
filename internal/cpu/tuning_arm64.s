//go:build !purego

#include "textflag.h"

// func mainID() uint64
TEXT ·mainID(SB), NOSPLIT, $0-8
	MRS  MIDR_EL1, R0
	MOVD R0, ret+0(FP)
	RET
