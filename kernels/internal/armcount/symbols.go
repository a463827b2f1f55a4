package main

import (
	"debug/elf"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
)

// count is the instructions of one embedding.
type count struct {
	total     int64
	functions map[string]int64
}

// counted tells which functions count: this module's, and the copying and clearing that they ask for. The pool, the
// scheduler and the collector are left out: what they do depends on the moment.
func counted(name string) bool {
	if strings.HasPrefix(name, "edgejepa/internal/parallel.") {
		return false
	}
	return strings.HasPrefix(name, "edgejepa/") || strings.HasPrefix(name, "math.") ||
		name == "runtime.memmove" || name == "runtime.memclrNoHeapPointers" || name == "runtime.memequal"
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

// symbols are a program's functions by address, ascending.
type symbols []elf.Symbol

func readSymbols(program string) (symbols, error) {
	f, err := elf.Open(program)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	s := symbols(slices.DeleteFunc(all, func(x elf.Symbol) bool { return elf.ST_TYPE(x.Info) != elf.STT_FUNC }))
	sort.Slice(s, func(i, j int) bool { return s[i].Value < s[j].Value })
	return s, nil
}

// sum adds the plugin's blocks by function.
func (s symbols) sum(blocks string) (map[string]int64, error) {
	sums := map[string]int64{}
	for line := range strings.Lines(blocks) {
		var address uint64
		var instructions, runs int64
		if _, err := fmt.Sscanf(line, "%x %d %d", &address, &instructions, &runs); err != nil {
			return nil, fmt.Errorf("the plugin's line %q: %w", line, err)
		}
		i := sort.Search(len(s), func(i int) bool { return s[i].Value > address }) - 1
		name := "elsewhere"
		if i >= 0 && address < s[i].Value+s[i].Size {
			name = strings.TrimSuffix(s[i].Name, ".abi0")
		}
		sums[name] += instructions * runs
	}
	return sums, nil
}
