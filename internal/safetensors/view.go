package safetensors

import (
	"encoding/binary"
	"unsafe"
)

// The only unsafe code of the package: looking at numbers as bytes and back, on machines whose byte order is the file's.

var nativeLittle = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

type number interface {
	int8 | uint8 | uint16 | int32 | uint32 | int64 | uint64 | float32 | float64
}

// bytesOf is the memory of v.
func bytesOf[T number](v []T) []byte {
	if len(v) == 0 {
		return []byte{}
	}
	n := len(v) * int(unsafe.Sizeof(v[0]))
	return unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), n)
}

// viewOf is b as numbers; ok is false when b is not aligned for T or not a whole number of elements.
func viewOf[T number](b []byte) (v []T, ok bool) {
	size := int(unsafe.Sizeof(*new(T)))
	if len(b) == 0 {
		return []T{}, true
	}
	p := unsafe.Pointer(&b[0])
	if len(b)%size != 0 || uintptr(p)%unsafe.Alignof(*new(T)) != 0 {
		return nil, false
	}
	return unsafe.Slice((*T)(p), len(b)/size), true
}

// holds says whether addr lies in the memory of b.
func holds(b []byte, addr uintptr) bool {
	return addr-uintptr(unsafe.Pointer(unsafe.SliceData(b))) < uintptr(len(b))
}

// inside says whether part lies in the memory of b.
func inside(b, part []byte) bool {
	return holds(b, uintptr(unsafe.Pointer(unsafe.SliceData(part)))) && offset(b, part)+len(part) <= len(b)
}

// offset is where part, a piece of b, begins in it.
func offset(b, part []byte) int {
	return int(uintptr(unsafe.Pointer(unsafe.SliceData(part))) - uintptr(unsafe.Pointer(unsafe.SliceData(b))))
}
