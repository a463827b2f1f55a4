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
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// model is the preset that embeds.
const model = "nano"

// tolerance is how much the count may grow.
const tolerance = 0.02

// countFile holds a line for each core: its name and the instructions of an embedding.
const countFile = ".ci/arm-counts"

// cores of the boards, as qemu names them.
var cores = []string{"cortex-a53", "cortex-a72", "cortex-a76"}

//go:embed plugin/count.c
var plugin []byte

var errNotRun = errors.New("not run")

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
	if errors.Is(err, errNotRun) {
		const stars = "****************************************************************"
		fmt.Fprintf(os.Stderr, "%s\nNOT RUN: the count of instructions on arm64.\n%v\n    apt-get install gcc libc6-dev qemu-user\n%s\n", stars, err, stars)
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
	m, err := newMachine(dir)
	if err != nil {
		return err
	}
	want := map[string]int64{}
	if !update {
		if want, err = readCounts(countFile); err != nil {
			return err
		}
	}
	fmt.Printf("instructions of one embedding, %s int8, one thread, by %s:\n", model, m.version)
	got := map[string]int64{}
	grown := false
	for _, core := range cores {
		c, err := m.difference(core)
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
	for _, core := range cores {
		if counts[core] <= 0 {
			return nil, fmt.Errorf("%s has no count for %s; make count-arm UPDATE=1 renews it", name, core)
		}
	}
	return counts, nil
}

func writeCounts(name string, counts map[string]int64) error {
	text := fmt.Sprintf("# Instructions of one embedding, %s int8, one thread, under qemu-user.\n# Written by: make count-arm UPDATE=1\n", model)
	for _, core := range cores {
		text += fmt.Sprintf("%s %d\n", core, counts[core])
	}
	return os.WriteFile(name, []byte(text), 0o644)
}

// machine is an emulator with the plugin, and the program for it.
type machine struct {
	qemu, plugin, program, version string
	dir                            string
	symbols                        symbols
}

// newMachine builds all parts in dir. The version of the plugin interface is found by trying.
func newMachine(dir string) (*machine, error) {
	m := &machine{dir: dir, plugin: filepath.Join(dir, "count.so"), program: filepath.Join(dir, "armcount")}
	for _, name := range []string{"qemu-aarch64", "qemu-aarch64-static"} {
		if path, err := exec.LookPath(name); err == nil && m.qemu == "" {
			m.qemu = path
		}
	}
	if m.qemu == "" {
		return nil, fmt.Errorf("%w: qemu-aarch64 is missing", errNotRun)
	}
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return nil, fmt.Errorf("%w: gcc is missing", errNotRun)
	}
	version, err := exec.Command(m.qemu, "--version").Output()
	if err != nil {
		return nil, err
	}
	m.version, _, _ = strings.Cut(string(version), "\n")
	build := exec.Command("go", "build", "-o", m.program, "edgejepa/kernels/internal/armcount")
	build.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building for arm64: %w\n%s", err, text)
	}
	if m.symbols, err = readSymbols(m.program); err != nil {
		return nil, err
	}
	source := filepath.Join(dir, "count.c")
	if err := os.WriteFile(source, plugin, 0o644); err != nil {
		return nil, err
	}
	var problem error
	for api := 1; api <= 8; api++ {
		cc := exec.Command(gcc, "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-DAPI="+strconv.Itoa(api), "-o", m.plugin, source)
		if text, err := cc.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%w: building the plugin: %v\n%s", errNotRun, err, text)
		}
		if _, problem = m.run(cores[0], "-h"); problem == nil {
			return m, nil
		}
	}
	return nil, fmt.Errorf("%w: %s takes no plugin: %v", errNotRun, m.version, problem)
}

// run returns the instructions that each function has run.
func (m *machine) run(core string, args ...string) (map[string]int64, error) {
	out := filepath.Join(m.dir, "blocks")
	os.Remove(out)
	cmd := exec.Command(m.qemu, slices.Concat([]string{"-cpu", core, "-plugin", m.plugin + ",out=" + out, m.program}, args)...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "EDGEJEPA_ISA=")
	text, err := cmd.CombinedOutput()
	blocks, missing := os.ReadFile(out)
	if missing != nil {
		return nil, fmt.Errorf("%v: %s", err, text)
	}
	if args[0] != "-h" && err != nil {
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	return m.symbols.sum(string(blocks))
}

// difference is what one embedding runs.
func (m *machine) difference(core string) (*count, error) {
	const few, many = 2, 6
	a, err := m.run(core, "-embed", strconv.Itoa(few))
	if err != nil {
		return nil, err
	}
	b, err := m.run(core, "-embed", strconv.Itoa(many))
	if err != nil {
		return nil, err
	}
	c := &count{functions: map[string]int64{}}
	for name, n := range b {
		if n = (n - a[name]) / (many - few); counted(name) && n != 0 {
			c.functions[name] = n
			c.total += n
		}
	}
	if c.total <= 0 {
		return nil, errors.New("nothing was counted")
	}
	return c, nil
}
