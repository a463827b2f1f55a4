package probe

import (
	"math"

	"edgejepa/fp"
	"edgejepa/internal/parallel"
	"edgejepa/kernels"
)

const (
	knnQueries = 48   // test pictures a task
	knnBlock   = 1024 // training pictures whose similarities are held at a time
)

// KNN is the share of test pictures, in percent, that their k nearest training pictures classify: nearest by the
// cosine of features less the training mean, each neighbour voting exp(cosine / temperature) (Wu et al.,
// arXiv 1805.01978; k 20, temperature 0.1 here). Of equal neighbours the one that comes first in train is nearer, of
// equal classes the smaller wins.
func KNN(pool *parallel.Pool, train, test Features, k int, temperature float64) float64 {
	if train.D != test.D {
		panic("probe: KNN: training and test features differ in length")
	}
	if train.N == 0 || test.N == 0 {
		return 0
	}
	d := train.D
	mean, _ := train.moments()
	blocks := make([]kernels.Panels, (train.N+knnBlock-1)/knnBlock)
	forEach(pool, train.N, knnBlock, func(lo, hi, _ int) {
		rows := make([]float32, (hi-lo)*d)
		directions(rows, train.X[lo*d:hi*d], mean)
		blocks[lo/knnBlock].PackT(rows, d, d, hi-lo)
	})

	type scratch struct {
		queries, similar []float32
		near             []neighbours
		votes            []float64
	}
	classes := train.Classes()
	work := make([]scratch, pool.Workers())
	for w := range work {
		near := make([]neighbours, knnQueries)
		for i := range near {
			near[i] = neighbours{similar: make([]float32, 0, k), class: make([]int32, 0, k)}
		}
		work[w] = scratch{make([]float32, knnQueries*d), make([]float32, knnQueries*knnBlock), near, make([]float64, classes)}
	}
	hits := make([]int, (test.N+knnQueries-1)/knnQueries)
	forEach(pool, test.N, knnQueries, func(lo, hi, worker int) {
		s := &work[worker]
		directions(s.queries, test.X[lo*d:hi*d], mean)
		near := s.near[:hi-lo]
		for i := range near {
			near[i].similar, near[i].class = near[i].similar[:0], near[i].class[:0]
		}
		for b := range blocks {
			n := blocks[b].N
			kernels.Gemm(s.similar, n, s.queries, d, hi-lo, &blocks[b], nil, 0)
			for i := range near {
				near[i].add(s.similar[i*n:(i+1)*n], train.Y[b*knnBlock:][:n], k)
			}
		}
		for i := range near {
			if near[i].vote(s.votes, temperature) == test.Y[lo+i] {
				hits[lo/knnQueries]++
			}
		}
	})
	return percent(hits, test.N)
}

func percent(hits []int, n int) float64 {
	sum := 0
	for _, h := range hits {
		sum += h
	}
	return 100 * float64(sum) / float64(n)
}

// directions is dst = (x - mean) / |x - mean|, row by row; a row at the mean stays 0.
func directions(dst, x []float32, mean []float64) {
	d := len(mean)
	for i := 0; i < len(x); i += d {
		row, out := x[i:i+d], dst[i:i+d]
		sum := 0.0
		for j, v := range row {
			c := float64(v) - mean[j]
			sum += float64(c * c)
		}
		inv := 1 / max(math.Sqrt(sum), 1e-12)
		for j, v := range row {
			out[j] = float32((float64(v) - mean[j]) * inv)
		}
	}
}

// neighbours are the nearest found so far, nearest first.
type neighbours struct {
	similar []float32
	class   []int32
}

// add considers more training pictures, in order.
func (n *neighbours) add(similar []float32, class []int32, k int) {
	least := float32(math.Inf(-1))
	if len(n.similar) == k {
		least = n.similar[k-1]
	}
	for i, s := range similar {
		if !(s > least) {
			continue
		}
		if len(n.similar) < k {
			n.similar, n.class = append(n.similar, s), append(n.class, class[i])
		}
		at := len(n.similar) - 1
		for ; at > 0 && n.similar[at-1] < s; at-- {
			n.similar[at], n.class[at] = n.similar[at-1], n.class[at-1]
		}
		n.similar[at], n.class[at] = s, class[i]
		if len(n.similar) == k {
			least = n.similar[k-1]
		}
	}
}

// vote is the class with the largest sum of weights. votes has one value a class.
func (n *neighbours) vote(votes []float64, temperature float64) int32 {
	clear(votes)
	for i, s := range n.similar {
		votes[n.class[i]] += fp.Exp(float64(s) / temperature)
	}
	best := 0
	for c, v := range votes {
		if v > votes[best] {
			best = c
		}
	}
	return int32(best)
}
