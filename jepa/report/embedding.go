package report

import (
	"math"
	"slices"

	"edgejepa/fp"
)

// neighbourMap lays n pictures out in the unit square so that pictures with like features are close: exact t-SNE (van der
// Maaten and Hinton, JMLR 9, 2008) from the two principal components, with neither random numbers nor anything else that
// could make two machines differ. far [n, n] has squared distances, start is [n, 2].
func neighbourMap(far, start []float64, n int) []float64 {
	xy := make([]float64, 2*n)
	if n < 2 {
		return []float64{0.5, 0.5}[:2*n]
	}
	largest := 0.0
	for _, v := range start {
		largest = max(largest, math.Abs(v))
	}
	for i, v := range start {
		xy[i] = v / max(largest, 1e-12) * 1e-2
	}
	if n > 4 {
		descend(xy, affinities(far, n), n)
	}
	frame(xy, n)
	spread(xy, n)
	return xy
}

const (
	perplexity   = 20.0
	rounds       = 300
	exaggerated  = 80 // rounds in which attraction is
	exaggeration = 8.0
	rate         = 12.0
)

// affinities are the symmetric probabilities p [n, n] that one picture is the other's neighbour.
func affinities(far []float64, n int) []float64 {
	p := make([]float64, n*n)
	wanted := fp.Log(min(perplexity, float64(n-1)/3))
	for i := range n {
		row, out := far[i*n:][:n], p[i*n:][:n]
		lo, hi, beta := 0.0, math.Inf(1), 1/max(slices.Max(row), 1e-300)
		for range 50 { // bisection for the precision at which the row has the wanted entropy
			sum, weighted := 0.0, 0.0
			for j, far := range row {
				if out[j] = 0; j != i {
					out[j] = fp.Exp(-beta * far)
					sum += out[j]
					weighted += float64(out[j] * far)
				}
			}
			sum = max(sum, 1e-300)
			entropy := fp.Log(sum) + float64(beta*weighted)/sum
			for j := range out {
				out[j] /= sum
			}
			if math.Abs(entropy-wanted) < 1e-4 {
				break
			}
			if entropy > wanted {
				lo = beta
				beta *= 2
				if !math.IsInf(hi, 1) {
					beta = (lo + hi) / 2
				}
			} else {
				hi = beta
				beta = (lo + hi) / 2
			}
		}
	}
	for i := range n {
		for j := range i {
			v := max((p[i*n+j]+p[j*n+i])/float64(2*n), 1e-12)
			p[i*n+j], p[j*n+i] = v, v
		}
	}
	return p
}

// descend moves xy down the gradient of the Kullback-Leibler divergence between p and the map's own affinities.
func descend(xy, p []float64, n int) {
	speed, grad, near := make([]float64, 2*n), make([]float64, 2*n), make([]float64, n*n)
	for round := range rounds {
		sum := 0.0
		for i := range n {
			for j := range i {
				dx, dy := xy[2*i]-xy[2*j], xy[2*i+1]-xy[2*j+1]
				near[i*n+j] = 1 / (1 + float64(dx*dx) + float64(dy*dy))
				sum += near[i*n+j] + near[i*n+j]
			}
		}
		pull, momentum := 1.0, 0.8
		if round < exaggerated {
			pull, momentum = exaggeration, 0.5
		}
		clear(grad)
		for i := range n {
			for j := range i {
				q := near[i*n+j]
				f := (float64(pull*p[i*n+j]) - q/sum) * q
				dx, dy := float64(f*(xy[2*i]-xy[2*j])), float64(f*(xy[2*i+1]-xy[2*j+1]))
				grad[2*i] += dx
				grad[2*i+1] += dy
				grad[2*j] -= dx
				grad[2*j+1] -= dy
			}
		}
		for i := range xy {
			speed[i] = float64(momentum*speed[i]) - float64(4*rate*grad[i])
			xy[i] += speed[i]
		}
	}
}

// frame scales either axis to [0, 1], all but a few outliers, which it moves to the rim.
func frame(xy []float64, n int) {
	for axis := range 2 {
		v := make([]float64, n)
		for i := range v {
			v[i] = xy[2*i+axis]
		}
		slices.Sort(v)
		lo, hi := v[n/128], v[n-1-n/128]
		for i := range n {
			t := 0.5
			if hi > lo {
				t = (xy[2*i+axis] - lo) / (hi - lo)
			}
			xy[2*i+axis] = min(max(t, 0), 1)
		}
	}
}

// spread pushes points apart until few of the pictures drawn at them overlap.
func spread(xy []float64, n int) {
	side := 1 / math.Sqrt(float64(n))
	for range 150 {
		for i := range n {
			for j := range i {
				a, b := xy[2*i:][:2], xy[2*j:][:2]
				dx, dy := a[0]-b[0], a[1]-b[1]
				d := math.Sqrt(float64(dx*dx) + float64(dy*dy))
				if d >= side {
					continue
				}
				if d < 1e-9 { // pictures that are alike go each its way
					dx, dy, d = 1e-3*float64(1+i%3), 1e-3*float64(1+j%5-3*(i%2)), 4e-3
				}
				move := (side - d) / d * 0.25
				mx, my := float64(move*dx), float64(move*dy)
				a[0], a[1] = min(max(a[0]+mx, 0), 1), min(max(a[1]+my, 0), 1)
				b[0], b[1] = min(max(b[0]-mx, 0), 1), min(max(b[1]-my, 0), 1)
			}
		}
	}
}
