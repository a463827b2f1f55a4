package fixed

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"edgejepa/kernels/kerneltest"
)

// fencedCopy is x at a fence.
func fencedCopy(t *testing.T, x []int32, atEnd bool) []int32 {
	y := kerneltest.FencedAs[int32](t, len(x), atEnd)
	copy(y, x)
	return y
}

// fencedRequant is a Requant at fences.
func fencedRequant(t *testing.T, r *rand.Rand, cols int, atEnd bool) *Requant {
	q := anyRequant(t, r, cols)
	q.Mult, q.Add, q.Shift = fencedCopy(t, q.Mult, atEnd), fencedCopy(t, q.Add, atEnd), fencedCopy(t, q.Shift, atEnd)
	return q
}

// No integer kernel reads or writes outside its operands.
func TestIntFenced(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 11))
		g, err := NewGELU(0.02, -128)
		require.NoError(t, err)
		table := GELUTable(0.03, 0.02)
		for n, cols := range append([]int{512, 700}, intCols...) {
			for _, atEnd := range []bool{true, false} {
				rows, ld, ldx := 1+n%4, cols+n%3, cols+n%2*5
				q := fencedRequant(t, r, cols, atEnd)
				dst := kerneltest.FencedAs[int8](t, (rows-1)*ld+cols, atEnd)
				res := fencedCopy(t, fillI32(r, (rows-1)*ld+cols, 20, false), atEnd)
				x := fencedCopy(t, fillI32(r, (rows-1)*ldx+cols, 20, true), atEnd)
				sum, base := fencedCopy(t, fillI32(r, rows, 20, true), atEnd), fencedCopy(t, fillI32(r, cols, 20, true), atEnd)
				words := kerneltest.FencedAs[int32](t, 2*cols, atEnd)
				sums := unsafe.Slice((*int64)(unsafe.Pointer(unsafe.SliceData(words))), cols)
				s := newSoftmax(t, 1e-4, n%2 == 0)

				RequantI8(dst, ld, x, ldx, rows, cols, q)
				AddRequant(res, ld, x, ldx, rows, cols, q)
				RequantGELU(dst, ld, x, ldx, rows, cols, q, g)
				RequantMeans(dst, ld, x, ldx, rows, cols, sum, base, q)
				LayerNorm(dst, ld, x, ldx, rows, cols, q, 1)
				SumNorm(sums, x, ldx, rows, cols, 1)
				SoftmaxI8(dst, ld, sum, x, ldx, rows, cols, s)
				Lookup(dst, dst, table)
			}
		}
	})
}

func TestIntPanics(t *testing.T) {
	q := anyRequant(t, rand.New(rand.NewPCG(1, 12)), 8)
	g, err := NewGELU(0.02, 0)
	require.NoError(t, err)
	s := newSoftmax(t, 1e-3, false)
	a, x := make([]int8, 16), make([]int32, 16)
	sum := make([]int64, 8)
	for name, f := range map[string]func(rows, cols, ld int){
		"RequantI8":    func(rows, cols, ld int) { RequantI8(a, ld, x, ld, rows, cols, q) },
		"AddRequant":   func(rows, cols, ld int) { AddRequant(make([]int32, 16), ld, x, ld, rows, cols, q) },
		"RequantGELU":  func(rows, cols, ld int) { RequantGELU(a, ld, x, ld, rows, cols, q, g) },
		"RequantMeans": func(rows, cols, ld int) { RequantMeans(a, ld, x, ld, rows, cols, x[:2], x[:8], q) },
		"LayerNorm":    func(rows, cols, ld int) { LayerNorm(a, ld, x, ld, rows, cols, q, 0) },
		"SumNorm":      func(rows, cols, ld int) { SumNorm(sum, x, ld, rows, cols, 0) },
		"SoftmaxI8":    func(rows, cols, ld int) { SoftmaxI8(a, ld, make([]int32, 2), x, ld, rows, cols, s) },
	} {
		require.NotPanics(t, func() { f(2, 8, 8); f(0, 8, 8); f(3, 0, 8) }, name)
		require.Panics(t, func() { f(3, 8, 8) }, "%s: too many rows", name)
		require.Panics(t, func() { f(2, 8, 7) }, "%s: overlapping rows", name)
		if name != "SoftmaxI8" {
			require.Panics(t, func() { f(1, 9, 9) }, "%s: more columns than channels", name)
		}
	}
	const short = "fixed: RequantI8: an operand is smaller than its shape"
	for _, bad := range []*Requant{
		{q.Lift, q.Mult[:7], q.Add, q.Shift}, {q.Lift, q.Mult, q.Add[:7], q.Shift}, {q.Lift, q.Mult, q.Add, q.Shift[:7]},
	} {
		require.PanicsWithValue(t, short, func() { RequantI8(a, 8, x, 8, 2, 8, bad) })
	}
	require.Panics(t, func() { Lookup(a, a[1:], GELUTable(1, 1)) })
	require.Panics(t, func() { SoftmaxI8(make([]int8, 5000), 5000, x, make([]int32, 5000), 5000, 1, 4097, s) })
	require.Panics(t, func() { _, _ = NewRequant(make([]float64, 2), make([]float64, 1), 1) })
	require.Panics(t, func() { _, _ = NewRequant(make([]float64, 1), make([]float64, 1), 0) })
}

// One hash of everything, from the derivation of the integers to the outputs: every machine, path and build has it.
func TestIntGolden(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) { require.Equal(t, "8cef3d77d8ae8f2c", intGolden(t)) })
}

func intGolden(t *testing.T) string {
	r := rand.New(rand.NewPCG(2, 11))
	h := sha256.New()
	put := func(x any) { require.NoError(t, binary.Write(h, binary.LittleEndian, x)) }
	const rows, cols = 37, 200
	for i := range 4 {
		ratio, bias := make([]float64, cols), make([]float64, cols)
		for j := range ratio {
			ratio[j], bias[j] = math.Ldexp(r.Float64()-0.5, -13-r.IntN(8)), 50*r.Float64()
		}
		q, err := NewRequant(ratio, bias, 1<<22)
		require.NoError(t, err)
		put(q.Mult)
		put(q.Add)
		put(q.Shift)
		x, dst, sum, sums := fillI32(r, rows*cols, 22, i%2 == 1), make([]int8, rows*cols), make([]int32, rows), make([]int64, cols)
		RequantI8(dst, cols, x, cols, rows, cols, q)
		put(dst)
		g, err := NewGELU(0.01*float64(1+i), -40*i)
		require.NoError(t, err)
		RequantGELU(dst, cols, x, cols, rows, cols, q, g)
		put(dst)
		Lookup(dst, dst, GELUTable(0.03*float64(1+i), 0.02))
		put(dst)
		LayerNorm(dst, cols, x, cols, rows, cols, q, NormEps(1e-6, 0x1p-14))
		put(dst)
		SumNorm(sums, x, cols, rows, cols, NormEps(1e-6, 0x1p-14))
		put(sums)
		s := newSoftmax(t, 3.7e-6*float64(1+i), i%2 == 0)
		SoftmaxI8(dst, cols, sum, x, cols, rows, cols, s)
		put(dst)
		put(sum)
		RequantMeans(dst, cols, x, cols, rows, cols, sum, x[:cols], q)
		put(dst)
		AddRequant(x, cols, x[cols:2*cols], cols, 1, cols, q)
		put(x[:cols])
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
