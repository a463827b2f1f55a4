package tune

import (
	"context"
	"fmt"

	"edgejepa/jepa/labels"
	"edgejepa/jepa/metrics"
	"edgejepa/vit/heads"
)

// Figures say how good a head's answers are on pictures that it did not learn from: those of its task are there.
type Figures struct {
	Task     heads.Task `json:"task"`
	Pictures int        `json:"pictures"`
	Main     float64    `json:"figure"` // the one to compare runs by: top-1, mean Dice without background, AP at 0.5; in percent

	// Classify, in percent but for NLL and the temperature.
	Top1           float64 `json:"top1,omitempty"`
	Top5           float64 `json:"top5,omitempty"` // where there are more than five classes
	BalancedRecall float64 `json:"mean_recall,omitempty"`
	NLL            float64 `json:"nll,omitempty"` // with the temperature
	ECE            float64 `json:"ece,omitempty"` // likewise
	Temperature    float64 `json:"temperature,omitempty"`

	// Segment, in percent.
	Dice     float64 `json:"dice,omitempty"` // mean over the classes but heads.Config.Background
	MeanDice float64 `json:"mean_dice,omitempty"`
	MeanIoU  float64 `json:"mean_iou,omitempty"`
	Accuracy float64 `json:"pixel_accuracy,omitempty"`

	// Detect, in percent, as COCO counts.
	AP   float64 `json:"ap,omitempty"` // at IoU 0.5:0.95
	AP50 float64 `json:"ap50,omitempty"`
	AP75 float64 `json:"ap75,omitempty"`
	AR   float64 `json:"ar100,omitempty"`

	Classes   []ClassFigure `json:"classes"`
	Confusion [][]int64     `json:"confusion,omitempty"` // [truth][answer], of classes or pixels
}

// ClassFigure are the figures of one class, in percent; -1 where nothing was there to be counted.
type ClassFigure struct {
	Name      string  `json:"name"`
	Examples  int64   `json:"examples"` // pictures, pixels or objects
	Precision float64 `json:"precision,omitempty"`
	Recall    float64 `json:"recall,omitempty"`
	F1        float64 `json:"f1,omitempty"` // of pixels: Dice
	IoU       float64 `json:"iou,omitempty"`
	AP50      float64 `json:"ap50,omitempty"`
	AP        float64 `json:"ap,omitempty"`
}

// percent keeps what is undefined as it is.
func percent(v float64) float64 {
	if v == metrics.Undefined {
		return v
	}
	return 100 * v
}

// Judge answers for all examples and compares. A temperature is fitted to them if fit is set, else the head's own is used.
func (t *Trainer) Judge(ctx context.Context, x *Examples, fit bool) (Figures, error) {
	f, j, per := newFeeder(t.still(), x, t.pool), newJudge(t.Head, x), t.Head.OutLen()
	t.net.pass.SetDropPath(noDrop)
	for at := 0; at < x.Len(); at += t.chunk {
		if ctx.Err() != nil {
			return Figures{}, context.Cause(ctx)
		}
		var draws []draw
		for i := at; i < min(at+t.chunk, x.Len()); i++ {
			draws = append(draws, draw{0, i})
		}
		b := f.prepare(draws)
		if b.n == 0 {
			continue
		}
		out := t.net.head.Forward(t.net.features(b.px, b.n), b.n)
		for i, d := range draws {
			if b.errs[i] == nil {
				_ = j.answered(d.picture, out[:per]) // a mask that has gone since it was prepared is told of by report
				out = out[per:]
			}
		}
	}
	return j.figures(fit)
}

// judge gathers answers.
type judge struct {
	head    *heads.Head
	x       *Examples
	classes int
	seen    int

	logits    []float32 // classify
	labels    []int
	confusion *metrics.Confusion // segment
	guess     []uint8
	objects   []metrics.Object // detect
	found     []metrics.Found
}

func newJudge(h *heads.Head, x *Examples) *judge {
	j := &judge{head: h, x: x, classes: len(h.Config.Classes)}
	if h.Config.Task == heads.Segment {
		j.confusion = metrics.NewConfusion(j.classes)
	}
	return j
}

// answered takes the head's outputs for a picture. It fails if the mask of the picture cannot be read.
func (j *judge) answered(picture int, out []float32) error {
	switch j.head.Config.Task {
	case heads.Classify:
		j.logits, j.labels = append(j.logits, out...), append(j.labels, j.x.Labels[picture])
	case heads.Segment:
		m, err := j.x.maskOf(picture)
		if err != nil {
			return err
		}
		j.guess = append(j.guess[:0], make([]uint8, len(m.pix))...)
		j.head.ClassMap(j.guess, out, m.w, m.h)
		j.confusion.AddPixels(m.pix, j.guess)
	case heads.Detect:
		j.detected(picture, out)
	}
	j.seen++
	return nil
}

// detected takes down what is in a picture and what was found there, in pixels of the picture.
func (j *judge) detected(picture int, out []float32) {
	size := j.x.sizes[picture]
	e := j.head.Encoder
	sx, sy := float64(size.W)/float64(e.Width()), float64(size.H)/float64(e.ImageSize)
	for _, b := range j.x.Boxes[picture] {
		j.objects = append(j.objects, metrics.Object{Image: picture, Class: b.Class, Box: corners(b), Area: b.Area, Crowd: b.Crowd, Ignore: b.Difficult})
	}
	for _, f := range j.head.Decode(out, heads.LeastScore) {
		j.found = append(j.found, metrics.Found{Image: picture, Class: f.Class, Score: f.Score, Box: metrics.Box{
			X: float64(f.X0 * sx), Y: float64(f.Y0 * sy), W: float64((f.X1 - f.X0) * sx), H: float64((f.Y1 - f.Y0) * sy)}})
	}
}

func corners(b labels.Box) metrics.Box {
	return metrics.Box{X: b.X0, Y: b.Y0, W: b.X1 - b.X0, H: b.Y1 - b.Y0}
}

func (j *judge) figures(fit bool) (Figures, error) {
	if j.seen == 0 {
		return Figures{}, fmt.Errorf("none of the %d pictures to judge on can be read", j.x.Len())
	}
	f := Figures{Task: j.head.Config.Task, Pictures: j.seen}
	switch f.Task {
	case heads.Classify:
		j.classified(&f, fit)
	case heads.Segment:
		j.segmented(&f)
	case heads.Detect:
		d, err := metrics.Detect(j.x.Len(), j.classes, j.objects, j.found)
		if err != nil {
			return f, err
		}
		f.AP, f.AP50, f.AP75, f.AR = percent(d.AP), percent(d.AP50), percent(d.AP75), percent(d.AR100)
		f.Main = f.AP50
		for c, name := range j.head.Config.Classes {
			f.Classes = append(f.Classes, ClassFigure{Name: name, Examples: int64(d.Classes[c].Objects), AP: percent(d.Classes[c].AP), AP50: percent(d.Classes[c].AP50), Recall: percent(d.Classes[c].AR100)})
		}
	}
	return f, nil
}

func (j *judge) classified(f *Figures, fit bool) {
	s := metrics.Scores{X: j.logits, C: j.classes}
	switch f.Temperature = j.head.Config.Temperature; {
	case fit:
		f.Temperature = metrics.Temperature(s, j.labels)
	case f.Temperature == 0:
		f.Temperature = 1
	}
	f.Top1 = percent(metrics.TopK(s, j.labels, 1))
	if j.classes > 5 {
		f.Top5 = percent(metrics.TopK(s, j.labels, 5))
	}
	f.NLL, f.ECE = metrics.NLL(s, j.labels, f.Temperature), percent(metrics.ECE(s, j.labels, f.Temperature, metrics.CalibrationBins))
	m := metrics.Confuse(s, j.labels)
	f.BalancedRecall, f.Main = percent(m.MeanRecall()), f.Top1
	j.perClass(f, m)
}

func (j *judge) segmented(f *Figures) {
	m := j.confusion
	f.MeanDice, f.MeanIoU, f.Accuracy = percent(m.MeanDice()), percent(m.MeanIoU()), percent(m.Accuracy())
	j.perClass(f, m)
	sum, n := 0.0, 0
	for k, c := range f.Classes {
		if k != j.head.Config.Background() && c.F1 != metrics.Undefined {
			sum, n = sum+c.F1, n+1
		}
	}
	if n > 0 {
		f.Dice = sum / float64(n)
	}
	f.Main = f.Dice
}

func (j *judge) perClass(f *Figures, m *metrics.Confusion) {
	for c, p := range m.PerClass() {
		f.Classes = append(f.Classes, ClassFigure{Name: j.head.Config.Classes[c], Examples: p.Truth, Precision: percent(p.Precision), Recall: percent(p.Recall), F1: percent(p.F1), IoU: percent(p.IoU)})
		f.Confusion = append(f.Confusion, m.N[c*m.C:(c+1)*m.C])
	}
}
