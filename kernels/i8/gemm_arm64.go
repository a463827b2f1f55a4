//go:build !purego

package i8

import "edgejepa/internal/cpu"

// Bounds on one call into assembly. A goroutine cannot be preempted inside it, and a Cortex-A53 without SDOT takes up to
// 100 microseconds for callMACs; the panels that a call streams through fit a first-level cache of 32 KiB beside the
// rows of A. One pass takes passK of the inner dimension.
const (
	callMACs  = 1 << 18
	callBytes = 24 << 10
	passK     = 4096
)

// tile is the argument of the tile kernels. A tile has 4 rows, or 3 on a core that issues in order, and panels of
// 4 channels (inRuns), or with SDOT 6 rows and panels of 16 (inDots). Where fewer rows are left the last one is repeated, sums and all.
type tile struct {
	a      [6]*int8  // the rows, at the pass's first k
	c      [6]*int32 // the rows' sums, at the first panel
	b      *int8     // the first panel, at the pass's first k
	skip   int       // bytes from the pass's end in one panel to its start in the next
	blocks int       // whole blocks of k: 32 (inRuns) or 16 (inDots)
	rest   int       // 1: one more block follows, the rows of which are in tail
	panels int
	add    int // 1: continue the sums in c
	tail   [6][chainBlock]int8
}

// tileNEON takes four rows through panels of inRuns. For r < 4, j < 4*panels:
//
//	c[r][j] = sum over k of int32(a[r][k]) * w[j,k]      // + c[r][j] with add
//
// It adds four products in an int16 lane: the weights must obey the chain rule.
//
//go:noescape
func tileNEON(t *tile)

// tilePairNEON is tileNEON for any weights in [-127, 127]: two products in an int16 lane.
//
//go:noescape
func tilePairNEON(t *tile)

// tileInOrderNEON and tilePairInOrderNEON are the two for three rows, scheduled for a core that issues in order.
//
//go:noescape
func tileInOrderNEON(t *tile)

//go:noescape
func tilePairInOrderNEON(t *tile)

// tileDotProd is the same for six rows and panels of inDots.
//
//go:noescape
func tileDotProd(t *tile)

func pathLayout() arrangement {
	switch {
	case cpu.HasI8MM:
		return inOcts
	case cpu.HasDotProd:
		return inDots
	}
	return inRuns
}

// The block of a product that GemmF32 completes at a time: 12 KiB of sums, which stay in the first-level cache. Rows are
// a multiple of every tile's, columns of every panel's.
const (
	fusedRows = 24
	fusedCols = 128
)

// scratch is what a product needs beside its operands; here its functions have it.
type scratch struct{}

// gemm is Gemm without its checks.
func (*scratch) gemm(acc []int32, ldacc int, a []int8, lda, m int, p *Panels) {
	switch {
	case p.layout == inOcts:
		gemmMM(acc, ldacc, a, lda, m, p)
	case p.layout == inDots || cpu.HasNEON:
		gemmNEON(acc, ldacc, a, lda, m, p)
	default:
		gemmGeneric(acc, ldacc, a, lda, m, p)
	}
}

func gemmNEON(acc []int32, ldacc int, a []int8, lda, m int, p *Panels) {
	var t tile
	var edge [6 * 16]int32
	width, unit := geometries[p.layout].width, geometries[p.layout].unit
	tall := 4
	switch {
	case p.layout == inDots:
		tall = 6
	case cpu.InOrder:
		tall = 3
	}
	for k := 0; k < p.K; k += passK {
		kc := min(passK, p.K-k)
		kp := roundUp(kc, unit)
		t.blocks, t.rest, t.add = kc/unit, (kp-kc+unit-1)/unit, min(k, 1)
		t.skip = width * (p.kp - kp)
		most := max(1, min(callMACs/(tall*width*kp), callBytes/(width*kp)))
		full := p.N / width
		for j := 0; j < full; j += most {
			t.panels = min(most, full-j)
			for i := 0; i < m; i += tall {
				t.b = &p.data[width*(j*p.kp+k)]
				rows := min(tall, m-i)
				t.rows(a[i*lda+k:], lda, rows, kc-t.blocks*unit, t.blocks*unit)
				for r := range tall {
					t.c[r] = &acc[(i+min(r, rows-1))*ldacc+j*width]
				}
				t.run(p)
			}
		}
		if j := width * full; j < p.N { // a cut panel goes through edge, so that nothing outside acc is touched
			t.panels = 1
			for i := 0; i < m; i += tall {
				t.b = &p.data[j*p.kp+width*k]
				rows := min(tall, m-i)
				t.rows(a[i*lda+k:], lda, rows, kc-t.blocks*unit, t.blocks*unit)
				for r := range tall {
					e := edge[min(r, rows-1)*width:]
					t.c[r] = &e[0]
					if t.add != 0 && r < rows {
						copy(e, acc[(i+r)*ldacc+j:(i+r)*ldacc+p.N])
					}
				}
				t.run(p)
				for r := range rows {
					copy(acc[(i+r)*ldacc+j:(i+r)*ldacc+p.N], edge[r*width:])
				}
			}
		}
	}
}

// rows points t at rows of a, and copies the rest values of each from k0 on, which fill no block, to tail.
func (t *tile) rows(a []int8, lda, rows, rest, k0 int) {
	for r := range t.a {
		i := min(r, rows-1) * lda
		t.a[r] = &a[i]
		if rest > 0 {
			clear(t.tail[r][copy(t.tail[r][:], a[i+k0:i+k0+rest]):])
		}
	}
}

func (t *tile) run(p *Panels) {
	switch {
	case p.layout == inDots:
		tileDotProd(t)
	case cpu.InOrder && p.chain4:
		tileInOrderNEON(t)
	case cpu.InOrder:
		tilePairInOrderNEON(t)
	case p.chain4:
		tileNEON(t)
	default:
		tilePairNEON(t)
	}
}

// packVector packs no channels: see the amd64 version.
func packVector(panel []int8, start []int32, rows []int8, k int, l *geometry) int { return 0 }

func brokenBlocks(q []int8) bool { return brokenBlocksGeneric(q) }
