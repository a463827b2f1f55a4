package heads

import (
	"edgejepa/internal/arena"
	"edgejepa/kernels"
	"edgejepa/vit"
)

// grid is the cells of a level of a picture, in rows, and how many pixels of the input lie between their centres.
type grid struct{ h, w, stride int }

// neck is what the dense heads begin with: a = GELU(fc·x), then a + GELU(conv·(a and its eight neighbours)), which lets
// tokens agree with those beside them.
type neck struct{ fc, conv *vit.Linear }

func newNeck(h *Head, name string, in int) neck {
	w := h.Config.Hidden
	return neck{h.Params.Linear(name+"fc", in, w), h.Params.Linear(name+"conv", 9*w, w)}
}

func (n *neck) linears(yield func(*vit.Linear) bool) bool { return yield(n.fc) && yield(n.conv) }

// neckPass runs a neck on the grids of a batch.
type neckPass struct {
	p        *Pass
	g        grid
	fc, conv dense
	cols     []float32 // [rows, 9, H] a cell's neighbourhood
	y        []float32 // [rows, H]
	dcols    []float32
	da       []float32
}

func (n *neck) place(a *arena.Arena, p *Pass, g grid) *neckPass {
	rows, w := p.batch*g.h*g.w, n.fc.Out
	s := &neckPass{p: p, g: g, fc: p.placeDense(a, n.fc, rows), conv: p.placeDense(a, n.conv, rows)}
	s.cols, s.y = a.F32(rows*9*w), a.F32(rows*w)
	if p.train {
		s.dcols, s.da = a.F32(rows*9*w), a.F32(rows*w)
	}
	return s
}

// forward returns y [B·cells, H] of x [B·cells, in].
func (s *neckPass) forward(x []float32, batch int) []float32 {
	n, w := s.g.h*s.g.w, s.fc.l.Out
	a := s.fc.forward(s.p, x, batch, n)
	s.p.each(batch, func(b int) { neighbours(s.cols[b*n*9*w:][:n*9*w], a[b*n*w:][:n*w], s.g, w) })
	c := s.conv.forward(s.p, s.cols, batch, n)
	s.p.each(batch, func(b int) {
		y := s.y[b*n*w:][:n*w]
		copy(y, a[b*n*w:])
		kernels.Add(y, c[b*n*w:][:n*w])
	})
	return s.y
}

// backward fills dx from the gradient dy of y.
func (s *neckPass) backward(dx, dy, x []float32, batch int) {
	n, w := s.g.h*s.g.w, s.fc.l.Out
	s.conv.backward(s.p, s.dcols, dy, s.cols, batch, n)
	s.p.each(batch, func(b int) {
		da := s.da[b*n*w:][:n*w]
		copy(da, dy[b*n*w:])
		addNeighbours(da, s.dcols[b*n*9*w:][:n*9*w], s.g, w)
	})
	s.fc.backward(s.p, dx, s.da, x, batch, n)
}

// neighbours is dst[y, x, 3i+j, c] = src[y+i-1, x+j-1, c], 0 beyond the edge.
func neighbours(dst, src []float32, g grid, w int) {
	for y := range g.h {
		for x := range g.w {
			cell := dst[(y*g.w+x)*9*w:][:9*w]
			for k := range 9 {
				if at, ok := g.near(y, x, k); ok {
					copy(cell[k*w:][:w], src[at*w:])
				} else {
					clear(cell[k*w:][:w])
				}
			}
		}
	}
}

// addNeighbours adds to the gradient of neighbours' src that of its dst.
func addNeighbours(dsrc, ddst []float32, g grid, w int) {
	for y := range g.h {
		for x := range g.w {
			cell := dsrc[(y*g.w+x)*w:][:w]
			for k := range 9 {
				if at, ok := g.near(y, x, 8-k); ok { // whose neighbour k this cell is
					kernels.Add(cell, ddst[(at*9+k)*w:][:w])
				}
			}
		}
	}
}

// near is the cell that is neighbour k of another.
func (g grid) near(y, x, k int) (at int, ok bool) {
	y, x = y+k/3-1, x+k%3-1
	return y*g.w + x, 0 <= y && y < g.h && 0 <= x && x < g.w
}

// segmenter is a neck, then the logits of a square of sub-pixels from each token.
type segmenter struct {
	h    *Head
	neck neck
	out  *vit.Linear
}

func newSegmenter(h *Head) network {
	c := h.Config
	return &segmenter{h, newNeck(h, "", c.Width(h.Encoder)), h.Params.Linear("out", c.Hidden, c.Pixels*c.Pixels*len(c.Classes))}
}

func (s *segmenter) linears(yield func(*vit.Linear) bool) { _ = s.neck.linears(yield) && yield(s.out) }

type segmenterPass struct {
	*segmenter
	p      *Pass
	neck   *neckPass
	out    *vit.LinearOp
	z, dz  []float32 // [B·N, s, s, C] by token
	dy     []float32
	pixels int
}

func (s *segmenter) place(a *arena.Arena, p *Pass) passes {
	rows := p.batch * p.rows
	t := &segmenterPass{segmenter: s, p: p, out: vit.NewLinearOp(s.out, p.pool), pixels: s.h.Config.Pixels}
	t.neck = s.neck.place(a, p, tokens(s.h.Encoder))
	t.z = a.F32(rows * s.out.Out)
	if p.train {
		t.dz, t.dy = a.F32(rows*s.out.Out), a.F32(rows*s.out.In)
	}
	return t
}

func tokens(e vit.Config) grid { return grid{e.Grid(), e.GridWidth(), e.PatchSize} }

func (s *segmenterPass) forward(batch int) {
	s.out.Forward(s.z, s.neck.forward(s.p.in, batch), batch*s.p.rows)
	n := s.h.OutLen()
	s.p.each(batch, func(b int) { s.shuffle(s.p.Out[b*n:][:n], s.z[b*n:][:n], false) })
}

func (s *segmenterPass) backward(batch int) {
	n := s.h.OutLen()
	s.p.each(batch, func(b int) { s.shuffle(s.p.DOut[b*n:][:n], s.dz[b*n:][:n], true) })
	s.out.Backward(s.dy, s.dz, s.neck.y, batch*s.p.rows)
	s.neck.backward(s.p.din, s.dy, s.p.in, batch)
}

// shuffle puts the sub-pixels of all tokens, z [h, w, s, s, C], where they lie in the picture: [h·s, w·s, C]; or back.
func (s *segmenterPass) shuffle(picture, z []float32, back bool) {
	g, run := tokens(s.h.Encoder), s.pixels*len(s.h.Config.Classes)
	for y := range g.h * s.pixels {
		for x := range g.w {
			p := picture[(y*g.w+x)*run:][:run]
			t := z[((y/s.pixels*g.w+x)*s.pixels+y%s.pixels)*run:][:run]
			if back {
				copy(t, p)
			} else {
				copy(p, t)
			}
		}
	}
}
