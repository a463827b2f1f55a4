package safetensors

import "syscall"

// drop may fail, and then the memory stays until Close.
func drop(b []byte) { _ = syscall.Madvise(b, syscall.MADV_DONTNEED) }
