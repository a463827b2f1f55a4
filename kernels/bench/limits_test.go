package bench

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/kernels/internal/peak"
)

// limits of the AVX2 and AVX-512 routines: a bound from below on the cycles that their loops take, read off the listings,
// whatever memory does. Two multiplications, two additions, two shuffles, two shifts, two loads and four operations of
// any kind a cycle is what the widest cores do, of 256 or 512 bits; divisions and roots take turns in one unit, and what
// a loop of them takes here; and the fixed order of a sum makes a chain of additions, each waiting for the one before.
type limits struct {
	loops              map[string][]string // instructions of a turn, as of asmLoops
	div, sqrt, latency float64             // registers a cycle, cycles of an addition
}

// newLimits has no loops where the rates are not measured.
func newLimits() *limits {
	l := &limits{loops: map[string][]string{}}
	if l.latency = peak.AddLatency(); l.latency == 0 {
		return l
	}
	rate := func(typ string) float64 { return peak.Of("avx2", typ).Best() / 8 / peak.Clock() }
	l.div, l.sqrt = rate("div"), rate("sqrt")
	for _, folder := range []string{"..", "../i8", "../fixed"} {
		files, _ := filepath.Glob(filepath.Join(folder, "*_amd64.s"))
		header := func(name string) string {
			b, _ := os.ReadFile(filepath.Join(folder, name))
			return string(b)
		}
		for _, name := range files {
			if source, err := os.ReadFile(name); err == nil {
				maps.Copy(l.loops, asmLoops(string(source), header))
			}
		}
	}
	return l
}

// cycles is the bound for one turn of a loop on a path, or 0: for half a turn where that does two blocks or rows.
func (l *limits) cycles(loop, path string) float64 {
	if path == "avx512" {
		loop = l.wide(loop)
	}
	if l.loops[loop] == nil {
		return 0
	}
	cycles := loopCycles(l.loops[loop], l.div, l.sqrt, l.latency)
	if slices.ContainsFunc(l.loops[loop], twin.MatchString) {
		cycles /= 2
	}
	return cycles
}

// twin is how a generated routine addresses the second block or row.
var twin = regexp.MustCompile(`^VMOVUPS \(\w+\)\(R11\*1\), Z`)

// wide is the loop of AVX-512 that stands for one of AVX2, if there is one.
func (l *limits) wide(loop string) string {
	routine, label, _ := strings.Cut(loop, ".")
	wide := strings.TrimSuffix(routine, "AVX2") + "AVX512"
	if label != "" {
		wide += "." + label
	}
	if l.loops[wide] == nil {
		return loop
	}
	return wide
}

var (
	includeLine = regexp.MustCompile(`(?m)^#include "(.*)"$`)
	defineLine  = regexp.MustCompile(`(?m)^#define (\w+)(?:\(([^)]*)\))?[ \t]+(.*)$`)
	macroUse    = regexp.MustCompile(`^(\w+)(?:\((.*)\))?$`)
	labelLine   = regexp.MustCompile(`^(\w+):$`)
	jumpLine    = regexp.MustCompile(`^(?:J\w+|LOOP)\s+(\w+)$`)
)

// asmLoops is the instructions of the loops of a listing, macros expanded: of each routine the longest inner loop, under
// the routine's name, and all loops, without those inside them, under the name with the label behind a point.
func asmLoops(source string, header func(string) string) map[string][]string {
	for _, m := range includeLine.FindAllStringSubmatch(source, -1) {
		source = header(m[1]) + source
	}
	source = regexp.MustCompile(`[ \t]*//.*`).ReplaceAllString(source, "")
	source = strings.ReplaceAll(source, "\\\n", " ")
	macros := map[string][2]string{} // parameters, body
	for _, m := range defineLine.FindAllStringSubmatch(source, -1) {
		macros[m[1]] = [2]string{m[2], m[3]}
	}
	loops := map[string][]string{}
	for _, text := range strings.Split(source, "\nTEXT ")[1:] {
		name, body, _ := strings.Cut(text, "(SB)")
		name = strings.Trim(name, "·<>")
		var lines []string
		for line := range strings.Lines(body) {
			lines = append(lines, expand(strings.TrimSpace(line), macros)...)
		}
		for _, l := range loopsOf(lines) {
			loops[name+"."+l.label] = l.lines
			if l.inner && len(l.lines) > len(loops[name]) {
				loops[name] = l.lines
			}
		}
	}
	return loops
}

// expand replaces a use of a macro by its instructions.
func expand(line string, macros map[string][2]string) (lines []string) {
	m := macroUse.FindStringSubmatch(line)
	macro, ok := [2]string{}, false
	if m != nil {
		macro, ok = macros[m[1]]
	}
	if !ok {
		return []string{line}
	}
	body, args := macro[1], splitArgs(m[2])
	if macro[0] != "" {
		for i, p := range strings.Split(macro[0], ",") {
			if i < len(args) {
				body = regexp.MustCompile(`\b`+strings.TrimSpace(p)+`\b`).ReplaceAllLiteralString(body, args[i])
			}
		}
	}
	for part := range strings.SplitSeq(body, ";") {
		lines = append(lines, expand(strings.TrimSpace(part), macros)...)
	}
	return lines
}

// splitArgs splits at the commas outside brackets.
func splitArgs(s string) (args []string) {
	depth, start := 0, 0
	for i, c := range s + "," {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			args = append(args, strings.TrimSpace(s[start:i]))
			start = i + 1
		}
	}
	return args
}

// asmLoop is what stands between a label and a jump back to it, and in no loop inside.
type asmLoop struct {
	label string
	lines []string
	inner bool // there is none inside
}

func loopsOf(lines []string) (loops []asmLoop) {
	at := map[string]int{}
	taken := make([]bool, len(lines)) // by a loop
	for i, line := range lines {
		if m := labelLine.FindStringSubmatch(line); m != nil {
			at[m[1]] = i
		}
		m := jumpLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if start, ok := at[m[1]]; ok {
			l := asmLoop{label: m[1], inner: true}
			for k := start; k <= i; k++ {
				if taken[k] {
					l.inner = false
				} else if k > start && k < i {
					l.lines = append(l.lines, lines[k])
				}
				taken[k] = true
			}
			loops = append(loops, l)
		}
	}
	return loops
}

var (
	vectorRegister = regexp.MustCompile(`\b[XYZ](\d+)\b`)
	multiplies     = regexp.MustCompile(`^V(MUL|FN?M|DIV|SQRT|PMUL|PMADD)`)
	adds           = regexp.MustCompile(`^V(ADD|SUB|MAX|MIN|CMP)P|^VCVT|^VROUND`)
	shifts         = regexp.MustCompile(`^VPS[LR][LA]V?[WDQ]$`)
	shuffles       = regexp.MustCompile(`^V(PACK|PUNPCK|UNPCK|PERM|PSHUF|SHUF|EXTRACT|INSERT|BROADCAST|PBROADCAST)`)
)

// loopCycles bounds the cycles of one turn of a loop from below: div and sqrt are registers a cycle, latency the cycles
// between two additions of a chain.
func loopCycles(loop []string, div, sqrt, latency float64) float64 {
	const turns = 32
	var busy struct{ mul, add, shuffle, shift, any, load, div, sqrt float64 }
	var end [turns]float64        // when the last result of a turn is there, if nothing but operands is waited for
	ready := map[string]float64{} // by register
	for turn := range turns {
		for _, line := range loop {
			op, args, _ := strings.Cut(strings.TrimSpace(line), " ")
			if !strings.HasPrefix(op, "V") {
				continue
			}
			operands := splitArgs(args)
			last := len(operands) - 1
			from, to := operands[:last], operands[last]
			if strings.HasPrefix(op, "VFM") || strings.HasPrefix(op, "VFNM") {
				from = operands
			}
			memory := slices.ContainsFunc(from, func(s string) bool { return strings.Contains(s, "(") })
			if memory {
				busy.load++
			}
			wait := 1.0 // of operations on bits, and of what cannot be part of a chain in a sum
			switch {
			case multiplies.MatchString(op):
				busy.mul++
			case adds.MatchString(op):
				busy.add++
				wait = latency
			case memory && strings.Contains(op, "BROADCAST"), strings.HasPrefix(op, "VMOV"):
				wait = 0 // a load or a renaming
			case shuffles.MatchString(op):
				busy.shuffle++
			}
			switch {
			case strings.HasPrefix(op, "VDIV"):
				busy.div++
			case strings.HasPrefix(op, "VSQRT"):
				busy.sqrt++
			case shifts.MatchString(op):
				busy.shift++
			}
			if wait > 0 {
				busy.any++
			}
			start := 0.0
			for _, r := range vectorRegister.FindAllStringSubmatch(strings.Join(from, ","), -1) {
				start = max(start, ready[r[1]])
			}
			if r := vectorRegister.FindStringSubmatch(to); r != nil {
				ready[r[1]] = start + wait
				end[turn] = max(end[turn], start+wait)
			}
		}
	}
	chain := (end[turns-1] - end[turns/2-1]) / (turns / 2)
	return max(chain, max(busy.mul/2, busy.add/2, busy.shuffle/2, busy.shift/2, busy.any/4, busy.load/2,
		busy.div/div+busy.sqrt/sqrt)/turns)
}

// A routine that was renamed would read as a limit of 0.
func TestLimitsKnowTheRoutines(t *testing.T) {
	l := newLimits()
	if len(l.loops) == 0 {
		t.Skip("nothing to read the limits of here")
	}
	for _, k := range vectorBenches {
		for _, routine := range k.routines {
			name, _, _ := strings.Cut(routine, ":")
			require.NotEmpty(t, l.loops[name], "%s: no listing has a loop of %s", k.name, name)
		}
	}
	for loop, wide := range map[string]string{"geluBlocks": "geluBlocksAVX512", "softmaxRowsAVX2.exp": "softmaxRowsAVX512.exp",
		"layerNormAffineRows.loop3": "layerNormAffineRowsAVX512.loop3"} {
		require.Equal(t, wide, l.wide(loop))
		require.NotEqual(t, l.cycles(loop, "avx2"), l.cycles(loop, "avx512"))
	}
	require.Equal(t, "lookupI8Blocks", l.wide("lookupI8Blocks"))
	require.Less(t, l.cycles("geluBlocks", "avx512"), l.cycles("geluBlocks", "avx2")*0.6)
	require.Greater(t, l.cycles("geluBlocks", "avx512"), l.cycles("geluBlocks", "avx2")*0.4)
}

// The limit of a few loops that can be counted by hand.
func TestLoopCycles(t *testing.T) {
	for _, c := range []struct {
		loop string
		want float64
	}{
		{"VMOVUPS (SI), Y0\nVMOVUPS 32(SI), Y1\nVMULPS Y0, Y2, Y0\nVMULPS Y1, Y2, Y1\nVADDPS Y0, Y3, Y3", 3}, // the chain in Y3
		{"VMOVUPS (SI), Y0\nVADDPS 32(SI), Y0, Y1\nVMOVUPS Y1, (DI)\nADDQ $64, SI", 1},                       // two loads
		{"VMULPS Y0, Y1, Y2\nVMULPS Y0, Y1, Y3\nVMULPS Y0, Y1, Y4", 1.5},                                     // multiplications
		{"VDIVPS Y0, Y1, Y2\nVDIVPS Y0, Y1, Y3\nVSQRTPS Y0, Y4", 16},                                         // divisions and a root
		{"VANDPS Y0, Y1, Y2\nVXORPS Y0, Y1, Y3\nVPANDN Y0, Y1, Y4", 0.75},                                    // of any kind
		{"VPSRLD $8, Y1, Y2\nVPSLLW $8, Y1, Y3\nVPSRLVD Y1, Y3, Y4", 1.5},                                    // shifts
	} {
		require.Equal(t, c.want, loopCycles(strings.Split(c.loop, "\n"), 0.25, 0.125, 3), c.loop)
	}
}

func TestAsmLoops(t *testing.T) {
	loops := asmLoops(`#include "h"
#define TWICE(at, y) \
	VMULPS at, y, y; \
	STORE(y, at)

TEXT ·f(SB), NOSPLIT, $0-8
	MOVQ CX, BX
outer:
	VXORPS Y0, Y0, Y0
inner:
	TWICE(8(SI), Y1) // a comment
	DECQ CX
	JNZ inner
	DECQ BX
	JNZ outer
	JMP end
end:
	RET
`, func(string) string { return "#define STORE(r, to) VMOVUPS r, to\n" })
	loop := []string{"VMULPS 8(SI), Y1, Y1", "VMOVUPS Y1, 8(SI)", "DECQ CX"}
	outer := []string{"VXORPS Y0, Y0, Y0", "DECQ BX"}
	require.Equal(t, map[string][]string{"f": loop, "f.inner": loop, "f.outer": outer}, loops)
}
