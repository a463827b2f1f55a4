// Armmodel says how fast the arm64 kernels would be on boards that are not here: it takes the inner loops out of a cross-built
// test binary and has llvm-mca schedule them on the cores' published pipelines. A model, not a measurement: caches,
// fetch and the finer rules of in-order issue are not in it. Against real processors it has been 12 % too low to 35 % too
// high, so its ranking is worth more than its last fifth.
//
//	go run ./kernels/internal/armmodel             the inner loops
//	go run ./kernels/internal/armmodel -jobs .     whole embeddings and training steps: how often each instruction runs
//	                                               under qemu, times what llvm-mca says of it
//
// It exits with 1 if a loop misses its bar, and with 2 if it could not be run.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"edgejepa/kernels/internal/armcount/emulator"
)

// core is a processor as llvm-mca knows it.
type core struct {
	name, mcpu, board string
}

var cores = []core{
	{"A53", "cortex-a53", "Pi Zero 2, Pi 3"},
	{"A72", "cortex-a72", "Pi 4"},
	{"A76", "neoverse-n1", "Pi 5; llvm has the A76's pipeline under neoverse-n1 alone"},
	{"N2", "neoverse-n2", "for SMMLA"},
}

// kernel is a routine with multiply-adds: for each core the theoretical peak of its instructions in multiply-adds a
// cycle, and the bar, or 0 where the core lacks them or nothing is asked.
type kernel struct {
	name, symbol string
	peak, bar    map[string]float64
}

// The peaks: SIMD instructions that issue in a cycle (A53 1 of 128 bit, A72 1 multiplication, A76 and N2 2), times what
// an instruction multiplies, times the share of an operation's instructions that hold the multiplier's port.
var kernels = []kernel{
	{"f32, FMLA", "tileF32NEON", map[string]float64{"A53": 4, "A72": 4, "A76": 8}, map[string]float64{"A72": 3.8, "A76": 7.5}},
	{"f32, in order", "tileF32A53", map[string]float64{"A53": 4}, nil},
	{"int8, chains of four", "tileNEON", map[string]float64{"A53": 6.4, "A72": 8, "A76": 8}, map[string]float64{"A72": 7.5}},
	{"int8, pairs", "tilePairNEON", map[string]float64{"A53": 5.33, "A72": 8, "A76": 8}, nil},
	{"int8, chains, in order", "tileInOrderNEON", map[string]float64{"A53": 6.4}, nil},
	{"int8, pairs, in order", "tilePairInOrderNEON", map[string]float64{"A53": 5.33}, nil},
	{"int8, SDOT", "tileDotProd", map[string]float64{"A76": 32}, map[string]float64{"A76": 30}},
	{"int8, SMMLA", "tileMM", map[string]float64{"N2": 64}, nil},
}

func main() {
	var w work
	w.flags(flag.CommandLine)
	jobs := flag.String("jobs", "", "embeddings and training steps whose names match, instead of the kernels; needs gcc and qemu-user")
	top := flag.Int("top", 0, "list so many of each job's dearest functions")
	emulated := flag.Bool("do", false, "what the emulated process does")
	flag.Parse()
	if *emulated {
		if err := w.do(); err != nil {
			fmt.Fprintln(os.Stderr, "armmodel:", err)
			os.Exit(1)
		}
		return
	}
	err := run(os.Stdout, *jobs, *top)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "model-arm:", err)
	if errors.Is(err, errMissed) {
		os.Exit(1)
	}
	os.Exit(2)
}

var errMissed = errors.New("a loop misses its bar")

func run(out io.Writer, jobs string, top int) error {
	llvm, err := findLLVM()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "armmodel")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if jobs != "" {
		return runJobs(out, llvm, dir, jobs, top)
	}
	binary := filepath.Join(dir, "bench.test")
	build := exec.Command("go", "test", "-c", "-o", binary, "edgejepa/kernels/bench")
	build.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("cross-building the kernels: %w\n%s", err, text)
	}
	routines, err := llvm.disassemble(binary, kernelName)
	if err != nil {
		return err
	}

	fmt.Fprintf(out, "A MODEL, NOT A MEASUREMENT: inner loops on %s\n", llvm.version)
	for _, c := range cores {
		fmt.Fprintf(out, "  %-4s %-12s %s\n", c.name, c.mcpu, c.board)
	}
	missed, err := products(out, llvm, routines)
	if err != nil {
		return err
	}
	if err := elementwise(out, llvm, routines); err != nil {
		return err
	}
	if missed > 0 {
		return fmt.Errorf("%w: %d", errMissed, missed)
	}
	return nil
}

func runJobs(out io.Writer, llvm *llvm, dir, jobs string, top int) error {
	chosen, err := regexp.Compile(jobs)
	if err != nil {
		return err
	}
	e, err := newEstimator(out, llvm, dir, top)
	if errors.Is(err, emulator.ErrMissing) {
		return fmt.Errorf("%w: %s", err, emulator.Advice)
	}
	if err != nil {
		return err
	}
	return e.jobs(chosen)
}

// products prints multiply-adds a cycle of the product kernels, and returns how many bars are missed.
func products(out io.Writer, llvm *llvm, routines map[string][]line) (missed int, err error) {
	fmt.Fprintf(out, "\nPRODUCTS: multiply-adds a cycle, of the theoretical peak, and the bar\n\n%-22s %-21s %5s %6s", "kernel", "routine", "insns", "MACs")
	for _, c := range cores {
		fmt.Fprintf(out, " | %-22s", c.name)
	}
	fmt.Fprintln(out)
	for _, k := range kernels {
		body, ok := routines[k.symbol]
		if !ok {
			return 0, fmt.Errorf("the binary has no routine %s", k.symbol)
		}
		for i, l := range productLoops(body) {
			name := k.name
			if i > 0 {
				name = "  another loop"
			}
			fmt.Fprintf(out, "%-22s %-21s %5d %6d", name, k.symbol, len(l), macs(l))
			for _, c := range cores {
				peak := k.peak[c.name]
				if peak == 0 {
					fmt.Fprintf(out, " | %-22s", "")
					continue
				}
				cycles, err := llvm.cycles(l, c.mcpu)
				if err != nil {
					return 0, err
				}
				rate, verdict := float64(macs(l))/cycles, ""
				if bar := k.bar[c.name]; bar > 0 && i == 0 {
					verdict = fmt.Sprintf(">= %.1f", bar)
					if rate < bar {
						verdict = fmt.Sprintf("< %.1f MISSED", bar)
						missed++
					}
				}
				fmt.Fprintf(out, " | %5.2f/%-5.4g %-10s", rate, peak, verdict)
			}
			fmt.Fprintln(out)
		}
	}
	fmt.Fprintln(out, "\nThe A53's model knows none of that core's load rules: 128-bit loads, which stop it from issuing anything else, cost nothing")
	fmt.Fprintln(out, "extra, and an INS is charged six cycles. It cannot judge the in-order schedules, which avoid the one by the other.")
	return missed, nil
}

// elementsPerTurn of the loops of the element-wise routines: the lanes of a sum.
const elementsPerTurn = 16

// elementwise prints cycles for an element.
func elementwise(out io.Writer, llvm *llvm, routines map[string][]line) error {
	fmt.Fprintf(out, "\nELEMENT-WISE: cycles for an element, all data in the first-level cache\n\n%-32s %5s", "routine", "insns")
	for _, c := range cores[:3] {
		fmt.Fprintf(out, " | %5s", c.name)
	}
	fmt.Fprintln(out)
	for _, name := range sortedNames(routines) {
		if !strings.HasSuffix(name, "Blocks") && !strings.HasSuffix(name, "Block") {
			continue
		}
		loops := innerLoops(routines[name])
		if len(loops) == 0 {
			continue
		}
		l := longest(loops)
		fmt.Fprintf(out, "%-32s %5d", name, len(l))
		for _, c := range cores[:3] {
			cycles, err := llvm.cycles(l, c.mcpu)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, " | %5.2f", cycles/elementsPerTurn)
		}
		fmt.Fprintln(out)
	}
	return nil
}
