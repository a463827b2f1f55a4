package jepa

import (
	"math"

	"edgejepa/internal/arena"
	"edgejepa/internal/parallel"
	"edgejepa/kernels"
	"edgejepa/vit"
)

// mlp is a head for pooled features: y = fc2(GELU(norm(fc1(x)))). The norm is one over the batch, as in the papers (Ioffe
// and Szegedy, arXiv 1502.03167): each hidden channel has mean 0 and deviation 1 over all rows, those of all views, before
// gain and bias. Features that hardly differ, such as those of an untrained encoder, thus come out apart, where a term
// against collapse has a grip on them; a layer norm would leave them together. No statistics outlive a step, since nobody
// uses a head but to train.
type mlp struct {
	fc1, fc2 *vit.Linear
	norm     *vit.Norm
}

// addMLP adds the parameters of an MLP, named name+".fc1.weight" and so on.
func addMLP(ps *vit.Params, name string, in, hidden, out int) *mlp {
	return &mlp{
		fc1: ps.Linear(name+".fc1", in, hidden), norm: ps.Norm(name+".norm", hidden),
		fc2: ps.Linear(name+".fc2", hidden, out),
	}
}

func (m *mlp) linears(yield func(*vit.Linear) bool) { _ = yield(m.fc1) && yield(m.fc2) }

// mlpPass runs an MLP over batches of a fixed number of rows.
type mlpPass struct {
	m        *mlp
	fc1, fc2 *vit.LinearOp
	rows     int
	x        []float32 // [R, in] as given to Forward
	h        []float32 // [R, hidden] the output of fc1, then normalised, without gain and bias
	n, g, dg []float32 // [R, hidden] with them, after GELU, and that one's gradient
	rstd     []float32 // [hidden]
	a, b     []float64 // [hidden] sums over rows
}

func (m *mlp) placePass(a *arena.Arena, pool *parallel.Pool, rows int, mode vit.Mode) *mlpPass {
	p := &mlpPass{m: m, fc1: vit.NewLinearOp(m.fc1, pool), fc2: vit.NewLinearOp(m.fc2, pool), rows: rows}
	hidden := m.fc1.Out
	p.h, p.rstd = a.F32(rows*hidden), a.F32(hidden)
	p.n, p.g = p.h, p.h
	if mode == vit.Train {
		p.n, p.g, p.dg = a.F32(rows*hidden), a.F32(rows*hidden), a.F32(rows*hidden)
	}
	if !a.Measuring() {
		p.a, p.b = make([]float64, hidden), make([]float64, hidden)
	}
	return p
}

// Forward fills y [R, out] from x [R, in], which must stand until Backward.
func (p *mlpPass) Forward(y, x []float32) {
	p.x = x
	p.fc1.Forward(p.h, x, p.rows)
	p.normalize()
	kernels.GELU(p.g, p.n)
	p.fc2.Forward(y, p.g, p.rows)
}

// Backward fills dx [R, in] from dy [R, out] and adds to the gradients of the parameters.
func (p *mlpPass) Backward(dx, dy []float32) {
	p.fc2.Backward(p.dg, dy, p.g, p.rows)
	kernels.GELUGrad(p.dg, p.dg, p.n)
	p.normalizeGrad()
	p.fc1.Backward(dx, p.dg, p.x, p.rows)
}

// batchEps is added to a channel's variance before the root.
const batchEps = 1e-5

// normalize is, for each channel,
//
//	h = (h - mean h) / sqrt(var h + eps)
//	n = h·gain + bias
//
// with sums over rows ascending.
func (p *mlpPass) normalize() {
	gain, bias, hidden, rows := p.m.norm.Gain.Value, p.m.norm.Bias.Value, len(p.rstd), float64(p.rows)
	mean, square := p.a, p.b
	clear(mean)
	clear(square)
	for r := range p.rows {
		for j, v := range p.h[r*hidden:][:hidden] {
			mean[j] += float64(v)
		}
	}
	for j := range mean {
		mean[j] /= rows
	}
	for r := range p.rows {
		for j, v := range p.h[r*hidden:][:hidden] {
			off := float64(v) - mean[j]
			square[j] += float64(off * off)
		}
	}
	for j := range square {
		p.rstd[j] = float32(1 / math.Sqrt(square[j]/rows+batchEps))
	}
	for r := range p.rows {
		h, n := p.h[r*hidden:][:hidden], p.n[r*hidden:][:hidden]
		for j, v := range h {
			u := float32((v - float32(mean[j])) * p.rstd[j])
			h[j] = u
			n[j] = float32(u*gain[j]) + bias[j]
		}
	}
}

// normalizeGrad turns dg, the gradient of n, into that of fc1's output and adds to those of gain and bias:
//
//	dgain += sum(dn·h), dbias += sum(dn)
//	d(fc1) = gain·rstd·(dn - mean dn - h·mean(dn·h))
func (p *mlpPass) normalizeGrad() {
	norm, hidden, rows := p.m.norm, len(p.rstd), float64(p.rows)
	sum, along := p.a, p.b
	clear(sum)
	clear(along)
	for r := range p.rows {
		h := p.h[r*hidden:][:hidden]
		for j, v := range p.dg[r*hidden:][:hidden] {
			sum[j] += float64(v)
			along[j] += float64(float64(v) * float64(h[j]))
		}
	}
	for j := range sum {
		norm.Bias.Grad[j] += float32(sum[j])
		norm.Gain.Grad[j] += float32(along[j])
		sum[j] /= rows
		along[j] /= rows
	}
	for r := range p.rows {
		h, dg := p.h[r*hidden:][:hidden], p.dg[r*hidden:][:hidden]
		for j, v := range dg {
			d := float64(v) - sum[j] - float64(along[j]*float64(h[j]))
			dg[j] = float32(d * float64(norm.Gain.Value[j]) * float64(p.rstd[j]))
		}
	}
}
