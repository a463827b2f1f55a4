package labels

import (
	"slices"
	"strings"
)

// classSet numbers class names. A fixed one takes no more.
type classSet struct {
	names []string
	index map[string]int
	fixed bool
}

// newClassSet numbers the wanted names, in their order; without any it takes what comes.
func newClassSet(wanted []string) *classSet {
	c := &classSet{index: map[string]int{}}
	for _, n := range wanted {
		c.number(n)
	}
	c.fixed = wanted != nil
	return c
}

// number returns the class of a name; ok is false for one that is not wanted.
func (c *classSet) number(name string) (class int, ok bool) {
	class, ok = c.index[name]
	if !ok && !c.fixed {
		class, ok = len(c.names), true
		c.index[strings.Clone(name)] = class // or the name would hold the whole file in memory
		c.names = append(c.names, strings.Clone(name))
	}
	return class, ok
}

// sorted returns the names in byte order and where each class went; fixed ones stay where they are.
func (c *classSet) sorted() (names []string, moved []int) {
	names = c.names
	if !c.fixed {
		names = slices.Sorted(slices.Values(c.names))
	}
	moved = make([]int, len(names))
	for i, n := range c.names {
		if c.fixed {
			moved[i] = i
		} else {
			moved[i], _ = slices.BinarySearch(names, n)
		}
	}
	return names, moved
}

// Balanced returns the weight of each class that gives all classes the same say whatever their number: n / (C n_c) for n
// examples of C classes that occur, n_c of one (King and Zeng 2001; class_weight="balanced" of scikit-learn). The mean
// weight of an example is 1. A class without examples has weight 0.
func Balanced(counts []int64) []float64 {
	var total, present int64
	for _, n := range counts {
		if n > 0 {
			total += n
			present++
		}
	}
	weights := make([]float64, len(counts))
	for c, n := range counts {
		if n > 0 {
			weights[c] = float64(total) / (float64(present) * float64(n))
		}
	}
	return weights
}
