// The NEON instructions of the integer kernels that Go's assembler does not know, by register number. The operands stand
// in ARM's order: destination first, unlike the Go mnemonics around them. int8_words_test.go holds each word.

// Shifts by the signed count in the low byte of each lane of vm: to the left, or if it is negative to the right.
#define SSHL4S(d, n, m) WORD $(0x4ea04400 | (d) | (n)<<5 | (m)<<16)   // sshl vd.4s, vn.4s, vm.4s
#define USHL4S(d, n, m) WORD $(0x6ea04400 | (d) | (n)<<5 | (m)<<16)   // ushl vd.4s, vn.4s, vm.4s
#define SSHL8H(d, n, m) WORD $(0x4e604400 | (d) | (n)<<5 | (m)<<16)   // sshl vd.8h, vn.8h, vm.8h
#define USHL8H(d, n, m) WORD $(0x6e604400 | (d) | (n)<<5 | (m)<<16)   // ushl vd.8h, vn.8h, vm.8h

// The upper half of twice the product, of words; of halfwords, rounded.
#define SQDMULH4S(d, n, m) WORD $(0x4ea0b400 | (d) | (n)<<5 | (m)<<16)  // sqdmulh vd.4s, vn.4s, vm.4s
#define SQRDMULH8H(d, n, m) WORD $(0x6e60b400 | (d) | (n)<<5 | (m)<<16) // sqrdmulh vd.8h, vn.8h, vm.8h

#define MUL8H(d, n, m) WORD $(0x4e609c00 | (d) | (n)<<5 | (m)<<16)    // mul vd.8h, vn.8h, vm.8h
#define SQADD8H(d, n, m) WORD $(0x4e600c00 | (d) | (n)<<5 | (m)<<16)  // sqadd vd.8h, vn.8h, vm.8h
#define SMAX16B(d, n, m) WORD $(0x4e206400 | (d) | (n)<<5 | (m)<<16)  // smax vd.16b, vn.16b, vm.16b
#define SMAX8H(d, n, m) WORD $(0x4e606400 | (d) | (n)<<5 | (m)<<16)   // smax vd.8h, vn.8h, vm.8h
#define SMAX4S(d, n, m) WORD $(0x4ea06400 | (d) | (n)<<5 | (m)<<16)   // smax vd.4s, vn.4s, vm.4s
#define SMIN4S(d, n, m) WORD $(0x4ea06c00 | (d) | (n)<<5 | (m)<<16)   // smin vd.4s, vn.4s, vm.4s
#define SMAXV4S(d, n) WORD $(0x4eb0a800 | (d) | (n)<<5)               // smaxv sd, vn.4s
#define ABS8H(d, n) WORD $(0x4e60b800 | (d) | (n)<<5)                 // abs vd.8h, vn.8h

// Narrowing, to the low and to the high half of vd: with saturation, without.
#define SQXTN4H(d, n) WORD $(0x0e614800 | (d) | (n)<<5)               // sqxtn vd.4h, vn.4s
#define SQXTN8H(d, n) WORD $(0x4e614800 | (d) | (n)<<5)               // sqxtn2 vd.8h, vn.4s
#define SQXTN8B(d, n) WORD $(0x0e214800 | (d) | (n)<<5)               // sqxtn vd.8b, vn.8h
#define SQXTN16B(d, n) WORD $(0x4e214800 | (d) | (n)<<5)              // sqxtn2 vd.16b, vn.8h
#define XTN4H(d, n) WORD $(0x0e612800 | (d) | (n)<<5)                 // xtn vd.4h, vn.4s
#define XTN8H(d, n) WORD $(0x4e612800 | (d) | (n)<<5)                 // xtn2 vd.8h, vn.4s
#define XTN8B(d, n) WORD $(0x0e212800 | (d) | (n)<<5)                 // xtn vd.8b, vn.8h
#define XTN16B(d, n) WORD $(0x4e212800 | (d) | (n)<<5)                // xtn2 vd.16b, vn.8h

// Widening sums: of neighbours, and added to vd; the low or the high half of vm added to vn; products added to vd.
#define UADDLP8H(d, n) WORD $(0x6e202800 | (d) | (n)<<5)              // uaddlp vd.8h, vn.16b
#define UADALP4S(d, n) WORD $(0x6e606800 | (d) | (n)<<5)              // uadalp vd.4s, vn.8h
#define SADALP2D(d, n) WORD $(0x4ea06800 | (d) | (n)<<5)              // sadalp vd.2d, vn.4s
#define SADDW2D(d, n, m) WORD $(0x0ea01000 | (d) | (n)<<5 | (m)<<16)  // saddw vd.2d, vn.2d, vm.2s
#define SADDW2D2(d, n, m) WORD $(0x4ea01000 | (d) | (n)<<5 | (m)<<16) // saddw2 vd.2d, vn.2d, vm.4s
#define SMLAL2D(d, n, m) WORD $(0x0ea08000 | (d) | (n)<<5 | (m)<<16)  // smlal vd.2d, vn.2s, vm.2s
#define SMLAL2D2(d, n, m) WORD $(0x4ea08000 | (d) | (n)<<5 | (m)<<16) // smlal2 vd.2d, vn.4s, vm.4s
