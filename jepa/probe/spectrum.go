package probe

import (
	"math"

	"gonum.org/v1/gonum/mat"

	"edgejepa/fp"
	"edgejepa/internal/parallel"
)

// FeatureStd is the mean over features of their standard deviation over pictures, the features taken as they are: the
// mean-pooled tokens after the encoder's final norm, not scaled to unit length. Public small-data runs that learn show
// 0.2 to 0.4, and 0.1 on their way into collapse (JMangold0352/looped-jepa).
func FeatureStd(f Features) float64 {
	if f.N < 2 || f.D < 1 {
		return 0
	}
	_, std := f.moments()
	sum := 0.0
	for _, s := range std {
		sum += s
	}
	return sum / float64(f.D)
}

// rankRows bounds the pictures that RankMe looks at.
const rankRows = 5000

// RankMe is the effective rank of the centred features [N, D] (Garrido et al., arXiv 2210.02885): exp of the entropy of
// p = s / sum(s) + 1e-7, s the singular values, here as roots of the covariance's eigenvalues. It lies between 1, all
// features on one line, and min(N, D). Of more than 5000 pictures it takes 5000, evenly spaced.
func RankMe(pool *parallel.Pool, f Features) float64 {
	if f.N < 2 || f.D < 1 {
		return 0
	}
	n := min(f.N, rankRows)
	x := make([]float64, n*f.D) // centred
	mean := make([]float64, f.D)
	for i := range n {
		for j, v := range f.X[i*f.N/n*f.D:][:f.D] {
			x[i*f.D+j] = float64(v)
			mean[j] += float64(v)
		}
	}
	for i := range n {
		for j := range mean {
			x[i*f.D+j] -= mean[j] / float64(n)
		}
	}
	rows, cols := n, f.D
	if n < f.D { // the Gram matrix has the same eigenvalues but for zeros, and is smaller
		x, rows, cols = transpose(x, n, f.D), f.D, n
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(mat.NewSymDense(cols, covariance(pool, x, rows, cols)), false) {
		return 0 // only NaN or Inf among the features
	}
	s, sum := eigen.Values(nil), 0.0
	for i, v := range s {
		s[i] = math.Sqrt(max(v, 0))
		sum += s[i]
	}
	if sum == 0 {
		return 1 // all features are one point
	}
	entropy := 0.0
	for _, v := range s {
		p := v/sum + 1e-7
		entropy -= float64(p * fp.Log(p))
	}
	return fp.Exp(entropy)
}

// covariance is the upper triangle of xᵀx [cols, cols], unscaled, of x [rows, cols].
func covariance(pool *parallel.Pool, x []float64, rows, cols int) []float64 {
	c := make([]float64, cols*cols)
	forEach(pool, cols, 8, func(lo, hi, _ int) {
		for r := range rows {
			row := x[r*cols:][:cols]
			for i := lo; i < hi; i++ {
				v, out := row[i], c[i*cols:][:cols]
				for j := i; j < cols; j++ {
					out[j] += float64(v * row[j])
				}
			}
		}
	})
	return c
}

func transpose(x []float64, rows, cols int) []float64 {
	t := make([]float64, len(x))
	for i := range rows {
		for j := range cols {
			t[j*rows+i] = x[i*cols+j]
		}
	}
	return t
}
