package main

// board is a computer of the jobs.
type board struct {
	name  string
	core  string // of cores
	ghz   float64
	gbps  float64 // bytes to and from memory, of all cores together
	goIPC float64 // instructions a cycle in what the Go compiler made: an assumption
	ideal bool    // tiles scheduled for an A53 take as long as it needs to issue them: llvm-mca's model cannot judge them
}

// boards with the makers' clocks. A copy reads and writes, so bandwidth is twice what memcpy moves in sbc-bench
// (github.com/ThomasKaiser/sbc-bench, Results.md: Pi Zero 2 at 1000 MHz 1300 MB/s, Pi 3 B+ 1050 to 1230, Pi 4 B with a
// 64-bit system at 1800 MHz 2240 to 2580, Pi 5 B 5270 to 6025), the lowest of each.
var boards = []board{
	{"Pi Zero 2 W", "A53", 1.0, 2.6, 0.6, false},
	{"  ideal tiles", "A53", 1.0, 2.6, 0.6, true},
	{"Pi 3 B+", "A53", 1.4, 2.1, 0.6, false},
	{"  ideal tiles", "A53", 1.4, 2.1, 0.6, true},
	{"Pi 4 B", "A72", 1.8, 4.5, 1.2, false},
	{"Pi 5 B", "A76", 2.4, 10.5, 2.0, false},
}

// emulated is what qemu runs to count for a core.
var emulated = map[string]string{"A53": "cortex-a53", "A72": "cortex-a72", "A76": "cortex-a76"}

// serial is the share of a job that one core does alone: an assumption. With it two cores are 1.9 times as fast as one;
// the training steps that README.md shows gain 1.6 to 2.0.
const serial = 0.05

// speedup is what four cores gain if the rest of a job falls into parts of which the largest has the given share.
func speedup(largest float64) float64 { return 1 / (serial + (1-serial)*largest) }
