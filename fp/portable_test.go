package fp

import (
	"hash/fnv"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func sweep(lo, hi float64, n int, f func(x float64)) {
	for i := range n {
		f(lo + (hi-lo)*float64(i)/float64(n-1))
	}
}

func TestPortableAgainstMath(t *testing.T) {
	rel := func(name string, got, want, x float64) {
		if math.Abs(got-want) > 1e-15*math.Abs(want) && got != want {
			t.Fatalf("%s(%g) = %g, want %g", name, x, got, want)
		}
	}
	sweep(-700, 700, 20011, func(x float64) { rel("Exp", Exp(x), math.Exp(x), x) })
	sweep(-1, 1, 20011, func(x float64) { rel("Exp", Exp(x), math.Exp(x), x) })
	for e := -1022; e < 1024; e++ {
		sweep(1, 2, 11, func(m float64) { x := math.Ldexp(m, e); rel("Log", Log(x), math.Log(x), x) })
	}
	for e := -1074; e < -1022; e++ { // subnormal: math.Log of amd64 has these wrong
		x := math.Ldexp(1, e)
		rel("Log", Log(x), float64(e)*math.Ln2, x)
	}
	sweep(0.5, 2, 20010, func(x float64) { rel("Log", Log(x), math.Log(x), x) })
	for _, span := range []float64{1, 10, 1e5} {
		sweep(-span, span, 20011, func(x float64) {
			require.InDelta(t, math.Sin(x), Sin(x), 1e-15)
			require.InDelta(t, math.Cos(x), Cos(x), 1e-15)
		})
	}
	for n := range 5000 {
		require.InEpsilon(t, math.Pow(0.999, float64(n)), PowInt(0.999, n), 1e-13)
	}
}

func TestPortableEdges(t *testing.T) {
	require.True(t, math.IsNaN(Exp(math.NaN())))
	require.True(t, math.IsInf(Exp(1000), 1))
	require.Zero(t, Exp(-1000))
	require.Equal(t, 1.0, Exp(0))
	require.True(t, math.IsNaN(Log(-1)))
	require.True(t, math.IsInf(Log(0), -1))
	require.Zero(t, Log(1))
	require.True(t, math.IsNaN(Sin(math.Inf(1))))
}

// One hash for every machine: the proof that no product was fused.
func TestPortableSameBits(t *testing.T) {
	h := fnv.New64a()
	put := func(x float64) {
		var b [8]byte
		for i := range b {
			b[i] = byte(math.Float64bits(x) >> (8 * i))
		}
		h.Write(b[:])
	}
	sweep(-30, 30, 30001, func(x float64) {
		put(Exp(x))
		put(Log(math.Abs(x) + 1e-3))
		put(Sin(x))
		put(Cos(x))
	})
	require.Equal(t, portableHash, h.Sum64())
}

const portableHash = uint64(0x6ed8132f6d984c44)
