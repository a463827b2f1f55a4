package main

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"edgejepa/kernels/internal/armcount/emulator"
)

// region is a straight piece of an assembly routine, or a loop, and how often it ran.
type region struct {
	routine string
	lines   []line
	turns   float64
}

// regions cuts a routine into its inner loops and the straight pieces between them. A loop is what most turns go through.
func regions(routine string, body []line, n counts) []region {
	var found []region
	inLoop := map[uint64]bool{}
	for _, l := range innerLoops(body) {
		turns := n[l[len(l)-1].address]
		if turns == 0 || inLoop[l[0].address] {
			continue
		}
		var taken []line
		for _, x := range l {
			inLoop[x.address] = true
			if n[x.address] > turns/2 {
				taken = append(taken, x)
			}
		}
		found = append(found, region{routine, taken, turns})
	}
	for i := 0; i < len(body); {
		turns := n[body[i].address]
		if turns == 0 || inLoop[body[i].address] {
			i++
			continue
		}
		j := i
		for j < len(body) && !inLoop[body[j].address] && n[body[j].address] == turns {
			j++
		}
		found = append(found, region{routine, body[i:j], turns})
		i = j
	}
	return found
}

// cost is what a function takes.
type cost struct {
	function             string
	instructions, cycles float64
}

// scheduler remembers what llvm-mca said of a piece on a core.
type scheduler struct {
	llvm  *llvm
	known map[string]float64
}

// negligible is the share of a job's instructions below which a piece of assembly is taken for a cycle an instruction.
const negligible = 1e-5

// price gives each function its cycles: inner loops and other pieces of assembly by llvm-mca, what the Go compiler made
// at goIPC instructions a cycle. With ideal, the tiles that are scheduled for a core that issues in order take what
// issueLimit says. The dearest come first.
func (s *scheduler) price(mcpu string, goIPC float64, ideal bool, symbols emulator.Symbols, routines map[string][]line, n counts) ([]cost, error) {
	var all []region
	assembly := map[uint64]bool{}
	for _, name := range sortedNames(routines) {
		for _, l := range routines[name] {
			assembly[l.address] = true
		}
		all = append(all, regions(name, routines[name], n)...)
	}
	sums := map[string]*cost{}
	at := func(function string) *cost {
		if sums[function] == nil {
			sums[function] = &cost{function: function}
		}
		return sums[function]
	}
	for address, runs := range n {
		c := at(symbols.Name(address))
		c.instructions += runs
		if !assembly[address] {
			c.cycles += runs / goIPC
		}
	}
	least := negligible * n.total()
	all = slices.DeleteFunc(all, func(r region) bool {
		all := r.turns * float64(len(r.lines))
		if all < least {
			at(r.routine).cycles += all
		}
		return all < least
	})
	cycles, err := s.cycles(all, mcpu)
	if err != nil {
		return nil, err
	}
	for i, r := range all {
		if ideal && strings.Contains(r.routine, ".tile") && (strings.HasSuffix(r.routine, "A53") || strings.Contains(r.routine, "InOrder")) {
			cycles[i] = issueLimit(r.lines)
		}
		at(r.routine).cycles += r.turns * cycles[i]
	}
	var costs []cost
	for _, name := range sortedNames(sums) {
		costs = append(costs, *sums[name])
	}
	slices.SortStableFunc(costs, func(a, b cost) int { return cmp.Compare(b.cycles, a.cycles) })
	return costs, nil
}

// cycles is how long a turn of each piece takes once it is under way.
func (s *scheduler) cycles(all []region, mcpu string) ([]float64, error) {
	key := func(r region) string { return mcpu + "\n" + assembly(r.lines) }
	var fresh []region
	for _, r := range all {
		if _, ok := s.known[key(r)]; !ok {
			fresh = append(fresh, r)
		}
	}
	if len(fresh) > 0 {
		cycles, err := s.llvm.regionCycles(fresh, mcpu)
		if err != nil {
			return nil, err
		}
		for i, r := range fresh {
			s.known[key(r)] = cycles[i]
		}
	}
	cycles := make([]float64, len(all))
	for i, r := range all {
		cycles[i] = s.known[key(r)]
	}
	return cycles, nil
}

// vectorArithmetic are the instructions of the tiles that occupy the one 128-bit pipeline of an A53.
var vectorArithmetic = regexp.MustCompile(`^(fmla|fmul|fadd|smull2?|smlal2?|sadalp|addp|add|movi|dup) v\d+\.(16b|8h|4s|2d)`)

// issueLimit is how many cycles an A53 needs at least: it issues two instructions in one, and one of 128 bits of arithmetic.
func issueLimit(lines []line) float64 {
	arithmetic := 0
	for _, l := range lines {
		if vectorArithmetic.MatchString(l.text) {
			arithmetic++
		}
	}
	return max(float64(arithmetic), float64(len(lines))/2)
}

// regionCycles asks llvm-mca for many pieces at once.
func (l *llvm) regionCycles(all []region, mcpu string) ([]float64, error) {
	var source strings.Builder
	for i, r := range all {
		fmt.Fprintf(&source, "# LLVM-MCA-BEGIN r%d\n%s# LLVM-MCA-END r%d\n", i, labelled(r.lines, i), i)
	}
	after := func(turns int) ([]float64, error) {
		report, err := l.run(source.String(), l.mca, "-march=aarch64", "-mcpu="+mcpu, "-mattr="+features,
			"-iterations="+strconv.Itoa(turns), "-resource-pressure=false", "-instruction-info=false")
		if err != nil {
			return nil, err
		}
		var cycles []float64
		for _, m := range totalCycles.FindAllStringSubmatch(report, -1) {
			c, _ := strconv.ParseFloat(m[1], 64)
			cycles = append(cycles, c)
		}
		if len(cycles) != len(all) {
			return nil, errors.New("llvm-mca reports other regions than it was given")
		}
		return cycles, nil
	}
	const few, many = 10, 30
	a, err := after(few)
	if err != nil {
		return nil, err
	}
	b, err := after(many)
	if err != nil {
		return nil, err
	}
	for i := range a {
		a[i] = (b[i] - a[i]) / (many - few)
	}
	return a, nil
}

// labelled is assembly with labels of its own. The label that it ends with is the target of all branches.
func labelled(lines []line, number int) string {
	return strings.NewReplacer(".Lturn", fmt.Sprintf(".Lturn%d", number), ".Lend", fmt.Sprintf(".Lend%d", number)).Replace(assembly(lines))
}
