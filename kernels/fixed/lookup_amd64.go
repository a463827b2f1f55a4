//go:build !purego

package fixed

import "edgejepa/internal/cpu"

// lookupI8Blocks is lookupI8Generic on n bytes, a multiple of 64, with the table in the parts of lookupParts.
//
//go:noescape
func lookupI8Blocks(dst, src *int8, n int, parts *[256]int8)

// lookupLeast is the length from which it pays to prepare the table.
const lookupLeast = 512

func lookupI8Vector(dst, src []int8, table *[256]int8) int {
	n := len(src) &^ 63
	if !cpu.HasAVX2FMA || n < lookupLeast {
		return 0
	}
	parts := lookupParts(table)
	for i := 0; i < n; i += intCall {
		lookupI8Blocks(&dst[i], &src[i], min(intCall, n-i), &parts)
	}
	return n
}

// lookupParts prepares a table for lookups of 16 entries at a time. In step k the byte x-16k finds something if it is
// below 128: that is in the steps x/16-7 to x/16, from 0 on. The exclusive or of these parts must be the entry.
func lookupParts(table *[256]int8) (parts [256]int8) {
	copy(parts[:16], table[:16])
	for i := 16; i < len(parts); i++ {
		parts[i] = table[i] ^ table[i-16]
		if i >= 128 {
			parts[i] ^= parts[i-128]
		}
	}
	return parts
}
