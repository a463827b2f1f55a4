package vit

import (
	"edgejepa/internal/parallel"
	"edgejepa/kernels"
)

// Linear is y = x·Wᵀ + b with W [Out, In], b [Out].
type Linear struct {
	In, Out int
	W, B    *Param

	forward kernels.Panels // Wᵀ, packed
	passing bool           // the panels are a pass's own, which packs them when it comes to this layer
}

// Pack renews the packed weights after a change of W, where they are the layer's own.
func (l *Linear) Pack() {
	if !l.passing {
		l.forward.PackT(l.W.Value, l.In, l.In, l.Out)
	}
}

// Apply is y [rows, Out] = x [rows, In]·Wᵀ + b on the calling goroutine.
func (l *Linear) Apply(y, x []float32, rows int) {
	kernels.Gemm(y, l.Out, x, l.In, rows, &l.forward, l.B.Value, 0)
}

// applyGrad is dx [rows, In] = dy [rows, Out]·W on the calling goroutine.
func (l *Linear) applyGrad(dx, dy []float32, rows int) {
	w := kernels.View{K: l.Out, N: l.In, X: l.W.Value, LD: l.In}
	kernels.GemmView(dx, l.In, dy, l.Out, rows, &w, nil, 0)
}

// addParamGrad adds to the gradient of output channels [m0, m1): dW += dyᵀ·x, db += column sums of dy, for x [rows, In]
// and dy [rows, Out]. Rows are added in ascending order to each element.
func (l *Linear) addParamGrad(dy, x []float32, rows, m0, m1 int) {
	v := kernels.View{K: rows, N: l.In, X: x, LD: l.In}
	kernels.AddGemmTNView(l.W.Grad[m0*l.In:], l.In, dy[m0:], l.Out, m1-m0, &v)
	l.addBiasGrad(dy, rows, m0, m1)
}

func (l *Linear) addBiasGrad(dy []float32, rows, m0, m1 int) {
	kernels.AddColumnSums(l.B.Grad, dy, rows, l.Out, m0, m1)
}

// gradRows is how many output channels one task of addParamGrad takes: about equal work whatever the width, and a
// function of the shape alone.
func (l *Linear) gradRows() int {
	return max(1, 16384/l.In/kernels.MR) * kernels.MR
}

// clearGrad sets the gradients of the layer's parameters to zero.
func (l *Linear) clearGrad() {
	clear(l.W.Grad)
	clear(l.B.Grad)
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

// clearGrad sets the gradients of the norm's parameters to zero.
func (n *Norm) clearGrad() {
	clear(n.Gain.Grad)
	clear(n.Bias.Grad)
}

// LinearOp runs a Linear over a whole batch on a pool. It keeps the tasks of its layer, so that calls allocate nothing.
type LinearOp struct {
	l    *Linear
	pool *parallel.Pool

	backward bool
	y, x     []float32 // forward: y = x·Wᵀ + b; backward: y is dy, x is x
	dx       []float32
	rows     int
	first    int // the number of the first task of the weights' gradient
}

// rowsPerTask is how many rows of a batch one task of a LinearOp takes.
const rowsPerTask = 96

// NewLinearOp prepares l for batches.
func NewLinearOp(l *Linear, pool *parallel.Pool) *LinearOp { return &LinearOp{l: l, pool: pool} }

// Forward is y [rows, Out] = x [rows, In]·Wᵀ + b.
func (o *LinearOp) Forward(y, x []float32, rows int) {
	o.backward, o.y, o.x, o.rows = false, y, x, rows
	o.pool.Do(o, (rows+rowsPerTask-1)/rowsPerTask)
}

// Backward is dx = dy·W (unless dx is nil), dW += dyᵀ·x, db += column sums of dy.
func (o *LinearOp) Backward(dx, dy, x []float32, rows int) {
	o.backward, o.dx, o.y, o.x, o.rows, o.first = true, dx, dy, x, rows, 0
	if dx != nil {
		o.first = (rows + rowsPerTask - 1) / rowsPerTask
	}
	per := o.l.gradRows()
	o.pool.Do(o, o.first+(o.l.Out+per-1)/per)
}

// Run is one task: a range of rows, or of output channels.
func (o *LinearOp) Run(n, _ int) {
	l := o.l
	if o.backward && n >= o.first {
		per := l.gradRows()
		m0 := (n - o.first) * per
		l.addParamGrad(o.y, o.x, o.rows, m0, min(m0+per, l.Out))
		return
	}
	r0 := n * rowsPerTask
	r1 := min(r0+rowsPerTask, o.rows)
	if o.backward {
		l.applyGrad(o.dx[r0*l.In:], o.y[r0*l.Out:], r1-r0)
	} else {
		l.Apply(o.y[r0*l.Out:], o.x[r0*l.In:], r1-r0)
	}
}
