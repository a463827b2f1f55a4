//go:build unix

package kerneltest

import (
	"math"
	"syscall"
	"testing"
	"unsafe"
)

// Fenced returns a slice of n floats that ends (atEnd) or begins at a page that must not be touched: a kernel that
// reads or writes one element too far crashes the test. The memory is unmapped when the test ends.
func Fenced(t testing.TB, n int, atEnd bool) []float32 {
	t.Helper()
	page := syscall.Getpagesize()
	body := (n*4 + page - 1) / page * page
	mem, err := syscall.Mmap(-1, 0, body+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatalf("mmap: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(mem) })
	for _, fence := range [][]byte{mem[:page], mem[page+body:]} {
		if err := syscall.Mprotect(fence, syscall.PROT_NONE); err != nil {
			t.Fatalf("mprotect: %v", err)
		}
	}
	inner := mem[page : page+body]
	if atEnd {
		inner = inner[body-n*4:]
	}
	if n == 0 {
		return nil
	}
	x := unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(inner))), n)
	for i := range x {
		x[i] = float32(math.Mod(float64(i)*0.37, 3) - 1.5)
	}
	return x
}
