//go:build unix

package kerneltest

import (
	"runtime/debug"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// Behind the end, or before the beginning, a load faults, and so does a store; inside none does.
func TestFenced(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	faults := func(f func()) (fault bool) {
		defer func() { fault = recover() != nil }()
		f()
		return
	}
	for _, n := range []int{1, 3, 1023, 1024, 1025, 5000} {
		checkFence(t, faults, Fenced(t, n, true), n, true)
		checkFence(t, faults, Fenced(t, n, false), n, false)
		checkFence(t, faults, FencedAs[int8](t, n, true), n, true)
		checkFence(t, faults, FencedAs[int8](t, n, false), n, false)
		checkFence(t, faults, FencedAs[uint16](t, n, true), n, true)
		checkFence(t, faults, FencedAs[int32](t, n, false), n, false)
	}
	require.Empty(t, Fenced(t, 0, true))
	require.Empty(t, FencedAs[int8](t, 0, true))
}

func checkFence[T int8 | uint16 | int32 | float32](t *testing.T, faults func(func()) bool, x []T, n int, atEnd bool) {
	t.Helper()
	require.Len(t, x, n)
	size := int(unsafe.Sizeof(x[0]))
	beyond := (*T)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(x)), -size))
	if atEnd {
		beyond = (*T)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(x)), n*size))
	}
	sum := T(0)
	require.False(t, faults(func() {
		for i := range x {
			sum += x[i]
			x[i] = 1
		}
	}))
	require.True(t, faults(func() { sum += *beyond }), "a load, atEnd %v", atEnd)
	require.True(t, faults(func() { *beyond = sum }), "a store, atEnd %v", atEnd)
}
