package i8

import (
	"encoding/binary"
	"unsafe"
)

// MaxK is the longest inner dimension of an int8 product: 128 * 127 * MaxK is just below 2^31.
const MaxK = 131072

// Panels is the right-hand operand of Gemm: the int8 weights w [N, K] of N output channels, packed in the layout of
// this machine's kernel. N is padded with zeros to a multiple of the panel's width, K to the layout's unit.
type Panels struct {
	K, N   int
	kp     int // K, padded
	layout arrangement
	chain4 bool    // CheckChains holds; looked at only if the layout gains by it
	data   []int8  // one panel after the other
	start  []int32 // what the sums of each channel begin with, N padded
}

// Pack takes w [n, k] row-major, every value in [-127, 127]; -128 is a programmer error. It allocates only when the
// operand grows.
func (p *Panels) Pack(w []int8, k, n int) { p.pack(w, k, n, pathLayout()) }

func (p *Panels) pack(w []int8, k, n int, layout arrangement) {
	if k < 1 || n < 1 || k > MaxK || len(w) < k*n {
		panic("i8: Panels.Pack: w is smaller than its shape, or K above MaxK")
	}
	w = w[:k*n]
	if hasMinInt8(w) {
		panic("i8: Panels.Pack: a weight of -128")
	}
	l := &geometries[layout]
	p.K, p.N, p.layout = k, n, layout
	p.kp = roundUp(k, l.unit)
	np := roundUp(n, l.width)
	p.data = grow(p.data, np*p.kp)
	p.start = grow(p.start, np)
	if k != p.kp || n != np {
		clear(p.data)
	}
	clear(p.start)
	for j := 0; j < n; j += l.width {
		panel, start := p.data[j*p.kp:(j+l.width)*p.kp], p.start[j:j+l.width]
		packPanel(panel, start, w[j*k:min(j+l.width, n)*k], k, l)
	}
	p.chain4 = l.chains && brokenChain(w, n, k) < 0
}

// grow is x with n elements: values are left over or zero.
func grow[T any](x []T, n int) []T {
	if cap(x) < n {
		return make([]T, n)
	}
	return x[:n]
}

// Gemm is the product of int8 activations and packed weights, exact in int32: for every i < m and j < p.N
//
//	acc[i*ldacc+j] = sum over k < p.K of int32(a[i*lda+k]) * int32(w[j,k])
//
// a is [m, K] with rows lda apart and any int8 value. Integer sums have no rounding and cannot overflow for
// K <= MaxK, and no kernel saturates, so every instruction set and every split of the rows gives the same bits.
// Nothing between the rows of acc is touched. acc must not overlap a.
func Gemm(acc []int32, ldacc int, a []int8, lda, m int, p *Panels) {
	if m == 0 || p.N == 0 {
		return
	}
	if lda < p.K || ldacc < p.N || len(a) < (m-1)*lda+p.K || len(acc) < (m-1)*ldacc+p.N {
		panic("i8: Gemm: A or the accumulator is smaller than its shape")
	}
	var s scratch
	s.gemm(acc, ldacc, a, lda, m, p)
}

// roundUp is the smallest multiple of unit, not below n.
func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }

// hasMinInt8Generic says whether any value is -128.
func hasMinInt8Generic(q []int8) bool {
	const low, high = 0x0101010101010101, 0x8080808080808080
	b := asBytes(q)
	for ; len(b) >= 32; b = b[32:] {
		// bytes of zero where a value is -128
		x0, x1 := binary.LittleEndian.Uint64(b)^high, binary.LittleEndian.Uint64(b[8:])^high
		x2, x3 := binary.LittleEndian.Uint64(b[16:])^high, binary.LittleEndian.Uint64(b[24:])^high
		if ((x0-low)&^x0|(x1-low)&^x1|(x2-low)&^x2|(x3-low)&^x3)&high != 0 {
			return true
		}
	}
	for _, v := range b {
		if v == 0x80 {
			return true
		}
	}
	return false
}

// asBytes is q as the bytes that it lies in.
func asBytes(q []int8) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(q))), len(q))
}
