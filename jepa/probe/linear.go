package probe

import (
	"math"

	"edgejepa/fp"
	"edgejepa/internal/parallel"
	"edgejepa/kernels"
)

const (
	linearIterations = 150
	linearDecay      = 1e-4 // of the sum of squared weights, biases left out
)

// Linear is the share of test pictures, in percent, that a linear classifier on the frozen features gets right:
// logistic regression on features standardised by the training pictures' mean and deviation, mean cross-entropy plus
// 1e-4 |W|², minimised by at most 150 iterations of L-BFGS from zero.
func Linear(pool *parallel.Pool, train, test Features) float64 {
	if train.D != test.D {
		panic("probe: Linear: training and test features differ in length")
	}
	if train.N == 0 || test.N == 0 {
		return 0
	}
	mean, std := train.moments()
	classes := train.Classes()
	p := newLogistic(pool, standardized(train, mean, std), train.Y, train.D, classes)
	w := make([]float64, (train.D+1)*classes)
	lbfgs{eval: p.eval, iterations: linearIterations, history: historyFor(len(w))}.minimize(w)
	return p.accuracy(w, standardized(test, mean, std), test.Y)
}

// historyFor keeps the pairs of L-BFGS within 64 MiB.
func historyFor(params int) int { return max(4, min(100, 64<<20/(16*params))) }

func standardized(f Features, mean, std []float64) []float32 {
	x := make([]float32, len(f.X))
	for i := 0; i < len(x); i += f.D {
		for j, v := range f.X[i : i+f.D] {
			x[i+j] = float32((float64(v) - mean[j]) / (std[j] + 1e-6))
		}
	}
	return x
}

// logisticRows is how many pictures' logits are held at a time.
const logisticRows = 256

// logistic is the loss of a linear classifier. Its parameters are the weight [D, C] and then the bias [C].
type logistic struct {
	pool    *parallel.Pool
	x       []float32 // [N, D]
	y       []int32
	d, c, n int
	chunk   int // pictures whose gradient is summed in one piece; by the sizes alone

	weight kernels.Panels
	flat   []float32 // the parameters in float32
	loss   []float64 // by chunk
	grad   []float32 // [chunks, D+1, C]
	work   []logisticWork
}

type logisticWork struct {
	logits []float32 // [logisticRows, C]
	errs   kernels.Panels
	spread []float64 // the largest logit less the true class's
}

func newLogistic(pool *parallel.Pool, x []float32, y []int32, d, c int) *logistic {
	p := &logistic{pool: pool, x: x, y: y, d: d, c: c, n: len(y)}
	chunks := max(1, min(32, 1<<22/((d+1)*c))) // at most 16 MiB of gradients
	p.chunk = max(logisticRows, (p.n+chunks-1)/chunks)
	chunks = (p.n + p.chunk - 1) / p.chunk
	p.flat, p.loss, p.grad = make([]float32, (d+1)*c), make([]float64, chunks), make([]float32, chunks*(d+1)*c)
	p.work = make([]logisticWork, pool.Workers())
	for w := range p.work {
		p.work[w] = logisticWork{logits: make([]float32, logisticRows*c), spread: make([]float64, logisticRows)}
	}
	return p
}

// eval is the loss at w and its gradient.
func (p *logistic) eval(w, grad []float64) float64 {
	p.load(w)
	forEach(p.pool, p.n, p.chunk, func(lo, hi, worker int) {
		i := lo / p.chunk
		g := p.grad[i*len(w) : (i+1)*len(w)]
		clear(g)
		p.loss[i] = 0
		for ; lo < hi; lo += logisticRows {
			p.loss[i] += p.block(g, lo, min(lo+logisticRows, hi), &p.work[worker])
		}
	})
	loss, decay := 0.0, 0.0
	for _, v := range p.loss {
		loss += v
	}
	for j := range grad {
		sum := 0.0
		for i := range p.loss {
			sum += float64(p.grad[i*len(w)+j])
		}
		grad[j] = sum / float64(p.n)
		if j < p.d*p.c {
			decay += float64(w[j] * w[j])
			grad[j] += float64(2 * linearDecay * w[j])
		}
	}
	return loss/float64(p.n) + float64(linearDecay*decay)
}

// block adds the gradient of pictures [lo, hi) to g and returns their loss.
func (p *logistic) block(g []float32, lo, hi int, s *logisticWork) (loss float64) {
	rows, c := hi-lo, p.c
	p.logits(s.logits, p.x[lo*p.d:], rows)
	for r := range rows {
		l := s.logits[r*c:][:c]
		top := l[0]
		for _, v := range l {
			top = max(top, v)
		}
		s.spread[r] = float64(top) - float64(l[p.y[lo+r]])
	}
	kernels.Softmax(s.logits, rows, c, c, 1)
	for r := range rows {
		q := s.logits[r*c:][:c]
		top := q[0]
		for _, v := range q {
			top = max(top, v)
		}
		loss += s.spread[r] - fp.Log(float64(top)) // -log of the true class's share, which may itself be 0
		q[p.y[lo+r]]--
	}
	s.errs.Pack(s.logits, c, rows, c)
	kernels.AddGemmTN(g, c, p.x[lo*p.d:], p.d, p.d, &s.errs)
	kernels.AddColumnSums(g[p.d*c:], s.logits, rows, c, 0, c)
	return loss
}

func (p *logistic) load(w []float64) {
	for i, v := range w {
		p.flat[i] = float32(v)
	}
	p.weight.Pack(p.flat, p.c, p.d, p.c)
}

// logits is dst [rows, C] = x W + bias.
func (p *logistic) logits(dst, x []float32, rows int) {
	kernels.Gemm(dst, p.c, x, p.d, rows, &p.weight, p.flat[p.d*p.c:], 0)
}

// accuracy is the share, in percent, of pictures whose largest logit is that of their class; the smaller class wins a tie.
func (p *logistic) accuracy(w []float64, x []float32, y []int32) float64 {
	p.load(w)
	hits := make([]int, (len(y)+logisticRows-1)/logisticRows)
	forEach(p.pool, len(y), logisticRows, func(lo, hi, worker int) {
		logits := p.work[worker].logits
		p.logits(logits, x[lo*p.d:], hi-lo)
		for r := range hi - lo {
			best, top := 0, float32(math.Inf(-1))
			for c, v := range logits[r*p.c:][:p.c] {
				if v > top {
					best, top = c, v
				}
			}
			if int32(best) == y[lo+r] {
				hits[lo/logisticRows]++
			}
		}
	})
	return percent(hits, len(y))
}
