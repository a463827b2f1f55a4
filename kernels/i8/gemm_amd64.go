//go:build !purego

package i8

import "edgejepa/internal/cpu"

// passK is how many k one pass of a tile takes: twelve rows of that many bytes are 6 KiB. rowLen is how far those
// rows are apart; the odd cache line keeps them out of each other's way.
const (
	passK  = 512
	rowLen = passK + 64
)

// callMACs and callBytes bound one call into assembly to some tens of microseconds: a goroutine cannot be preempted
// inside it.
const (
	callMACs  = 1 << 20
	callBytes = 1 << 18
)

// tile is the state of a product. A tile kernel takes rows of activations through panels of weights: with width the
// channels of a panel, for r < rows, j < width*panels
//
//	c[r*ldc+j] = init[r*ldInit+j] + sum over the k of the pass of int32(a[r,k]) * w[j,k]
//
// where b is the first panel at the pass's first k. c may be init.
type tile struct {
	bStep        int // bytes from one panel to the next
	ldc, ldInit  int // int32 from one row to the next
	steps        int // of the pass: 4 k, or 8 k (inChains)
	rows, panels int
	chained      bool                 // inChains: tileChainsAVX2 will do for these rows
	owed         [3]int32             // inChains: what each row's sums begin with beside init
	a            [12 * rowLen]int8    // the rows as the kernel wants them
	tail         [12][chainBlock]int8 // their last k, padded with zeros
	edge         [12 * 32]int32       // the sums of a cut panel
}

// tileAVX512VNNI is for inQuads32 and 1, 2, 4 or 12 rows.
//
//go:noescape
func tileAVX512VNNI(t *tile, b *int8, c, init *int32)

// tileAVXVNNI is for inQuads and 1, 2, 4 or 6 rows.
//
//go:noescape
func tileAVXVNNI(t *tile, b *int8, c, init *int32)

// tileChainsAVX2 is for inChains and 1, 2 or 3 rows. It adds four products in an int16 lane: the weights must obey the
// chain rule, and no activation may be -128.
//
//go:noescape
func tileChainsAVX2(t *tile, b *int8, c, init *int32)

// tilePairsAVX2 is tileChainsAVX2 for any weights in [-127, 127] and any activations: two products in an int16 lane.
//
//go:noescape
func tilePairsAVX2(t *tile, b *int8, c, init *int32)

// spreadBiasedAVX2 is for r < rows, i < n { dst[r*rowLen+i] = src[r*lda+i] ^ -128 }, which is src+128 as an unsigned
// byte; n is a multiple of 32.
//
//go:noescape
func spreadBiasedAVX2(dst, src *int8, rows, lda, n int)

// spreadChainsAVX2 puts blocks of 32 of each row into chainOrder, as what their signs are taken from, and at rowLen as
// magnitudes; rows of dst are 2*rowLen apart, n is a multiple of 32. keep, in chainOrder, is -1 for VPSIGNB, which wants
// the value or anything of its sign, and 0 for VPXOR, which wants -1 where it is negative. The magnitudes of those are added
// to owed. lowest says whether there is a -128.
//
//go:noescape
func spreadChainsAVX2(dst, src *int8, rows, lda, n int, keep *[chainBlock]int8, owed *[3]int32) (lowest bool)

// packQuadsAVX2 packs blocks of 32 k of 8 channels, the rows of src k apart: for b < blocks, i < 32, c < 8
//
//	dst[(8*b+i/4)*step + 4*c + i%4] = src[c*k + 32*b + order(i)]
//	sums[c] += int32(src[c*k + 32*b + i])
//
//go:noescape
func packQuadsAVX2(dst, src *int8, k, blocks, step int, order *byteOrder, sums *[8]int32)

// brokenChainsAVX2 says whether any of the blocks of 32 weights breaks the chain rule. No weight is -128.
//
//go:noescape
func brokenChainsAVX2(q *int8, blocks int) bool

func pathLayout() arrangement {
	switch {
	case cpu.HasAVX512VNNI:
		return inQuads32
	case cpu.HasAVXVNNI:
		return inQuads
	case cpu.HasAVX2FMA:
		return inChains
	}
	return inRuns
}

// The block of a product that GemmF32 completes at a time: 9 KiB of sums, which stay in the first-level cache. Rows are
// a multiple of every tile's, columns of every panel's.
const (
	fusedRows = 12
	fusedCols = 192
)

// scratch is what a product needs beside its operands.
type scratch = tile

// gemm is Gemm without its checks.
func (t *tile) gemm(acc []int32, ldacc int, a []int8, lda, m int, p *Panels) {
	if p.layout == inRuns {
		gemmGeneric(acc, ldacc, a, lda, m, p)
		return
	}
	width := geometries[p.layout].width
	t.bStep = width * p.kp
	full := p.N / width
	for i := 0; i < m; i += t.rows {
		t.rows = p.tileRows(m - i)
		for k := 0; k < p.K; k += passK {
			kc := min(passK, p.K-k)
			t.load(a[i*lda+k:], lda, kc, p)
			most := max(1, callMACs/(width*t.rows*kc))
			for j := 0; j < full; j += most {
				t.panels = min(most, full-j)
				t.pass(acc[i*ldacc+width*j:], ldacc, p, width*j, k)
			}
			if j := width * full; j < p.N { // a cut panel goes through edge, so that nothing outside acc is touched
				t.panels = 1
				t.pass(t.edge[:], width, p, j, k)
				if k+kc == p.K {
					for r := range t.rows {
						copy(acc[(i+r)*ldacc+j:(i+r)*ldacc+p.N], t.edge[width*r:])
					}
				}
			}
		}
	}
}

// pass runs the tile kernel from channel j and from k on: the first pass begins with the channels' starts, the others
// with what is in c.
func (t *tile) pass(c []int32, ldc int, p *Panels, j, k int) {
	b, sums, init := &p.data[j*p.kp+geometries[p.layout].width*k], &c[0], &c[0]
	t.ldc, t.ldInit = ldc, ldc
	if k == 0 {
		init, t.ldInit = &p.start[j], 0
	}
	switch {
	case p.layout == inQuads32:
		tileAVX512VNNI(t, b, sums, init)
	case p.layout == inQuads:
		tileAVXVNNI(t, b, sums, init)
	case t.chained:
		tileChainsAVX2(t, b, sums, init)
	default:
		tilePairsAVX2(t, b, sums, init)
	}
}

// tileRows is the tallest tile for the rows that are left.
func (p *Panels) tileRows(left int) int {
	switch {
	case p.layout == inChains:
		return min(left, 3)
	case p.layout == inQuads32 && left >= 12:
		return 12
	case p.layout == inQuads && left >= 6:
		return 6
	case left >= 4:
		return 4
	}
	return min(left, 2)
}

// load copies kc values of each row of a to t.a, as the layout's kernel wants them, padded with zeros.
func (t *tile) load(a []int8, lda, kc int, p *Panels) {
	n := kc &^ (chainBlock - 1)
	if n < kc {
		for r := range t.rows {
			clear(t.tail[r][copy(t.tail[r][:], a[r*lda+n:r*lda+kc]):])
		}
	}
	if p.layout == inChains {
		t.steps = roundUp(kc, chainBlock) / 8
		t.chained = p.chain4 && !t.spreadChains(a, lda, kc, &keepLower)
		if !t.chained {
			t.spreadChains(a, lda, kc, &keepNone)
		}
		return
	}
	t.steps = (kc + 3) / 4
	if n > 0 {
		spreadBiasedAVX2(&t.a[0], &a[0], t.rows, lda, n)
	}
	if n < kc {
		spreadBiasedAVX2(&t.a[n], &t.tail[0][0], t.rows, chainBlock, chainBlock)
	}
}

// What of a block, in chainOrder, is for VPSIGNB: its lower half in tileChainsAVX2, nothing in tilePairsAVX2.
var (
	keepLower = [chainBlock]int8{
		-1, -1, -1, -1, 0, 0, 0, 0, -1, -1, -1, -1, 0, 0, 0, 0,
		-1, -1, -1, -1, 0, 0, 0, 0, -1, -1, -1, -1, 0, 0, 0, 0}
	keepNone [chainBlock]int8
)

// spreadChains is load for inChains, after it has cut off the tail.
func (t *tile) spreadChains(a []int8, lda, kc int, keep *[chainBlock]int8) (lowest bool) {
	n := kc &^ (chainBlock - 1)
	clear(t.owed[:])
	if n > 0 {
		lowest = spreadChainsAVX2(&t.a[0], &a[0], t.rows, lda, n, keep, &t.owed)
	}
	if n < kc {
		lowest = spreadChainsAVX2(&t.a[n], &t.tail[0][0], t.rows, chainBlock, chainBlock, keep, &t.owed) || lowest
	}
	return lowest
}

// packVector packs whole groups of 8 channels, and says how many channels that was.
func packVector(panel []int8, start []int32, rows []int8, k int, l *geometry) int {
	if !cpu.HasAVX2FMA || l.run != 4 {
		return 0
	}
	order := l.order
	if order == nil {
		order = &plainOrder
	}
	done, blocks, step := len(rows)/k&^7, k/chainBlock, 4*l.width
	for c := 0; c < done; c += 8 {
		var sums [8]int32
		if blocks > 0 {
			packQuadsAVX2(&panel[4*c], &rows[c*k], k, blocks, step, order, &sums)
		}
		if k0 := blocks * chainBlock; k0 < k {
			var tail [8 * chainBlock]int8
			var packed [8 * chainBlock]int8
			for r := range 8 {
				copy(tail[r*chainBlock:(r+1)*chainBlock], rows[(c+r)*k+k0:(c+r+1)*k])
			}
			packQuadsAVX2(&packed[0], &tail[0], chainBlock, 1, 32, order, &sums)
			for d, i := panel[k0*l.width+4*c:], 0; i < roundUp(k-k0, l.unit)/4; i++ {
				copy(d[i*step:i*step+32], packed[32*i:])
			}
		}
		if l.biased {
			for r, s := range sums {
				start[c+r] = -128 * s
			}
		}
	}
	return done
}

// brokenBlocks says whether any block of q breaks the chain rule; the length is a multiple of 32.
func brokenBlocks(q []int8) bool {
	if !cpu.HasAVX2FMA {
		return brokenBlocksGeneric(q)
	}
	for ; len(q) > callBytes; q = q[callBytes:] {
		if brokenChainsAVX2(&q[0], callBytes/chainBlock) {
			return true
		}
	}
	return len(q) > 0 && brokenChainsAVX2(&q[0], len(q)/chainBlock)
}
