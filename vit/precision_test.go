package vit

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/arena"
	"edgejepa/internal/noise"
	"edgejepa/kernels"
	"edgejepa/kernels/i8"
	"edgejepa/kernels/kerneltest"
)

func TestPrecisionNames(t *testing.T) {
	for _, p := range []Precision{F32, F16, I8} {
		got, err := ParsePrecision(p.String())
		require.NoError(t, err)
		require.Equal(t, p, got)
	}
	_, err := ParsePrecision("bf16")
	require.ErrorContains(t, err, "f32, f16, int8")
}

// newWideModel has layers wide enough for int8 gradients, and five sequences: three groups, the last of one.
func newWideModel(t *testing.T, precision Precision, workers int) *model {
	cfg := Config{
		ImageSize: 16, PatchSize: 2, Channels: 3, Dim: 128, Depth: 2, Heads: 4, MLPRatio: 4, NormEps: 1e-6,
		Mean: ImageNetMean, Std: ImageNetStd, Pool: "mean",
	}
	require.NoError(t, cfg.Validate())
	lengths := []int{11, 2, 19, 7, 5}
	var keep []int32
	off := []int32{0}
	for s, n := range lengths {
		for i := range n {
			keep = append(keep, int32((i*(2*s+1)+s)%cfg.Tokens()))
		}
		off = append(off, int32(len(keep)))
	}
	size := Size{Seqs: len(lengths), Rows: len(keep), Tokens: cfg.Tokens()}
	m := newModelOf(t, workers, cfg, precision, size, keep, off)
	for i, p := range m.e.Params.List { // activations of the size that a trained network has
		if len(p.Shape) > 1 {
			fill(p.Value, 0.06, uint64(100+i))
		}
	}
	require.Equal(t, 2, Group(cfg.Tokens()))
	for _, l := range m.e.trunk.Blocks[0].linears() {
		require.True(t, l.int8Gradients())
	}
	return m
}

// Segments, recomputation, weights packed block by block, micro-batches of whole groups and the number of workers change
// no bit below float32 either.
func TestLeanTrainingChangesNothingBelowFloat32(t *testing.T) {
	for _, precision := range []Precision{F16, I8} {
		m := newWideModel(t, precision, 1)
		m.backward()
		grads, tokens := m.e.Params.Grad, append([]float32(nil), m.p.Tokens()...)
		for i, r := range []struct {
			recompute, segment int
			groups             []int
		}{{0, 0, []int{5}}, {2, 1, []int{4, 1}}, {1, 40, []int{2, 2, 1}}, {2, 0, []int{2, 3}}, {0, 90, []int{5}}} {
			size := m.size
			size.Recompute, size.Segment = r.recompute, r.segment
			g, x := trainingRun(t, m, size, packing(i%3), []int{1, 2, 3, 7}[i%4], r.groups...)
			name := fmt.Sprintf("%s %+v", precision, r)
			require.Equal(t, tokens, x, name)
			require.Equal(t, grads, g, name)
		}
	}
}

// All paths of the kernels give the same tokens and gradients.
func TestPrecisionsOnEveryISA(t *testing.T) {
	for _, precision := range []Precision{F16, I8} {
		var tokens, grads []float32
		kerneltest.ForEachISA(t, func(t *testing.T) {
			m := newWideModel(t, precision, 2)
			m.backward()
			if tokens == nil {
				tokens, grads = append(tokens, m.p.Tokens()...), append(grads, m.e.Params.Grad...)
			}
			require.Equal(t, tokens, m.p.Tokens())
			require.Equal(t, grads, m.e.Params.Grad)
		})
	}
}

func TestInferEqualsTrainBelowFloat32(t *testing.T) {
	for _, precision := range []Precision{F16, I8} {
		m := newWideModel(t, precision, 2)
		m.loss()
		want := append([]float32(nil), m.p.Tokens()...)
		infer := arena.Build(func(a *arena.Arena) *Pass { return m.e.PlacePass(a, m.p.pool, 5, m.size.Rows, Infer) })
		require.Equal(t, want, infer.Forward(m.px, 5, m.keep, m.off), precision)
	}
}

func TestPrecisionsAllocateNothing(t *testing.T) {
	for _, precision := range []Precision{F16, I8} {
		m := newWideModel(t, precision, 2)
		require.Zero(t, testing.AllocsPerRun(3, m.backward), precision)
	}
}

// relative is |a-b| / |b|.
func relative(a, b []float32) float64 {
	d, n := 0.0, 0.0
	for i := range a {
		e := float64(a[i]) - float64(b[i])
		d += e * e
		n += float64(b[i]) * float64(b[i])
	}
	return math.Sqrt(d / n)
}

// The gradients of each precision are near those of float32. A half is off by up to 2^-11 of itself; an int8 by
// absmax/127, which of normal rows of some hundred values, whose largest is about 3.5 sigma, is 0.8 % of sigma rounded to
// nearest (1/sqrt 12 of a step) and 1.1 % by chance (1/sqrt 6). A gradient has gone through no more than 16 products of
// two such operands in two blocks, one after the other, and errors of many values add up as squares: sqrt(32)*1.1 % = 6 %
// for int8, sqrt(32)*2^-11 = 0.3 % for halves. Noise is another by another key.
func TestPrecisionsAreNearFloat32(t *testing.T) {
	grads := func(precision Precision) []float32 {
		m := newWideModel(t, precision, 2)
		m.backward()
		return m.e.Params.Grad
	}
	want := grads(F32)
	for precision, bound := range map[Precision]float64{F16: 3e-3, I8: 6e-2} {
		m := newWideModel(t, precision, 2)
		m.backward()
		off, worst := 0, 0.0
		for _, p := range m.e.Params.List {
			e := relative(p.Grad, want[off:off+p.Len()])
			worst = max(worst, e)
			require.Less(t, e, bound, "%s %s", precision, p.Name)
			if p.Name != "norm.bias" { // a sum of what the loss gave
				require.Greater(t, e, 1e-6, "%s %s: it was not rounded", precision, p.Name)
			}
			off += p.Len()
		}
		t.Logf("%s: off by up to %.2g of a tensor's norm", precision, worst)
	}
	m := newWideModel(t, I8, 1)
	m.backward()
	first := append([]float32(nil), m.e.Params.Grad...)
	m.backward()
	require.Equal(t, first, m.e.Params.Grad)
	clear(m.e.Params.Grad)
	m.loss()
	copy(m.p.DTokens(), m.c)
	m.p.SetNoise(noiseKey+1, 0)
	m.p.Backward()
	require.NotEqual(t, first, m.e.Params.Grad)
}

func TestNoiseBeginsWithAGroup(t *testing.T) {
	m := newWideModel(t, I8, 1)
	require.NotPanics(t, func() { m.p.SetNoise(1, 4) })
	require.Panics(t, func() { m.p.SetNoise(1, 3) })
	newWideModel(t, F32, 1).p.SetNoise(1, 3)
}

// int8Layer is a layer, its int8 operands and a chunk of rows.
type int8Layer struct {
	l    *Linear
	q    *int8Block
	w    scratch
	rows int
	x    []float32
	dy   []float32
}

func newInt8Layer(in, out, rows int) *int8Layer {
	n := &int8Layer{rows: rows, x: make([]float32, rows*in), dy: make([]float32, rows*out)}
	w := &Param{Value: make([]float32, in*out), Grad: make([]float32, in*out)}
	n.l = &Linear{In: in, Out: out, W: w, B: &Param{Value: make([]float32, out)}}
	n.q = &int8Block{}
	n.q.weights[0].forwardScale, n.q.weights[0].backwardScale = make([]float32, out), make([]float32, in)
	n.q.x[0] = []int8Input{{scale: make([]float32, in)}}
	n.w.int8, n.w.scale = make([]int8, max(in, out)*max(in, out, rows)), make([]float32, max(in, out, rows))
	fill(w.Value, 0.1, 1)
	fill(n.x, 1, 2)
	fill(n.dy, 1, 3)
	return n
}

func (n *int8Layer) pack() {
	n.q.pack(n.l, packPiece{}, &n.w)
	n.q.pack(n.l, packPiece{backward: true}, &n.w)
	n.q.keep(n.x, n.rows, n.l, 0, 0, &n.w)
}

// A product of operands that are off by up to a and b a value is off by up to sum(|x| b + |y| a + a b). A value rounded
// to nearest is off by half a step, one rounded by chance by one; a step is the largest magnitude of the row or column
// over 127, and for a weight of the forward product at most the sum of four over 253 (i8.QuantizeWeights).
func TestInt8ProductsWithinBound(t *testing.T) {
	const in, out, rows = 96, 80, 70
	n := newInt8Layer(in, out, rows)
	n.pack()
	dx, dw := make([]float32, rows*in), n.l.W.Grad
	y := make([]float32, rows*out)
	n.q.forward(y, n.x, rows, n.l, 0, &kernels.Epilogue{}, &n.w)
	bits := noise.Stream{Key: 5}
	n.q.applyGrad(dx, n.dy, rows, n.l, 0, bits, &n.w)
	n.q.addParamGrad(n.dy, rows, n.l, 0, 0, 0, 48, bits, &n.w)
	n.q.addParamGrad(n.dy, rows, n.l, 0, 0, 48, out, bits, &n.w)

	x, dy := matrix{n.x, in, 1}, matrix{n.dy, out, 1}
	w := matrix{n.l.W.Value, in, 1}
	require.Less(t, worst(y, x, w.transposed(), rows, out, in, 0.5, 0.5*127*4/253), 1.0)
	require.Less(t, worst(dx, dy, w, rows, in, out, 1, 0.5), 1.0)
	require.Less(t, worst(dw, dy.transposed(), x, out, in, rows, 1, 0.5), 1.0)
	// The bound is not so wide that it passes anything.
	require.Greater(t, worst(dx, dy, w, rows, in, out, 0.05, 0.05), 1.0)
	dw[5] = -dw[5]
	require.Greater(t, worst(dw, dy.transposed(), x, out, in, rows, 1, 0.5), 1.0)
}

// matrix is x[i*row+j*col].
type matrix struct {
	x        []float32
	row, col int
}

func (m matrix) at(i, j int) float64 { return float64(m.x[i*m.row+j*m.col]) }
func (m matrix) transposed() matrix  { return matrix{m.x, m.col, m.row} }

// worst is the largest error of got = a·b, [m, n], in units of what it may be if a and b are off by up to so many steps.
func worst(got []float32, a, b matrix, m, n, k int, stepsA, stepsB float64) float64 {
	most := 0.0
	for i := range m {
		for j := range n {
			largestA, largestB := 0.0, 0.0
			for l := range k {
				largestA, largestB = max(largestA, math.Abs(a.at(i, l))), max(largestB, math.Abs(b.at(l, j)))
			}
			ea, eb := stepsA*largestA/127, stepsB*largestB/127
			sum, bound := 0.0, 0.0
			for l := range k {
				sum += a.at(i, l) * b.at(l, j)
				bound += math.Abs(a.at(i, l))*eb + math.Abs(b.at(l, j))*ea + ea*eb
			}
			most = max(most, math.Abs(float64(got[i*n+j])-sum)/(bound*(1+1e-4)))
		}
	}
	return most
}

// The expectation of the gradients is exact: with x and W that are int8 times a scale, rounding dy by chance is all that
// is off, and the mean of many draws comes near. A value's rounding has a variance of at most a quarter step squared.
func TestInt8GradientsAreUnbiased(t *testing.T) {
	const in, out, rows, draws = 32, 24, 40, 400
	n := newInt8Layer(in, out, rows)
	for _, v := range [][]float32{n.x, n.l.W.Value} {
		for i := range v {
			v[i] = float32(i*37%255 - 127)
		}
		for i := range in { // every column has a 127, and so a scale of 1
			v[i] = 127
		}
	}
	n.pack()
	sumX, sumW := make([]float64, rows*in), make([]float64, out*in)
	dx := make([]float32, rows*in)
	for i := range draws {
		n.q.applyGrad(dx, n.dy, rows, n.l, 0, noise.Stream{Key: uint32(2 * i)}, &n.w)
		clear(n.l.W.Grad)
		n.q.addParamGrad(n.dy, rows, n.l, 0, 0, 0, out, noise.Stream{Key: uint32(2*i + 1)}, &n.w)
		for j, v := range dx {
			sumX[j] += float64(v) / draws
		}
		for j, v := range n.l.W.Grad {
			sumW[j] += float64(v) / draws
		}
	}
	x, dy, w := matrix{n.x, in, 1}, matrix{n.dy, out, 1}, matrix{n.l.W.Value, in, 1}
	require.Less(t, sigmas(sumX, dy, w, rows, in, out, draws), 6.0)
	require.Less(t, sigmas(sumW, dy.transposed(), x, out, in, rows, draws), 6.0)
	for i := range sumX { // a bias of a quarter of a step in each value of dy shows
		largest := 0.0
		for o := range out {
			largest = max(largest, math.Abs(dy.at(i/in, o)))
		}
		for o := range out {
			sumX[i] += w.at(o, i%in) * largest / 127 / 4
		}
	}
	require.Greater(t, sigmas(sumX, dy, w, rows, in, out, draws), 6.0)
}

// sigmas is the largest error of the mean of draws of a·b, in standard deviations, where a is rounded by chance.
func sigmas(mean []float64, a, b matrix, m, n, k, draws int) float64 {
	most := 0.0
	for i := range m {
		largest := 0.0
		for l := range k {
			largest = max(largest, math.Abs(a.at(i, l)))
		}
		for j := range n {
			sum, squares := 0.0, 0.0
			for l := range k {
				sum += a.at(i, l) * b.at(l, j)
				squares += b.at(l, j) * b.at(l, j)
			}
			sigma := largest / 127 / 2 * math.Sqrt(squares/float64(draws))
			most = max(most, math.Abs(mean[i*n+j]-sum)/sigma)
		}
	}
	return most
}

// The packed operands fit the memory that was laid out for them: packing them allocates nothing.
func TestInt8PanelsFit(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		for _, s := range [][2]int{{1, 1}, {33, 17}, {70, 96}, {128, 64}} {
			k, n := s[0], s[1]
			q := make([]int8, k*n)
			data, start := i8.PanelsLen(k, n)
			var p i8.Panels
			p.SetMemory(make([]int8, data), make([]int32, start))
			require.Zero(t, testing.AllocsPerRun(2, func() { p.Pack(q, k, n) }))
		}
	})
}
