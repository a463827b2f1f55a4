// VPDPBUSD in its VEX encoding, of the extension AVX-VNNI, by register number: Go's assembler knows the EVEX encoding
// only, which is another extension. Destination first. int8_words_test.go holds the bytes.

// yd.8s += the four products of bytes, unsigned of yu and signed of ys, in each of eight lanes.
#define DPBUSD(d, u, s) \
	BYTE $0xc4; \
	BYTE $(0xe2 ^ ((d)>>3)<<7 ^ ((s)>>3)<<5); \
	BYTE $(0x05 | (15-(u))<<3); \
	BYTE $0x50; \
	BYTE $(0xc0 | ((d)&7)<<3 | ((s)&7)) // vpdpbusd ymmd, ymmu, ymms
