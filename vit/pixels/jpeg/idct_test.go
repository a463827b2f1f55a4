package jpeg

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// transformed is the definition: a sum over the kx by ky lowest coefficients.
func transformed(coef *[64]int32, kx, ky, x, y int) float64 {
	sum := 128.0
	for v := range ky {
		for u := range kx {
			sum += float64(coef[8*v+u]) * basis(kx, x, u) * basis(ky, y, v)
		}
	}
	return min(max(sum, 0), 255)
}

// The transform is within rounding of its definition. The result is rounded, by 0.5. The columns are rounded to two bits
// of fraction, by 1/8, of which the rows take at most 1 + 7 * sqrt(2) of 8 parts: 0.17. Constants are off by 2^-14 in
// products of coefficients below 2^11 / 8: 0.03 for all of them.
func TestTransformIsItsDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	sizes := []int{1, 2, 4, 8}
	for _, kx := range sizes {
		for _, ky := range sizes {
			worst, swapped := 0.0, 0.0
			for n := range 200 {
				var coef [64]int32
				for i := range coef {
					coef[i] = int32(r.NormFloat64() * 300 / float64(1+i&7+i>>3))
				}
				if n%4 == 0 { // columns without AC are taken apart
					for i := 8; i < 64; i++ {
						coef[i] = 0
					}
				}
				p := plane{kx: kx, ky: ky, stride: kx}
				dst := make([]uint8, kx*ky)
				c := coef
				p.transform(&c, dst, false)
				for i, got := range dst {
					worst = max(worst, math.Abs(float64(got)-transformed(&coef, kx, ky, i%kx, i/kx)))
					swapped = max(swapped, math.Abs(float64(got)-transformed(&coef, ky, kx, i/kx, i%kx)))
				}
			}
			require.Less(t, worst, 0.7, "%dx%d", kx, ky)
			require.Greater(t, worst, 0.45, "%dx%d", kx, ky)
			if kx*ky > 1 {
				require.Greater(t, swapped, 5.0, "rows for columns are told apart")
			}
		}
	}
}

// A block of one colour has one way through the transform more, with the same result.
func TestFlatBlocks(t *testing.T) {
	for _, k := range []int{1, 2, 4, 8} {
		p := plane{kx: k, ky: k, stride: k}
		for dc := int32(-1300); dc < 1300; dc++ {
			a, b := make([]uint8, k*k), make([]uint8, k*k)
			p.transform(&[64]int32{dc}, a, true)
			p.transform(&[64]int32{dc}, b, false)
			require.Equal(t, a, b)
			want := min(max(math.Floor(float64(dc)/8+128.5), 0), 255)
			require.InDelta(t, want, a[0], 0)
		}
	}
}

// Anything that a file can hold is transformed to something.
func TestTransformOverflows(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 100 {
		var coef [64]int32
		for i := range coef {
			coef[i] = int32(r.Uint32())
		}
		p := plane{kx: 8, ky: 8, stride: 8}
		p.transform(&coef, make([]uint8, 64), false)
	}
}
