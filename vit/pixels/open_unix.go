//go:build unix

package pixels

import "syscall"

// openFlags keeps an open from waiting, should a FIFO take the file's place between stat and open.
const openFlags = syscall.O_NONBLOCK
