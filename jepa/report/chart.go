package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"edgejepa/fp"
)

// chart is a figure of one or more curves over the steps.
type chart struct {
	id, title literal
	hint      literal // how to read it
	unit      literal // behind a value
	zero      bool    // the axis goes down to 0
	curves    []curve
}

// curve is a figure of each line.
type curve struct {
	name, key literal
	look      literal // class of its colour
	at        func(*Line) float64
}

// Measures of a chart, in units that are about a CSS pixel.
const (
	chartWidth  = 360.0
	chartHeight = 168.0
	plotLeft    = 44.0
	plotRight   = chartWidth - 10
	plotTop     = 10.0
	plotBottom  = chartHeight - 24
	wideRange   = 50.0 // largest over smallest value from which the scale is logarithmic
)

// scale maps values to [0, 1].
type scale struct {
	lo, hi float64
	log    bool
}

func (s scale) at(v float64) float64 {
	if s.log {
		v = fp.Log(max(v, 1e-300))
		return (v - fp.Log(s.lo)) / (fp.Log(s.hi) - fp.Log(s.lo))
	}
	return (v - s.lo) / (s.hi - s.lo)
}

// finite reports whether a value can be drawn: it is none near the largest numbers, with which an axis would end beyond.
func finite(v float64) bool { return math.Abs(v) <= 1e300 }

// scaleOf fits a scale and its ticks to the curves' values. ok is false if there is none.
func (c *chart) scaleOf(lines []Line) (s scale, ticks []float64, ok bool) {
	lo, hi := math.Inf(1), math.Inf(-1)
	for i := range lines {
		for _, k := range c.curves {
			if v := k.at(&lines[i]); finite(v) {
				lo, hi = min(lo, v), max(hi, v)
			}
		}
	}
	if hi < lo {
		return s, nil, false
	}
	if lo > 0 && hi/lo > wideRange && !c.zero {
		s = scale{lo: lo, hi: hi, log: true}
		for p := -12; p <= 12; p++ {
			if t := decimal(1, p); t >= lo*0.999 && t <= hi*1.001 {
				ticks = append(ticks, t)
			}
		}
		if len(ticks) >= 2 {
			return s, ticks, true
		}
	}
	if c.zero {
		lo = min(lo, 0)
	}
	if hi-lo < 1e-9*max(math.Abs(hi), 1e-9) { // a level curve lies in the middle
		pad := max(math.Abs(hi)*0.1, 1e-9)
		lo, hi = lo-pad, hi+pad
	}
	step := niceStep((hi - lo) / 3)
	first := math.Floor(lo / step)
	if lo < 0 || lo-float64(first*step) < float64(step*0.6) || c.zero {
		lo = float64(first * step)
	}
	for n := math.Ceil(lo/step - 1e-9); ; n++ {
		t := float64(n*step) + 0 // never -0
		ticks = append(ticks, t)
		if t >= hi-float64(1e-9*step) {
			hi = t
			break
		}
		if t+step > hi && hi-t < float64(step*0.35) { // no room for another
			break
		}
	}
	return scale{lo: lo, hi: hi}, ticks, true
}

// niceStep is 1, 2 or 5 times a power of ten, v or more.
func niceStep(v float64) float64 {
	for p := -12; p <= 12; p++ {
		for _, m := range []float64{1, 2, 5} {
			if s := decimal(m, p); s >= v*0.999 {
				return s
			}
		}
	}
	return max(v, 1)
}

// decimal is m·10^p, correctly rounded.
func decimal(m float64, p int) float64 {
	v, _ := strconv.ParseFloat(fmt.Sprintf("%ge%d", m, p), 64)
	return v
}

// figure writes a value with about three digits.
func figure(v float64) string {
	a := math.Abs(v)
	switch {
	case !finite(v):
		return "–"
	case a == 0:
		return "0"
	case a >= 1e6 && a < 1e9:
		return trimZeros(strconv.FormatFloat(v/1e6, 'f', 2, 64)) + " M"
	case a >= 1e4 && a < 1e6:
		return trimZeros(strconv.FormatFloat(v/1e3, 'f', 1, 64)) + " k"
	case a >= 100 && a < 1e4:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10 && a < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 1 && a < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case a >= 1e-3 && a < 1:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	return strings.Replace(strconv.FormatFloat(v, 'e', 1, 64), "e-0", "e-", 1)
}

func trimZeros(s string) string { return strings.TrimRight(strings.TrimRight(s, "0"), ".") }

// tick writes the value of a tick, of which no digit is noise.
func tick(v float64) string {
	a := math.Abs(v)
	switch {
	case a >= 1e6:
		return trimZeros(strconv.FormatFloat(v/1e6, 'f', 2, 64)) + "M"
	case a >= 1e4:
		return trimZeros(strconv.FormatFloat(v/1e3, 'f', 1, 64)) + "k"
	case a != 0 && a < 1e-3:
		return strings.Replace(strconv.FormatFloat(v, 'e', -1, 64), "e-0", "e-", 1)
	}
	return trimZeros(strconv.FormatFloat(v, 'f', 6, 64))
}

// last is the newest value of a curve.
func (k curve) last(lines []Line) float64 {
	for i := len(lines) - 1; i >= 0; i-- {
		if v := k.at(&lines[i]); finite(v) {
			return v
		}
	}
	return math.NaN()
}

// describe tells those who do not see the chart what it shows.
func (c *chart) describe(lines []Line) string {
	var parts []string
	for _, k := range c.curves {
		first, last, lo, hi, at := math.NaN(), math.NaN(), math.Inf(1), math.Inf(-1), 0
		for i := range lines {
			v := k.at(&lines[i])
			if !finite(v) {
				continue
			}
			if math.IsNaN(first) {
				first = v
			}
			last, at = v, lines[i].Step
			lo, hi = min(lo, v), max(hi, v)
		}
		if finite(last) {
			parts = append(parts, fmt.Sprintf("%s: from %s to %s at step %d, between %s and %s", k.name, figure(first), figure(last), at, figure(lo), figure(hi)))
		}
	}
	return fmt.Sprintf("%s over the steps. %s.", c.title, strings.Join(parts, "; "))
}

// write draws the chart, if it has anything to show.
func (c *chart) write(m *markup, lines []Line) {
	y, ticks, ok := c.scaleOf(lines)
	if !ok {
		return
	}
	x := scale{lo: float64(lines[0].Step), hi: float64(lines[len(lines)-1].Step)}
	if x.hi <= x.lo {
		x.hi = x.lo + 1
	}
	px := func(v float64) float64 { return plotLeft + float64(x.at(v)*(plotRight-plotLeft)) }
	py := func(v float64) float64 { return plotBottom - float64(y.at(v)*(plotBottom-plotTop)) }

	m.put("<figure class=\"card chart\" id=\"chart-%s\">\n<figcaption><h3>%s</h3><ul class=\"legend\">", c.id, c.title)
	for _, k := range c.curves {
		if v := k.last(lines); finite(v) {
			m.put("<li><i class=\"%s\"></i>%s <b data-key=\"%s\">%s</b><span class=\"unit\">%s</span></li>", k.look, k.name, k.key, figure(v), c.unit)
		}
	}
	m.put("</ul></figcaption>\n<svg class=\"plot\" viewBox=\"0 0 %g %g\" role=\"img\" aria-label=\"%s\" data-left=\"%g\" data-right=\"%g\" data-from=\"%g\" data-to=\"%g\">\n",
		chartWidth, chartHeight, c.describe(lines), plotLeft, plotRight, x.lo, x.hi)
	for _, t := range ticks {
		at := py(t)
		m.put("<path class=\"grid\" d=\"M%g %.1fH%g\"/><text class=\"tick\" x=\"%g\" y=\"%.1f\">%s</text>\n", plotLeft, at, plotRight, plotLeft-6, at+3.5, tick(t))
	}
	m.put("<text class=\"from\" x=\"%g\" y=\"%g\">step %s</text><text class=\"to\" x=\"%g\" y=\"%g\">%s</text>\n",
		plotLeft, chartHeight-6, tick(x.lo), plotRight, chartHeight-6, tick(x.hi))
	for _, k := range c.curves {
		c.line(m, k, lines, px, py)
	}
	m.put("<path class=\"cursor\" d=\"M0 %gV%g\"/></svg>\n<p class=\"hint\">%s</p>\n</figure>\n", plotTop, plotBottom, c.hint)
}

// line draws a curve and a dot at its end. Values that are missing are bridged.
func (c *chart) line(m *markup, k curve, lines []Line, px, py func(float64) float64) {
	var x, y float64
	points := 0
	for i := range lines {
		v := k.at(&lines[i])
		if !finite(v) {
			continue
		}
		x, y = px(float64(lines[i].Step)), py(v)
		if points == 0 {
			m.put("<path class=\"line %s\" d=\"M%.1f %.1f", k.look, x, y)
		} else {
			m.put("L%.1f %.1f", x, y)
		}
		points++
	}
	if points > 0 {
		m.put("\"/><circle class=\"dot %s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>\n", k.look, x, y)
	}
}
