// Armcount counts the instructions that embedding a picture takes on emulated ARM cores, and fails when they have grown: a
// guard against slow changes where no board is at hand. Unlike time on a shared machine, the count is the same on every
// run. It is a count, not a speed: kernels/internal/armmodel says how fast the cores go through the inner loops.
//
//	go run ./kernels/internal/armcount             compare with .ci/arm-counts    (make count-arm)
//	go run ./kernels/internal/armcount -update     renew it
//
// qemu's plugin interface counts each block of code. The difference between 2 and 6 embeddings in one process leaves out
// start, packing and quantising; only functions of this module count, and the copying and clearing that they ask for.
// Where gcc or qemu-user with plugins is missing it says so loudly, and fails only if CI=true.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"edgejepa/kernels/internal/armcount/emulator"
)

// model is the preset that embeds.
const model = "nano"

// tolerance is how much the count may grow.
const tolerance = 0.02

// countFile holds a line for each core: its name and the instructions of an embedding.
const countFile = ".ci/arm-counts"

func main() {
	update := flag.Bool("update", false, "write the counts instead of comparing")
	verbose := flag.Bool("v", false, "also list the functions")
	times := flag.Int("embed", 0, "embed that many times and exit; what the emulated process does")
	flag.Parse()
	if *times > 0 {
		if err := embedTimes(*times); err != nil {
			fmt.Fprintln(os.Stderr, "armcount:", err)
			os.Exit(1)
		}
		return
	}
	err := run(*update, *verbose)
	if err == nil {
		return
	}
	if errors.Is(err, emulator.ErrMissing) {
		const stars = "****************************************************************"
		fmt.Fprintf(os.Stderr, "%s\nNOT RUN: the count of instructions on arm64.\n%v\n    %s\n%s\n", stars, err, emulator.Advice, stars)
		if os.Getenv("CI") != "true" {
			return
		}
	}
	fmt.Fprintln(os.Stderr, "armcount:", err)
	os.Exit(1)
}

func run(update, verbose bool) error {
	dir, err := os.MkdirTemp("", "armcount")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	m, err := emulator.New(dir, "edgejepa/kernels/internal/armcount")
	if err != nil {
		return err
	}
	want := map[string]int64{}
	if !update {
		if want, err = readCounts(countFile); err != nil {
			return err
		}
	}
	fmt.Printf("instructions of one embedding, %s int8, one thread, by %s:\n", model, m.Version)
	got := map[string]int64{}
	grown := false
	for _, core := range emulator.Cores {
		c, err := difference(m, core)
		if err != nil {
			return fmt.Errorf("%s: %w", core, err)
		}
		got[core] = c.total
		verdict, bad := judge(c.total, want[core])
		grown = grown || bad
		fmt.Printf("  %-11s %12d   %s\n", core, c.total, verdict)
		if verbose {
			c.print(os.Stdout)
		}
	}
	if update {
		return writeCounts(countFile, got)
	}
	if grown {
		return fmt.Errorf("more than %.0f %% above %s. If that is the price of something worth it: make count-arm UPDATE=1", 100*tolerance, countFile)
	}
	return nil
}

// judge compares a count with the one on file, 0 if there is none.
func judge(now, before int64) (verdict string, grown bool) {
	if before == 0 {
		return "", false
	}
	change := float64(now)/float64(before) - 1
	verdict = fmt.Sprintf("%+.2f %% of %d", 100*change, before)
	switch {
	case change > tolerance:
		return verdict + "   TOO MANY", true
	case change < -tolerance:
		return verdict + "   fewer: make count-arm UPDATE=1 keeps them so", false
	}
	return verdict, false
}

func readCounts(name string) (map[string]int64, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("%w; make count-arm UPDATE=1 writes it, in the root of the repository", err)
	}
	counts := map[string]int64{}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] != "#" {
			if counts[f[0]], err = strconv.ParseInt(f[1], 10, 64); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	for _, core := range emulator.Cores {
		if counts[core] <= 0 {
			return nil, fmt.Errorf("%s has no count for %s; make count-arm UPDATE=1 renews it", name, core)
		}
	}
	return counts, nil
}

func writeCounts(name string, counts map[string]int64) error {
	text := fmt.Sprintf("# Instructions of one embedding, %s int8, one thread, under qemu-user.\n# Written by: make count-arm UPDATE=1\n", model)
	for _, core := range emulator.Cores {
		text += fmt.Sprintf("%s %d\n", core, counts[core])
	}
	return os.WriteFile(name, []byte(text), 0o644)
}

// difference is what one embedding runs.
func difference(m *emulator.Machine, core string) (*count, error) {
	const few, many = 2, 6
	a, err := m.Run(core, "-embed", strconv.Itoa(few))
	if err != nil {
		return nil, err
	}
	b, err := m.Run(core, "-embed", strconv.Itoa(many))
	if err != nil {
		return nil, err
	}
	c := &count{functions: map[string]int64{}}
	before := m.Symbols.Sum(a)
	for name, n := range m.Symbols.Sum(b) {
		if n = (n - before[name]) / (many - few); emulator.Counted(name) && n != 0 {
			c.functions[name] = n
			c.total += n
		}
	}
	if c.total <= 0 {
		return nil, errors.New("nothing was counted")
	}
	return c, nil
}
