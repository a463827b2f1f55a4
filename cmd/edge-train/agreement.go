package main

import (
	"context"
	"fmt"
	"io"

	"edgejepa/internal/cli"
	count "edgejepa/jepa/metrics"
	"edgejepa/quant"
	"edgejepa/vit/heads"
	"edgejepa/vit/pixels"
)

// agreement is how often a head says the same of the exported network as of its f32 original. Shares are in percent.
type agreement struct {
	Task     heads.Task `json:"task"`
	Pictures int        `json:"pictures"`

	Same    float64 `json:"same,omitempty"`     // classify: pictures of the same class; segment: pixels
	MeanIoU float64 `json:"mean_iou,omitempty"` // segment: of the two maps, over classes; detect: of boxes that have a partner

	Boxes   int     `json:"boxes,omitempty"`   // detect: found by either
	Matched float64 `json:"matched,omitempty"` // those that have a partner found by the other
}

// What counts as found, and as the same object, when two detectors are compared.
const (
	agreedScore = 0.3
	agreedIoU   = 0.5
)

// headBatch is how many pictures go through a head at a time.
const headBatch = 16

// agree compares the answers of the head behind both networks on pictures, each as the head wants it.
func (e *exporter) agree(ctx context.Context, limits pixels.Limits, paths []string, exported *quant.Predictor) error {
	h := e.head
	original := quant.NewPredictor(quant.NewFloatEmbedder(e.enc, e.pool, headBatch), h, e.pool, headBatch)
	z := newFeaturizer(e.pool, limits, e.enc.Config)
	z.forHead(h)
	a, n := newAgreed(h), h.OutLen()
	want, got := make([]float32, headBatch*n), make([]float32, headBatch*n)
	for at := 0; at < len(paths); at += headBatch {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		read := len(z.decode(paths[at:min(at+headBatch, len(paths))], func(error) {})) // measure reads them too, and tells
		original.Predict(want, z.crops, read)
		exported.Predict(got, z.crops, read)
		for i := range read {
			a.add(want[i*n:][:n], got[i*n:][:n])
		}
		e.progress.Update(cli.Status{Done: int64(at + read), Total: int64(len(paths)), Images: int64(at + read)})
	}
	e.progress.Finish()
	e.report.Fidelity.Head = a.figures()
	return nil
}

// agreed collects what two networks said.
type agreed struct {
	h        *heads.Head
	same     *count.Confusion // classify: of pictures; segment: of pixels
	maps     [2][]uint8
	pictures int
	boxes    int
	pairs    int
	overlap  float64
}

func newAgreed(h *heads.Head) *agreed {
	a := &agreed{h: h, same: count.NewConfusion(len(h.Config.Classes))}
	for i := range a.maps {
		a.maps[i] = make([]uint8, h.Encoder.ImageSize*h.Encoder.Width())
	}
	return a
}

// add takes one picture's raw outputs.
func (a *agreed) add(want, got []float32) {
	a.pictures++
	switch e := a.h.Encoder; a.h.Config.Task {
	case heads.Classify:
		a.same.Add(largest(want), largest(got))
	case heads.Segment:
		a.h.ClassMap(a.maps[0], want, e.Width(), e.ImageSize)
		a.h.ClassMap(a.maps[1], got, e.Width(), e.ImageSize)
		a.same.AddPixels(a.maps[0], a.maps[1])
	case heads.Detect:
		a.pair(a.h.Decode(want, agreedScore), a.h.Decode(got, agreedScore))
	}
}

// pair finds for each box, the likeliest first, the one of the other network's that it shares most with.
func (a *agreed) pair(want, got []heads.Found) {
	a.boxes += len(want) + len(got)
	taken := make([]bool, len(got))
	for _, w := range want {
		best, most := -1, agreedIoU
		for i, g := range got {
			if iou := w.IoU(g.Box); !taken[i] && g.Class == w.Class && iou >= most {
				best, most = i, iou
			}
		}
		if best >= 0 {
			taken[best] = true
			a.pairs++
			a.overlap += most
		}
	}
}

func (a *agreed) figures() *agreement {
	f := &agreement{Task: a.h.Config.Task, Pictures: a.pictures}
	switch f.Task {
	case heads.Segment:
		f.MeanIoU = 100 * a.same.MeanIoU()
		fallthrough
	case heads.Classify:
		f.Same = 100 * a.same.Accuracy()
	case heads.Detect:
		f.Boxes = a.boxes
		f.Matched = 100
		if a.boxes > 0 {
			f.Matched = 100 * float64(2*a.pairs) / float64(a.boxes)
		}
		if a.pairs > 0 {
			f.MeanIoU = 100 * a.overlap / float64(a.pairs)
		}
	}
	return f
}

// print tells it on one line.
func (f *agreement) print(w io.Writer) (err error) {
	switch f.Task {
	case heads.Classify:
		_, err = fmt.Fprintf(w, "the head names the same class for %.2f %% of %d pictures\n", f.Same, f.Pictures)
	case heads.Segment:
		_, err = fmt.Fprintf(w, "the head's maps agree in %.2f %% of the pixels of %d pictures, mean IoU %.2f %%\n", f.Same, f.Pictures, f.MeanIoU)
	case heads.Detect:
		_, err = fmt.Fprintf(w, "of %d boxes that the head finds in %d pictures, %.2f %% are found behind both, mean IoU %.2f %%\n", f.Boxes, f.Pictures, f.Matched, f.MeanIoU)
	}
	return err
}

// largest is where the largest value is; of equal ones the first.
func largest(x []float32) (at int) {
	for i, v := range x {
		if v > x[at] {
			at = i
		}
	}
	return at
}
