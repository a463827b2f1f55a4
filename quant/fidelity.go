package quant

import (
	"math"

	"edgejepa/fp"
	"edgejepa/internal/arena"
	"edgejepa/internal/parallel"
	"edgejepa/vit"
)

// Fidelity says how near an int8 encoder comes to its float original on some pictures.
//
// Embeddings of one network share a large common part, which flatters their cosine; what tells pictures apart is the
// rest. The centred figure is the cosine after the mean embedding of the float network is taken off both sides.
type Fidelity struct {
	Pictures     int         `json:"pictures"`
	MeanCosine   float64     `json:"mean_cosine"`
	LeastCosine  float64     `json:"least_cosine"`
	MeanCentred  float64     `json:"mean_centred_cosine"`
	LeastCentred float64     `json:"least_centred_cosine"`
	Layers       []LayerSQNR `json:"layers"`
}

// LayerSQNR is the power of a linear layer's output over that of its error in decibels, when the layer is given what the
// float network would give it.
type LayerSQNR struct {
	Name string  `json:"name"`
	SQNR float64 `json:"sqnr_db"` // at most 200, which stands for no error at all
}

// Compare runs both encoders over normalised pictures px [n, C, S, S].
func Compare(ref *vit.Encoder, q *Encoder, pool *parallel.Pool, px []float32, n int) Fidelity {
	c := ref.Config
	want, got := make([]float32, n*c.Dim), make([]float32, n*c.Dim)
	net := floatNetwork(ref)
	net.newPass(pool, n).Embed(want, px, n)
	q.NewPass(pool, n).Embed(got, px, n)
	f := Fidelity{Pictures: n, LeastCosine: 1, LeastCentred: 1}

	mean := make([]float64, c.Dim)
	for i, v := range want {
		mean[i%c.Dim] += float64(v) / float64(n)
	}
	none := make([]float64, c.Dim)
	for i := range n {
		a, b := want[i*c.Dim:][:c.Dim], got[i*c.Dim:][:c.Dim]
		cos, centred := cosine(a, b, none), cosine(a, b, mean)
		f.MeanCosine += cos / float64(n)
		f.MeanCentred += centred / float64(n)
		f.LeastCosine, f.LeastCentred = min(f.LeastCosine, cos), min(f.LeastCentred, centred)
	}
	f.Layers = layerSQNR(ref, q, pool, px, n)
	return f
}

// cosine is the cosine of a-mean and b-mean: 1 if both are zero, 0 if one is or if it is no number.
func cosine(a, b []float32, mean []float64) float64 {
	var aa, bb, ab float64
	for i, m := range mean {
		x, y := float64(a[i])-m, float64(b[i])-m
		aa += float64(x * x)
		bb += float64(y * y)
		ab += float64(x * y)
	}
	if aa == 0 && bb == 0 {
		return 1
	}
	cos := ab / (math.Sqrt(aa) * math.Sqrt(bb))
	if math.IsNaN(cos) {
		return 0
	}
	return cos
}

func layerSQNR(ref *vit.Encoder, q *Encoder, pool *parallel.Pool, px []float32, n int) []LayerSQNR {
	out := make([]LayerSQNR, len(q.Linears))
	s := arena.Build(func(a *arena.Arena) *scratch { s := placeScratch(a, q.Config, stripRows); return &s })
	for i, r := range record(ref, pool, px, n) {
		l := q.Linears[i]
		want, got := make([]float32, r.count()*l.Out), make([]float32, r.count()*l.Out)
		r.layer.apply(want, r.rows, 0, r.count(), s)
		l.apply(got, r.rows, 0, r.count(), s)
		out[i] = LayerSQNR{Name: l.Name, SQNR: decibel(squaredError(want, make([]float32, len(want))), squaredError(want, got))}
	}
	return out
}

// decibel is 10 log10(signal/noise), cut to [-200, 200].
func decibel(signal, noise float64) float64 {
	const most, decibelPerE = 200, 4.3429448190325182765
	switch {
	case noise == 0:
		return most
	case signal == 0 || math.IsNaN(signal/noise):
		return -most
	}
	return min(max(decibelPerE*fp.Log(signal/noise), -most), most)
}
