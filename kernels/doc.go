// Package kernels holds the hot loops in float32: matrix products, attention, layer normalisation, softmax, GELU, losses,
// the optimiser; and those on halves, the storage format with 16 bits. Package i8 has the products of int8 operands, package
// fixed what lies between them, bench the measurements (PERFORMANCE.md), kerneltest what tests share.
//
// Each kernel is a checked exported function, a Go version named …Generic that is compiled everywhere and is the
// reference, and assembly for AVX2, AVX-512 and NEON where it pays, chosen by the bools of internal/cpu. All give the same
// bits on every machine: a float32 matrix product is one chain of fused multiply-adds per element, k ascending; every
// other kernel rounds each product and each sum on its own; and every reduction has an order that depends on its shape
// alone (see lanes). Which NaN comes out of an operation on NaNs is left to the machine.
//
// Slices are row-major and must not overlap unless a kernel says that they may be the same. A wrong shape panics; NaN
// and infinities never do. No kernel starts a goroutine: callers split rows or columns as each comment allows. None
// allocates, but for packing into a Panels that has to grow. A call into assembly is bounded to some 100 microseconds of
// a small board, because a goroutine cannot be preempted inside it.
//
// Read panels.go, matmul.go and matmul_generic.go for products, matmul_view.go and epilogue.go for their other forms,
// and attention.go for what is built on them; lanes.go and layernorm.go for a row kernel and its gradient, then
// any of the others. vector_asm.go holds the Go side of vector_amd64.s and vector_arm64.s, which internal/asmgen writes.
package kernels
