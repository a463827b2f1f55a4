package kernels

import "edgejepa/fp"

// Operands stored as halves are widened while they are packed, which is exact; the product is that of float32 panels.

// PackHalf is Pack of halves: x is [k, n] with rows ldx apart.
func (b *Panels) PackHalf(x []uint16, ldx, k, n int) {
	b.reserve(k, n)
	for p := 0; p*NR < n; p++ {
		b.PackRowsHalfAt(x, ldx, p, 0, k)
	}
}

// PackRowsHalfAt is PackRowsAt of halves: rows [k0, k0+rows) of panel p from x [rows, N], which holds these rows only;
// the shape must have been set.
func (b *Panels) PackRowsHalfAt(x []uint16, ldx, p, k0, rows int) {
	if rows == 0 {
		return
	}
	dst := b.Data[p*NR*b.K+k0*NR:][:rows*NR]
	j, w := p*NR, min(NR, b.N-p*NR)
	_ = x[(rows-1)*ldx+j+w-1]
	done := 0
	if w == NR {
		done = packRowsHalfVector(dst, x[j:], ldx, rows)
	}
	for i := done; i < rows; i++ {
		d := dst[i*NR:][:NR]
		fp.DecodeHalf(d[:w], x[i*ldx+j:][:w])
		clear(d[w:])
	}
}

// PackTHalf is PackT of halves: w is [n, k] with rows ldw apart.
func (b *Panels) PackTHalf(w []uint16, ldw, k, n int) {
	b.reserve(k, n)
	for p := 0; p*NR < n; p++ {
		b.PackPanelTHalf(w, ldw, p)
	}
}

// PackPanelTHalf is PackPanelT of halves; the shape must have been set.
func (b *Panels) PackPanelTHalf(w []uint16, ldw, p int) {
	if b.K == 0 {
		return
	}
	dst := b.Data[p*NR*b.K : (p+1)*NR*b.K]
	j, width := p*NR, min(NR, b.N-p*NR)
	_ = w[(j+width-1)*ldw+b.K-1]
	w = w[j*ldw:]
	done := 0
	if width == NR {
		done = packTHalfVector(dst, w, ldw, b.K)
	} else {
		clear(dst)
	}
	// What is left is widened four rows at a time: a cache line of dst is visited four times, not sixteen.
	var rows [4][64]float32
	for k := done; k < b.K; k += len(rows[0]) {
		n := min(len(rows[0]), b.K-k)
		for r := 0; r < width; r += len(rows) {
			h := min(len(rows), width-r)
			for i := range h {
				fp.DecodeHalf(rows[i][:n], w[(r+i)*ldw+k:][:n])
			}
			for kk := range n {
				d := dst[(k+kk)*NR+r:][:h]
				for i := range d {
					d[i] = rows[i][kk]
				}
			}
		}
	}
}
