// Package arena lays out the memory of a model, a pass or a trainer in one piece.
//
// The code that places buffers runs twice: once on an empty arena to measure, once on an arena of that size to place.
// So sizes stand in one spot, and a footprint is known to the byte before anything is allocated. Buffers that are never
// in use at the same time share memory (Union), and parts can be given names, for a table of what takes how much.
package arena

import "unsafe"

// align is the spacing of buffers in float32: one cache line.
const align = 16

// Arena hands out buffers. The zero Arena only measures: its buffers are nil.
type Arena struct {
	buf   []float32
	used  int64 // float32; more than an int holds may be measured
	parts []Part
}

// Part is a named stretch of an arena. Parts overlap where they share memory.
type Part struct {
	Name       string
	Start, End int64 // bytes
}

// F32 returns n floats, on a cache line of their own, with no capacity beyond; nil while measuring. They are zero at
// first, but for what the alternatives of a Union write over each other.
func (a *Arena) F32(n int) []float32 {
	at := a.used
	a.used += (int64(n) + align - 1) / align * align
	if a.buf == nil {
		return nil
	}
	return a.buf[at:][:n:n]
}

// Half is F32 for n halves.
func (a *Arena) Half(n int) []uint16 {
	x := a.F32((n + 1) / 2)
	if x == nil {
		return nil
	}
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(x))), n)[:n:n]
}

// Int8 is F32 for n int8.
func (a *Arena) Int8(n int) []int8 {
	x := a.F32((n + 3) / 4)
	if x == nil {
		return nil
	}
	return unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(x))), n)[:n:n]
}

// Int32 is F32 for n int32.
func (a *Arena) Int32(n int) []int32 {
	x := a.F32(n)
	if x == nil {
		return nil
	}
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(x))), n)[:n:n]
}

// Union lays out alternatives over one another: memory that is never in use at the same time. It takes as much as the
// largest of them. No buffer of one keeps its content while another is in use.
func (a *Arena) Union(alternatives ...func()) {
	start, end := a.used, a.used
	for _, place := range alternatives {
		a.used = start
		place()
		end = max(end, a.used)
	}
	a.used = end
}

// Part gives a name to what place lays out.
func (a *Arena) Part(name string, place func()) {
	n, start := len(a.parts), a.used
	a.parts = append(a.parts, Part{})
	place()
	a.parts[n] = Part{name, 4 * start, 4 * a.used}
}

// Measuring says that buffers are nil, so that code which fills them at once must wait.
func (a *Arena) Measuring() bool { return a.buf == nil }

// Bytes is how much has been handed out.
func (a *Arena) Bytes() int64 { return 4 * a.used }

// Parts lists the named parts in the order in which they were begun.
func (a *Arena) Parts() []Part { return a.parts }

// Measure returns the bytes that build takes from an arena.
func Measure[T any](build func(*Arena) T) int64 {
	var a Arena
	build(&a)
	return a.Bytes()
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
