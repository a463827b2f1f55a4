// Package cpu says which instruction sets the kernels may use.
//
// The bools are what the machine has, cut down to the path that the environment variable EDGEJEPA_ISA names, so that a
// kernel dispatches on a plain if and a test forces a path without touching code. They are set while the package is
// initialised; nothing but tests changes them afterwards. The build tag purego leaves only generic.
package cpu

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// EnvISA names the environment variable that forces a path: one of the names that Paths returns.
const EnvISA = "EDGEJEPA_ISA"

// What the kernels may use.
var (
	HasAVX2FMA    bool // amd64: AVX2, FMA and F16C
	HasAVXVNNI    bool // amd64: AVX2FMA and VPDPBUSD on 256 bits, VEX-encoded
	HasAVX512     bool // amd64: AVX2FMA and AVX-512 F, BW, DQ, VL
	HasAVX512VNNI bool // amd64: AVX512 and VPDPBUSD on 512 bits
	HasNEON       bool // arm64: Advanced SIMD
	HasDotProd    bool // arm64: SDOT and UDOT
	HasI8MM       bool // arm64: SMMLA and UMMLA
)

// InOrder says that this core issues instructions in the order of the program, so that a kernel had better load what it
// needs well ahead. It chooses a schedule, never a result; on a machine with cores of both kinds it describes the core
// that the program started on. Only Linux on arm64 says which core that is.
var InOrder bool

// path is one rung of an architecture's ladder. Choosing a rung switches on those below it that the machine has.
type path struct {
	name string
	on   *bool // nil for generic
	have bool
}

var (
	forced    string
	forcedErr error
	isa       = "generic"
)

func init() {
	forced = os.Getenv(EnvISA)
	isa, forcedErr = choose(ladder(), forced)
}

// choose switches on every rung that the machine has, up to the rung that force names, and returns the highest.
// When force cannot be had the result is generic and an error.
func choose(rungs []path, force string) (string, error) {
	best := "generic"
	if force == best {
		return best, nil
	}
	last := len(rungs) - 1
	if force != "" {
		last = slices.IndexFunc(rungs, func(p path) bool { return p.name == force })
		if last < 0 || !rungs[last].have {
			return best, fmt.Errorf("%s=%s: this machine or build offers only %s", EnvISA, force,
				strings.Join(names(rungs), ", "))
		}
	}
	for _, p := range rungs[:last+1] {
		if p.have {
			*p.on, best = true, p.name
		}
	}
	return best, nil
}

func names(rungs []path) []string {
	out := []string{"generic"}
	for _, p := range rungs {
		if p.have {
			out = append(out, p.name)
		}
	}
	return out
}

// ISA is the highest path that the kernels may use: generic, avx2, avxvnni, avx512, avx512vnni, neon, dotprod or i8mm.
func ISA() string { return isa }

// Forced returns the path asked for through EDGEJEPA_ISA, "" if none, and an error when this machine or this build
// lacks it. The kernels then run on generic; a program should report the error and stop.
func Forced() (isa string, err error) { return forced, forcedErr }

// Rung is a path that this machine and this build offer, with its switch.
type Rung struct {
	Name string
	On   *bool
}

// Rungs lists the paths above generic, the lowest first, for tests that switch them.
func Rungs() (r []Rung) {
	for _, p := range ladder() {
		if p.have {
			r = append(r, Rung{p.name, p.on})
		}
	}
	return r
}

// Paths lists the paths that this machine and this build offer, generic first, whatever is forced.
func Paths() []string { return names(ladder()) }
