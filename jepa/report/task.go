package report

import (
	"fmt"
	"io"
	"time"

	"edgejepa/internal/cli"
	"edgejepa/jepa/tune"
	"edgejepa/vit/heads"
)

// TaskPage is the page of a tuning.
type TaskPage struct {
	Name       string
	Config     tune.Config
	Train, Val int // pictures
	Program    string
	Step       int
	Live       bool
	Left       time.Duration // 0: unknown
	Written    time.Time
	Lines      []Line
	Figures    *tune.Figures // of the last evaluation; nil: there was none yet
}

// Write writes the page.
func (p *TaskPage) Write(w io.Writer) error {
	m := &markup{w: w}
	shell{p.Name, p.Program, p.Live, p.Written}.write(m, func() {
		p.head(m)
		p.curves(m)
		p.judged(m)
		table(m, p.Lines, p.charts())
	})
	return m.err
}

func (p *TaskPage) head(m *markup) {
	c := p.Config
	e := c.Encoder
	m.put("<header>\n")
	far{p.Name, p.Step, c.Steps, p.Live, p.Left, p.Lines}.write(m)
	m.put("<dl class=\"facts\">\n")
	m.fact("task", "%s", string(c.Head.Task))
	m.fact("learned from", "%s pictures", cli.Count(int64(p.Train)))
	m.fact("judged on", "%s pictures", cli.Count(int64(p.Val)))
	m.fact("classes", "%d", len(c.Head.Classes))
	m.fact("input", "%d×%d pixels, %d tokens", e.Width(), e.ImageSize, e.Tokens())
	m.fact("encoder", "%d wide, %d deep, %s", e.Dim, e.Depth, learns(c))
	m.fact("batch", "%d pictures", c.Batch)
	m.put("</dl>\n</header>\n")
}

// learns says what of the encoder does.
func learns(c tune.Config) string {
	switch c.Frozen {
	case 0:
		return "all of it learns"
	case c.Encoder.Depth:
		return "frozen"
	}
	return fmt.Sprintf("last %d blocks learn", c.Encoder.Depth-c.Frozen)
}

// figureName is what Figures.Main is.
func figureName(t heads.Task) literal {
	switch t {
	case heads.Segment:
		return "Dice"
	case heads.Detect:
		return "AP at IoU 0.5"
	}
	return "top-1"
}

func (p *TaskPage) charts() []chart {
	return []chart{
		{id: "judged", title: "Does it answer right?", unit: " %", hint: "On the pictures that are set aside.",
			curves: []curve{{figureName(p.Config.Head.Task), "figure", "c1", func(l *Line) float64 { return l.Task.Figure }}}},
		{id: "loss", title: "Loss", hint: "On the pictures that it learns from. Falling while the figure does not rise is learning by heart.",
			curves: []curve{{"loss", "loss", "c2", func(l *Line) float64 { return positive(l.Loss) }}}},
		{id: "gradient", title: "Gradient norm", hint: "Before clipping.",
			curves: []curve{{"norm", "grad_norm", "c5", func(l *Line) float64 { return positive(l.GradNorm) }}}},
		{id: "rate", title: "Learning rate", zero: true, hint: "Of the head: warm-up, then a cosine down to the end.",
			curves: []curve{{"rate", "lr", "c5", func(l *Line) float64 { return positive(l.LR) }}}},
		{id: "speed", title: "Images a second", zero: true, hint: "Evaluations included.",
			curves: []curve{{"images/s", "images_per_second", "c6", func(l *Line) float64 { return positive(l.ImagesPerSecond) }}}},
	}
}

func (p *TaskPage) curves(m *markup) {
	m.put("<section aria-labelledby=\"h-curves\">\n<h2 id=\"h-curves\">Curves</h2>\n")
	if len(p.Lines) == 0 {
		m.put("<p class=\"none\">No step has been logged yet.</p></section>\n")
		return
	}
	m.put("<div class=\"charts\">\n")
	charts := p.charts()
	for i := range charts {
		charts[i].write(m, p.Lines)
	}
	m.put("</div>\n")
	values(m, p.Lines, charts)
	m.put("</section>\n")
}

// judged are the figures of the last evaluation.
func (p *TaskPage) judged(m *markup) {
	f := p.Figures
	if f == nil {
		return
	}
	m.put("<section id=\"figures\" aria-labelledby=\"h-figures\">\n<h2 id=\"h-figures\">Figures</h2>\n<dl class=\"facts\">\n")
	percent := func(name literal, v float64) {
		if v > 0 {
			m.fact(name, "%s %%", figure(v))
		}
	}
	percent("top-1", f.Top1)
	percent("top-5", f.Top5)
	percent("mean recall", f.BalancedRecall)
	percent("calibration error", f.ECE)
	percent("Dice without background", f.Dice)
	percent("mean Dice", f.MeanDice)
	percent("mean IoU", f.MeanIoU)
	percent("pixels right", f.Accuracy)
	percent("AP at IoU 0.5", f.AP50)
	percent("AP at IoU 0.5 to 0.95", f.AP)
	percent("AP at IoU 0.75", f.AP75)
	percent("recall of 100 boxes", f.AR)
	m.put("</dl>\n")
	p.classes(m, f)
	confusion(m, f)
	m.put("</section>\n")
}

// classes is a row for each class.
func (p *TaskPage) classes(m *markup, f *tune.Figures) {
	columns := []struct {
		name string
		at   func(c *tune.ClassFigure) float64
	}{
		{"precision", func(c *tune.ClassFigure) float64 { return c.Precision }},
		{"recall", func(c *tune.ClassFigure) float64 { return c.Recall }},
		{"F1", func(c *tune.ClassFigure) float64 { return c.F1 }},
		{"IoU", func(c *tune.ClassFigure) float64 { return c.IoU }},
	}
	if f.Task == heads.Detect {
		columns = columns[:2]
		columns[0].name, columns[0].at = "AP at 0.5", func(c *tune.ClassFigure) float64 { return c.AP50 }
		columns[1].name, columns[1].at = "AP", func(c *tune.ClassFigure) float64 { return c.AP }
	}
	examples := literal("pictures")
	switch f.Task {
	case heads.Segment:
		examples = "pixels"
	case heads.Detect:
		examples = "objects"
	}
	m.put("<div class=\"scroll\" tabindex=\"0\"><table>\n<caption>Each class, in percent</caption>\n<thead><tr><th scope=\"col\">class</th><th scope=\"col\">%s</th>", examples)
	for _, c := range columns {
		m.put("<th scope=\"col\">%s</th>", c.name)
	}
	m.put("</tr></thead>\n<tbody>\n")
	for i := range f.Classes {
		c := &f.Classes[i]
		m.put("<tr><th scope=\"row\">%s</th><td>%s</td>", c.Name, cli.Count(c.Examples))
		for _, k := range columns {
			v := "–"
			if at := k.at(c); at >= 0 {
				v = figure(at)
			}
			m.put("<td>%s</td>", v)
		}
		m.put("</tr>\n")
	}
	m.put("</tbody></table></div>\n")
}

// mostConfused is up to how many classes a confusion matrix can be taken in.
const mostConfused = 30

// confusion is what was taken for what, in percent of each row, darker for more.
func confusion(m *markup, f *tune.Figures) {
	n := len(f.Confusion)
	if n == 0 || n > mostConfused {
		return
	}
	m.put("<div class=\"scroll\" tabindex=\"0\"><table class=\"confusion\">\n<caption>What was taken for what: rows are the truth, columns the answers, percent of the row</caption>\n<thead><tr><th scope=\"col\"></th>")
	for _, c := range f.Classes {
		m.put("<th scope=\"col\">%s</th>", c.Name)
	}
	m.put("</tr></thead>\n<tbody>\n")
	for i, row := range f.Confusion {
		total := int64(0)
		for _, v := range row {
			total += v
		}
		m.put("<tr><th scope=\"row\">%s</th>", f.Classes[i].Name)
		for _, v := range row {
			share := 100 * float64(v) / float64(max(total, 1))
			m.put("<td style=\"--share:%.0f%%\">%s</td>", share, figure(share))
		}
		m.put("</tr>\n")
	}
	m.put("</tbody></table></div>\n")
}
