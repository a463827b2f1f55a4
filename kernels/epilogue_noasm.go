//go:build purego || !amd64

package kernels

func gelu(dst, x []float32) { GELU(dst, x) }
