package jepa

import (
	"edgejepa/internal/arena"
	"edgejepa/internal/parallel"
	"edgejepa/vit"
)

// joint is the joint-embedding term of LeJEPA (arXiv 2511.08544) on the pooled features of R = B·V views, those of a
// picture one after another. A small MLP, the projector, turns them into z [R, K]; the views of a picture are to have the
// same z, and all z together a normal distribution, without which a constant would do:
//
//	weight · ( (1-λ) · mean over pictures, views and channels of (z_v - mean_v z)²  +  λ · SIGReg(z) )
type joint struct {
	weight float64 // of the views' difference: weight · (1-λ)
	pass   *mlpPass
	sigreg *sigreg
	views  int
	z, dz  []float32 // [R, K]
}

// placeJoint lays out the work of a term of some weight, which lasts no longer than apply.
func placeJoint(a *arena.Arena, pool *parallel.Pool, projector *mlp, c Config, weight float64) *joint {
	rows, k := c.sequences(), c.Projector[1]
	j := &joint{weight: weight * (1 - c.SIGRegWeight), views: c.Views}
	a.Part("projector pass", func() {
		j.pass = projector.placePass(a, pool, rows, vit.Train)
		j.z, j.dz = a.F32(rows*k), a.F32(rows*k)
	})
	a.Part("sigreg", func() { j.sigreg = placeSIGReg(a, pool, weight*c.SIGRegWeight, rows, c.Views, k) })
	return j
}

// apply returns both parts of the term for pooled features [R, D], sets dPooled to their gradient and adds to those of the
// projector.
func (j *joint) apply(dPooled, pooled []float32, seed uint64, step int) (invariance, sigreg float64) {
	j.pass.Forward(j.z, pooled)
	sigreg = j.sigreg.apply(j.z, seed, step)
	invariance = j.invariance()
	j.pass.Backward(dPooled, j.dz)
	return invariance, sigreg
}

// invariance returns the first part and fills dz with the gradient of both.
func (j *joint) invariance() (sum float64) {
	views, k := j.views, j.pass.m.fc2.Out
	weight := j.weight / float64(len(j.z))
	for first := 0; first < len(j.z); first += views * k {
		for at := first; at < first+k; at++ {
			mean := 0.0
			for v := range views {
				mean += float64(j.z[at+v*k])
			}
			mean /= float64(views)
			for v := range views { // the mean's own gradient is 0: what is off it adds up to nothing
				off := float64(j.z[at+v*k]) - mean
				sum += float64(off * off)
				j.dz[at+v*k] = float32(2*weight*off) + j.sigreg.grad[at+v*k]
			}
		}
	}
	return weight * sum
}
