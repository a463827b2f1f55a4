package kerneltest

import (
	"testing"
	"unsafe"
)

// FencedAs is Fenced for values of another type of at most four bytes.
func FencedAs[T int8 | uint16 | int32 | float32](t testing.TB, n int, atEnd bool) []T {
	t.Helper()
	size := int(unsafe.Sizeof(*new(T)))
	x := Fenced(t, (n*size+3)/4, atEnd)
	y := unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(x))), len(x)*4/size)
	if atEnd {
		return y[len(y)-n:]
	}
	return y[:n:n]
}
