// What the quantising kernels of arm64 share; it needs int8_neon_arm64.h.

// MAGNITUDE sets V7 to the mask of everything but the sign.
#define MAGNITUDE \
	MOVD $0x7fffffff, R3; \
	VDUP R3, V7.S4

// LIMITS sets V17 to 127 and V18 to -127.
#define LIMITS \
	MOVD $0x42fe0000, R3; \
	VDUP R3, V17.S4; \
	MOVD $0xc2fe0000, R3; \
	VDUP R3, V18.S4

// SCALE4 is roundToEven(clamp(x * inv)) as int32: inv in V16, 127 in V17, -127 in V18.
#define SCALE4(x) \
	FMUL(x, x, 16); \
	FMIN(x, x, 17); \
	FMAX(x, x, 18); \
	FCVTNS(x, x)
