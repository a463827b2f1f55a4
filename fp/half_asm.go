//go:build (amd64 || arm64) && !purego

package fp

import "edgejepa/internal/cpu"

const (
	halfBlock = 8       // elements of one vector of halves
	halfChunk = 1 << 14 // elements of one call at most: assembly cannot be preempted, and this is 96 KiB of traffic
)

// hasVector: F16C belongs to the rung of AVX2, the conversions of arm64 to ARMv8.0.
func hasVector() bool { return cpu.HasAVX2FMA || cpu.HasNEON }

// encodeHalfVector encodes all of src, or nothing if it is shorter than a vector or there is no path. What is left over
// behind the last whole vector is done by one that ends with the slice and repeats some elements.
func encodeHalfVector(dst []uint16, src []float32) int {
	n := len(src)
	if !hasVector() || n < halfBlock {
		return 0
	}
	whole := n &^ (halfBlock - 1)
	for i := 0; i < whole; i += halfChunk {
		encodeHalfBlocks(&dst[i], &src[i], min(halfChunk, whole-i))
	}
	if whole < n {
		encodeHalfBlocks(&dst[n-halfBlock], &src[n-halfBlock], halfBlock)
	}
	return n
}

// decodeHalfVector is encodeHalfVector the other way.
func decodeHalfVector(dst []float32, src []uint16) int {
	n := len(src)
	if !hasVector() || n < halfBlock {
		return 0
	}
	whole := n &^ (halfBlock - 1)
	for i := 0; i < whole; i += halfChunk {
		decodeHalfBlocks(&dst[i], &src[i], min(halfChunk, whole-i))
	}
	if whole < n {
		decodeHalfBlocks(&dst[n-halfBlock], &src[n-halfBlock], halfBlock)
	}
	return n
}

// encodeHalfBlocks is encodeHalfGeneric(dst[:n], src[:n]); n is a positive multiple of halfBlock.
//
//go:noescape
func encodeHalfBlocks(dst *uint16, src *float32, n int)

// decodeHalfBlocks is decodeHalfGeneric(dst[:n], src[:n]); n is a positive multiple of halfBlock.
//
//go:noescape
func decodeHalfBlocks(dst *float32, src *uint16, n int)
