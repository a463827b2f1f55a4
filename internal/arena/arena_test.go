package arena

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

type pair struct{ a, b []float32 }

func layout(a *Arena) pair { return pair{a.F32(5), a.F32(17)} }

func TestMeasureThenPlace(t *testing.T) {
	require.EqualValues(t, (16+32)*4, Measure(layout))
	p := Build(layout)
	require.Len(t, p.a, 5)
	require.Equal(t, 5, cap(p.a))
	require.Len(t, p.b, 17)
	for _, s := range [][]float32{p.a, p.b} {
		require.Zero(t, uintptr(unsafe.Pointer(&s[0]))%64)
	}
	p.a[4] = 1
	require.Zero(t, p.b[0])
}

func TestLayoutMustRepeat(t *testing.T) {
	n := 0
	require.Panics(t, func() {
		Build(func(a *Arena) int {
			n += 100
			if !a.Measuring() {
				n = 7
			}
			a.F32(n)
			return 0
		})
	})
}
