package report

import (
	"math"

	"edgejepa/internal/rng"
)

// principal returns the k directions in which the rows of x [rows, dim] vary most, as unit vectors [k, dim], and x's
// coordinates along them, [rows, k], of an x that has been centred. It is subspace iteration from fixed random
// vectors, in one order of sums: the same bits everywhere, and close enough for the eye. A direction in which nothing
// varies has coordinates 0. Signs are such that the larger half of a direction's weight is positive.
func principal(x []float64, rows, dim, k int) (directions, coordinates []float64) {
	q, y := make([]float64, k*dim), make([]float64, rows*k)
	s := rng.New(0, rng.PurposeProbe, uint64(rows), uint64(dim))
	for i := range q {
		q[i] = s.Norm()
	}
	orthonormal(q, k, dim)
	project := func() {
		for r := range rows {
			for c := range k {
				y[r*k+c] = dot(x[r*dim:][:dim], q[c*dim:][:dim])
			}
		}
	}
	const rounds = 30
	for range rounds {
		project()
		clear(q)
		for r := range rows {
			row := x[r*dim:][:dim]
			for c := range k {
				w, out := y[r*k+c], q[c*dim:][:dim]
				for i, v := range row {
					out[i] += float64(w * v)
				}
			}
		}
		orthonormal(q, k, dim)
	}
	for c := range k {
		d := q[c*dim:][:dim]
		sum := 0.0
		for _, v := range d {
			sum += float64(v * math.Abs(v))
		}
		if sum < 0 {
			for i := range d {
				d[i] = -d[i]
			}
		}
	}
	project()
	return q, y
}

// centre takes the mean row from every row, and returns it.
func centre(x []float64, rows, dim int) (mean []float64) {
	mean = make([]float64, dim)
	for r := range rows {
		for i, v := range x[r*dim:][:dim] {
			mean[i] += v
		}
	}
	for i := range mean {
		mean[i] /= float64(rows)
	}
	for r := range rows {
		for i := range mean {
			x[r*dim+i] -= mean[i]
		}
	}
	return mean
}

// orthonormal makes the k rows of q orthonormal, in their order (Gram-Schmidt, twice for the sake of rounding). A row
// that the ones before it span becomes 0.
func orthonormal(q []float64, k, dim int) {
	for c := range k {
		row := q[c*dim:][:dim]
		was := dot(row, row)
		for range 2 {
			for b := range c {
				other := q[b*dim:][:dim]
				w := dot(row, other)
				for i, v := range other {
					row[i] -= float64(w * v)
				}
			}
		}
		norm := dot(row, row)
		if !(norm > 1e-24*was) || !(norm > 0) {
			clear(row)
			continue
		}
		inv := 1 / math.Sqrt(norm)
		for i := range row {
			row[i] = float64(row[i] * inv)
		}
	}
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += float64(v * b[i])
	}
	return sum
}
