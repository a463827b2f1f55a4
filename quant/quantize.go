package quant

import (
	"edgejepa/kernels/i8"
	"edgejepa/vit"
)

// Quantize rounds the linear layers of e to int8 and copies the rest.
func Quantize(e *vit.Encoder) *Encoder {
	q := copyFloats(e)
	for i, l := range floatLinears(e) {
		q.Linears[i].round(l.W.Value)
	}
	q.pack()
	return q
}

// copyFloats is a new encoder with everything of e that stays float32.
func copyFloats(e *vit.Encoder) *Encoder {
	q := newEncoder(e.Config)
	from := map[string]*vit.Param{}
	for _, p := range e.Params.List {
		from[p.Name] = p
	}
	for _, p := range q.Params.List {
		if src, ok := from[p.Name]; ok {
			copy(p.Value, src.Value)
		}
	}
	return q
}

// floatLinears lists the layers of e in the order of Encoder.Linears.
func floatLinears(e *vit.Encoder) (ls []*vit.Linear) {
	e.Trunk().Linears(func(l *vit.Linear) bool { ls = append(ls, l); return true })
	return ls
}

// round sets the weights to w [Out, In], rounded.
func (l *Linear) round(w []float32) {
	l.W = make([]int8, l.Out*l.In)
	i8.QuantizeWeights(l.W, l.Scale.Value, w, l.Out, l.In)
}
