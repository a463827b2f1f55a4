//go:build !purego

package kernels

import (
	"math"

	"edgejepa/internal/cpu"
	"edgejepa/kernels/internal/coef"
)

// gelu is GELU of a strip that a product has just left in the cache.
func gelu(dst, x []float32) {
	if !cpu.HasAVX512 {
		GELU(dst, x)
		return
	}
	_ = dst[len(x)-1]
	for i := 0; i < len(x); i += rowsChunk {
		geluAVX512(&dst[i], &x[i], min(rowsChunk, len(x)-i))
	}
}

// geluConst is what geluAVX512 keeps in registers: constants of expNeg, of normalTail, and the mask of |x|.
var geluConst = [22]float32{
	coef.Log2E, coef.Magic, coef.Ln2Hi, coef.Ln2Lo, coef.ExpC6, coef.ExpC5, coef.ExpC4, coef.ExpC3, coef.ExpC2, 1, coef.ExpMin,
	coef.TailP, coef.TailQ7, coef.TailQ6, coef.TailQ5, coef.TailQ4, coef.TailQ3, coef.TailQ2, coef.TailQ1, coef.TailQ0,
	-0.5, math.Float32frombits(1<<31 - 1),
}

// geluAVX512 is geluGeneric of n values, n positive.
//
//go:noescape
func geluAVX512(dst, x *float32, n int)
