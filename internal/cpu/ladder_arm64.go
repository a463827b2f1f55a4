//go:build !purego

package cpu

import "golang.org/x/sys/cpu"

func ladder() []path {
	a := &cpu.ARM64
	return []path{
		{"neon", &HasNEON, a.HasASIMD},
		{"dotprod", &HasDotProd, a.HasASIMD && a.HasASIMDDP},
		{"i8mm", &HasI8MM, a.HasASIMD && a.HasASIMDDP && a.HasI8MM},
	}
}
