//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package safetensors

import (
	"os"
	"syscall"
)

func mapFile(src *os.File, size int) ([]byte, error) {
	return syscall.Mmap(int(src.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_PRIVATE)
}

func unmap(b []byte) error { return os.NewSyscallError("munmap", syscall.Munmap(b)) }
