package quant

import (
	"math"

	"edgejepa/kernels/fixed"
	"edgejepa/kernels/i8"
	"edgejepa/vit"
)

// fit is a linear layer on its way to int8. A value of its input is scale[j]*(q-zero), one of its output
// out[o]*sum + bias[o], sums being those of the int8 product.
type fit struct {
	kind    layerKind
	rows    int
	x, want []float32 // [rows, In], [rows, Out] of the float network
	most    []float32 // [In] largest magnitudes of its input, over all tokens of the even pictures
	all     []float32 // [In] of all pictures

	perPicture int       // rows
	held       bool      // errors are those of the odd pictures
	w          []float32 // [Out, In]
	from       []float64 // [Out] the float bias

	scale []float64 // [In]
	zero  int
	wq    []int8    // [Out, In]
	out   []float64 // [Out]
	bias  []float64 // [Out]

	l      *linear
	q      []int8    // [rows, In] the input, rounded
	moved  []float32 // [Out, In] w, range of the input moved to it
	acc    []int32   // [rows, Out]
	step   float64   // scale, but for what was moved
	report LayerChoice
}

type layerKind int

const (
	layerPatch layerKind = iota
	layerQKV
	layerProj
	layerFC1
	layerFC2
)

// What Calibrate tries, each the one with the least error at the layer's output: strengths of migration (quarters need no
// power function), shares of an input's largest value that are kept, and of the range of a channel's weights.
var (
	alphas  = []float64{0, 0.25, 0.5, 0.75, 1}
	clips   = []float64{1.5, 1.25, 1.1, 1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3}
	shrinks = []float64{1, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7}
)

// search finds input scale, weights and bias.
func (f *fit) search() {
	f.scale, f.q, f.acc = make([]float64, f.l.in), make([]int8, f.rows*f.l.in), make([]int32, f.rows*f.l.out)
	f.moved, f.wq = make([]float32, len(f.w)), make([]int8, len(f.w))
	f.out, f.bias = make([]float64, f.l.out), append([]float64(nil), f.from...)
	f.report = LayerChoice{Name: f.l.name, Clip: 1}
	if f.kind == layerPatch {
		copy(f.moved, f.w)
		f.step, f.scale = 1, fill(f.scale, 1)
		f.byteRows()
	} else {
		f.chooseInput()
	}
	f.chooseWeights()
	for o, d := range f.meanError() {
		f.bias[o] += d
	}
	f.q, f.acc, f.moved = nil, nil, nil
}

// chooseInput sets scale, zero, q and moved. Ranges are those of the even pictures and errors those of the odd ones, whose
// values may lie beyond; what was best then has the ranges of all.
func (f *fit) chooseInput() {
	f.held = f.rows > f.perPicture
	least := math.Inf(1)
	plain := 0.0
	try := func(alpha, clip float64) {
		f.input(alpha, clip)
		f.weights(fill(make([]float64, f.l.out), 1))
		err := total(f.errors())
		if alpha == 0 && clip == 1 {
			plain = err
		}
		if err < least {
			least = err
			f.report.Migration, f.report.Clip = alpha, clip
		}
	}
	for _, alpha := range alphas {
		if alpha > 0 && f.kind == layerFC2 {
			break
		}
		for _, clip := range clips {
			try(alpha, clip)
		}
	}
	f.held, f.most = false, f.all
	f.input(f.report.Migration, f.report.Clip)
	f.report.Error = 1
	if plain > 0 {
		f.report.Error = least / plain
	}
}

// input rounds x as it is with range moved to the weights by alpha, and the rest cut to a share of its range:
//
//	m[j] = max|x[·,j]|^alpha / max|w[·,j]|^(1-alpha);  moved = w*m;  scale = step*m
func (f *fit) input(alpha, clip float64) {
	in := f.l.in
	m := fill(f.scale, 1)
	if alpha > 0 {
		aw := maxColumns(f.w, f.l.out, in)
		for j := range m {
			s := quarterPower(f.most[j], 4*alpha) / quarterPower(aw[j], 4*(1-alpha))
			if s > 1e-4 && s < 1e4 { // else a dead channel, or a weight column of zeros
				m[j] = s
			}
		}
	}
	for i, w := range f.w {
		f.moved[i] = float32(float64(w) * m[i%in])
	}
	most := 0.0
	for j, v := range f.most {
		most = max(most, float64(v)/m[j])
	}
	f.zero = 0
	if f.kind == layerFC2 {
		f.step, f.zero = geluRange(float64(most * clip))
	} else {
		f.step = positive(float64(most*clip) / 127)
	}
	for j := range m {
		f.scale[j] = float64(m[j] * f.step)
	}
	f.roundRows(f.q, f.x)
}

// geluRange is the scale and zero point of GELU's output for a largest value: no more of the range is below zero than
// GELU's least value, -0.17, needs.
func geluRange(most float64) (scale float64, zero int) {
	const least = 0.17
	scale = (most + least) / 255
	scale = min(max(scale, 0x1.8p-10), 4)
	zero = min(-128+int(math.Floor(least/scale+0.5)), 0)
	return scale, zero
}

// roundRows is q = clamp(round(x/scale) + zero).
func (f *fit) roundRows(q []int8, x []float32) (cut int) {
	lo, hi := -127.0, 127.0
	if f.kind == layerFC2 {
		lo = -128
	}
	for i, v := range x {
		t := math.Floor(float64(v)/f.scale[i%f.l.in]+0.5) + float64(f.zero)
		if t < lo || t > hi {
			cut++
		}
		if t != t {
			t = 0
		}
		q[i] = int8(min(max(t, lo), hi))
	}
	return cut
}

// byteRows is roundRows for bytes less 128, which are exact.
func (f *fit) byteRows() {
	for i, v := range f.x {
		f.q[i] = int8(v)
	}
}

// weights rounds moved under the chain rule: the range of channel o is shrink[o] of the largest that cuts nothing off.
func (f *fit) weights(shrink []float64) {
	in, out := f.l.in, f.l.out
	scale := make([]float32, out)
	i8.QuantizeWeights(f.wq, scale, f.moved, out, in)
	for o := range out {
		if shrink[o] != 1 && scale[o] > 0 {
			scale[o] = float32(float64(scale[o]) * shrink[o])
			row := f.wq[o*in:][:in]
			for k, v := range f.moved[o*in:][:in] {
				row[k] = int8(min(max(math.RoundToEven(float64(v)/float64(scale[o])), -127), 127))
			}
			limitChains(row)
		}
		f.out[o] = float64(float64(scale[o]) * f.step)
	}
}

// limitChains takes from the largest weight of each chain until the chain obeys the rule.
func limitChains(row []int8) {
	const block, lanes, most = 32, 8, 255
	for b := 0; b < len(row); b += block {
		for i := b; i < min(b+lanes, len(row)); i++ {
			for {
				sum, at := 0, i
				for k := i; k < min(b+block, len(row)); k += lanes {
					sum += abs(row[k])
					if abs(row[k]) > abs(row[at]) {
						at = k
					}
				}
				if sum <= most {
					break
				}
				if row[at] > 0 {
					row[at]--
				} else {
					row[at]++
				}
			}
		}
	}
}

func abs(v int8) int { return max(int(v), -int(v)) }

// chooseWeights sets wq and out: for each output channel the range with the least error.
func (f *fit) chooseWeights() {
	out := f.l.out
	shrink, least := fill(make([]float64, out), 1), fill(make([]float64, out), math.Inf(1))
	for _, s := range shrinks {
		f.weights(fill(make([]float64, out), s))
		for o, err := range f.errors() {
			if err < least[o] {
				shrink[o], least[o] = s, err
			}
		}
	}
	f.weights(shrink)
}

// offset is what zero adds to the sums of channel o.
func (f *fit) offset(o int) float64 {
	sum := 0
	for _, v := range f.wq[o*f.l.in:][:f.l.in] {
		sum += int(v)
	}
	return float64(sum * f.zero)
}

// products sets acc from q.
func (f *fit) products() {
	f.l.panels.Pack(f.wq, f.l.in, f.l.out)
	i8.Gemm(f.acc, f.l.out, f.q, f.l.in, f.rows, &f.l.panels)
}

// errors is the power of each output channel's error, its mean, which the bias will take off, left out.
func (f *fit) errors() []float64 {
	f.products()
	sum, squares, n := make([]float64, f.l.out), make([]float64, f.l.out), 0
	for r := range f.rows {
		if f.held && f.even(r) {
			continue
		}
		n++
		want, acc := f.want[r*f.l.out:][:f.l.out], f.acc[r*f.l.out:][:f.l.out]
		for o, a := range acc {
			d := float64(want[o]) - float64(float64(a)*f.out[o])
			sum[o] += d
			squares[o] += float64(d * d)
		}
	}
	for o, s := range sum {
		squares[o] -= float64(s*s) / float64(n)
	}
	return squares
}

// even says whether row r is of an even picture.
func (f *fit) even(r int) bool { return r/f.perPicture%2 == 0 }

// leastSquares is the share of the range most of output o that int8 values keep with the least error on the odd pictures.
func (f *fit) leastSquares(o int, most float64) float64 {
	best, least := 1.0, math.Inf(1)
	for _, clip := range clips {
		s, sum := positive(float64(most*clip)/127), 0.0
		for r := range f.rows {
			if f.rows > f.perPicture && f.even(r) {
				continue
			}
			v := float64(f.want[r*f.l.out+o])
			e := v - float64(min(max(math.Floor(v/s+0.5), -127), 127)*s)
			sum += float64(e * e)
		}
		if sum < least {
			best, least = clip, sum
		}
	}
	return best
}

// meanError is the mean of want less what the layer gives.
func (f *fit) meanError() []float64 {
	f.products()
	sum := make([]float64, f.l.out)
	for r := range f.rows {
		for o, a := range f.acc[r*f.l.out:][:f.l.out] {
			sum[o] += float64(f.want[r*f.l.out+o]) - float64(float64(a)*f.out[o])
		}
	}
	for o := range sum {
		sum[o] = sum[o]/float64(f.rows) + float64(f.offset(o)*f.out[o]) - f.bias[o]
	}
	return sum
}

// requant is what makes integers of the sums: those of the output's scale divided by unit[o] (all 1 if one value), with
// the zero point's part taken off.
func (f *fit) requant(unit []float64) (*fixed.Requant, error) {
	ratio, bias := make([]float64, f.l.out), make([]float64, f.l.out)
	most := 1
	for o := range ratio {
		u := unit[o%len(unit)]
		ratio[o] = f.out[o] / u
		bias[o] = (f.bias[o] - float64(f.offset(o)*f.out[o])) / u
		sum := 0
		for _, v := range f.wq[o*f.l.in:][:f.l.in] {
			sum += abs(v)
		}
		most = max(most, 128*sum)
	}
	return fixed.NewRequant(ratio, bias, most)
}

// run is what the layer makes of float rows x [rows, In], and how many values of them were cut off.
func (f *fit) run(x []float32, rows int) (y []float32, cut int) {
	in, out := f.l.in, f.l.out
	q, acc := make([]int8, rows*in), make([]int32, rows*out)
	if f.kind == layerPatch {
		for i, v := range x {
			q[i] = int8(v)
		}
	} else {
		cut = f.roundRows(q, x)
	}
	var p i8.Panels
	p.Pack(f.wq, in, out)
	i8.Gemm(acc, out, q, in, rows, &p)
	y = make([]float32, rows*out)
	shift := make([]float64, out)
	for o := range shift {
		shift[o] = f.bias[o] - float64(f.offset(o)*f.out[o])
	}
	for i, a := range acc {
		y[i] = float32(float64(float64(a)*f.out[i%out]) + shift[i%out])
	}
	return y, cut
}

// foldPatch is the patch embedding for bytes less 128 in the order of a picture's rows: (v/255-mean)/std folded into
// weights [D, P, P, 3] and bias.
func foldPatch(c vit.Config, l *vit.Linear) (w []float32, bias []float64) {
	area := c.PatchSize * c.PatchSize
	w, bias = make([]float32, len(l.W.Value)), make([]float64, c.Dim)
	for o := range c.Dim {
		bias[o] = float64(l.B.Value[o])
		for ch := range c.Channels {
			std, middle := float64(c.Std[ch]), 128.0/255-float64(c.Mean[ch])
			for i, v := range l.W.Value[(o*c.Channels+ch)*area:][:area] {
				w[(o*area+i)*c.Channels+ch] = float32(float64(v) / float64(255*std))
				bias[o] += float64(float64(v)*middle) / std
			}
		}
	}
	return w, bias
}

func fill(x []float64, v float64) []float64 {
	for i := range x {
		x[i] = v
	}
	return x
}

func total(x []float64) (s float64) {
	for _, v := range x {
		s += v
	}
	return s
}

// positive is a scale that can be divided by.
func positive(x float64) float64 {
	if x > 0x1p-100 {
		return x
	}
	return 1
}

// quarterPower is x^(quarters/4), quarters in 0..4.
func quarterPower(x float32, quarters float64) float64 {
	root := math.Sqrt(math.Sqrt(float64(x)))
	p := 1.0
	for ; quarters > 0; quarters-- {
		p *= root
	}
	return p
}

// maxColumns is the largest magnitude in each column of x [rows, cols].
func maxColumns(x []float32, rows, cols int) []float32 {
	m := make([]float32, cols)
	for r := range rows {
		for j, v := range x[r*cols:][:cols] {
			m[j] = max(m[j], v, -v)
		}
	}
	return m
}
