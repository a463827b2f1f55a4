package kernels

// NR is the width of a panel: two AVX2 registers, four NEON registers.
const NR = 16

// MR is the number of rows that a tile of the product holds in registers.
const MR = 6

// Panels is the right-hand operand B [K, N] of a product, packed for the tile kernels: ceil(N/NR) panels, panel p
// holding columns p*NR..p*NR+NR-1 as [K][NR], with zeros beyond N. One layout serves every instruction set.
type Panels struct {
	K, N int
	Data []float32 // PanelLen(K, N) values
}

// PanelLen returns how many float32 the packed form of a [k, n] operand takes.
func PanelLen(k, n int) int { return (n + NR - 1) / NR * NR * k }

// reserve sets the shape, and allocates only if Data has too little capacity.
func (b *Panels) reserve(k, n int) {
	b.K, b.N = k, n
	if need := PanelLen(k, n); cap(b.Data) < need {
		b.Data = make([]float32, need)
	} else {
		b.Data = b.Data[:need]
	}
}

// Pack takes B as it stands: x is [k, n] with rows ldx apart.
func (b *Panels) Pack(x []float32, ldx, k, n int) {
	b.reserve(k, n)
	rows := k
	if ldx >= 1024 { // each row begins a page: a few of them for all panels, before the next
		rows = 16
	}
	for i := 0; i < k; i += rows {
		for p := 0; p*NR < n; p++ {
			b.PackRows(x, ldx, p, i, min(i+rows, k))
		}
	}
}

// PackRows packs rows [k0, k1) of panel p from x [K, N], rows ldx apart; the shape must have been set.
func (b *Panels) PackRows(x []float32, ldx, p, k0, k1 int) {
	b.PackRowsAt(x[k0*ldx:], ldx, p, k0, k1-k0)
}

// PackRowsAt packs rows [k0, k0+rows) of panel p from x [rows, N], which holds these rows only.
func (b *Panels) PackRowsAt(x []float32, ldx, p, k0, rows int) {
	dst := b.Data[p*NR*b.K+k0*NR:][:rows*NR]
	j, w := p*NR, min(NR, b.N-p*NR)
	done := 0
	if w == NR && rows > 0 {
		_ = x[(rows-1)*ldx+j+NR-1]
		done = packRowsVector(dst, x[j:], ldx, rows)
	}
	for i := done; i < rows; i++ {
		d := (*[NR]float32)(dst[i*NR:])
		if w == NR {
			row := *(*[NR]float32)(x[i*ldx+j:]) // a copy of its own: the compiler then needs no memmove
			*d = row
		} else {
			clear(d[copy(d[:], x[i*ldx+j:i*ldx+j+w]):])
		}
	}
}

// PackT takes B = wᵀ: w is [n, k] with rows ldw apart, as the weight of a linear layer is stored.
func (b *Panels) PackT(w []float32, ldw, k, n int) {
	b.reserve(k, n)
	for p := 0; p*NR < n; p++ {
		b.PackPanelT(w, ldw, p)
	}
}

// PackPanelT packs panel p of B = wᵀ; the shape must have been set.
func (b *Panels) PackPanelT(w []float32, ldw, p int) {
	dst := b.Data[p*NR*b.K : (p+1)*NR*b.K]
	j, width := p*NR, min(NR, b.N-p*NR)
	if width < NR {
		clear(dst)
	}
	done := 0
	if width == NR && b.K > 0 {
		_ = w[(j+NR-1)*ldw+b.K-1]
		if done = packTVector(dst, w[j*ldw:], ldw, b.K); done == b.K {
			return
		}
	}
	dst, rest := dst[done*NR:], b.K-done
	r := 0
	for ; r+4 <= width; r += 4 { // four rows at a time: a cache line of dst is visited four times, not sixteen
		w0 := w[(j+r)*ldw+done:][:rest]
		w1 := w[(j+r+1)*ldw+done:][:rest]
		w2 := w[(j+r+2)*ldw+done:][:rest]
		w3 := w[(j+r+3)*ldw+done:][:rest]
		d := dst[r:]
		for k := range w0 {
			q := d[:4]
			q[0], q[1], q[2], q[3] = w0[k], w1[k], w2[k], w3[k]
			if len(d) > NR {
				d = d[NR:]
			}
		}
	}
	for ; r < width; r++ {
		for k, v := range w[(j+r)*ldw+done:][:rest] {
			dst[k*NR+r] = v
		}
	}
}

// SetShape prepares b for packing panel by panel.
func (b *Panels) SetShape(k, n int) { b.reserve(k, n) }
