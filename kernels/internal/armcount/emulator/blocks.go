package emulator

import (
	"debug/elf"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Block is a straight piece of code that the emulator translated at once. Blocks may overlap.
type Block struct {
	Address      uint64
	Instructions int64
	Runs         int64
}

// parseBlocks reads what the plugin has written.
func parseBlocks(text string) ([]Block, error) {
	var blocks []Block
	for line := range strings.Lines(text) {
		var b Block
		if _, err := fmt.Sscanf(line, "%x %d %d", &b.Address, &b.Instructions, &b.Runs); err != nil {
			return nil, fmt.Errorf("the plugin's line %q: %w", line, err)
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

// Symbols are a program's functions by address, ascending.
type Symbols []elf.Symbol

func readSymbols(program string) (Symbols, error) {
	f, err := elf.Open(program)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	s := Symbols(slices.DeleteFunc(all, func(x elf.Symbol) bool { return elf.ST_TYPE(x.Info) != elf.STT_FUNC }))
	sort.Slice(s, func(i, j int) bool { return s[i].Value < s[j].Value })
	return s, nil
}

// Name is the function at an address, without the suffix of assembly, or "elsewhere".
func (s Symbols) Name(address uint64) string {
	i := sort.Search(len(s), func(i int) bool { return s[i].Value > address }) - 1
	if i >= 0 && address < s[i].Value+s[i].Size {
		return strings.TrimSuffix(s[i].Name, ".abi0")
	}
	return "elsewhere"
}

// Sum adds the blocks' instructions by function.
func (s Symbols) Sum(blocks []Block) map[string]int64 {
	sums := map[string]int64{}
	for _, b := range blocks {
		sums[s.Name(b.Address)] += b.Instructions * b.Runs
	}
	return sums
}

// Counted tells which functions count: this module's, and the copying and clearing that they ask for. The pool, the
// scheduler and the collector are left out: what they do depends on the moment.
func Counted(name string) bool {
	if strings.HasPrefix(name, "edgejepa/internal/parallel.") {
		return false
	}
	return strings.HasPrefix(name, "edgejepa/") || strings.HasPrefix(name, "math.") ||
		name == "runtime.memmove" || name == "runtime.memclrNoHeapPointers" || name == "runtime.memequal"
}
