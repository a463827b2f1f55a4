package main

import (
	"fmt"
	"io"
	"slices"
)

// count is the instructions of one embedding.
type count struct {
	total     int64
	functions map[string]int64
}

// print lists the functions with at least a thousandth of the total, the largest first.
func (c *count) print(w io.Writer) {
	var names []string
	for name, n := range c.functions {
		if 1000*n >= c.total {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return int(c.functions[b] - c.functions[a]) })
	for _, name := range names {
		fmt.Fprintf(w, "    %12d %5.1f %%  %s\n", c.functions[name], 100*float64(c.functions[name])/float64(c.total), name)
	}
}
