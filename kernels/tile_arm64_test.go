//go:build !purego

package kernels

import (
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cpu"
	"edgejepa/kernels/kerneltest"
)

// tileOrders are the ways that a tile's A lies in memory: strides for a number of rows and of k.
var tileOrders = []struct {
	name    string
	strides func(rows, k int) (rsA, csA int)
}{
	{"rows", func(_, k int) (int, int) { return k + 3, 1 }},
	{"rows without a gap", func(_, k int) (int, int) { return k, 1 }},
	{"columns", func(rows, _ int) (int, int) { return 1, rows + 3 }},
	{"columns without a gap", func(rows, _ int) (int, int) { return 1, rows }},
	{"every other value of rows", func(_, k int) (int, int) { return 2*k + 1, 2 }},
	{"every other value of columns", func(rows, _ int) (int, int) { return 2, 2*rows + 1 }},
	{"one value", func(_, _ int) (int, int) { return 0, 0 }},
}

// The tile kernels equal tileF32Generic for every order of A, remainder of rows and of k, panel stride and start, and
// touch nothing outside their operands, both on any core.
func TestTileNEON(t *testing.T) {
	if !cpu.HasNEON {
		t.Skip("needs NEON; TestRequiredISA says whether it may be missing")
	}
	const mostRows, mostK, ldc, wide = 13, 19, NR + 1, NR + 4
	for _, atEnd := range []bool{true, false} {
		a := kerneltest.FencedAs[float32](t, mostRows*(2*mostK+1)*2, atEnd)
		b := kerneltest.FencedAs[float32](t, (mostK-1)*wide+NR, atEnd)
		c := kerneltest.FencedAs[float32](t, (mostRows-1)*ldc+NR, atEnd)
		mixed(a, 1)
		mixed(b, 2)
		first := func(x []float32, n int) *float32 { // of the n values that lie at the fence
			if atEnd {
				return &x[len(x)-n]
			}
			return &x[0]
		}
		start := make([]float32, len(c))
		mixed(start, 3)
		for _, order := range tileOrders {
			for rows := 1; rows <= mostRows; rows++ {
				for k := 1; k <= mostK; k++ {
					rsA, csA := order.strides(rows, k)
					tl := tile{rsA: rsA, csA: csA, bsA: MR * rsA, ldc: ldc, k: k, rows: rows, csB: packedRow}
					if k%3 == 0 {
						tl.csB = wide * 4
					}
					tl.a = first(a, (rows-1)*rsA+(k-1)*csA+1)
					tl.b = first(b, (k-1)*tl.csB/4+NR)
					tl.c = first(c, (rows-1)*ldc+NR)
					tl.init, tl.ldInit = tl.c, tl.ldc
					if rows%4 == 0 {
						tl.init, tl.ldInit = &start[0], 0
					}
					name := fmt.Sprintf("%s, %d rows, k %d", order.name, rows, k)
					copy(c, start)
					tileF32Generic(&tl)
					want := slices.Clone(c)
					for _, kernel := range []func(*tile){tileF32NEON, tileF32A53} {
						copy(c, start)
						kernel(&tl)
						require.Equal(t, bitsOf(want), bitsOf(c), name)
					}
					if rows > MR {
						continue
					}
					tl.c, tl.init, tl.ldc, tl.ldInit = nil, nil, NR, NR // through the edge
					copy(tl.edge[:], start)
					tileF32Generic(&tl)
					edge := tl.edge
					for _, kernel := range []func(*tile){tileF32NEON, tileF32A53} {
						copy(tl.edge[:], start)
						kernel(&tl)
						require.Equal(t, bitsOf(edge[:]), bitsOf(tl.edge[:]), name)
					}
				}
			}
		}
	}
}

// Products on the schedule that this core does not take by itself. It is no rung of the paths: the one for in-order cores
// would be what a benchmark on another core measures.
func TestGemmOtherSchedule(t *testing.T) {
	defer func(was bool) { cpu.InOrder = was }(cpu.InOrder)
	cpu.InOrder = !cpu.InOrder
	t.Run("Gemm", TestGemm)
	t.Run("AddGemmTN", TestAddGemmTN)
}

func bitsOf(x []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}
