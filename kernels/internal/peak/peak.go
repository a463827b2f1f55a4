// Package peak measures what this machine's arithmetic units can do at most, so that a benchmark can say how near a
// kernel comes to it in the same run. Only benchmarks import it.
package peak

import "time"

// F32 returns the most float32 multiply-adds a second of one core on a path ("avx2", "avx512", "neon"), measured now by a
// loop that touches no memory; 0 for a path that has no such loop here.
func F32(isa string) float64 {
	loop, macs := loopOf(isa)
	if loop == nil {
		return 0
	}
	const n = 50_000 // well under 100 us a call: assembly cannot be preempted
	best := 0.0
	for range 200 {
		begin := time.Now()
		loop(n)
		best = max(best, n*float64(macs)/time.Since(begin).Seconds())
	}
	return best
}
