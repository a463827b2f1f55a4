package durable

import (
	"io"
	"sync/atomic"
)

var written atomic.Int64

// Written is how many bytes this process has written through this package, by which memory cards wear. What a file system
// adds of its own is not in it.
func Written() int64 { return written.Load() }

// counted counts what is written to w.
type counted struct{ w io.Writer }

func (c counted) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	written.Add(int64(n))
	return n, err
}
