package report

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/parallel"
	"edgejepa/jepa"
	"edgejepa/jepa/data"
	"edgejepa/vit"
)

const hostile = `<script>alert(1)<!-- & "x" '.png`

// pictures draws n pictures, of two kinds by turns, one of them under a hostile name.
func pictures(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		m := image.NewRGBA(image.Rect(0, 0, 40, 32))
		for y := range 32 {
			for x := range 40 {
				c := color.RGBA{uint8(200 + i), uint8(6 * y), 30, 255}
				if i%2 == 1 {
					c = color.RGBA{20, uint8(x * y), uint8(255 - 3*i), 255}
				}
				m.SetRGBA(x, y, c)
			}
		}
		name := fmt.Sprintf("%02d.png", i)
		if i == n/2 && runtime.GOOS != "windows" {
			name = hostile
		}
		f, err := os.Create(filepath.Join(dir, name))
		require.NoError(t, err)
		require.NoError(t, errors.Join(png.Encode(f, m), f.Close()))
	}
	return dir
}

func config(t *testing.T) jepa.Config {
	t.Helper()
	p, err := vit.PresetNamed("micro")
	require.NoError(t, err)
	c := jepa.Default(p, 0, 0)
	c.SetSteps(200)
	return c
}

// sightWith looks at the pictures of dir with an untrained encoder.
func sightWith(t *testing.T, dir string, c jepa.Config, workers int) *Sight {
	t.Helper()
	set, err := data.Open([]string{dir}, data.Options{ImageSize: c.Encoder.ImageSize})
	require.NoError(t, err)
	e, err := vit.NewEncoder(c.Encoder)
	require.NoError(t, err)
	e.Params.Init(1)
	e.Pack()
	before := slices.Clone(e.Params.Value)
	pool := parallel.New(workers)
	defer pool.Close()
	s := NewSample(set, e, pool, SampleOptions{Config: c, Augment: data.AugmentOptions{Mean: c.Encoder.Mean, Std: c.Encoder.Std}})
	require.Greater(t, s.Cost(), time.Duration(0))
	sight, err := s.Look(context.Background(), 7)
	require.NoError(t, err)
	again, err := s.Look(context.Background(), 7)
	require.NoError(t, err)
	require.Equal(t, sight, again, "a second look sees the same")
	require.Equal(t, before, e.Params.Value, "looking changes nothing")
	return sight
}

// logged is a log with every figure.
func logged() []Line {
	var lines []Line
	for i := range 50 {
		l := emptyLine()
		v := float64(i)
		l.Step, l.Epoch, l.Loss, l.Regulariser, l.LR, l.GradNorm = 4*i, v/10, 1/(1+v), 0.1, 1e-3, 1+v
		l.ImagesPerSecond, l.FeatureStd, l.RankMe, l.Temperature = 100, 0.3, 4+v/10, 60
		if i%10 == 0 {
			l.KNN, l.Linear, l.KNNRandom, l.LinearRandom, l.Consistency, l.ConsistencyRandom = 30+v, 40+v, 29, 35, 50+v, 45
		}
		lines = append(lines, l)
	}
	return lines
}

func page(t *testing.T, sight *Sight) *Page {
	return &Page{Name: `run <b>&"`, Config: config(t), Pictures: 12, Program: "edge-train test", Step: 196, Live: true, Left: time.Hour,
		Written: time.Unix(1_800_000_000, 0), Lines: logged(), Sight: sight, NoSight: "none <here>"}
}

func written(t *testing.T, p *Page) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, p.Write(&b))
	return b.String()
}

var bodies = regexp.MustCompile(`(?s)(<(script|style)[^>]*>).*?(</(script|style)>)`)

// checkMarkup parses a page and returns its ids. Every element must be closed, every id be there once, and every picture
// have a name.
func checkMarkup(text string) (map[string]bool, error) {
	d := xml.NewDecoder(strings.NewReader(bodies.ReplaceAllString(strings.TrimPrefix(text, "<!DOCTYPE html>"), "$1$3")))
	d.Strict = false
	d.AutoClose = []string{"meta", "link", "img"}
	ids, open := map[string]bool{}, []string{}
	for {
		token, err := d.RawToken()
		if err == io.EOF {
			if len(open) > 0 {
				return nil, fmt.Errorf("not closed: %v", open)
			}
			return ids, nil
		}
		if err != nil {
			return nil, err
		}
		switch e := token.(type) {
		case xml.StartElement:
			if !slices.Contains(d.AutoClose, e.Name.Local) {
				open = append(open, e.Name.Local)
			}
			has := map[string]string{}
			for _, a := range e.Attr {
				has[a.Name.Local] = a.Value
			}
			if id, ok := has["id"]; ok {
				if ids[id] {
					return nil, fmt.Errorf("id %s twice", id)
				}
				ids[id] = true
			}
			if e.Name.Local == "img" && has["alt"] == "" || has["role"] == "img" && has["aria-label"] == "" {
				return nil, fmt.Errorf("a picture without a name: %v", has)
			}
		case xml.EndElement:
			n := len(open)
			if n > 0 && open[n-1] == e.Name.Local {
				open = open[:n-1]
			} else if !slices.Contains(d.AutoClose, e.Name.Local) {
				return nil, fmt.Errorf("</%s> closes %v", e.Name.Local, open)
			}
		}
	}
}

func TestCheckMarkupComplains(t *testing.T) {
	for _, bad := range []string{`<p>a`, `<p><b></p></b>`, `<p id="a"></p><p id="a"></p>`, `<img src="data:,">`, `<svg role="img"></svg>`} {
		_, err := checkMarkup(bad)
		require.Error(t, err, bad)
	}
	ids, err := checkMarkup(`<p id="a">x<img alt="b"></p>`)
	require.NoError(t, err)
	require.True(t, ids["a"])
}

var panels = []string{
	"chart-judged", "chart-rankme", "chart-consistency", "chart-deviation", "chart-loss", "chart-gradient", "chart-rate", "chart-speed",
	"chart-temperature", "how-to-read", "map", "neighbours", "tokens", "asked", "numbers",
}

// The page has every panel, is well formed, and asks for nothing from outside.
func TestPage(t *testing.T) {
	dir := pictures(t, 12)
	for _, o := range []jepa.Objective{jepa.IJEPA, jepa.MAE, jepa.LeJEPA, jepa.BYOL} {
		c := config(t)
		c.SetObjective(o)
		p := page(t, sightWith(t, dir, c, 2))
		p.Config = c
		text := written(t, p)
		ids, err := checkMarkup(text)
		require.NoError(t, err, o)
		for _, id := range panels {
			require.True(t, ids[id], "%v: panel %s", o, id)
		}
		require.NotContains(t, text, "://", "nothing from outside")
		require.NotRegexp(t, `(?i)(src|href)="[^"d]`, text)
		require.NotRegexp(t, `url\([^d]`, text)
		require.NotContains(t, text, "NaN")
		require.Equal(t, text, written(t, p), "equal reports give equal bytes")
		require.Less(t, len(text), 300_000)
		require.Equal(t, o == jepa.IJEPA, strings.Contains(text, `<rect class="block`), "blocks to predict")
		require.Equal(t, o == jepa.LeJEPA || o == jepa.BYOL, strings.Contains(text, `<div class="views">`))
	}
}

// What others have named is text, not markup.
func TestEscaping(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("such names cannot be given here")
	}
	p := page(t, sightWith(t, pictures(t, 12), config(t), 1))
	text := written(t, p)
	require.NotContains(t, text, "<script>alert")
	require.NotContains(t, text, `&#34;x"`)
	require.Contains(t, text, `&lt;script&gt;alert(1)&lt;!-- &amp; &#34;x&#34; &#39;.png`)
	require.Contains(t, text, "<title>run &lt;b&gt;&amp;&#34; · edgejepa</title>")
	require.Equal(t, 2, strings.Count(text, "<script"), "the page's own and its data")

	p.Sight = nil
	text = written(t, p)
	require.Contains(t, text, "none &lt;here&gt;")
	_, err := checkMarkup(text)
	require.NoError(t, err)
}

// The policy lets the page's own script run.
func TestPolicyIsOfTheScript(t *testing.T) {
	text := written(t, page(t, nil))
	at := strings.LastIndex(text, "<script>") + len("<script>")
	require.Equal(t, script, text[at:at+strings.Index(text[at:], "</script>")], "the hash is of what stands between the tags")
	require.Contains(t, strings.ReplaceAll(text, "&#39;", "'"), Policy())
	require.NotContains(t, script, "</")
}

func TestPageStates(t *testing.T) {
	p := page(t, nil)
	require.Contains(t, written(t, p), "data-live")
	require.Contains(t, written(t, p), "1h00m</b> left")
	p.Live = false
	text := written(t, p)
	require.NotContains(t, text, " data-live>")
	require.Contains(t, text, `>stopped<`)
	p.Step = p.Config.Steps
	require.Contains(t, written(t, p), `>finished<`)
	require.NotContains(t, text, `role="alert"`)

	p.Lines = nil
	require.Contains(t, written(t, p), "No step has been logged yet")
	for want, change := range map[string]func(*Line){
		"Collapse":                 func(l *Line) { l.RankMe = 1.2 },
		"3 steps were passed over": func(l *Line) { l.Skipped = 3 },
		"diverged once":            func(l *Line) { l.RollBacks = 1 },
		"rests 25 % of the time":   func(l *Line) { l.Rested = 0.25 },
	} {
		p.Lines = logged()
		change(&p.Lines[len(p.Lines)-1])
		require.Contains(t, written(t, p), want)
	}
}

// The number of threads changes nothing.
func TestSightIsTheSameForAnyThreads(t *testing.T) {
	dir := pictures(t, 11)
	require.Equal(t, sightWith(t, dir, config(t), 1), sightWith(t, dir, config(t), 3))
}

func TestSampleFor(t *testing.T) {
	o := SampleOptions{Config: config(t)}
	got, all, ok := SampleFor(o, 1000, 2, math.MaxInt64)
	require.True(t, ok)
	require.Equal(t, mostPictures, got.Pictures)
	got, some, ok := SampleFor(o, 1000, 2, all-1)
	require.True(t, ok)
	require.Less(t, got.Pictures, mostPictures)
	require.Less(t, some, all)
	_, _, ok = SampleFor(o, 1000, 2, 1<<20)
	require.False(t, ok)
	got, _, ok = SampleFor(o, 5, 2, math.MaxInt64)
	require.True(t, ok)
	require.Equal(t, 5, got.Pictures)
}

func TestReadMetrics(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"step":0,"loss":0,"knn":10}` + "\n")
	for i := range 5000 {
		best := ""
		if i == 777 {
			best = `,"best":"rankme"`
		}
		fmt.Fprintf(&b, `{"step":%d,"loss":%d,"rankme":null%s}`+"\n", i+1, i, best)
	}
	b.WriteString("torn {\n" + `{"step":9999,"lo`)
	lines, err := readLines(strings.NewReader(b.String()))
	require.NoError(t, err)
	require.LessOrEqual(t, len(lines), mostLines+3)
	require.Greater(t, len(lines), mostLines/2-1)
	require.Equal(t, 10.0, lines[0].KNN)
	require.Equal(t, 5000, lines[len(lines)-1].Step)
	require.True(t, slices.ContainsFunc(lines, func(l Line) bool { return l.Best == "rankme" && l.Step == 778 }))
	require.True(t, slices.IsSortedFunc(lines, func(a, b Line) int { return a.Step - b.Step }))
	require.True(t, math.IsNaN(lines[1].RankMe) && math.IsNaN(lines[1].KNN), "what is not there is not 0")

	lines, err = ReadMetrics(filepath.Join(t.TempDir(), "absent"))
	require.NoError(t, err)
	require.Empty(t, lines)
}

func TestScales(t *testing.T) {
	for _, c := range []struct {
		values []float64
		ticks  []string
	}{
		{[]float64{27.5, 36}, []string{"25", "30", "35"}},
		{[]float64{0.1, 0.4}, []string{"0.1", "0.2", "0.3", "0.4"}},
		{[]float64{0.01, 120}, []string{"0.01", "0.1", "1", "10", "100"}},
		{[]float64{3, 3}, nil},
		{[]float64{1e-3}, nil},
		{[]float64{-0.1, 12345}, nil},
		{[]float64{0}, nil},
	} {
		i := 0
		ch := chart{curves: []curve{{at: func(*Line) float64 { i++; return c.values[(i-1)%len(c.values)] }}}}
		s, ticks, ok := ch.scaleOf(make([]Line, len(c.values)))
		require.True(t, ok)
		var text []string
		for _, v := range ticks {
			text = append(text, tick(v))
			require.GreaterOrEqual(t, s.at(v), -1e-9)
			require.LessOrEqual(t, s.at(v), 1+1e-9)
		}
		for _, v := range c.values {
			require.GreaterOrEqual(t, s.at(v), -1e-9, "%v", c.values)
			require.LessOrEqual(t, s.at(v), 1+1e-9, "%v", c.values)
		}
		require.GreaterOrEqual(t, len(text), 2, "%v", c.values)
		require.LessOrEqual(t, len(text), 6, "%v: %v", c.values, text)
		if c.ticks != nil {
			require.Equal(t, c.ticks, text, "%v", c.values)
		}
	}
}

// Data that vary along known directions have those as principal components.
func TestPrincipal(t *testing.T) {
	const rows, dim = 60, 5
	x := make([]float64, rows*dim)
	for r := range rows {
		a, b := float64(r%7)-3, float64(r%4)-1.5
		x[r*dim], x[r*dim+1] = 10+3*a, 3*a // along (1, 1, 0, 0, 0)
		x[r*dim+3] = b
	}
	centre(x, rows, dim)
	d, y := principal(slices.Clone(x), rows, dim, 3)
	h := math.Sqrt(0.5)
	for i, want := range []float64{h, h, 0, 0, 0, 0, 0, 0, 1, 0} {
		require.InDelta(t, want, math.Abs(d[i]), 1e-2, "direction %d, component %d", i/dim, i%dim)
	}
	for r := range rows {
		require.InDelta(t, 0, y[3*r+2], 1e-6, "there is no third direction")
	}
}

// Two groups of pictures lie apart in the map, and nobody leaves it.
func TestNeighbourMap(t *testing.T) {
	const n = 40
	far, start := make([]float64, n*n), make([]float64, 2*n)
	for i := range n {
		for j := range n {
			far[i*n+j] = 0.1 + 0.01*float64((i*j)%7)
			if i%2 != j%2 {
				far[i*n+j] = 4
			}
		}
		far[i*n+i] = 0
		start[2*i], start[2*i+1] = float64(i%5)-2, float64(i%3)-1
	}
	xy := neighbourMap(far, start, n)
	within, between := 0.0, 0.0
	for i := range n {
		require.True(t, xy[2*i] >= 0 && xy[2*i] <= 1 && xy[2*i+1] >= 0 && xy[2*i+1] <= 1)
		for j := range i {
			d := math.Hypot(xy[2*i]-xy[2*j], xy[2*i+1]-xy[2*j+1])
			if i%2 == j%2 {
				within += d / float64(n*(n/2-1)/2)
			} else {
				between += d / float64(n*n/4)
			}
		}
	}
	require.Greater(t, between, 1.4*within)
	for n := range 6 {
		require.Len(t, neighbourMap(make([]float64, n*n), make([]float64, 2*n), n), 2*n)
	}
}
