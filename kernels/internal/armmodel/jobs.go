package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"edgejepa/jepa"
	"edgejepa/kernels/internal/armcount/emulator"
	"edgejepa/vit"
)

// job is a whole training step or embedding, and the small works that it is extrapolated from.
type job struct {
	name    string
	work    work
	batches [2]int
	depths  [2]int // of the encoder; the predictor's are in proportion
}

var embeddings = []job{
	{"tiny 224/16", work{Preset: "tiny", Size: 224, Patch: 16}, [2]int{}, [2]int{1, 3}},
	{"tiny 96/8", work{Preset: "tiny", Size: 96, Patch: 8}, [2]int{}, [2]int{1, 3}},
	{"nano 32/4", work{Preset: "nano", Size: 32, Patch: 4}, [2]int{}, [2]int{1, 3}},
}

var trainings = []job{
	{"nano 32/4, batch 64", work{Train: true, Preset: "nano", Size: 32, Patch: 4, Batch: 64}, [2]int{4, 8}, [2]int{2, 4}},
	{"tiny 96/8, batch 16", work{Train: true, Preset: "tiny", Size: 96, Patch: 8, Batch: 16}, [2]int{2, 4}, [2]int{3, 6}},
	{"small 224/16, batch 8", work{Train: true, Preset: "small", Size: 224, Patch: 16, Batch: 8}, [2]int{2, 4}, [2]int{2, 4}},
}

// check is a job small enough to be counted whole as well.
var check = job{"nano 32/4, batch 12", work{Train: true, Preset: "nano", Size: 32, Patch: 4, Batch: 12}, [2]int{4, 8}, [2]int{2, 4}}

// estimator turns counts into time.
type estimator struct {
	counter
	scheduler
	routines map[string][]line
	dir      string
	top      int // functions to list
	out      io.Writer
}

func newEstimator(out io.Writer, llvm *llvm, dir string, top int) (*estimator, error) {
	m, err := emulator.New(dir, "edgejepa/kernels/internal/armmodel")
	if err != nil {
		return nil, err
	}
	e := &estimator{
		counter: counter{m, map[string][]emulator.Block{}}, scheduler: scheduler{llvm, map[string]float64{}}, dir: dir, top: top, out: out,
	}
	if e.routines, err = llvm.disassemble(m.Program, fullName); err != nil {
		return nil, err
	}
	return e, m.SkipProducts()
}

// jobs prints what the boards would do.
func (e *estimator) jobs(chosen *regexp.Regexp) error {
	fmt.Fprintf(e.out, "\nJOBS: A MODEL, NOT A MEASUREMENT. Counts by %s, cycles by %s\n", e.machine.Version, e.llvm.version)
	for _, b := range boards {
		fmt.Fprintf(e.out, "  %-14s %s at %.1f GHz, %.1f GB/s, Go code at %.1f instructions a cycle\n", b.name, b.core, b.ghz, b.gbps, b.goIPC)
	}
	fmt.Fprintf(e.out, "\nEMBEDDING, int8: milliseconds a picture\n\n%-14s %-14s %8s %8s | %8s %8s | %s\n", "job", "board", "Minsns", "Mcycles", "1 core", "4 cores", "pictures/s, a picture a core")
	for _, j := range embeddings {
		if !chosen.MatchString("embed " + j.name) {
			continue
		}
		if err := e.embedding(j); err != nil {
			return err
		}
	}
	fmt.Fprintf(e.out, "\nTRAINING: images a second\n\n%-22s %-5s %-14s %9s %9s | %8s %8s\n", "job", "", "board", "Minsns", "Mcycles", "1 core", "4 cores")
	for _, j := range trainings {
		for _, int8 := range []bool{false, true} {
			j.work.Int8 = int8
			if !chosen.MatchString("train " + j.name + " " + j.precision()) {
				continue
			}
			if err := e.training(j); err != nil {
				return err
			}
		}
	}
	if !chosen.MatchString("check") {
		return nil
	}
	return e.checked()
}

func (j job) precision() string {
	if j.work.Int8 {
		return "int8"
	}
	return "f32"
}

// terms are a job's small works; their model files are made.
func (e *estimator) terms(j job) ([]term, error) {
	terms := extrapolate(j.work.whole(), j.batches, j.depths)
	for i := range terms {
		w := &terms[i].work
		if w.Train {
			continue
		}
		w.File = filepath.Join(e.dir, fmt.Sprintf("%s-%d-%d.safetensors", w.Preset, w.Size, w.Depth))
		if _, err := os.Stat(w.File); errors.Is(err, os.ErrNotExist) {
			if err := w.write(); err != nil {
				return nil, err
			}
		}
	}
	return terms, nil
}

// countedAs is the core whose counts hold for a job: without int8 an A76 runs the code of an A72.
func countedAs(j job, core string) string {
	if core == "A76" && j.work.Train && !j.work.Int8 {
		core = "A72"
	}
	return emulated[core]
}

// costs of a job on a core, and their sums.
func (e *estimator) costs(j job, b board) (costs []cost, instructions, cycles float64, err error) {
	terms, err := e.terms(j)
	if err != nil {
		return nil, 0, 0, err
	}
	n, err := e.sum(countedAs(j, b.core), terms)
	if err != nil {
		return nil, 0, 0, err
	}
	if costs, err = e.price(mcpu(b.core), b.goIPC, b.ideal, e.machine.Symbols, e.routines, n); err != nil {
		return nil, 0, 0, err
	}
	for _, c := range costs {
		instructions += c.instructions
		cycles += c.cycles
	}
	return costs, instructions, cycles, nil
}

func mcpu(name string) string {
	for _, c := range cores {
		if c.name == name {
			return c.mcpu
		}
	}
	panic("armmodel: a board has an unknown core")
}

func (e *estimator) embedding(j job) error {
	w := j.work.whole()
	p, _ := vit.PresetNamed(w.Preset)
	c := p.Config(w.Size, w.Patch)
	bytes := float64(vit.CountParams(c)) + float64(c.PixelLen()) // each once
	for _, b := range boards {
		costs, instructions, cycles, err := e.costs(j, b)
		if err != nil {
			return err
		}
		compute, memory := cycles/b.ghz/1e6, bytes/b.gbps/1e6
		again := compute * packing(costs) / cycles
		fmt.Fprintf(e.out, "%-14s %-14s %8.1f %8.1f | %8.2f %8.2f | %8.1f\n", j.name, b.name, instructions/1e6, cycles/1e6,
			compute+memory, again+(compute-again)/speedup(largestShare(c.Tokens()))+memory, 1e3/(compute/4+memory))
		e.list(costs, cycles)
	}
	return nil
}

// largestShare is that of four workers on one picture: its rows are dealt out in groups of four.
func largestShare(tokens int) float64 {
	groups := (tokens + 15) / 16
	return float64(min(4*groups, tokens)) / float64(tokens)
}

// packing is the cycles for packing keys and values, which each worker on a picture does for itself.
func packing(costs []cost) (cycles float64) {
	for _, c := range costs {
		switch name := c.function[strings.LastIndexByte(c.function, '/')+1:]; name {
		case "i8.packChannel", "i8.chainsFit", "i8.brokenChain", "i8.hasMinInt8Generic", "i8.packPanel", "i8.packChannelRuns", "i8.(*Panels).pack":
			cycles += c.cycles
		}
	}
	return cycles
}

func (e *estimator) training(j job) error {
	c, err := j.work.whole().config()
	if err != nil {
		return err
	}
	_, footprint, _ := jepa.Fit(c, 4, 0)
	bytes := 3 * float64(footprint) // written once, read twice
	for _, b := range boards {
		costs, instructions, cycles, err := e.costs(j, b)
		if err != nil {
			return err
		}
		compute, memory := cycles/b.ghz/1e9, bytes/b.gbps/1e9
		images := float64(j.work.Batch)
		fmt.Fprintf(e.out, "%-22s %-5s %-14s %9.0f %9.0f | %8.3g %8.3g\n", j.name, j.precision(), b.name, instructions/1e6, cycles/1e6,
			images/(compute+memory), images/(compute/speedup(0.25)+memory))
		e.list(costs, cycles)
	}
	return nil
}

// list prints the dearest functions.
func (e *estimator) list(costs []cost, cycles float64) {
	for _, c := range costs[:min(e.top, len(costs))] {
		fmt.Fprintf(e.out, "      %5.1f %%  %6.2f insns/cycle  %s\n", 100*c.cycles/cycles, c.instructions/c.cycles, c.function)
	}
}

// checked compares a job that was counted whole with its extrapolation.
func (e *estimator) checked() error {
	for _, int8 := range []bool{false, true} {
		j := check
		j.work.Int8 = int8
		core := countedAs(j, "A76")
		terms, err := e.terms(j)
		if err != nil {
			return err
		}
		predicted, err := e.sum(core, terms)
		if err != nil {
			return err
		}
		whole := j.work.whole()
		whole.Times, whole.Seed = 1, whole.typicalSeed(whole.Batch)
		start := whole
		start.Times = 0
		counted, err := e.sum(core, []term{{whole, 1}, {start, -1}})
		if err != nil {
			return err
		}
		fmt.Fprintf(e.out, "\nCHECK: %s, int8 %v, extrapolated %.1f, counted whole %.1f million instructions: %+.2f %%\n", j.name, int8,
			predicted.total()/1e6, counted.total()/1e6, 100*(predicted.total()/counted.total()-1))
	}
	return nil
}
