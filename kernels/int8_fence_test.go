package kernels

import (
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"edgejepa/kernels/kerneltest"
)

// fenced is a slice of n values that ends or begins at a page which must not be touched.
func fenced[T int8 | int32 | float32](t *testing.T, n int, atEnd bool) []T {
	size := int(unsafe.Sizeof(*new(T)))
	x := kerneltest.Fenced(t, (n*size+3)/4, atEnd)
	y := unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(x))), len(x)*4/size)
	if atEnd {
		return y[len(y)-n:]
	}
	return y[:n:n]
}

// No kernel reads or writes outside its operands, the packed one included.
func TestGemmI8Fenced(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 7))
		for _, s := range [][3]int{
			{1, 1, 1}, {1, 3, 5}, {2, 4, 16}, {3, 5, 31}, {4, 16, 32}, {5, 17, 33}, {6, 15, 63}, {7, 33, 100}, {13, 48, 40},
			{6, 16, 1040},
		} {
			m, n, k := s[0], s[1], s[2]
			for _, atEnd := range []bool{true, false} {
				lda, ldacc := k+3, n+5
				a, w := fenced[int8](t, (m-1)*lda+k, atEnd), fenced[int8](t, n*k, atEnd)
				acc := fenced[int32](t, (m-1)*ldacc+n, atEnd)
				copy(a, fillI8(r, m, k, lda, anyI8))
				copy(w, fillI8(r, n, k, k, weightI8))
				var p PanelsI8
				p.Pack(w, k, n) // for its size
				p.data = fenced[int8](t, len(p.data), atEnd)[:0]
				p.start = fenced[int32](t, len(p.start), atEnd)[:0]
				p.Pack(w, k, n)
				GemmI8(acc, ldacc, a, lda, m, &p)
				want := gemmI8Oracle(a, lda, m, w, k, n)
				for i := range m {
					require.Equal(t, want[i*n:(i+1)*n], acc[i*ldacc:i*ldacc+n], "%v", s)
				}
			}
		}
	})
}

func TestQuantFenced(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		for _, cols := range []int{1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100} {
			for _, atEnd := range []bool{true, false} {
				const rows = 2
				ld := cols + 3
				x, q := fenced[float32](t, rows*cols, atEnd), fenced[int8](t, ld+cols, atEnd)
				sa, sw, bias := fenced[float32](t, rows, atEnd), fenced[float32](t, cols, atEnd), fenced[float32](t, cols, atEnd)
				acc, dst := fenced[int32](t, ld+cols, atEnd), fenced[float32](t, ld+cols, atEnd)
				was := slices.Clone(x)
				QuantizeRows(q, sa, x, rows, cols, ld)
				QuantizeWeights(q, sa, x, rows, cols)
				require.NoError(t, CheckChains(q, rows, cols))
				Dequant(dst, ld, acc, ld, rows, cols, sa, sw, nil)
				Dequant(dst, ld, acc, ld, rows, cols, sa, sw, bias)
				require.Equal(t, was, x)
			}
		}
	})
}
