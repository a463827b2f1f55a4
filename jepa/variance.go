package jepa

import (
	"math"

	"edgejepa/internal/arena"
	"edgejepa/kernels"
)

// variance is a small term against collapse on the mean-pooled context tokens of a batch, p [B, D] (variance and
// covariance of VICReg, arXiv 2105.04906):
//
//	weight · ( mean_j relu(1 - std_j) + 0.04 · sum_{i≠j} cov_ij² / D )
//
// On small data the paper's loss alone leaves features no better than random ones; with this term at 0.1 they learn.
type variance struct {
	weight     float64
	pooled     []float32 // [B, D], centred in place
	grad       []float32 // [B, D]
	mean       []float32 // [D]
	cov        []float32 // [D, D]
	std        []float64 // [D]
	panels     kernels.Panels
	batch, dim int
}

const (
	covarianceShare = 0.04 // of VICReg's 1 : 25
	stdFloor        = 1e-4 // added to a variance before the root, as in VICReg's code
)

// placeVariance lays out what lasts from one apply to the use of its gradient.
func placeVariance(a *arena.Arena, weight float64, batch, dim int) *variance {
	return &variance{
		weight: weight, pooled: a.F32(batch * dim), grad: a.F32(batch * dim), std: make([]float64, dim), batch: batch, dim: dim,
	}
}

// placeWork lays out what is in use only inside apply.
func (v *variance) placeWork(a *arena.Arena) {
	v.mean, v.cov = a.F32(v.dim), a.F32(v.dim*v.dim)
	v.panels.Data = a.F32(max(kernels.PanelLen(v.batch, v.dim), kernels.PanelLen(v.dim, v.dim)))
}

// apply returns the term's value and leaves its gradient with respect to pooled in grad.
func (v *variance) apply() float64 {
	b, d := v.batch, v.dim
	kernels.MeanRows(v.mean, v.pooled, b, d)
	for j := range v.mean {
		v.mean[j] = -v.mean[j]
	}
	for i := range b {
		kernels.Add(v.pooled[i*d:(i+1)*d], v.mean)
	}
	// cov = centredᵀ·centred / (B-1); its diagonal is the variances.
	v.panels.Pack(v.pooled, d, b, d)
	clear(v.cov)
	kernels.AddGemmTN(v.cov, d, v.pooled, d, d, &v.panels)
	kernels.Scale(v.cov, 1/float32(b-1))
	hinge, off := 0.0, 0.0
	for j := range d {
		v.std[j] = math.Sqrt(float64(v.cov[j*d+j]) + stdFloor)
		hinge += max(0, 1-v.std[j])
		v.cov[j*d+j] = 0
		off += kernels.SumSquares(v.cov[j*d : (j+1)*d])
	}
	// d cov-term / d centred = 4/(D (B-1)) centred·cov without its diagonal
	v.panels.Pack(v.cov, d, d, d)
	kernels.Gemm(v.grad, d, v.pooled, d, b, &v.panels, nil, 0)
	kernels.Scale(v.grad, float32(v.weight*covarianceShare*4/float64(d*(b-1))))
	// d std_j / d centred_ij = centred_ij / ((B-1) std_j), where the hinge is open
	for j := range d {
		if v.std[j] >= 1 {
			continue
		}
		c := float32(v.weight / (float64(d) * float64(b-1) * v.std[j]))
		for i := range b {
			v.grad[i*d+j] -= float32(c * v.pooled[i*d+j])
		}
	}
	return v.weight * (hinge/float64(d) + float64(covarianceShare*off/float64(d)))
}
