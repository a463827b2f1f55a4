package kernels

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/kernels/kerneltest"
)

// plainAttention is attention by whole matrices: the definition of AttentionForward and AttentionBackward, bit for bit.
type plainAttention struct {
	tokens, dim, heads int
	k, v               Panels
	ds                 []float32
}

func (at *plainAttention) forward(att, qkv, probs []float32) {
	n, d, hd := at.tokens, at.dim, at.dim/at.heads
	for h := range at.heads {
		p := probs[h*n*n:]
		at.k.PackT(qkv[d+h*hd:], 3*d, hd, n)
		Gemm(p, n, qkv[h*hd:], 3*d, n, &at.k, nil, 0)
		Softmax(p, n, n, n, at.scale())
		at.v.Pack(qkv[2*d+h*hd:], 3*d, n, hd)
		Gemm(att[h*hd:], d, p, n, n, &at.v, nil, 0)
	}
}

func (at *plainAttention) backward(dqkv, datt, qkv, probs []float32) {
	n, d, hd := at.tokens, at.dim, at.dim/at.heads
	if at.ds == nil {
		at.ds = make([]float32, n*n)
	}
	for i := range n {
		clear(dqkv[i*3*d+d : (i+1)*3*d])
	}
	for h := range at.heads {
		p, do := probs[h*n*n:], datt[h*hd:]
		at.k.Pack(do, d, n, hd)
		AddGemmTN(dqkv[2*d+h*hd:], 3*d, p, n, n, &at.k)
		at.v.PackT(qkv[2*d+h*hd:], 3*d, hd, n)
		Gemm(at.ds, n, do, d, n, &at.v, nil, 0)
		SoftmaxGrad(at.ds, at.ds, p, n, n, n, at.scale())
		at.k.Pack(qkv[d+h*hd:], 3*d, n, hd)
		Gemm(dqkv[h*hd:], 3*d, at.ds, n, n, &at.k, nil, 0)
		at.v.Pack(qkv[h*hd:], 3*d, n, hd)
		AddGemmTN(dqkv[d+h*hd:], 3*d, at.ds, n, n, &at.v)
	}
}

func (at *plainAttention) scale() float32 {
	return float32(1 / math.Sqrt(float64(at.dim/at.heads)))
}

// attentionShapes are tokens, width and heads: one token, ends of blocks and panels, heads narrower than a panel.
var attentionShapes = [][3]int{
	{1, 8, 2}, {2, 32, 1}, {15, 40, 2}, {16, 64, 2}, {17, 96, 3}, {24, 64, 1}, {25, 64, 2}, {47, 32, 2}, {48, 64, 2}, {49, 34, 2},
	{64, 128, 4}, {100, 64, 1}, {144, 64, 1}, {196, 64, 2}, {257, 32, 1},
}

// Every path and shape, with P kept and without: the bits of whole matrices, and nothing written but the results.
func TestAttentionEqualsWholeMatrices(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		for _, s := range attentionShapes {
			tokens, dim, heads := s[0], s[1], s[2]
			if testing.Short() && tokens > 64 {
				continue
			}
			plain := plainAttention{tokens: tokens, dim: dim, heads: heads}
			for _, kind := range []kerneltest.Kind{kerneltest.Normal, kerneltest.Special} {
				qkv, datt := kerneltest.NewBuffer(tokens*3*dim, 3), kerneltest.NewBuffer(tokens*dim, 1)
				kerneltest.Fill(qkv.X, kind, 1)
				kerneltest.Fill(datt.X, kind, 2)
				att, probs, dqkv := make([]float32, tokens*dim), make([]float32, heads*tokens*tokens), make([]float32, tokens*3*dim)
				plain.forward(att, qkv.X, probs)
				plain.backward(dqkv, datt.X, qkv.X, probs)
				for _, keep := range []bool{true, false} {
					name := fmt.Sprintf("%v %v keep=%v", s, kind, keep)
					gotAtt, gotDqkv := kerneltest.NewBuffer(len(att), 2), kerneltest.NewBuffer(len(dqkv), 5)
					gotProbs, scratch := kerneltest.NewBuffer(len(probs), 7), kerneltest.NewBuffer(AttentionScratch(tokens, dim, heads), 0)
					kept := []float32(nil)
					if keep {
						kept = gotProbs.X
					}
					for _, b := range []*kerneltest.Buffer{gotAtt, gotDqkv, gotProbs, scratch} { // what is there must not matter
						for i := range b.X {
							b.X[i] = float32(math.NaN())
						}
					}
					AttentionForward(gotAtt.X, qkv.X, kept, tokens, dim, heads, scratch.X)
					require.NoError(t, kerneltest.EqualBits(att, gotAtt.X), name)
					if keep {
						require.NoError(t, kerneltest.EqualBits(probs, gotProbs.X), name)
					}
					AttentionBackward(gotDqkv.X, datt.X, qkv.X, kept, tokens, dim, heads, scratch.X)
					require.NoError(t, kerneltest.EqualBits(dqkv, gotDqkv.X), name)
					for _, b := range []*kerneltest.Buffer{qkv, datt, gotAtt, gotDqkv, gotProbs, scratch} {
						require.NoError(t, b.Check(), name)
					}
				}
			}
		}
	})
}

// Softmax and its gradient have the bits of the generic path on every kind of input, at every end of a row, over more
// rows than a call takes, and touch nothing between rows or beyond.
func TestSoftmaxOfBlocks(t *testing.T) {
	type shape struct{ rows, cols, stride int }
	shapes := []shape{{1, 1, 1}, {40, 2000, 2003}, {3, longRow, longRow}}
	for cols := 2; cols < 50; cols++ {
		shapes = append(shapes, shape{3, cols, cols + cols%3})
	}
	forEachISA(t, func(t *testing.T) {
		for i, s := range shapes {
			if i > 0 && i < 3 && testing.Short() {
				continue
			}
			for _, kind := range kerneltest.Kinds {
				n := (s.rows-1)*s.stride + s.cols
				if n > 10_000 && kind != kerneltest.Normal {
					continue
				}
				x, y := kerneltest.Fenced(t, n, i%2 == 0), kerneltest.Fenced(t, n, i%2 == 0)
				kerneltest.Fill(x, kind, uint64(i))
				want := append([]float32(nil), x...)
				onGeneric(func() { Softmax(want, s.rows, s.cols, s.stride, 0.3) })
				softmaxRows(x, s.rows, s.cols, s.stride, 0.3)
				require.NoError(t, kerneltest.EqualBits(want, x), "%v %v", s, kind)

				kerneltest.Fill(y, kind, uint64(i)+100)
				want = append([]float32(nil), y...)
				onGeneric(func() { SoftmaxGrad(want, want, x, s.rows, s.cols, s.stride, 0.3) })
				softmaxGradRows(y, y, s.stride, x, s.stride, s.rows, s.cols, 0.3)
				require.NoError(t, kerneltest.EqualBits(want, y), "%v %v: gradient", s, kind)
			}
		}
	})
}

// longRow is a row longer than assembly takes in one call of several rows.
const longRow = 40_000

// A comparison that a wrong result passes is worth nothing: each of these must fail it.
func TestAttentionComparisonFails(t *testing.T) {
	const tokens, dim, heads = 17, 32, 2
	qkv, att := make([]float32, tokens*3*dim), make([]float32, tokens*dim)
	kerneltest.Fill(qkv, kerneltest.Normal, 1)
	scratch := make([]float32, AttentionScratch(tokens, dim, heads))
	AttentionForward(att, qkv, nil, tokens, dim, heads, scratch)
	got := make([]float32, len(att))
	for name, change := range map[string]func(x []float32){
		"last key's sign":  func(x []float32) { x[len(x)-dim-1] = -x[len(x)-dim-1] },
		"last value":       func(x []float32) { x[len(x)-1] = 0 },
		"first query":      func(x []float32) { x[0] += 1 },
		"two heads' order": func(x []float32) { copy(x[:dim/2], x[dim/2:dim]) },
	} {
		bad := append([]float32(nil), qkv...)
		change(bad)
		AttentionForward(got, bad, nil, tokens, dim, heads, scratch)
		require.Error(t, kerneltest.EqualBits(att, got), name)
	}
}

// The gradient is that of the forward pass: central differences.
func TestAttentionGradient(t *testing.T) {
	const tokens, dim, heads = 19, 24, 2
	qkv, w := make([]float32, tokens*3*dim), make([]float32, tokens*dim)
	kerneltest.Fill(qkv, kerneltest.Normal, 1)
	kerneltest.Fill(w, kerneltest.Normal, 2)
	scratch := make([]float32, AttentionScratch(tokens, dim, heads))
	att, dqkv := make([]float32, len(w)), make([]float32, len(qkv))
	AttentionBackward(dqkv, w, qkv, nil, tokens, dim, heads, scratch)
	loss := func() (s float64) {
		AttentionForward(att, qkv, nil, tokens, dim, heads, scratch)
		for i, v := range att {
			s += float64(v) * float64(w[i])
		}
		return s
	}
	require.Less(t, kerneltest.Gradient(qkv, dqkv, loss), 1e-3)
	dqkv[len(dqkv)/2] *= 5
	require.Greater(t, kerneltest.Gradient(qkv, dqkv, loss), 1e-3)
}

// No load or store leaves an operand: each begins or ends at a page that must not be touched.
func TestAttentionStaysInside(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		for _, s := range [][3]int{{1, 8, 2}, {17, 40, 2}, {50, 96, 3}} {
			tokens, dim, heads := s[0], s[1], s[2]
			for _, atEnd := range []bool{false, true} {
				fenced := func(n int) []float32 { return kerneltest.Fenced(t, n, atEnd) }
				att, qkv, probs := fenced(tokens*dim), fenced(tokens*3*dim), fenced(heads*tokens*tokens)
				dqkv, scratch := fenced(tokens*3*dim), fenced(AttentionScratch(tokens, dim, heads))
				for _, p := range [][]float32{probs, nil} {
					AttentionForward(att, qkv, p, tokens, dim, heads, scratch)
					AttentionBackward(dqkv, att, qkv, p, tokens, dim, heads, scratch)
				}
			}
		}
	})
}

func TestAttentionAllocatesNothing(t *testing.T) {
	const tokens, dim, heads = 20, 64, 2
	att, qkv, dqkv := make([]float32, tokens*dim), make([]float32, tokens*3*dim), make([]float32, tokens*3*dim)
	scratch := make([]float32, AttentionScratch(tokens, dim, heads))
	require.Zero(t, testing.AllocsPerRun(10, func() {
		AttentionForward(att, qkv, nil, tokens, dim, heads, scratch)
		AttentionBackward(dqkv, att, qkv, nil, tokens, dim, heads, scratch)
	}))
}

func TestAttentionRejectsShapes(t *testing.T) {
	const tokens, dim, heads = 5, 8, 2
	att, qkv := make([]float32, tokens*dim), make([]float32, tokens*3*dim)
	scratch := make([]float32, AttentionScratch(tokens, dim, heads))
	AttentionForward(nil, nil, nil, 0, dim, heads, nil)
	for name, f := range map[string]func(){
		"att":     func() { AttentionForward(att[1:], qkv, nil, tokens, dim, heads, scratch) },
		"qkv":     func() { AttentionForward(att, qkv[1:], nil, tokens, dim, heads, scratch) },
		"probs":   func() { AttentionForward(att, qkv, att, tokens, dim, heads, scratch) },
		"scratch": func() { AttentionForward(att, qkv, nil, tokens, dim, heads, scratch[1:]) },
		"heads":   func() { AttentionForward(att, qkv, nil, tokens, dim, 3, scratch) },
		"datt":    func() { AttentionBackward(qkv, att[1:], qkv, nil, tokens, dim, heads, scratch) },
		"dqkv":    func() { AttentionBackward(qkv[1:], att, qkv, nil, tokens, dim, heads, scratch) },
	} {
		require.Panics(t, f, name)
	}
}
