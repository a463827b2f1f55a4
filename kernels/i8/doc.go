// Package i8 multiplies int8 matrices exactly and quantises what goes into them.
//
// # Numbers
//
// Activations are int8 from -128 to 127 with a scale for each row, weights int8 from -127 to 127 with a scale for each
// output channel; zero is 0 in both. Products are summed in int32: K is at most MaxK, so no sum can overflow, and no kernel
// saturates. A product is therefore exact, and the same on every machine, in whatever order its terms are added. From
// and to float32 every multiplication, addition and rounding is one of IEEE 754, done on its own.
//
// # The chain rule
//
// Weights made by QuantizeWeights obey one more rule: of each block of 32 k, the magnitudes at i, i+8, i+16 and i+24 add to
// at most 255. Instruction sets without a dot product can then add four products in 16 bits before they widen: 128 * 255
// is below 2^15. CheckChains holds a file of weights against it. It is a rule for speed alone: Pack looks at it where the
// path gains by it, and weights that break it, such as activations in a weight gradient, are multiplied as exactly by a
// slower loop. What it costs in accuracy stands at the head of quant.go.
//
// # Paths
//
//	generic            pairs of channels in an int64      [N/4][K/32][4][32]
//	avx2               VPMADDUBSW on |a|, chains          [N/16][K/4][16][4], the k of 32 in the order of chains
//	avxvnni            VPDPBUSD on a+128                  [N/16][K/4][16][4]
//	avx512vnni         the same on 512 bits               [N/32][K/4][32][4]
//	neon               SMULL, SMLAL and SADALP, chains    [N/4][K/32][4][32]
//	dotprod            SDOT by element                    [N/16][K/4][16][4]
//	i8mm               SMMLA                              [N/8][K/8][8][8]
//
// The last column is how Panels lie in memory: a property of the path and never of a file. The path avx512 adds a faster
// QuantizeRows; its products are those of the rung below.
//
// # Where to read
//
// quant.go has the rules and the quantisers, columns.go and stochastic.go their other forms; panels.go and pack.go the
// packed operand; generic.go is the reference of all assembly. gemm_amd64.go and gemm_arm64.go cut a product into
// calls of bounded length, and fused.go goes from float32 to float32 in one pass.
package i8
