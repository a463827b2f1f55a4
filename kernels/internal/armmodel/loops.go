package main

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// line is an instruction of a disassembly. Target is where it branches to, or 0.
type line struct {
	address uint64
	text    string
	target  uint64
}

var (
	symbolLine = regexp.MustCompile(`^[0-9a-f]+ <(.*)>:$`)
	kernelName = regexp.MustCompile(`^edgejepa/kernels(?:/(?:i8|fixed))?\.(\w+)\.abi0$`)
	fullName   = regexp.MustCompile(`^(edgejepa/\S+)\.abi0$`)
	codeLine   = regexp.MustCompile(`^\s*([0-9a-f]+):\s+(\S.*)$`)
	branch     = regexp.MustCompile(`^(?:b|b\.\w+|cbn?z|tbn?z)\s+(?:.*,\s*)?0x([0-9a-f]+) <[^>]*>$`)
)

// parse takes assembly routines out of llvm-objdump's listing: those that match, by what is in parentheses.
func parse(listing string, assembled *regexp.Regexp) map[string][]line {
	routines := map[string][]line{}
	name := ""
	for text := range strings.Lines(listing) {
		text = strings.TrimRight(text, "\n")
		if m := symbolLine.FindStringSubmatch(text); m != nil {
			name = ""
			if m := assembled.FindStringSubmatch(m[1]); m != nil {
				name = m[1]
			}
			continue
		}
		m := codeLine.FindStringSubmatch(text)
		if m == nil || name == "" {
			continue
		}
		l := line{text: strings.Join(strings.Fields(m[2]), " ")}
		l.address, _ = strconv.ParseUint(m[1], 16, 64)
		if m := branch.FindStringSubmatch(l.text); m != nil {
			l.target, _ = strconv.ParseUint(m[1], 16, 64)
		}
		routines[name] = append(routines[name], l)
	}
	return routines
}

// innerLoops are the bodies between a backward branch and its target that have no other backward branch in them.
func innerLoops(body []line) [][]line {
	var loops [][]line
	for i, l := range body {
		if l.target == 0 || l.target > l.address {
			continue
		}
		start := slices.IndexFunc(body, func(x line) bool { return x.address == l.target })
		if start < 0 {
			continue
		}
		inner := true
		for _, x := range body[start:i] {
			inner = inner && (x.target == 0 || x.target > x.address)
		}
		if inner {
			loops = append(loops, body[start:i+1])
		}
	}
	return loops
}

// productLoops are the inner loops with multiply-adds, the one with the most first, down to a quarter of its number: the
// smaller ones are for the last rows.
func productLoops(body []line) [][]line {
	loops := innerLoops(body)
	slices.SortStableFunc(loops, func(a, b []line) int { return macs(b) - macs(a) })
	if len(loops) == 0 {
		return nil
	}
	most := macs(loops[0])
	return slices.DeleteFunc(loops, func(l []line) bool { return 4*macs(l) < most || most == 0 })
}

func longest(loops [][]line) []line {
	return slices.MaxFunc(loops, func(a, b []line) int { return len(a) - len(b) })
}

// macsOf is how many multiply-adds an instruction does, by mnemonic and arrangement of the destination.
var macsOf = map[string]int{
	"fmla 4s": 4, "sdot 4s": 16, "smmla 4s": 32,
	"smull 8h": 8, "smull2 8h": 8, "smlal 8h": 8, "smlal2 8h": 8,
	"smlal 4s": 4, "smlal2 4s": 4, "smull 4s": 4, "smull2 4s": 4,
}

var destination = regexp.MustCompile(`^(\w+) v\d+\.(\w+),`)

// macs counts the multiply-adds of one turn.
func macs(loop []line) int {
	n := 0
	for _, l := range loop {
		if m := destination.FindStringSubmatch(l.text); m != nil {
			n += macsOf[m[1]+" "+m[2]]
		}
	}
	return n
}

// assembly is the loop as a source: without addresses, the last branch to a label, whatever else names an address to the
// end.
func assembly(loop []line) string {
	var s strings.Builder
	s.WriteString(".Lturn:\n")
	target := regexp.MustCompile(`0x[0-9a-f]+ <[^>]*>$`)
	for i, l := range loop {
		label := ".Lend"
		if i == len(loop)-1 && l.target != 0 {
			label = ".Lturn"
		}
		s.WriteString("\t" + target.ReplaceAllString(l.text, label) + "\n")
	}
	s.WriteString(".Lend:\n")
	return s.String()
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
