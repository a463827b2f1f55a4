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

func TestHalf(t *testing.T) {
	type pair struct{ a, b []uint16 }
	layout := func(a *Arena) pair { return pair{a.Half(33), a.Half(0)} }
	require.EqualValues(t, 2*16*4, Measure(layout))
	p := Build(layout)
	require.Len(t, p.a, 33)
	require.Equal(t, 33, cap(p.a))
	require.Empty(t, p.b)
	require.Zero(t, uintptr(unsafe.Pointer(&p.a[0]))%64)
	p.a[32] = 1
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

type overlay struct{ head, a, b, c, tail []float32 }

func overlaid(ar *Arena) (o overlay) {
	ar.Part("head", func() { o.head = ar.F32(16) })
	ar.Part("shared", func() {
		ar.Union(
			func() { ar.Part("a", func() { o.a = ar.F32(32) }) },
			func() {
				o.b = ar.F32(16)
				ar.Union(func() { o.c = ar.F32(48) }, func() {})
			},
		)
	})
	o.tail = ar.F32(16)
	return o
}

func TestUnion(t *testing.T) {
	var m Arena
	overlaid(&m)
	require.EqualValues(t, (16+64+16)*4, m.Bytes())
	require.Equal(t, []Part{{"head", 0, 64}, {"shared", 64, 320}, {"a", 64, 192}}, m.Parts())

	o := Build(overlaid)
	o.a[0], o.a[31] = 1, 2
	require.EqualValues(t, 1, o.b[0], "alternatives start at one place")
	require.EqualValues(t, 2, o.c[15])
	o.c[47] = 3
	require.Zero(t, o.head[15])
	require.Zero(t, o.tail[0], "what follows lies behind the largest")
}
