// Package arena lays out the memory of a model, a pass or a trainer in one piece.
//
// The code that places buffers runs twice: once on an empty arena to measure, once on an arena of that size to place.
// So sizes stand in one spot, and a footprint is known to the byte before anything is allocated.
package arena

import "unsafe"

// align is the spacing of buffers in float32: one cache line.
const align = 16

// Arena hands out float32 buffers. The zero Arena only measures: its buffers are nil.
type Arena struct {
	buf  []float32
	used int
}

// F32 returns n zeros, on a cache line of their own, with no capacity beyond; nil while measuring.
func (a *Arena) F32(n int) []float32 {
	at := a.used
	a.used += (n + align - 1) / align * align
	if a.buf == nil {
		return nil
	}
	return a.buf[at : at+n : at+n]
}

// Measuring says that buffers are nil, so that code which fills them at once must wait.
func (a *Arena) Measuring() bool { return a.buf == nil }

// Measure returns the bytes that build takes from an arena.
func Measure[T any](build func(*Arena) T) int64 {
	var a Arena
	build(&a)
	return 4 * int64(a.used)
}

// Build measures, allocates once and builds.
func Build[T any](build func(*Arena) T) T {
	var a Arena
	build(&a)
	raw := make([]float32, a.used+align)
	skip := (-uintptr(unsafe.Pointer(unsafe.SliceData(raw))) / 4) % align
	placed := Arena{buf: raw[skip:][:a.used]}
	v := build(&placed)
	if placed.used != a.used {
		panic("arena: the layout differs between measuring and placing")
	}
	return v
}
