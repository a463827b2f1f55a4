// Package kerneltest holds what the tests of kernels share: fenced buffers, inputs that hurt, and comparators that are
// tested themselves. Nothing but tests imports it.
package kerneltest

import (
	"fmt"
	"math"
)

// guard is the bit pattern around every Buffer: a NaN that no kernel produces.
const (
	guard      = 0x7fdeadbf
	guardWords = 64
)

// Buffer is a slice between guard words, so that a store outside it shows, and a load outside it turns up as NaN.
type Buffer struct {
	X    []float32
	all  []float32
	from int
}

// NewBuffer returns a Buffer of n zeros that begins offset floats (0 to 15) past a multiple of 64 bytes from its block.
func NewBuffer(n, offset int) *Buffer {
	b := &Buffer{all: make([]float32, n+offset+2*guardWords), from: guardWords + offset}
	for i := range b.all {
		b.all[i] = math.Float32frombits(guard)
	}
	b.X = b.all[b.from : b.from+n : b.from+n]
	clear(b.X)
	return b
}

// Check says whether a guard word was overwritten.
func (b *Buffer) Check() error {
	for i, v := range b.all {
		if inside := i >= b.from && i < b.from+len(b.X); !inside && math.Float32bits(v) != guard {
			return fmt.Errorf("smashed x[%d] of a slice of %d", i-b.from, len(b.X))
		}
	}
	return nil
}
