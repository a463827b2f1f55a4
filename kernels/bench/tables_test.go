package bench

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"edgejepa/internal/cpu"
	"edgejepa/kernels/internal/peak"
)

var (
	tables      = flag.Bool("tables", false, "TestTables: measure, and print the tables that PERFORMANCE.md explains")
	tablesLaps  = flag.Int("tables.laps", 5, "how often TestTables goes over all shapes")
	tablesOnly  = flag.String("tables.only", "", "the sections of TestTables, comma between: f32, int8, openblas, elementwise; all if empty")
	tablesWidth = flag.Int("tables.width", 0, "only products of layers of this width")
)

// TestTables prints how near the kernels come to what this machine can do, and to OpenBLAS: make bench.
//
// A rate is the best of many runs of about half a millisecond. Everything that a line compares, the peaks included,
// runs in turns within it, so that a busy machine slows all of it alike.
func TestTables(t *testing.T) {
	if !*tables {
		t.Skip("a measurement, not a test: make bench")
	}
	runtime.LockOSThread()
	defer usePath(benchPaths()[len(benchRungs)])
	begin := time.Now()
	want := func(section string) bool {
		return *tablesOnly == "" || slices.Contains(strings.Split(*tablesOnly, ","), section)
	}
	printMachine()
	var bars verdicts
	if want("f32") || want("int8") || want("openblas") {
		s := newProductTables(t, want)
		defer s.close()
		s.measure()
		s.print(&bars)
	}
	if want("elementwise") {
		printElementwise(&bars)
	}
	bars.print()
	fmt.Printf("\nmeasured in %.0f s\n", time.Since(begin).Seconds())
}

func printMachine() {
	fmt.Printf("%s, %s/%s, paths %s\n", processor(), runtime.GOOS, runtime.GOARCH, strings.Join(benchPaths(), " "))
	if hz := peak.Clock(); hz > 0 {
		fmt.Printf("clock %.2f GHz. What registers alone can do:\n", hz/1e9)
		for _, l := range peak.Loops() {
			if l.Have {
				rate := l.Best()
				fmt.Printf("  %-11s %-5s %-50s %6.1f G/s %6.1f a cycle\n", l.Path, l.Type, l.Name, rate/1e9, rate/hz)
			}
		}
	}
}

// processor is the processor's name, if the system tells.
func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.Trim(name, "\t :\n")
		}
	}
	return "a processor without a name"
}

// benchRungs are the paths above generic that the run has switched on, the lowest first.
var benchRungs = slices.DeleteFunc(cpu.Rungs(), func(r cpu.Rung) bool { return !*r.On })

// benchPaths names them, generic first.
func benchPaths() []string {
	names := []string{"generic"}
	for _, r := range benchRungs {
		names = append(names, r.Name)
	}
	return names
}

// usePath switches on the rungs up to one.
func usePath(name string) {
	last := slices.IndexFunc(benchRungs, func(r cpu.Rung) bool { return r.Name == name })
	for i, r := range benchRungs {
		*r.On = i <= last
	}
}

// share is a rate as a part of another one's, or 0.
func share(of, all *racer) float64 {
	if all == nil {
		return 0
	}
	return of.best / all.best
}

// racer is one of the things that are measured in turns.
type racer struct {
	work float64                   // of one run: multiply-adds, bytes
	run  func(n int) time.Duration // runs n times
	n    int
	best float64 // work a second
}

// turn is about how long a racer is let run.
const turn = 500 * time.Microsecond

// race lets each racer run once more for a turn; nil is none.
func race(laps int, racers ...*racer) {
	for range laps {
		for _, r := range racers {
			if r == nil {
				continue
			}
			if r.n == 0 {
				r.run(1)
				r.n = max(1, int(turn/max(r.run(1), 1)))
			}
			r.run(1) // caches, after the others
			r.best = max(r.best, r.work*float64(r.n)/r.run(r.n).Seconds())
		}
	}
}

// local is a racer in this process, on a path. prepare is not timed; it returns what is.
func local(path string, work float64, prepare func() (f func())) *racer {
	return &racer{work: work, run: func(n int) time.Duration {
		usePath(path)
		f := prepare()
		begin := time.Now()
		for range n {
			f()
		}
		return time.Since(begin)
	}}
}

// always is a prepare with nothing to do.
func always(f func()) func() func() { return func() func() { return f } }

// top is the racer of a register-only loop, or nil.
func top(l *peak.Loop) *racer {
	if l == nil {
		return nil
	}
	var done float64
	r := &racer{n: 1}
	r.run = func(int) time.Duration {
		seconds, macs := l.Time()
		done = macs
		return time.Duration(seconds * 1e9)
	}
	r.run(1)
	r.work = done
	return r
}

// verdicts collects what was held against a bar.
type verdicts struct{ lines []string }

// bar is a requirement on many figures: value >= limit.
type bar struct {
	name      string
	limit     float64
	held, all int
	worst     float64
	where     string
	below     []string
}

// check counts a figure and marks it if it is below.
func (b *bar) check(value float64, where string) string {
	b.all++
	if b.all == 1 || value < b.worst {
		b.worst, b.where = value, where
	}
	if value >= b.limit {
		b.held++
		return " "
	}
	b.below = append(b.below, fmt.Sprintf("%s %.2f", where, value))
	return "<"
}

func (v *verdicts) add(b *bar) {
	if b.all == 0 {
		return
	}
	verdict := "holds"
	if b.held < b.all {
		verdict = "MISSED"
	}
	v.lines = append(v.lines, fmt.Sprintf("%-6s  %-66s %3d of %3d, least %.2f at %s", verdict, b.name, b.held, b.all, b.worst, b.where))
	for i, where := range b.below {
		if i == 8 && len(b.below) > 9 {
			v.lines = append(v.lines, fmt.Sprintf("          and %d more", len(b.below)-i))
			break
		}
		v.lines = append(v.lines, "          "+where)
	}
}

func (v *verdicts) print() {
	fmt.Println("\nBARS (a figure below its bar has < behind it in the tables)")
	for _, line := range v.lines {
		fmt.Println(line)
	}
}
