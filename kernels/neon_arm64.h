// The NEON instructions of the float32 kernels that Go's assembler does not know, by register number. The operands stand
// in ARM's order: destination first, unlike the Go mnemonics around them. int8_words_test.go holds each word.

// A vector times lane l of another, added with one rounding.
#define FMLAE(d, n, m, l) WORD $(0x4f801000 | (d) | (n)<<5 | (m)<<16 | ((l)&1)<<21 | (((l)>>1)&1)<<11) // fmla vd.4s, vn.4s, vm.s[l]
