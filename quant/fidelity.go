package quant

import (
	"fmt"
	"math"

	"edgejepa/fp"
	"edgejepa/internal/parallel"
	"edgejepa/kernels/fixed"
	"edgejepa/vit"
)

// Fidelity says how near a fixed-point encoder comes to its float original on some pictures.
//
// Embeddings of one network share a large common part, which flatters their cosine; what tells pictures apart is the
// rest. The centred figure is the cosine after the mean embedding of the float network is taken off both sides.
type Fidelity struct {
	Pictures     int         `json:"pictures"`
	MeanCosine   float64     `json:"mean_cosine"`
	LeastCosine  float64     `json:"least_cosine"`
	MeanCentred  float64     `json:"mean_centred_cosine"`
	LeastCentred float64     `json:"least_centred_cosine"`
	StreamPeak   float64     `json:"stream_peak,omitempty"`      // largest value of the residual stream, as a share of its range
	StreamCut    int64       `json:"stream_saturated,omitempty"` // values of it that were cut off
	Layers       []LayerSQNR `json:"layers,omitempty"`           // each by itself
	Stream       []float64   `json:"stream_sqnr_db,omitempty"`   // behind each block, with all errors before it
}

// LayerSQNR is the power of a layer's output over that of its error in decibels, when the layer is given what the
// float network would give it.
type LayerSQNR struct {
	Name string  `json:"name"`
	SQNR float64 `json:"sqnr_db"`             // at most 200, which stands for no error at all
	Cut  float64 `json:"saturated,omitempty"` // share of its input's values that are beyond the int8 range
}

// judge runs both encoders side by side.
type judge struct {
	sample
	fixed    *Encoder
	spots    []picture
	work     []work
	embedded []float32   // [picture, D]
	power    [][]float64 // [picture] signal, then noise of the stream behind each block, [2*depth]
	heads    [][]float64 // [picture] signal, then noise of each block's attention, [2*depth]
	peaks    []int32     // [picture]
	cuts     []int64     // [picture]
}

// Compare runs both encoders over pictures pix [n, S, S, 3]. If q is from a file, and not from Calibrate, there are no
// figures for layers and stream: the real numbers behind the integers are not known then.
func Compare(ref *vit.Encoder, q *Encoder, pool *parallel.Pool, pix []uint8, n int) Fidelity {
	c := ref.Config
	j := &judge{sample: newSample(ref, q, pool.Workers(), pix, n), fixed: q, spots: q.spots(pool), work: q.works(pool),
		embedded: make([]float32, n*c.Dim), power: make([][]float64, n), heads: make([][]float64, n),
		peaks: make([]int32, n), cuts: make([]int64, n)}
	traceAll(ref, pool, pix, n, j.seen)
	q.NewPass(pool).Embed(j.embedded, pix, n)

	f := Fidelity{Pictures: n}
	f.cosines(j.pooled, j.embedded, n, c.Dim)
	for i, p := range j.peaks {
		f.StreamPeak = max(f.StreamPeak, float64(p)/fixed.ResidualMax)
		f.StreamCut += j.cuts[i]
	}
	if q.scales == nil {
		return f
	}
	for b := range c.Depth {
		f.Stream = append(f.Stream, ratio(j.power, b, c.Depth))
	}
	for i, fit := range q.scales.fits {
		want := j.embed
		if i > 0 {
			want = make([]float32, j.rows*fit.l.out)
			floatLinears(ref)[i].Apply(want, j.inputs[i], j.rows)
		}
		got, cut := fit.run(j.inputs[i], j.rows)
		f.Layers = append(f.Layers, LayerSQNR{Name: fit.l.name, Cut: float64(cut) / float64(len(j.inputs[i])),
			SQNR: decibel(squaredError(want, make([]float32, len(want))), squaredError(want, got))})
		if i%4 == 1 {
			b := i / 4
			f.Layers = append(f.Layers, LayerSQNR{Name: fmt.Sprintf("blocks.%d.attn", b), SQNR: ratio(j.heads, b, c.Depth)})
		}
	}
	return f
}

// ratio is the signal-to-noise ratio of number i of n.
func ratio(power [][]float64, i, n int) float64 {
	signal, noise := 0.0, 0.0
	for _, p := range power {
		signal, noise = signal+p[i], noise+p[n+i]
	}
	return decibel(signal, noise)
}

// seen takes the integers through the block that the float network has just passed.
func (j *judge) seen(picture, block, worker int, t *trace) {
	j.sample.seen(picture, block, worker, t)
	e, s, w := j.fixed, &j.spots[worker], &j.work[worker]
	if e.scales == nil {
		return
	}
	c := e.Config
	if block == 0 {
		j.power[picture], j.heads[picture] = make([]float64, 2*c.Depth), make([]float64, 2*c.Depth)
	}
	sum := make([]float64, c.Heads)
	e.attentionError(sum, s, w, &e.blocks[block], &e.scales.attention[block], t)
	j.heads[picture][block], j.heads[picture][c.Depth+block] = squaredError(t.att, make([]float32, len(t.att))), total(sum)

	if block == 0 {
		e.rows(s, w, j.pix[picture*c.PixelLen():], 0, 0, s.n)
	} else {
		for r := 0; r < s.n; r += strip {
			e.qkv(s, w, &s.kv[0], &e.blocks[block], r, min(strip, s.n-r))
		}
	}
	for h := range c.Heads {
		e.head(s, w, &s.kv[0], &e.blocks[block], h, 0, s.n)
	}
	for r := 0; r < s.n; r += strip {
		m := min(strip, s.n-r)
		e.project(s, w, &e.blocks[block], r, m)
		e.mlp(s, w, &e.blocks[block], r, m)
	}
	signal, noise := 0.0, 0.0
	for i, v := range s.x {
		want := float64(t.out[i])
		d := want - float64(float64(v)*e.scales.stream)
		signal, noise = signal+float64(want*want), noise+float64(d*d)
		j.peaks[picture] = max(j.peaks[picture], v, -v)
		if v == fixed.ResidualMax || v == -fixed.ResidualMax {
			j.cuts[picture]++
		}
	}
	j.power[picture][block], j.power[picture][c.Depth+block] = signal, noise
}

// cosines sets the figures for embeddings want and got [n, d].
func (f *Fidelity) cosines(want []float64, got []float32, n, d int) {
	mean, none := make([]float64, d), make([]float64, d)
	for i, v := range want {
		mean[i%d] += v / float64(n)
	}
	f.LeastCosine, f.LeastCentred = 1, 1
	for i := range n {
		a, b := want[i*d:][:d], got[i*d:][:d]
		cos, centred := cosine(a, b, none), cosine(a, b, mean)
		f.MeanCosine += cos / float64(n)
		f.MeanCentred += centred / float64(n)
		f.LeastCosine, f.LeastCentred = min(f.LeastCosine, cos), min(f.LeastCentred, centred)
	}
}

// cosine is the cosine of a-mean and b-mean: 1 if both are zero, 0 if one is or if it is no number.
func cosine(a []float64, b []float32, mean []float64) float64 {
	var aa, bb, ab float64
	for i, m := range mean {
		x, y := a[i]-m, float64(b[i])-m
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

func squaredError(want, got []float32) (sum float64) {
	for i, v := range want {
		d := float64(v) - float64(got[i])
		sum += float64(d * d)
	}
	return sum
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
