package fp

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/x448/float16"
)

// halfValue is the value of a finite half by its definition.
func halfValue(h uint16) float64 {
	sign, e, m := 1-2*float64(h>>15), int(h>>10&31), float64(h&0x3ff)
	if e == 0 {
		return sign * math.Ldexp(m, -24)
	}
	return sign * math.Ldexp(1024+m, e-25)
}

func TestDecodeHalfAll(t *testing.T) {
	src, dst := make([]uint16, 1<<16), make([]float32, 1<<16)
	for i := range src {
		src[i] = uint16(i)
	}
	DecodeHalf(dst, src)
	for i, x := range dst {
		h := uint16(i)
		require.Equal(t, math.Float32bits(float16.Frombits(h).Float32()), math.Float32bits(x), "%#04x", h)
		if h&0x7c00 != 0x7c00 {
			require.Equal(t, halfValue(h), float64(x), "%#04x", h)
		}
	}
	// Every half that is not a NaN comes back from the round trip.
	back := make([]uint16, len(src))
	EncodeHalf(back, dst)
	for i, h := range back {
		if uint16(i)&0x7fff > 0x7c00 {
			require.True(t, float16.Frombits(h).IsNaN(), "%#04x", i)
		} else {
			require.Equal(t, uint16(i), h)
		}
	}
}

// TestEncodeHalfTies tries every midpoint between neighbours, each neighbour, and one ulp to both sides of them, with
// both signs, against the definition of rounding and against x448/float16.
func TestEncodeHalfTies(t *testing.T) {
	check := func(x float32, want uint16) {
		var got [1]uint16
		EncodeHalf(got[:], []float32{x})
		if got[0] != want || got[0] != uint16(float16.Fromfloat32(x)) {
			t.Fatalf("EncodeHalf(%g) = %#04x, want %#04x, float16 gives %#04x", x, got[0], want, uint16(float16.Fromfloat32(x)))
		}
	}
	inf := float32(math.Inf(1))
	for h := range uint16(0x7c00) {
		low, high := halfValue(h), 65536.0 // what follows 65504 would be 65536: infinity
		if h+1 < 0x7c00 {
			high = halfValue(h + 1)
		}
		mid := float32((low + high) / 2) // exact: 12 significant bits
		even := h + h&1
		for _, sign := range []float32{1, -1} {
			bit := uint16(math.Float32bits(sign) >> 16 & 0x8000)
			check(sign*float32(low), bit|h)
			check(sign*math.Nextafter32(float32(low), inf), bit|h)
			check(sign*math.Nextafter32(mid, 0), bit|h)
			check(sign*mid, bit|even)
			check(sign*math.Nextafter32(mid, inf), bit|(h+1))
			check(sign*math.Nextafter32(float32(high), 0), bit|(h+1))
		}
	}
	check(inf, 0x7c00)
	check(-inf, 0xfc00)
	check(math.MaxFloat32, 0x7c00)
	check(math.SmallestNonzeroFloat32, 0)
	check(float32(math.Copysign(0, -1)), 0x8000)
}

func TestHalfShapes(t *testing.T) {
	require.PanicsWithValue(t, "fp: EncodeHalf: lengths differ", func() { EncodeHalf(make([]uint16, 1), nil) })
	require.PanicsWithValue(t, "fp: DecodeHalf: lengths differ", func() { DecodeHalf(nil, make([]uint16, 1)) })
	x, h := make([]float32, 100), make([]uint16, 100)
	require.Zero(t, testing.AllocsPerRun(10, func() { EncodeHalf(h, x); DecodeHalf(x, h) }))
}

func BenchmarkEncodeHalf(b *testing.B) {
	src, dst := make([]float32, 4096), make([]uint16, 4096)
	for i := range src {
		src[i] = float32(i)/1000 - 2
	}
	b.SetBytes(4 * 4096)
	for b.Loop() {
		EncodeHalf(dst, src)
	}
}

func BenchmarkDecodeHalf(b *testing.B) {
	src, dst := make([]uint16, 4096), make([]float32, 4096)
	for i := range src {
		src[i] = uint16(0x3000 + i)
	}
	b.SetBytes(4 * 4096)
	for b.Loop() {
		DecodeHalf(dst, src)
	}
}
