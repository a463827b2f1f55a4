//go:build !purego

package fixed

import "edgejepa/internal/cpu"

// lookupI8Blocks is lookupI8Generic on n bytes, a multiple of 32.
//
//go:noescape
func lookupI8Blocks(dst, src *int8, n int, table *[256]int8)

func lookupI8Vector(dst, src []int8, table *[256]int8) int {
	n := len(src) &^ 31
	if !cpu.HasNEON {
		return 0
	}
	for i := 0; i < n; i += intCall {
		lookupI8Blocks(&dst[i], &src[i], min(intCall, n-i), table)
	}
	return n
}
