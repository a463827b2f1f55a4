// Package fixed holds what lies between the int8 products of an encoder in fixed point: requantisation, softmax, GELU and
// layer normalisation in integers alone.
//
// # Numbers
//
// Operands of products are int8, their sums int32, the residual stream is int32 within ResidualMax. A change of scale is
// an integer multiplier and a shift, for each channel (Requant), or for each row where a sum or a deviation has to be
// divided by (rowScale): floor((x*mult + add) / 2^shift), in 64 bits, with the half that rounds in the addend. Softmax
// and GELU work in 16 bits with the rounded product (a*b + 2^14) >> 15, which both VPMULHRSW and SQRDMULH are. What wraps
// or saturates does so as the comment says, so that any operands, sensible or not, give the same bits on every machine.
//
// Constants come from float64 scales once, when a model is quantised (NewRequant, NewSoftmax, NewGELU, NormEps), by
// operations that are exact or correctly rounded. ScaleSums, the last step, is the one that goes back to floating point.
//
// Each function states how far its result may be from that of real arithmetic, and its tests hold it to that.
//
// # A block
//
// With W a product of package i8, x the residual stream and q the constants of each place:
//
//	h = LayerNorm(x)                             // int32 -> int8
//	q, k, v = RequantI8(W·h)
//	p, sum = SoftmaxI8(q·kᵀ)                     // weights relative to the row's largest; not divided yet
//	a = RequantMeans(p·v, sum)
//	AddRequant(x, W·a)
//	h = LayerNorm(x)
//	AddRequant(x, W·RequantGELU(W·h))
//
// and SumNorm with ScaleSums in the end. Lookup with GELUTable is GELU from int8 to int8, which leaves 6 dB less of a normal
// signal than RequantGELU with a zero point does.
//
// # Where to read
//
// requant.go first; norm.go, softmax.go and gelu.go build on it. The functions …Generic are the reference of the
// assembly, which takes whole blocks of 16 columns, or rows of 32 and more in softmax (vector_asm.go, softmax_asm.go).
package fixed
