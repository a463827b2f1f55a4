package report

import (
	"encoding/base64"
	"math"
	"slices"

	"edgejepa/jepa"
)

// sights are the panels with pictures.
func (p *Page) sights(m *markup) {
	s := p.Sight
	if s == nil {
		m.put("<section id=\"pictures\" aria-labelledby=\"h-pictures\">\n<h2 id=\"h-pictures\">What it sees</h2>\n<p class=\"none\">%s</p>\n</section>\n", p.NoSight)
		return
	}
	rows := (len(s.Names) + sheetColumns - 1) / sheetColumns
	m.put("<style>.t{background-image:url(data:image/jpeg;base64,%s);background-size:%d%% %d%%}</style>\n",
		literal(base64.StdEncoding.EncodeToString(s.Sheet)), 100*sheetColumns, 100*rows)
	s.map2D(m)
	s.neighbours(m)
	s.tokens(m)
	p.asked(m)
}

// tile shows a picture of the sheet.
func (s *Sight) tile(m *markup, i int, class, style literal, styleArgs ...any) {
	rows := (len(s.Names) + sheetColumns - 1) / sheetColumns
	at := func(i, n int) float64 { return 100 * float64(i) / float64(max(n-1, 1)) }
	m.put("<span class=\"t%s\" role=\"img\" aria-label=\"%s\" title=\"%s\" style=\"background-position:%.4g%% %.4g%%", class, s.Names[i], s.Names[i], at(i%sheetColumns, sheetColumns), at(i/sheetColumns, rows))
	m.put(style, styleArgs...)
	m.put("\"></span>")
}

func (s *Sight) map2D(m *markup) {
	m.put("<section id=\"map\" aria-labelledby=\"h-map\">\n<h2 id=\"h-map\">Map of the collection</h2>\n<p class=\"lead\">%d pictures, laid out so that those whose features are alike are close (t-SNE), at step %d. Groups should share content.</p>\n<div class=\"card mapframe\"><div class=\"map\" style=\"--side:%.2f%%\">\n", len(s.Names), s.Step, 100/math.Sqrt(float64(len(s.Names))))
	for i := range s.Names {
		s.tile(m, i, "", ";left:%.2f%%;top:%.2f%%", 100*s.Map[2*i], 100*s.Map[2*i+1])
	}
	m.put("\n</div></div>\n</section>\n")
}

func (s *Sight) neighbours(m *markup) {
	m.put("<section id=\"neighbours\" aria-labelledby=\"h-neighbours\">\n<h2 id=\"h-neighbours\">Nearest neighbours</h2>\n<p class=\"lead\">A picture, and the %d nearest of the sample by the cosine of centred features. Of all pictures, %.0f %% are nearest to another crop of themselves.</p>\n<div class=\"near\">\n", nearest, s.Consistency)
	for _, n := range s.Near {
		m.put("<ol class=\"card row\" aria-label=\"nearest to %s\">\n<li class=\"query\">", s.Names[n.Query])
		s.tile(m, n.Query, " q", "")
		m.put("<span class=\"cos\">query</span></li>\n")
		for i, at := range n.Index {
			m.put("<li>")
			s.tile(m, at, "", "")
			m.put("<span class=\"cos\">%.2f</span></li>\n", n.Cosine[i])
		}
		m.put("</ol>\n")
	}
	m.put("</div>\n</section>\n")
}

func (s *Sight) tokens(m *markup) {
	m.put("<section id=\"tokens\" aria-labelledby=\"h-tokens\">\n<h2 id=\"h-tokens\">What its tokens say</h2>\n<p class=\"lead\">Each picture beside its %d × %d patch tokens, coloured by their three principal components. Like colours mean like content, also between pictures.</p>\n<div class=\"pairs\">\n", s.Grid, s.Grid)
	for _, t := range s.Tokens {
		m.put("<figure class=\"card pair\"><img src=\"data:image/jpeg;base64,%s\" alt=\"%s\"><img class=\"patches\" src=\"data:image/png;base64,%s\" alt=\"patch tokens of %s as colours\"><figcaption>%s</figcaption></figure>\n",
			literal(base64.StdEncoding.EncodeToString(t.Picture)), t.Name, literal(base64.StdEncoding.EncodeToString(t.Colours)), t.Name, t.Name)
	}
	m.put("</div>\n</section>\n")
}

// asked shows what the objective asks of the network.
func (p *Page) asked(m *markup) {
	s := p.Sight
	m.put("<section id=\"asked\" aria-labelledby=\"h-asked\">\n<h2 id=\"h-asked\">What it is asked</h2>\n<p class=\"lead\">%s</p>\n<div class=\"examples\">\n", asks[p.Config.Objective])
	for _, e := range s.Examples {
		m.put("<figure class=\"card\">")
		switch {
		case len(e.Other) > 0:
			m.put("<div class=\"views\">")
			for _, view := range [][]byte{e.View, e.Other} {
				m.put("<img src=\"data:image/jpeg;base64,%s\" alt=\"a crop of %s\">", literal(base64.StdEncoding.EncodeToString(view)), e.Name)
			}
			m.put("</div>")
		default:
			s.hidden(m, e, p.Config.Objective == jepa.IJEPA)
		}
		m.put("<figcaption>%s</figcaption></figure>\n", e.Name)
	}
	m.put("</div>\n</section>\n")
}

var asks = map[jepa.Objective]literal{
	jepa.IJEPA:  "Crops as in training. The encoder sees the bright patches; from them the features of the outlined blocks are to be predicted.",
	jepa.MAE:    "Crops as in training. The encoder sees the bright patches; from them the veiled ones are to be drawn.",
	jepa.LeJEPA: "Crops of a picture: their features are to be equal, and those of all pictures together normally distributed.",
	jepa.BYOL:   "Crops of a picture: the features of one are to be predicted from those of the other.",
}

// hidden draws a picture with a veil over the patches that the encoder does not see, and the blocks to predict.
func (s *Sight) hidden(m *markup, e Example, blocks bool) {
	side := patchSide * s.Grid
	m.put("<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s: %d of %d patches visible\">\n", side, side, e.Name, len(e.Context), s.Grid*s.Grid)
	m.put("<image width=\"%d\" height=\"%d\" href=\"data:image/jpeg;base64,%s\"/>\n<path class=\"veil\" d=\"", side, side, literal(base64.StdEncoding.EncodeToString(e.View)))
	for _, r := range s.runs(func(patch int32) bool { return !slices.Contains(e.Context, patch) }) {
		m.put("M%d %dh%dv%dh-%dz", patchSide*r.x, patchSide*r.y, patchSide*r.n, patchSide, patchSide*r.n)
	}
	m.put("\"/>\n")
	for i, target := range e.Targets {
		if x0, y0, x1, y1 := s.bounds(target); blocks {
			m.put("<rect class=\"block b%d\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n", i%6+1, patchSide*x0, patchSide*y0, patchSide*(x1-x0), patchSide*(y1-y0))
		}
	}
	m.put("</svg>")
}

// patchSide is the side of a patch in a drawing's units.
const patchSide = 10

// patchRun is a run of patches in a row of the grid.
type patchRun struct{ x, y, n int }

// runs lists the runs of patches of which is holds.
func (s *Sight) runs(is func(patch int32) bool) (out []patchRun) {
	for y := range s.Grid {
		for x := 0; x < s.Grid; x++ {
			n := 0
			for x+n < s.Grid && is(int32(y*s.Grid+x+n)) {
				n++
			}
			if n > 0 {
				out = append(out, patchRun{x, y, n})
				x += n
			}
		}
	}
	return out
}

// bounds is the rectangle of patches.
func (s *Sight) bounds(patches []int32) (x0, y0, x1, y1 int) {
	x0, y0 = s.Grid, s.Grid
	for _, p := range patches {
		x, y := int(p)%s.Grid, int(p)/s.Grid
		x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x+1), max(y1, y+1)
	}
	return x0, y0, x1, y1
}
