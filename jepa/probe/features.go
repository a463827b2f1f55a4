// Package probe says whether an encoder has learnt anything, which the training loss does not: classification by
// k nearest neighbours and by a linear probe on frozen features, and monitors of collapse. Every figure is meant to
// be read beside the same network's at its initial weights.
//
// Arithmetic is in a fixed order that depends on the sizes alone, so a figure does not depend on the number of threads.
package probe

import (
	"fmt"
	"math"

	"edgejepa/internal/parallel"
	"edgejepa/internal/rng"
	"edgejepa/kernels"
)

// Features are the frozen features of labelled pictures.
type Features struct {
	X    []float32 // [N, D]
	Y    []int32   // [N], the class of each, from 0
	N, D int
}

// Check says what is wrong with features that come from outside: sizes, labels, numbers.
func (f Features) Check() error {
	switch {
	case f.N < 1 || f.D < 1:
		return fmt.Errorf("no features: %d pictures of %d numbers", f.N, f.D)
	case len(f.X) != f.N*f.D || len(f.Y) != f.N:
		return fmt.Errorf("%d numbers and %d labels for %d pictures of %d numbers", len(f.X), len(f.Y), f.N, f.D)
	case !kernels.AllFinite(f.X):
		return fmt.Errorf("features are not finite: the encoder has diverged")
	}
	for i, y := range f.Y {
		if y < 0 {
			return fmt.Errorf("picture %d has class %d", i, y)
		}
	}
	return nil
}

// Classes is one more than the largest label.
func (f Features) Classes() int {
	n := int32(0)
	for _, y := range f.Y {
		n = max(n, y+1)
	}
	return int(n)
}

// Rows copies the given pictures' features.
func (f Features) Rows(index []int) Features {
	g := Features{X: make([]float32, 0, len(index)*f.D), Y: make([]int32, 0, len(index)), N: len(index), D: f.D}
	for _, i := range index {
		g.X = append(g.X, f.X[i*f.D:(i+1)*f.D]...)
		g.Y = append(g.Y, f.Y[i])
	}
	return g
}

// Split divides pictures with labels y into training and test pictures when nobody has: a share of each class, at
// least one where a class has two, is drawn by the seed. Both lists ascend.
func Split(y []int32, testShare float64, seed uint64) (train, test []int) {
	return drawn(y, seed, func(members int) int {
		n := int(math.RoundToEven(testShare * float64(members)))
		return min(max(n, 1), members-1)
	})
}

// Draw picks so many pictures of each class, or all of one that has fewer, by the seed. The list ascends.
func Draw(y []int32, perClass int, seed uint64) (index []int) {
	_, index = drawn(y, seed, func(members int) int { return min(perClass, members) })
	return index
}

// drawn draws from each class as many pictures as count says for one of so many.
func drawn(y []int32, seed uint64, count func(members int) int) (others, picked []int) {
	byClass := map[int32][]int{}
	for i, c := range y {
		byClass[c] = append(byClass[c], i)
	}
	held := make([]bool, len(y))
	for c, members := range byClass {
		r := rng.New(seed, rng.PurposeProbe, uint64(c), 0)
		for i := range count(len(members)) { // the first places of a shuffle
			j := i + r.IntN(len(members)-i)
			members[i], members[j] = members[j], members[i]
			held[members[i]] = true
		}
	}
	for i := range y {
		if held[i] {
			picked = append(picked, i)
		} else {
			others = append(others, i)
		}
	}
	return others, picked
}

// moments are the mean and the standard deviation (unbiased) of each of the D features.
func (f Features) moments() (mean, std []float64) {
	mean, std = make([]float64, f.D), make([]float64, f.D)
	for i := range f.N {
		for j, x := range f.X[i*f.D:][:f.D] {
			mean[j] += float64(x)
		}
	}
	for j := range mean {
		mean[j] /= float64(f.N)
	}
	for i := range f.N {
		for j, x := range f.X[i*f.D:][:f.D] {
			d := float64(x) - mean[j]
			std[j] += float64(d * d)
		}
	}
	for j := range std {
		std[j] = math.Sqrt(std[j] / float64(max(f.N-1, 1)))
	}
	return mean, std
}

// forEach runs f over [0, n) in chunks of the given size; f's worker names the scratch it may use.
func forEach(pool *parallel.Pool, n, chunk int, f func(lo, hi, worker int)) {
	pool.Do(&ranges{n, chunk, f}, (n+chunk-1)/chunk)
}

type ranges struct {
	n, chunk int
	f        func(lo, hi, worker int)
}

func (r *ranges) Run(chunk, worker int) {
	r.f(chunk*r.chunk, min((chunk+1)*r.chunk, r.n), worker)
}
