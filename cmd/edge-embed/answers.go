package main

import (
	"cmp"
	"image"
	"image/color"
	"image/png"
	"io"
	"slices"
	"strconv"

	"edgejepa/internal/parallel"
	"edgejepa/kernels"
	"edgejepa/quant"
	"edgejepa/vit/heads"
	"edgejepa/vit/pixels"
)

// predictions collects pictures and turns them into answers: rows, masks and drawings.
type predictions struct {
	queue
	o       *options
	head    *heads.Head
	pass    *quant.Predictor
	pool    *parallel.Pool
	limits  pixels.Limits // of a picture that is drawn on
	drawing chan struct{} // has room for as many as are drawn on at a time
	w       io.Writer
	out     []float32 // [size, OutLen]
	answers []answer  // [size]
}

// answer is the row of a picture, or why there is none.
type answer struct {
	row []byte
	err error
}

// outputBytes is how much the raw outputs of a batch take, if one picture's do not take more.
const outputBytes = 64 << 20

func newPredictions(o *options, m *quant.Model, on machine) *predictions {
	n := m.Head().OutLen()
	size := max(min(o.batchSize(m.Config()), outputBytes/4/n), 1)
	return &predictions{queue: newQueue(m.Config(), size), o: o, head: m.Head(), pass: m.NewPredictor(on.pool, size), pool: on.pool,
		limits: on.limits, drawing: make(chan struct{}, on.decoders), out: make([]float32, size*n), answers: make([]answer, size)}
}

func (p *predictions) open(w io.Writer) error {
	p.w = w
	return nil
}

func (p *predictions) finish() error { return nil }
func (p *predictions) close()        {}

func (p *predictions) flush(yield func(error) bool) {
	n := p.n
	p.n = 0
	p.pass.Predict(p.out, p.pix, n)
	p.pool.Do(p, n)
	for _, a := range p.answers[:n] {
		if a.err != nil {
			if !yield(a.err) {
				return
			}
			continue
		}
		if _, err := p.w.Write(a.row); err != nil {
			yield(err)
			return
		}
		p.done++
	}
}

// Run makes the answer of waiting picture i.
func (p *predictions) Run(i, _ int) {
	a, n := &p.answers[i], p.head.OutLen()
	a.row, a.err = p.answer(a.row[:0], p.paths[i], p.sizes[i], p.out[i*n:][:n])
}

// answer appends the row of a picture of that size from its raw outputs, and writes its files.
func (p *predictions) answer(b []byte, path string, s size, out []float32) ([]byte, error) {
	if !kernels.AllFinite(out) {
		return b, &pixels.FileError{Path: path, Err: errNotFinite}
	}
	b = appendJSONPath(append(b, '{'), "path", path)
	var on sketch
	var err error
	switch p.head.Config.Task {
	case heads.Classify:
		b, on = p.classify(b, out)
	case heads.Segment:
		b, on, err = p.segment(appendSize(b, s), path, s, out)
	case heads.Detect:
		b, on = p.detect(appendSize(b, s), s, out)
	}
	if err == nil && p.o.draw != "" {
		err = p.drawOn(path, s, on)
	}
	return append(b, "}\n"...), err
}

func appendSize(b []byte, s size) []byte {
	b = strconv.AppendInt(append(b, `,"width":`...), int64(s.w), 10)
	return strconv.AppendInt(append(b, `,"height":`...), int64(s.h), 10)
}

// appendLikely appends a probability or score.
func appendLikely(b []byte, p float64) []byte { return appendFloat(b, float32(p)) }

func (p *predictions) classify(b []byte, logits []float32) ([]byte, sketch) {
	classes := p.head.Config.Classes
	likely, order := make([]float64, len(classes)), make([]int, len(classes))
	p.head.Probabilities(likely, logits)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(likely[j], likely[i]) })
	best := order[0]
	b = appendJSONString(append(b, `,"class":`...), classes[best])
	b = appendLikely(append(b, `,"probability":`...), likely[best])
	b = append(b, `,"probabilities":{`...)
	for i, k := range order[:min(p.o.top, len(order))] {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendLikely(append(appendJSONString(b, classes[k]), ':'), likely[k])
	}
	return append(b, '}'), sketch{legend: []note{{text: classes[best] + " " + twoDigits(likely[best])}}}
}

// twoDigits is a probability as a drawing has it.
func twoDigits(p float64) string { return strconv.FormatFloat(p, 'f', 2, 64) }

func (p *predictions) segment(b []byte, path string, s size, logits []float32) ([]byte, sketch, error) {
	classes := p.head.Config.Classes
	m := image.NewPaletted(image.Rect(0, 0, s.w, s.h), palette(p.head.Config))
	p.head.ClassMap(m.Pix, logits, s.w, s.h)
	if p.o.masks != "" {
		file := below(p.o.masks, path, ".png")
		if err := writeBelow(file, path, func(w io.Writer) error { return png.Encode(w, m) }); err != nil {
			return b, sketch{}, err
		}
		b = appendJSONPath(append(b, ','), "mask", file)
	}
	count := make([]int64, len(classes))
	for _, k := range m.Pix {
		count[k]++
	}
	b = append(b, `,"pixels":{`...)
	on := sketch{mask: m}
	for k, n := range count {
		if k > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(appendJSONString(b, classes[k]), ':'), n, 10)
		if n > 0 {
			share := strconv.FormatFloat(100*float64(n)/float64(len(m.Pix)), 'f', 1, 64)
			on.legend = append(on.legend, note{m.Palette[k].(color.RGBA), classes[k] + " " + share + " %"})
		}
	}
	return append(b, '}'), on, nil
}

func (p *predictions) detect(b []byte, s size, out []float32) ([]byte, sketch) {
	classes := p.head.Config.Classes
	found := p.head.Decode(out, p.o.threshold)
	p.head.InPicture(found, s.w, s.h)
	b = append(b, `,"boxes":[`...)
	on := sketch{}
	for i, f := range found {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSONString(append(b, `{"class":`...), classes[f.Class])
		b = appendLikely(append(b, `,"score":`...), f.Score)
		for _, side := range []struct {
			name string
			at   float64
		}{{"x0", f.X0}, {"y0", f.Y0}, {"x1", f.X1}, {"y1", f.Y1}} {
			b = append(append(append(b, `,"`...), side.name...), `":`...)
			b = appendFloat(b, float32(side.at))
		}
		b = append(b, '}')
		on.boxes = append(on.boxes, frame{f.Box, note{colour(f.Class), classes[f.Class] + " " + twoDigits(f.Score)}})
	}
	return append(b, ']'), on
}
