package kernels

import "encoding/binary"

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
	for j := range n {
		row := w[j*k : (j+1)*k]
		panel, c := p.data[j/width*width*p.kp:], j%width
		switch layout {
		case i8Pairs:
			packGroups2(panel, row, c)
		case i8Quads:
			packGroups4(panel, row, c)
		default:
			for len(row) > 0 {
				n := copy(panel[c*chainBlock:(c+1)*chainBlock], row)
				row, panel = row[n:], panel[4*chainBlock:]
			}
		}
	}
	p.chain4 = layout == i8Runs && brokenChain(w, n, k) < 0
}

// packGroups2 is panel[g][c][i] = row[2g+i] for a panel of 16 channels.
func packGroups2(panel, row []int8, c int) {
	d := panel[c*2:]
	for ; len(row) >= 2; row = row[2:] {
		d[0], d[1] = row[0], row[1]
		if len(d) > 32 {
			d = d[32:]
		}
	}
	if len(row) > 0 {
		d[0] = row[0]
	}
}

// packGroups4 is panel[g][c][i] = row[4g+i] for a panel of 16 channels.
func packGroups4(panel, row []int8, c int) {
	d := panel[c*4:]
	for ; len(row) >= 4; row = row[4:] {
		*(*[4]int8)(d) = *(*[4]int8)(row)
		if len(d) > 64 {
			d = d[64:]
		}
	}
	copy(d[:4], row)
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
	for ; len(q) >= 8; q = q[8:] {
		x := load8(q) ^ 0x8080808080808080 // a byte of zero where the value is -128
		if (x-0x0101010101010101)&^x&0x8080808080808080 != 0 {
			return true
		}
	}
	for _, v := range q {
		if v == -128 {
			return true
		}
	}
	return false
}

// load8 is eight values as one word, the first in the low byte.
func load8(q []int8) uint64 {
	_ = q[7]
	b := [8]byte{byte(q[0]), byte(q[1]), byte(q[2]), byte(q[3]), byte(q[4]), byte(q[5]), byte(q[6]), byte(q[7])}
	return binary.LittleEndian.Uint64(b[:])
}
