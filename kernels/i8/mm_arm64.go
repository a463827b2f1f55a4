//go:build !purego

package i8

// passKMM is how many k one pass of the SMMLA tile takes: eight rows of that many bytes are 8 KiB.
const passKMM = 1024

// tileMMArgs is the argument of tileMM. Where fewer than eight rows are left the last one is repeated, sums and all.
type tileMMArgs struct {
	b      *int8     // the first panel, at the pass's first k
	c      [8]*int32 // the rows' sums, at the first panel
	skip   int       // bytes from the pass's end in one panel to its start in the next
	steps  int       // k of the pass, in eights
	panels int
	add    int               // 1: continue the sums in c
	a      [8 * passKMM]int8 // [k/8][8 rows][8]
}

// tileMM takes eight rows through panels of inOcts. For r < 8, j < 8*panels:
//
//	c[r][j] = sum over k of int32(a[r,k]) * w[j,k]      // + c[r][j] with add
//
//go:noescape
func tileMM(t *tileMMArgs)

func gemmMM(acc []int32, ldacc int, a []int8, lda, m int, p *Panels) {
	const width = 8
	var t tileMMArgs
	var edge [8 * width]int32
	full := p.N / width
	for i := 0; i < m; i += 8 {
		rows := min(8, m-i)
		for k := 0; k < p.K; k += passKMM {
			kc := min(passKMM, p.K-k)
			t.load(a[i*lda+k:], lda, rows, kc)
			t.steps, t.add = (kc+7)/8, min(k, 1)
			t.skip = width * (p.kp - 8*t.steps)
			most := max(1, callMACs/(8*width*8*t.steps))
			for j := 0; j < full; j += most {
				t.panels = min(most, full-j)
				t.b = &p.data[width*(j*p.kp+k)]
				for r := range t.c {
					t.c[r] = &acc[(i+min(r, rows-1))*ldacc+j*width]
				}
				tileMM(&t)
			}
			if j := width * full; j < p.N { // a cut panel goes through edge, so that nothing outside acc is touched
				t.panels = 1
				t.b = &p.data[j*p.kp+width*k]
				for r := range t.c {
					t.c[r] = &edge[min(r, rows-1)*width]
				}
				tileMM(&t)
				if k+kc == p.K {
					for r := range rows {
						copy(acc[(i+r)*ldacc+j:(i+r)*ldacc+p.N], edge[r*width:])
					}
				}
			}
		}
	}
}

// load interleaves eight rows of kc values by eights, padded with zeros.
func (t *tileMMArgs) load(a []int8, lda, rows, kc int) {
	for r := range 8 {
		i := min(r, rows-1) * lda
		row, d := a[i:i+kc], t.a[8*r:]
		for ; len(row) >= 8; row = row[8:] {
			v := *(*[8]int8)(row) // a copy of its own: the compiler then needs no memmove
			*(*[8]int8)(d) = v
			d = d[min(len(d), 64):]
		}
		if len(row) > 0 {
			clear(d[copy(d[:8], row):8])
		}
	}
}
