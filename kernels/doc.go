// Package kernels holds every hot loop: matrix products, layer normalisation, softmax, GELU, losses, the optimiser.
//
// Each kernel is a checked exported function, a Go version named …Generic that is compiled everywhere and is the
// reference, and assembly for AVX2 and NEON where it pays. All give the same bits on every machine: a float32 matrix
// product is one chain of fused multiply-adds per element, k ascending; every other kernel rounds each product and each
// sum on its own; and every reduction has an order that depends on its shape alone (see lanes).
//
// Slices are row-major and must not overlap unless a kernel says that they may be the same. A wrong shape panics; NaN
// and infinities never do.
package kernels
