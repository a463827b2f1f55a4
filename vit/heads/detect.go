package heads

import (
	"edgejepa/internal/arena"
	"edgejepa/vit"
)

// levels are the grids on which a detector looks for objects: the tokens, and squares of four of them.
func levels(e vit.Config) [2]grid {
	t := tokens(e)
	return [2]grid{t, {(t.h + 1) / 2, (t.w + 1) / 2, 2 * t.stride}}
}

// detector has a neck on the tokens, one on squares of four, and for each cell of both the logits of the classes and four
// numbers for the box. It has no anchors: a cell's box is given by the distances from its centre to the sides (Tian et al.,
// FCOS, arXiv 1904.01355).
type detector struct {
	h    *Head
	neck [2]neck
	out  [2]*vit.Linear
}

func newDetector(h *Head) network {
	c, d := h.Config, &detector{h: h}
	d.neck = [2]neck{newNeck(h, "fine.", c.Width(h.Encoder)), newNeck(h, "coarse.", 4*c.Hidden)}
	for i, n := range []string{"fine.out", "coarse.out"} {
		d.out[i] = h.Params.Linear(n, c.Hidden, len(c.Classes)+4)
	}
	return d
}

func (d *detector) outs() []*vit.Linear { return d.out[:] }

func (d *detector) linears(yield func(*vit.Linear) bool) {
	_ = d.neck[0].linears(yield) && d.neck[1].linears(yield) && yield(d.out[0]) && yield(d.out[1])
}

type detectorPass struct {
	*detector
	p     *Pass
	level [2]grid
	neck  [2]*neckPass
	out   [2]*vit.LinearOp
	four  []float32    // [B·coarse, 4, H] the necks' outputs of four tokens side by side
	z, dz [2][]float32 // [B·cells, C+4]
	dy    [2][]float32 // [B·cells, H]
	dfour []float32
}

func (d *detector) place(a *arena.Arena, p *Pass) passes {
	s := &detectorPass{detector: d, p: p, level: levels(d.h.Encoder)}
	w := d.h.Config.Hidden
	for i, g := range s.level {
		rows := p.batch * g.h * g.w
		s.neck[i], s.out[i] = d.neck[i].place(a, p, g), vit.NewLinearOp(d.out[i], p.pool)
		s.z[i] = a.F32(rows * d.out[i].Out)
		if p.train {
			s.dz[i], s.dy[i] = a.F32(rows*d.out[i].Out), a.F32(rows*w)
		}
		if i == 1 {
			s.four = a.F32(rows * 4 * w)
			if p.train {
				s.dfour = a.F32(rows * 4 * w)
			}
		}
	}
	return s
}

func (s *detectorPass) forward(batch int) {
	fine := s.neck[0].forward(s.p.in, batch)
	s.p.each(batch, func(b int) { s.join(b, fine, s.four, false) })
	coarse := s.neck[1].forward(s.four, batch)
	for i, y := range [][]float32{fine, coarse} {
		s.out[i].Forward(s.z[i], y, batch*s.level[i].h*s.level[i].w)
	}
	s.p.each(batch, func(b int) { s.spread(b, s.p.Out, s.z, false) })
}

func (s *detectorPass) backward(batch int) {
	s.p.each(batch, func(b int) { s.spread(b, s.p.DOut, s.dz, true) })
	for i := range s.level {
		s.out[i].Backward(s.dy[i], s.dz[i], s.neck[i].y, batch*s.level[i].h*s.level[i].w)
	}
	s.neck[1].backward(s.dfour, s.dy[1], s.four, batch)
	s.p.each(batch, func(b int) { s.join(b, s.dy[0], s.dfour, true) })
	s.neck[0].backward(s.p.din, s.dy[0], s.p.in, batch)
}

// join lays the rows of four tokens of picture b side by side, zeros beyond the edge; or adds the gradient of that to theirs.
func (s *detectorPass) join(b int, tokens, four []float32, back bool) {
	t, c, w := s.level[0], s.level[1], s.h.Config.Hidden
	for y := range c.h {
		for x := range c.w {
			cell := four[((b*c.h+y)*c.w+x)*4*w:][:4*w]
			for k := range 4 {
				ty, tx, part := 2*y+k/2, 2*x+k%2, cell[k*w:][:w]
				if ty >= t.h || tx >= t.w {
					if !back {
						clear(part)
					}
					continue
				}
				token := tokens[((b*t.h+ty)*t.w+tx)*w:][:w]
				if !back {
					copy(part, token)
					continue
				}
				for j, v := range part {
					token[j] += v
				}
			}
		}
	}
}

// spread copies picture b's outputs of both levels one after another; or back.
func (s *detectorPass) spread(b int, all []float32, z [2][]float32, back bool) {
	at := b * s.h.OutLen()
	for i, g := range s.level {
		n := g.h * g.w * s.out0()
		level := z[i][b*n:][:n]
		if back {
			copy(level, all[at:])
		} else {
			copy(all[at:], level)
		}
		at += n
	}
}

func (s *detectorPass) out0() int { return len(s.h.Config.Classes) + 4 }
