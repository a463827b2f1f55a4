// Package report draws the page by which a person judges a run: curves, and what the encoder makes of a sample of the
// pictures. The page is one file that asks for nothing from outside, and equal reports give equal bytes.
//
// There is no template engine: linking one costs a third of the program. Markup is constants of this package, everything
// else goes through markup.put, which escapes it.
package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"edgejepa/internal/cli"
	"edgejepa/jepa"
	"edgejepa/vit"
)

//go:embed page.css
var css string

//go:embed page.js
var script string

// Page is everything that the page shows.
type Page struct {
	Name     string // of the run
	Config   jepa.Config
	Pictures int
	Program  string
	Step     int
	Live     bool          // the run is under way: the page looks for news
	Left     time.Duration // 0: unknown
	Written  time.Time
	Lines    []Line // of metrics.jsonl, ascending
	Sight    *Sight // nil: pictures are not shown, NoSight says why
	NoSight  string
}

// Limits at which features have collapsed: public runs of this size were past saving there, and healthy ones stay a
// factor of ten away.
const (
	CollapseRankMe     = 1.5
	CollapseFeatureStd = 1e-3
	CollapseFrom       = 50 // steps; features of an untrained network are alike
)

// Collapsed says that the features of different pictures have become alike.
func Collapsed(step int, rankme, std float64) bool {
	return step >= CollapseFrom && (rankme < CollapseRankMe || std < CollapseFeatureStd)
}

// Policy is the content security policy of the page: nothing from outside, and no script but its own.
func Policy() string {
	sum := sha256.Sum256([]byte(script))
	return "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; connect-src 'self'; base-uri 'none'; form-action 'none'"
}

// Write writes the page.
func (p *Page) Write(w io.Writer) error {
	m := &markup{w: w}
	shell{p.Name, p.Program, p.Live, p.Written}.write(m, func() {
		p.head(m)
		p.warnings(m)
		p.howToRead(m)
		p.curves(m)
		p.sights(m)
		table(m, p.Lines, p.charts())
	})
	return m.err
}

// shell is what is around every page.
type shell struct {
	name, program string
	live          bool
	written       time.Time
}

func (f shell) write(m *markup, body func()) {
	live := literal("")
	if f.live {
		live = ` data-live`
	}
	m.put("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"%s\">\n", Policy())
	m.put("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n")
	m.put("<title>%s · edgejepa</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n%s</style>\n</head>\n<body>\n<main id=\"report\" data-version=\"%d\"%s>\n",
		f.name, literal(css), f.written.UnixMilli(), live)
	body()
	m.put("<footer>%s · written %s · every figure is in <code>metrics.jsonl</code> beside this file</footer>\n</main>\n",
		f.program, f.written.UTC().Format("2006-01-02 15:04:05 UTC"))
	m.put("<script>%s</script>\n</body>\n</html>\n", literal(script))
}

// lastLine is the newest line.
func (p *Page) lastLine() Line {
	if n := len(p.Lines); n > 0 {
		return p.Lines[n-1]
	}
	return emptyLine()
}

// far says what run a page is of and how far that is.
type far struct {
	name        string
	step, steps int
	live        bool
	left        time.Duration
	lines       []Line
}

func (p far) write(m *markup) {
	done := float64(p.step) / float64(max(p.steps, 1))
	state := literal("stopped")
	switch {
	case p.live:
		state = "training"
	case p.step >= p.steps:
		state = "finished"
	}
	m.put("<p class=\"state %s\">%s</p>\n<h1>%s</h1>\n", state, state, p.name)
	m.put("<div class=\"bar\" role=\"progressbar\" aria-label=\"steps done\" aria-valuemin=\"0\" aria-valuemax=\"%d\" aria-valuenow=\"%d\"><i style=\"width:%.1f%%\"></i></div>\n",
		p.steps, p.step, 100*min(done, 1))
	m.put("<p class=\"progress\">step <b>%s</b> of %s", cli.Count(int64(p.step)), cli.Count(int64(p.steps)))
	if epoch := (curve{at: func(l *Line) float64 { return l.Epoch }}).last(p.lines); finite(epoch) {
		m.put(" · epoch %s", figure(epoch))
	}
	if p.live && p.left > 0 {
		m.put(" · <b>%s</b> left", cli.Span(p.left))
	}
	m.put("</p>\n")
}

// fact is a line of what a run is.
func (m *markup) fact(name literal, format literal, args ...any) {
	m.put("<div><dt>%s</dt><dd>", name)
	m.put(format, args...)
	m.put("</dd></div>\n")
}

// head says what run this is and how far it is.
func (p *Page) head(m *markup) {
	c := p.Config
	m.put("<header>\n")
	far{p.Name, p.Step, c.Steps, p.Live, p.Left, p.Lines}.write(m)
	m.put("<dl class=\"facts\">\n")
	fact := m.fact
	e := c.Encoder
	fact("pictures", "%s", cli.Count(int64(p.Pictures)))
	fact("objective", "%s", c.Objective.String())
	fact("network", "%s in %s", c.Preset, c.Precision.String())
	fact("input", "%d² pixels, %d tokens of %d²", e.ImageSize, e.Tokens(), e.PatchSize)
	fact("encoder", "%s parameters, %d wide, %d deep", cli.Count(vit.CountParams(e)), e.Dim, e.Depth)
	fact(literal(c.Objective.Head()), "%s parameters", cli.Count(c.HeadParams()))
	fact("batch", "%d pictures", c.Batch)
	fact("seed", "%s", strconv.FormatUint(c.Seed, 10))
	m.put("</dl>\n</header>\n")
}

// warnings are what the lines say went wrong.
func (p *Page) warnings(m *markup) {
	var said []string
	last := p.lastLine()
	for i := len(p.Lines) - 1; i >= 0; i-- {
		l := &p.Lines[i]
		if !finite(l.RankMe) || !finite(l.FeatureStd) {
			continue
		}
		if Collapsed(l.Step, l.RankMe, l.FeatureStd) {
			said = append(said, fmt.Sprintf("Collapse: features of different pictures are all but equal (RankMe %s, feature deviation %s). The loss means nothing now. "+
				"Start again with a lower learning rate, a stronger term against collapse or a larger batch.", figure(l.RankMe), figure(l.FeatureStd)))
		}
		break
	}
	if last.RollBacks > 0 {
		said = append(said, fmt.Sprintf("The run diverged %s: each time it went back and on with half the learning rate.", times(last.RollBacks)))
	}
	if last.Skipped > 0 {
		said = append(said, fmt.Sprintf("%s passed over because the gradient was not finite.", count(last.Skipped, "step was", "steps were")))
	}
	if finite(last.Rested) && last.Rested > 0 {
		said = append(said, fmt.Sprintf("The board is hot: training rests %.0f %% of the time. Better cooling gives full speed.", 100*last.Rested))
	}
	if len(said) == 0 {
		return
	}
	m.put("<section class=\"warnings\" role=\"alert\" aria-label=\"Warnings\">\n")
	for _, s := range said {
		m.put("<p>%s</p>\n", s)
	}
	m.put("</section>\n")
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return strconv.Itoa(n) + " times"
}

func (p *Page) howToRead(m *markup) {
	m.put(`<details class="card read" id="how-to-read"><summary>How to read this</summary>
<ul>
<li><b>A falling loss says little.</b> The target moves with the network: a loss near 0 may be a network that has gone blind.</li>
<li><b>k-NN and linear probe against random</b> tell whether it learns: the same network untrained is the line to beat.</li>
<li><b>RankMe</b> is how many directions the features use. It should rise and stay up. Near 1 the features have collapsed.</li>
<li><b>Feature deviation</b> is how far pictures lie apart, 0.1 or more in runs that learn.</li>
<li><b>Neighbours</b> should share content, not only colour. <b>Tokens</b> of like content should share a colour.</li>
</ul></details>
`)
}

// curves of every figure that the lines have.
func (p *Page) curves(m *markup) {
	if len(p.Lines) == 0 {
		m.put("<section><h2>Curves</h2><p class=\"none\">No step has been logged yet.</p></section>\n")
		return
	}
	charts := p.charts()
	m.put("<section aria-labelledby=\"h-curves\">\n<h2 id=\"h-curves\">Curves</h2>\n<div class=\"charts\">\n")
	for i := range charts {
		charts[i].write(m, p.Lines)
	}
	m.put("</div>\n")
	if math.IsNaN((curve{at: func(l *Line) float64 { return l.KNN }}).last(p.Lines)) {
		m.put("<p class=\"none\">There are no labels to judge by. <code>--eval FOLDER</code>, with one sub-folder a class, adds k-NN and a linear probe beside the untrained network.</p>\n")
	}
	values(m, p.Lines, charts)
	m.put("</section>\n")
}

func (p *Page) charts() []chart {
	dim := literal(strconv.Itoa(p.Config.Encoder.Dim))
	loss, collapse := p.Config.Terms()
	return []chart{
		{id: "judged", title: "Is it learning?", unit: " %", hint: "Labelled pictures named right. Dashed: the same network untrained. The gap is what was learnt.",
			curves: []curve{
				{"k-NN", "knn", "c1", func(l *Line) float64 { return l.KNN }},
				{"linear", "linear", "c2", func(l *Line) float64 { return l.Linear }},
				{"untrained k-NN", "knn_random", "c1 dash", func(l *Line) float64 { return l.KNNRandom }},
				{"untrained linear", "linear_random", "c2 dash", func(l *Line) float64 { return l.LinearRandom }},
			}},
		{id: "rankme", title: "RankMe", zero: true, hint: "Directions that the features use, of " + dim + ". Higher is better; near 1 is collapse.",
			curves: []curve{{"rank", "rankme", "c3", func(l *Line) float64 { return positive(l.RankMe) }}}},
		{id: "consistency", title: "Consistency", unit: " %", zero: true, hint: "Pictures found again from another crop, no labels needed. Dashed: before training.",
			curves: []curve{
				{"found", "consistency", "c4", func(l *Line) float64 { return l.Consistency }},
				{"untrained", "consistency_random", "c4 dash", func(l *Line) float64 { return l.ConsistencyRandom }},
			}},
		{id: "deviation", title: "Feature deviation", zero: true, hint: "How far pictures lie apart. Towards 0 is collapse.",
			curves: []curve{{"deviation", "feature_std", "c3", func(l *Line) float64 { return positive(l.FeatureStd) }}}},
		{id: "loss", title: "Loss", hint: "Says little: the target moves along with the network.",
			curves: []curve{
				{literal(loss), "loss", "c1", func(l *Line) float64 { return positive(l.Loss) }},
				{literal(collapse), "variance_loss", "c2", func(l *Line) float64 { return positive(l.Regulariser) }},
			}},
		{id: "gradient", title: "Gradient norm", hint: "Before clipping. A steady climb comes before divergence.",
			curves: []curve{{"norm", "grad_norm", "c5", func(l *Line) float64 { return positive(l.GradNorm) }}}},
		{id: "rate", title: "Learning rate", zero: true, hint: "Warm-up, then a cosine down to the end.",
			curves: []curve{{"rate", "lr", "c5", func(l *Line) float64 { return positive(l.LR) }}}},
		{id: "speed", title: "Images a second", zero: true, hint: "Evaluations and checkpoints included.",
			curves: []curve{{"images/s", "images_per_second", "c6", func(l *Line) float64 { return positive(l.ImagesPerSecond) }}}},
		{id: "temperature", title: "Temperature", unit: " °C", hint: "Of the hottest sensor.",
			curves: []curve{{"board", "temperature", "c2", func(l *Line) float64 { return l.Temperature }}}},
	}
}

// positive is v, or nothing where a line of before the first step says 0.
func positive(v float64) float64 {
	if v > 0 {
		return v
	}
	return math.NaN()
}

// values is what the script reads values from when a curve is pointed at.
func values(m *markup, lines []Line, charts []chart) {
	columns := map[string][]any{}
	for i := range lines {
		columns["step"] = append(columns["step"], lines[i].Step)
	}
	for _, c := range charts {
		for _, k := range c.curves {
			if !finite(k.last(lines)) {
				continue
			}
			for i := range lines {
				var v any
				if f := k.at(&lines[i]); finite(f) {
					v = figure(f)
				}
				columns[string(k.key)] = append(columns[string(k.key)], v)
			}
		}
	}
	b, err := json.Marshal(columns) // escapes <, > and &
	if err != nil && m.err == nil {
		m.err = err
	}
	m.put("<script type=\"application/json\" id=\"data\">%s</script>\n", literal(b))
}

// tableRows is how many lines the table shows at most.
const tableRows = 40

// table is the curves as numbers.
func table(m *markup, lines []Line, charts []chart) {
	if len(lines) == 0 {
		return
	}
	var shown []curve
	for _, c := range charts {
		for _, k := range c.curves {
			if finite(k.last(lines)) {
				if k.name == "untrained" || k.name == "found" {
					k.name = "consistency, " + k.name
				}
				shown = append(shown, k)
			}
		}
	}
	m.put("<section aria-labelledby=\"h-table\">\n<h2 id=\"h-table\">Numbers</h2>\n<details class=\"card\" id=\"numbers\"><summary>The curves as a table</summary>\n<div class=\"scroll\" tabindex=\"0\"><table>\n<caption>Figures at up to %d of the steps logged</caption>\n<thead><tr><th scope=\"col\">step</th>", tableRows)
	for _, k := range shown {
		m.put("<th scope=\"col\">%s</th>", k.name)
	}
	m.put("</tr></thead>\n<tbody>\n")
	n := len(lines)
	rows := min(n, tableRows)
	for r := range rows {
		l := &lines[(r+1)*n/rows-1]
		m.put("<tr><th scope=\"row\">%d</th>", l.Step)
		for _, k := range shown {
			m.put("<td>%s</td>", figure(k.at(l)))
		}
		m.put("</tr>\n")
	}
	m.put("</tbody></table></div></details>\n</section>\n")
}
