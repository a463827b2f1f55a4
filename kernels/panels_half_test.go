package kernels

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/fp"
	"edgejepa/internal/noise"
	"edgejepa/kernels/kerneltest"
)

// halfMatrix fills rows of cols halves, ld apart, with all there is, NaNs too, and what lies between with a guard.
func halfMatrix(x []uint16, rows, cols, ld int, seed uint32) {
	for i := range x {
		x[i] = 0xabcd
	}
	for i := range rows {
		for j := range cols {
			x[i*ld+j] = uint16(noise.Word(seed, uint32(i*cols+j)))
		}
	}
}

func sameFloatBits(want, got []float32) error {
	if len(want) != len(got) {
		return fmt.Errorf("length %d, want %d", len(got), len(want))
	}
	for i := range want {
		if w, g := math.Float32bits(want[i]), math.Float32bits(got[i]); w != g {
			return fmt.Errorf("[%d] %#08x, want %#08x", i, g, w)
		}
	}
	return nil
}

// Packing halves gives the panels that packing the widened matrix gives, bit for bit, at every shape and stride, with the
// operand and the panels against memory that may not be touched.
func TestPackHalf(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		for _, s := range [][2]int{{1, 1}, {1, 16}, {3, 5}, {7, 17}, {8, 16}, {9, 15}, {16, 32}, {17, 33}, {64, 48},
			{65, 16}, {71, 40}, {131, 16}, {1025, 16}, {2056, 17}} {
			for _, gap := range []int{0, 1, 7} {
				for _, atEnd := range []bool{true, false} {
					k, n := s[0], s[1]
					if k > 200 && gap > 0 {
						continue
					}
					check := func(rows, cols int, plain func(b *Panels, x []float32, ld int), half func(b *Panels, x []uint16, ld int)) {
						ld := cols + gap
						x := kerneltest.FencedAs[uint16](t, (rows-1)*ld+cols, atEnd)
						halfMatrix(x[:(rows-1)*ld+cols], rows, cols, ld, uint32(k*n))
						wide := make([]float32, len(x))
						fp.DecodeHalf(wide, x)
						var want Panels
						plain(&want, wide, ld)
						got := Panels{Data: kerneltest.Fenced(t, PanelLen(k, n), atEnd)}
						half(&got, x, ld)
						require.Equal(t, want.K, got.K)
						require.Equal(t, want.N, got.N)
						if err := sameFloatBits(want.Data, got.Data); err != nil {
							t.Fatalf("k %d, n %d, ld %d: %v", k, n, ld, err)
						}
						last := &got.Data[len(got.Data)-1]
						*last = math.Float32frombits(math.Float32bits(*last) ^ 1) // the checker sees one bit
						require.Error(t, sameFloatBits(want.Data, got.Data))
					}
					check(k, n, func(b *Panels, x []float32, ld int) { b.Pack(x, ld, k, n) },
						func(b *Panels, x []uint16, ld int) { b.PackHalf(x, ld, k, n) })
					check(n, k, func(b *Panels, x []float32, ld int) { b.PackT(x, ld, k, n) },
						func(b *Panels, x []uint16, ld int) { b.PackTHalf(x, ld, k, n) })
				}
			}
		}
	})
}

// A panel packed in two runs of rows is the panel packed in one.
func TestPackRowsHalfAt(t *testing.T) {
	const k, n, cut = 37, 21, 13
	x := make([]uint16, k*n)
	halfMatrix(x, k, n, n, 1)
	forEachISA(t, func(t *testing.T) {
		var want, got Panels
		want.PackHalf(x, n, k, n)
		got.SetShape(k, n)
		for p := range 2 {
			got.PackRowsHalfAt(x[cut*n:], n, p, cut, k-cut)
			got.PackRowsHalfAt(x[:cut*n], n, p, 0, cut)
			got.PackRowsHalfAt(nil, n, p, cut, 0)
		}
		require.NoError(t, sameFloatBits(want.Data, got.Data))
	})
}

func TestPackHalfShapes(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		x := make([]uint16, 16*24)
		var b Panels
		require.Panics(t, func() { b.PackHalf(x, 24, 17, 16) })
		require.Panics(t, func() { b.PackTHalf(x, 24, 24, 17) })
		require.Panics(t, func() { b.PackTHalf(x[:len(x)-1], 24, 24, 16) })
		b.PackTHalf(x, 24, 24, 16)
		require.Zero(t, testing.AllocsPerRun(5, func() { b.PackTHalf(x, 24, 24, 16); b.PackHalf(x, 16, 24, 16) }))
		b.PackTHalf(nil, 0, 0, 16)
		b.PackHalf(nil, 16, 0, 16)
	})
}

// FuzzPackHalf tries shapes and strides.
func FuzzPackHalf(f *testing.F) {
	f.Add(uint8(8), uint8(16), uint8(0), uint32(1))
	f.Add(uint8(200), uint8(33), uint8(5), uint32(2))
	f.Fuzz(func(t *testing.T, k8, n8, gap uint8, seed uint32) {
		k, n := int(k8)+1, int(n8)+1
		for _, transposed := range []bool{false, true} {
			rows, cols := k, n
			if transposed {
				rows, cols = n, k
			}
			ld := cols + int(gap%32)
			x := make([]uint16, (rows-1)*ld+cols)
			halfMatrix(x, rows, cols, ld, seed)
			var want, got Panels
			onGeneric(func() {
				wide := make([]float32, len(x))
				fp.DecodeHalf(wide, x)
				if transposed {
					want.PackT(wide, ld, k, n)
				} else {
					want.Pack(wide, ld, k, n)
				}
			})
			if transposed {
				got.PackTHalf(x, ld, k, n)
			} else {
				got.PackHalf(x, ld, k, n)
			}
			require.NoError(t, sameFloatBits(want.Data, got.Data))
		}
	})
}

// Nanoseconds for an element, halves beside float32.
func BenchmarkPackHalf(b *testing.B) {
	const k, n = 384, 384
	x := filled(k*n, kerneltest.Normal, 1)
	h := make([]uint16, k*n)
	fp.EncodeHalf(h, x)
	var p Panels
	for _, c := range []struct {
		name string
		run  func()
	}{
		{"Pack", func() { p.Pack(x, n, k, n) }},
		{"PackHalf", func() { p.PackHalf(h, n, k, n) }},
		{"PackT", func() { p.PackT(x, k, k, n) }},
		{"PackTHalf", func() { p.PackTHalf(h, k, k, n) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				c.run()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(k*n), "ns/elem")
		})
	}
}
