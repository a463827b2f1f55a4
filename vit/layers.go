package vit

import (
	"edgejepa/internal/arena"
	"edgejepa/internal/parallel"
	"edgejepa/kernels"
)

// Linear is y = x·Wᵀ + b with W [Out, In], b [Out].
type Linear struct {
	In, Out int
	W, B    *Param

	forward  kernels.Panels // Wᵀ, packed
	backward kernels.Panels // W, packed; only where a gradient by x is wanted
	passing  bool           // the panels are a pass's own, which packs them when it comes to this layer
	leaf     bool           // x is data: no gradient by it is wanted
}

// Pack renews the packed weights after a change of W, where they are the layer's own.
func (l *Linear) Pack() {
	if l.passing {
		return
	}
	l.forward.PackT(l.W.Value, l.In, l.In, l.Out)
	if l.backward.Data != nil {
		l.backward.Pack(l.W.Value, l.In, l.Out, l.In)
	}
}

// packPanels renews panels [p0, p1) of the weights as they are packed for the forward product, or for the gradient's.
func (l *Linear) packPanels(backward bool, p0, p1 int) {
	for p := p0; p < p1; p++ {
		if backward {
			l.backward.PackRows(l.W.Value, l.In, p, 0, l.Out)
		} else {
			l.forward.PackPanelT(l.W.Value, l.In, p)
		}
	}
}

// Apply is y [rows, Out] = x [rows, In]·Wᵀ + b on the calling goroutine.
func (l *Linear) Apply(y, x []float32, rows int) {
	kernels.Gemm(y, l.Out, x, l.In, rows, &l.forward, l.B.Value, 0)
}

// applyGrad is dx [rows, In] = dy [rows, Out]·W on the calling goroutine.
func (l *Linear) applyGrad(dx, dy []float32, rows int) {
	kernels.Gemm(dx, l.In, dy, l.Out, rows, &l.backward, nil, 0)
}

// addParamGrad adds to the gradient of output channels [m0, m1): dW += dyᵀ·x, db += column sums of dy [rows, Out].
// x [rows, In] is given packed. Rows are added in ascending order to each element.
func (l *Linear) addParamGrad(dy []float32, x *kernels.Panels, m0, m1 int) {
	kernels.AddGemmTN(l.W.Grad[m0*l.In:], l.In, dy[m0:], l.Out, m1-m0, x)
	kernels.AddColumnSums(l.B.Grad, dy, x.K, l.Out, m0, m1)
}

// gradRows is how many output channels one task of addParamGrad takes: about equal work whatever the width, and a
// function of the shape alone.
func (l *Linear) gradRows() int {
	return max(1, 16384/l.In/kernels.MR) * kernels.MR
}

// Norm is layer norm over the last dimension with gain and bias (Ba et al., arXiv 1607.06450).
type Norm struct {
	Dim        int
	Gain, Bias *Param
}

// Apply is dst [rows, Dim] = norm(x) on the calling goroutine; dst may be x.
func (n *Norm) Apply(dst, x []float32, rows int, eps float32) { n.apply(dst, x, nil, nil, rows, eps) }

func (n *Norm) apply(dst, x, mean, rstd []float32, rows int, eps float32) {
	kernels.LayerNorm(dst, x, n.Gain.Value, n.Bias.Value, mean, rstd, rows, n.Dim, eps)
}

// LinearOp runs a Linear over a whole batch on a pool. It keeps the tasks and scratch of its layer, so that calls
// allocate nothing.
type LinearOp struct {
	l      *Linear
	pool   *parallel.Pool
	panels kernels.Panels

	what linearTask
	y, x []float32 // forward: y = x·Wᵀ + b; backward: y is dy, x is x
	dx   []float32
	rows int
	per  int // output channels a task
}

type linearTask byte

const (
	linearForward linearTask = iota
	linearInput              // dx, and x packed for the weights' turn
	linearWeights
)

// rowsPerTask is how many rows of a batch one task of a LinearOp takes.
const rowsPerTask = 96

// NewLinearOp prepares l for batches of up to maxRows rows. grads says whether Backward will be called.
func NewLinearOp(a *arena.Arena, l *Linear, pool *parallel.Pool, maxRows int, grads bool) *LinearOp {
	o := &LinearOp{l: l, pool: pool}
	if grads {
		o.panels.Data = a.F32(kernels.PanelLen(maxRows, l.In))
	}
	return o
}

// Forward is y [rows, Out] = x [rows, In]·Wᵀ + b.
func (o *LinearOp) Forward(y, x []float32, rows int) {
	o.what, o.y, o.x, o.rows = linearForward, y, x, rows
	o.pool.Do(o, (rows+rowsPerTask-1)/rowsPerTask)
}

// Backward is dx = dy·W (unless dx is nil), dW += dyᵀ·x, db += column sums of dy.
func (o *LinearOp) Backward(dx, dy, x []float32, rows int) {
	o.what, o.dx, o.y, o.x, o.rows = linearInput, dx, dy, x, rows
	o.panels.SetShape(rows, o.l.In)
	o.pool.Do(o, (rows+rowsPerTask-1)/rowsPerTask)
	o.what, o.per = linearWeights, o.l.gradRows()
	o.pool.Do(o, (o.l.Out+o.per-1)/o.per)
}

// Run is one task: a range of rows, or of output channels.
func (o *LinearOp) Run(chunk, _ int) {
	l := o.l
	if o.what == linearWeights {
		m0 := chunk * o.per
		l.addParamGrad(o.y, &o.panels, m0, min(m0+o.per, l.Out))
		return
	}
	r0 := chunk * rowsPerTask
	r1 := min(r0+rowsPerTask, o.rows)
	switch o.what {
	case linearForward:
		l.Apply(o.y[r0*l.Out:], o.x[r0*l.In:], r1-r0)
	case linearInput:
		if o.dx != nil {
			l.applyGrad(o.dx[r0*l.In:], o.y[r0*l.Out:], r1-r0)
		}
		for p := 0; p*kernels.NR < l.In; p++ {
			o.panels.PackRows(o.x, l.In, p, r0, r1)
		}
	}
}
