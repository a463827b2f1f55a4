// The NEON instructions of the int8 kernels that Go's assembler does not know, by register number. The operands stand in
// ARM's order: destination first, unlike the Go mnemonics around them. int8_words_test.go holds each word.

// Products of signed bytes, the low (for SMLAL2 the high) eight, as eight halfwords: vd.8h = or += vn * vm.
#define SMULL(d, n, m) WORD $(0x0e20c000 | (d) | (n)<<5 | (m)<<16)   // smull vd.8h, vn.8b, vm.8b
#define SMLAL(d, n, m) WORD $(0x0e208000 | (d) | (n)<<5 | (m)<<16)   // smlal vd.8h, vn.8b, vm.8b
#define SMLAL2(d, n, m) WORD $(0x4e208000 | (d) | (n)<<5 | (m)<<16)  // smlal2 vd.8h, vn.16b, vm.16b

// Neighbouring halfwords, added in pairs to four words.
#define SADALP(d, n) WORD $(0x4e606800 | (d) | (n)<<5) // sadalp vd.4s, vn.8h

// Four times four bytes of vn with the four bytes of lane l of vm, added to four words.
#define SDOTL(d, n, m, l) WORD $(0x4f80e000 | (d) | (n)<<5 | (m)<<16 | ((l)&1)<<21 | (((l)>>1)&1)<<11) // sdot vd.4s, vn.16b, vm.4b[l]

// Two rows of eight bytes of vn by two of vm, added to four words: row 0 by 0, 0 by 1, 1 by 0, 1 by 1.
#define SMMLA(d, n, m) WORD $(0x4e80a400 | (d) | (n)<<5 | (m)<<16)   // smmla vd.4s, vn.16b, vm.16b

#define FMUL(d, n, m) WORD $(0x6e20dc00 | (d) | (n)<<5 | (m)<<16)    // fmul vd.4s, vn.4s, vm.4s
#define MULS(d, n, m) WORD $(0x4ea09c00 | (d) | (n)<<5 | (m)<<16)    // mul vd.4s, vn.4s, vm.4s
#define FSUB(d, n, m) WORD $(0x4ea0d400 | (d) | (n)<<5 | (m)<<16)    // fsub vd.4s, vn.4s, vm.4s
#define FCMGT(d, n, m) WORD $(0x6ea0e400 | (d) | (n)<<5 | (m)<<16)   // fcmgt vd.4s, vn.4s, vm.4s
#define FRINTM(d, n) WORD $(0x4e219800 | (d) | (n)<<5)               // frintm vd.4s, vn.4s
#define FADD(d, n, m) WORD $(0x4e20d400 | (d) | (n)<<5 | (m)<<16)    // fadd vd.4s, vn.4s, vm.4s
#define FMAX(d, n, m) WORD $(0x4e20f400 | (d) | (n)<<5 | (m)<<16)    // fmax vd.4s, vn.4s, vm.4s
#define FMIN(d, n, m) WORD $(0x4ea0f400 | (d) | (n)<<5 | (m)<<16)    // fmin vd.4s, vn.4s, vm.4s
#define SCVTF(d, n) WORD $(0x4e21d800 | (d) | (n)<<5)                // scvtf vd.4s, vn.4s
#define FCVTNS(d, n) WORD $(0x4e21a800 | (d) | (n)<<5)               // fcvtns vd.4s, vn.4s
#define SQXTNS(d, n) WORD $(0x0e614800 | (d) | (n)<<5)               // sqxtn vd.4h, vn.4s
#define SQXTNS2(d, n) WORD $(0x4e614800 | (d) | (n)<<5)              // sqxtn2 vd.8h, vn.4s
#define SQXTNH(d, n) WORD $(0x0e214800 | (d) | (n)<<5)               // sqxtn vd.8b, vn.8h
#define SQXTNH2(d, n) WORD $(0x4e214800 | (d) | (n)<<5)              // sqxtn2 vd.16b, vn.8h
