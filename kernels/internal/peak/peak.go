// Package peak measures what this machine's arithmetic units can do at most, so that a benchmark can say how near a
// kernel comes to it in the same run. Only benchmarks import it.
package peak

import (
	"time"

	"edgejepa/internal/cpu"
)

// Loop is a loop of multiply-adds, or of another operation, that touches registers alone, in as many independent chains
// as latency times throughput asks for.
type Loop struct {
	Path string // the rung of the instruction ladder that has the instructions
	Type string // "f32", "int8"; "div" and "sqrt" of f32
	Name string // the instructions
	MACs int    // multiply-adds or other operations of one turn
	Have bool   // whether this machine can run it
	run  func(turns int)
}

// turns keep a call well below 100 us: assembly cannot be preempted.
const turns = 20_000

// longEnough for a hundred short runs, of which some are undisturbed.
const longEnough = 20 * time.Millisecond

// Time runs the loop once and returns the seconds that took and the multiply-adds done in them.
func (l *Loop) Time() (seconds, macs float64) {
	begin := time.Now()
	l.run(turns)
	return time.Since(begin).Seconds(), turns * float64(l.MACs)
}

// Best is the multiply-adds a second of one core, measured now as the best of many short runs.
func (l *Loop) Best() float64 {
	best := 0.0
	for begin := time.Now(); time.Since(begin) < longEnough; {
		s, macs := l.Time()
		best = max(best, macs/s)
	}
	return best
}

// Loops lists the loops of this architecture, whether or not this machine can run them.
func Loops() []Loop { return loops() }

// Of returns the loop that bounds the kernels of a type on a path of this machine, or nil. A path without a loop of its
// own has that of the rung below.
func Of(path, typ string) *Loop {
	paths := cpu.Paths()
	for i := len(paths) - 1; i > 0; i-- {
		if paths[i] == path {
			for ; i > 0; i-- {
				for _, l := range loops() {
					if l.Path == paths[i] && l.Type == typ && l.Have {
						return &l
					}
				}
			}
		}
	}
	return nil
}

// Clock is the core's frequency in Hz at this moment, from a chain of additions that take a cycle each; 0 where there is
// no such loop.
func Clock() float64 { return chained(clockLoop, clockChain) }

// AddLatency is the cycles that a float32 addition waits for the one before; 0 where it is not measured.
func AddLatency() float64 {
	adds := chained(floatLoop(), floatChain)
	if adds == 0 {
		return 0
	}
	return Clock() / adds
}

// chained is how many links of a chain run in a second.
func chained(loop func(turns int), links float64) float64 {
	if loop == nil {
		return 0
	}
	best := 0.0
	for first := time.Now(); time.Since(first) < longEnough; {
		begin := time.Now()
		loop(1000)
		best = max(best, 1000*links/time.Since(begin).Seconds())
	}
	return best
}
