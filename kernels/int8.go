package kernels

import (
	"encoding/binary"
	"unsafe"
)

// MaxKI8 is the longest inner dimension of an int8 product: 128 * 127 * MaxKI8 is just below 2^31.
const MaxKI8 = 131072

// i8Layout is how the bytes of a packed right-hand operand lie. Each instruction set wants its own; a PanelsI8 stays
// with the one that it was packed for.
type i8Layout uint8

const (
	// i8Runs is [N/4][K/32][4][32]: for each of 4 channels a run of 32 k. Generic, NEON.
	i8Runs i8Layout = iota
	// i8Pairs is [N/16][K/2][16][2]: for each of 16 channels 2 neighbouring k. AVX2 (VPMADDWD).
	i8Pairs
	// i8Quads is [N/16][K/4][16][4]: for each of 16 channels 4 neighbouring k. NEON with dot product (SDOT).
	i8Quads
)

// shape is how many channels a panel of the layout holds, and the multiple that K is padded to.
func (l i8Layout) shape() (width, unit int) {
	switch l {
	case i8Pairs:
		return 16, 4
	case i8Quads:
		return 16, 16
	}
	return 4, chainBlock
}

// PanelsI8 is the right-hand operand of GemmI8: the int8 weights w [N, K] of N output channels, packed in the layout of
// this machine's kernel. K is padded with zeros to a multiple of 4 (AVX2), 16 (dot product) or 32, N to a multiple of
// the panel's width.
type PanelsI8 struct {
	K, N   int
	kp     int // K, padded
	layout i8Layout
	chain4 bool // i8Runs: CheckChains holds
	data   []int8
}

// Pack takes w [n, k] row-major, every value in [-127, 127]; -128 is a programmer error. It allocates only when the
// operand grows.
func (p *PanelsI8) Pack(w []int8, k, n int) { p.pack(w, k, n, i8PathLayout()) }

func (p *PanelsI8) pack(w []int8, k, n int, layout i8Layout) {
	if k < 1 || n < 1 || k > MaxKI8 || len(w) < k*n {
		panic("kernels: PanelsI8.Pack: w is smaller than its shape, or K above MaxKI8")
	}
	w = w[:k*n]
	if hasMinInt8(w) {
		panic("kernels: PanelsI8.Pack: a weight of -128")
	}
	width, unit := layout.shape()
	p.K, p.N, p.layout = k, n, layout
	p.kp = roundUp(k, unit)
	size := roundUp(n, width) * p.kp
	if cap(p.data) < size {
		p.data = make([]int8, size)
	}
	p.data = p.data[:size]
	if k != p.kp || n%width != 0 {
		clear(p.data)
	}
	for j := 0; j < n; j += width {
		panel, rows := p.data[j*p.kp:(j+width)*p.kp], w[j*k:min(j+width, n)*k]
		switch layout {
		case i8Pairs:
			packPairs(panel, rows, k)
		case i8Quads:
			packQuads(panel, rows, k)
		default:
			packRuns(panel, rows, k)
		}
	}
	p.chain4 = layout == i8Runs && brokenChain(w, n, k) < 0
}

// packRuns is panel[k/32][c][k%32] = rows[c,k] for a panel of 4 channels.
func packRuns(panel, rows []int8, k int) {
	for c := 0; c*k < len(rows); c++ {
		d := panel[c*chainBlock:]
		for row := rows[c*k : (c+1)*k]; len(row) > 0; row = row[min(len(row), chainBlock):] {
			copy(d[:chainBlock], row)
			d = d[min(len(d), 4*chainBlock):]
		}
	}
}

// packQuads is panel[k/4][c][k%4] = rows[c,k] for a panel of 16 channels.
func packQuads(panel, rows []int8, k int) {
	for c := 0; c*k < len(rows); c++ {
		d, row := panel[c*4:], rows[c*k:(c+1)*k]
		for ; len(row) >= 4; row = row[4:] {
			*(*[4]int8)(d) = *(*[4]int8)(row)
			d = d[min(len(d), 64):]
		}
		copy(d, row)
	}
}

// packPairs is panel[k/2][c][k%2] = rows[c,k] for a panel of 16 channels.
func packPairs(panel, rows []int8, k int) {
	n, c, done := len(rows)/k, 0, k&^7
	for ; c+4 <= n; c += 4 {
		packPairs4(panel[c*2:], rows[c*k:(c+4)*k], k)
		for r := c; r < c+4 && done < k; r++ {
			packPairs1(panel[done*16+r*2:], rows[r*k+done:(r+1)*k])
		}
	}
	for ; c < n; c++ {
		packPairs1(panel[c*2:], rows[c*k:(c+1)*k])
	}
}

// packPairs1 is the pairs of one channel.
func packPairs1(d, row []int8) {
	for ; len(row) >= 2; row = row[2:] {
		d[0], d[1] = row[0], row[1]
		d = d[min(len(d), 32):]
	}
	copy(d, row)
}

// packPairs4 transposes the pairs of four channels, eight k at a time; it leaves out the last k%8.
func packPairs4(panel, rows []int8, k int) {
	const odd, even, low = 0xffff0000ffff0000, 0x0000ffff0000ffff, 0x00000000ffffffff
	r := asBytes(rows)
	r0, r1, r2, r3 := r[:k], r[k:2*k], r[2*k:3*k], r[3*k:4*k]
	d := asBytes(panel)
	for len(r0) >= 8 && len(r1) >= 8 && len(r2) >= 8 && len(r3) >= 8 && len(d) >= 104 {
		x0, x1 := binary.LittleEndian.Uint64(r0), binary.LittleEndian.Uint64(r1)
		x2, x3 := binary.LittleEndian.Uint64(r2), binary.LittleEndian.Uint64(r3)
		a02, a13 := x0&even|x1&even<<16, x0>>16&even|x1&odd // pairs 0 and 2, then 1 and 3, of channels 0 and 1
		b02, b13 := x2&even|x3&even<<16, x2>>16&even|x3&odd // and of channels 2 and 3
		binary.LittleEndian.PutUint64(d, a02&low|b02<<32)
		binary.LittleEndian.PutUint64(d[32:], a13&low|b13<<32)
		binary.LittleEndian.PutUint64(d[64:], a02>>32|b02&^low)
		binary.LittleEndian.PutUint64(d[96:], a13>>32|b13&^low)
		r0, r1, r2, r3, d = r0[8:], r1[8:], r2[8:], r3[8:], d[min(len(d), 128):]
	}
}

// GemmI8 is the product of int8 activations and packed weights, exact in int32: for every i < m and j < p.N
//
//	acc[i*ldacc+j] = sum over k < p.K of int32(a[i*lda+k]) * int32(w[j,k])
//
// a is [m, K] with rows lda apart and any int8 value. Integer sums have no rounding and cannot overflow for
// K <= MaxKI8, and no kernel saturates, so every instruction set and every split of the rows gives the same bits.
// Nothing between the rows of acc is touched. acc must not overlap a.
func GemmI8(acc []int32, ldacc int, a []int8, lda, m int, p *PanelsI8) {
	if m == 0 || p.N == 0 {
		return
	}
	if lda < p.K || ldacc < p.N || len(a) < (m-1)*lda+p.K || len(acc) < (m-1)*ldacc+p.N {
		panic("kernels: GemmI8: A or the accumulator is smaller than its shape")
	}
	gemmI8(acc, ldacc, a, lda, m, p)
}

// roundUp is the smallest multiple of unit, not below n.
func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }

// hasMinInt8 says whether any value is -128.
func hasMinInt8(q []int8) bool {
	b := asBytes(q)
	for ; len(b) >= 8; b = b[8:] {
		x := binary.LittleEndian.Uint64(b) ^ 0x8080808080808080 // a byte of zero where the value is -128
		if (x-0x0101010101010101)&^x&0x8080808080808080 != 0 {
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
