//go:build !purego

package peak

import "golang.org/x/sys/cpu"

//go:noescape
func loopFMLA(turns int)

//go:noescape
func loopSMULL(turns int)

//go:noescape
func loopSDOT(turns int)

//go:noescape
func loopSMMLA(turns int)

//go:noescape
func loopADD(turns int)

// clockChain is the additions of one turn of the clock loop, one after the other.
const (
	clockChain = 64
	floatChain = 0
)

var clockLoop = loopADD

func floatLoop() func(turns int) { return nil }

func loops() []Loop {
	a := &cpu.ARM64
	return []Loop{
		{"neon", "f32", "FMLA .4s", 16 * 4, a.HasASIMD, loopFMLA},
		{"neon", "int8", "SMULL+3 SMLAL+SADALP", 8 * 32, a.HasASIMD, loopSMULL},
		{"dotprod", "int8", "SDOT", 16 * 16, a.HasASIMDDP, loopSDOT},
		{"i8mm", "int8", "SMMLA", 16 * 32, a.HasI8MM, loopSMMLA},
	}
}
