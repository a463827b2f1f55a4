package fixed

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/kernels/kerneltest"
)

// FuzzShapes runs every integer kernel on shapes, strides, scales and values that nobody thought of: the fastest path
// must give the bits of the generic one and leave alone what lies between rows.
func FuzzShapes(f *testing.F) {
	f.Add(uint8(3), uint16(33), uint8(0), 0.02, 1e-4, uint64(1))
	f.Add(uint8(40), uint16(16), uint8(5), 0.5, 0.3, uint64(2))
	f.Add(uint8(1), uint16(1), uint8(15), 3.9, 2.7, uint64(3))
	f.Fuzz(func(t *testing.T, rows8 uint8, cols16 uint16, pad8 uint8, geluScale, softmaxScale float64, seed uint64) {
		rows, cols, pad := int(rows8)%70+1, int(cols16)%600+1, int(pad8)%19
		ld, ldx := cols+pad, cols+pad/2
		r := rand.New(rand.NewPCG(seed, 1))
		g, err := NewGELU(geluScale, -int(seed%129))
		if err != nil {
			t.Skip(err)
		}
		s, err := NewSoftmax(softmaxScale, seed%2 == 0)
		if err != nil {
			t.Skip(err)
		}
		ratio, bias := make([]float64, cols), make([]float64, cols)
		for j := range ratio {
			ratio[j] = math.Ldexp(r.Float64()*2-1, -r.IntN(40))
			bias[j] = r.NormFloat64() * 50
		}
		derived, err := NewRequant(ratio, bias, 1<<(1+r.IntN(26)))
		require.NoError(t, err)
		require.NoError(t, derived.Check(cols))
		x := fillI32(r, rows*ldx, 1+r.IntN(31), seed%3 == 0)
		sum, base, eps := fillI32(r, rows, 20, true), fillI32(r, cols, 24, true), r.Uint64()>>r.IntN(64)
		wild := anyRequant(t, r, cols)
		table := GELUTable(0.03, 0.02)

		type result struct {
			Bytes [][]int8
			Words [][]int32
			Sums  []int64
		}
		run := func() (o result) {
			bytes := func() []int8 {
				o.Bytes = append(o.Bytes, make([]int8, rows*ld))
				return o.Bytes[len(o.Bytes)-1]
			}
			words := func(n int) []int32 {
				o.Words = append(o.Words, make([]int32, n))
				return o.Words[len(o.Words)-1]
			}
			for _, q := range []*Requant{derived, wild} {
				RequantI8(bytes(), ld, x, ldx, rows, cols, q)
				RequantGELU(bytes(), ld, x, ldx, rows, cols, q, g)
				RequantMeans(bytes(), ld, x, ldx, rows, cols, sum, nil, q)
				RequantMeans(bytes(), ld, x, ldx, rows, cols, sum, base, q)
				LayerNorm(bytes(), ld, x, ldx, rows, cols, q, eps)
				AddRequant(words(rows*ld), ld, x, ldx, rows, cols, q)
			}
			o.Sums = make([]int64, cols)
			SumNorm(o.Sums, x, ldx, rows, cols, eps)
			p := bytes()
			SoftmaxI8(p, ld, words(rows), x, ldx, rows, cols, s)
			Lookup(bytes(), p, table)
			return o
		}
		fast := run()
		restore := kerneltest.Only(0)
		slow := run()
		restore()
		require.Equal(t, slow, fast, "%d rows of %d, %d apart", rows, cols, ld)
	})
}
