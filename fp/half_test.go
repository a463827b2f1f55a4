package fp

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/x448/float16"

	"edgejepa/internal/cpu"
	"edgejepa/kernels/kerneltest"
)

func TestRequiredISA(t *testing.T) { kerneltest.RequireISA(t) }

// halfValue is the value of a finite half by its definition.
func halfValue(h uint16) float64 {
	sign, e, m := 1-2*float64(h>>15), int(h>>10&31), float64(h&0x3ff)
	if e == 0 {
		return sign * math.Ldexp(m, -24)
	}
	return sign * math.Ldexp(1024+m, e-25)
}

func float32s(bits []uint32) []float32 {
	x := make([]float32, len(bits))
	for i, u := range bits {
		x[i] = math.Float32frombits(u)
	}
	return x
}

// decodesAs says where got is not what float16 makes of src, bit for bit.
func decodesAs(got []float32, src []uint16) error {
	for i, h := range src {
		if want := math.Float32bits(float16.Frombits(h).Float32()); math.Float32bits(got[i]) != want {
			return fmt.Errorf("[%d] decode(%#04x) = %#08x, want %#08x", i, h, math.Float32bits(got[i]), want)
		}
	}
	return nil
}

// encodesAs says where got is not what float16 makes of src, bit for bit.
func encodesAs(got []uint16, src []float32) error {
	for i, x := range src {
		if want := float16.Fromfloat32(x).Bits(); got[i] != want {
			return fmt.Errorf("[%d] encode(%#08x) = %#04x, want %#04x", i, math.Float32bits(x), got[i], want)
		}
	}
	return nil
}

// All 65,536 halves, NaNs with every payload among them.
func TestDecodeHalfAll(t *testing.T) {
	src := make([]uint16, 1<<16)
	for i := range src {
		src[i] = uint16(i)
	}
	kerneltest.ForEachISA(t, func(t *testing.T) {
		dst, back := make([]float32, len(src)), make([]uint16, len(src))
		DecodeHalf(dst, src)
		require.NoError(t, decodesAs(dst, src))
		EncodeHalf(back, dst)
		for i, x := range dst {
			h := uint16(i)
			switch {
			case h&0x7c00 != 0x7c00:
				require.Equal(t, halfValue(h), float64(x), "%#04x", h)
			case h&0x3ff != 0:
				h |= 0x200 // only the quiet bit of a NaN changes on the way there and back
			}
			if back[i] != h {
				t.Fatalf("%#04x comes back as %#04x", i, back[i])
			}
		}
		// The checker sees one bit.
		dst[0x7c01] = math.Float32frombits(math.Float32bits(dst[0x7c01]) ^ 1<<22)
		require.Error(t, decodesAs(dst, src))
	})
}

// Every midpoint between neighbours, each neighbour, and one ulp to both sides of them, with both signs, against the
// definition of rounding and against float16.
func TestEncodeHalfBoundaries(t *testing.T) {
	var src []float32
	var want []uint16
	inf := float32(math.Inf(1))
	for h := range uint16(0x7c00) {
		low, high := halfValue(h), 65536.0 // what follows 65504 would be 65536: infinity
		if h+1 < 0x7c00 {
			high = halfValue(h + 1)
		}
		mid := float32((low + high) / 2) // exact: 12 significant bits
		for _, sign := range []float32{1, -1} {
			bit := uint16(math.Float32bits(sign) >> 16 & 0x8000)
			src = append(src, sign*float32(low), sign*math.Nextafter32(float32(low), inf), sign*math.Nextafter32(mid, 0),
				sign*mid, sign*math.Nextafter32(mid, inf), sign*math.Nextafter32(float32(high), 0))
			want = append(want, bit|h, bit|h, bit|h, bit|(h+h&1), bit|(h+1), bit|(h+1))
		}
	}
	for _, sign := range []uint32{0, 1 << 31} {
		bit := uint16(sign >> 16)
		for u, h := range map[uint32]uint16{0: 0, 1: 0, 0x7fffff: 0, 0x800000: 0, 0x33000000: 0, 0x33000001: 1,
			0x477fefff: 0x7bff, 0x477ff000: 0x7c00, 0x7f7fffff: 0x7c00, 0x7f800000: 0x7c00} {
			src, want = append(src, math.Float32frombits(sign|u)), append(want, bit|h)
		}
	}
	kerneltest.ForEachISA(t, func(t *testing.T) {
		dst := make([]uint16, len(src))
		EncodeHalf(dst, src)
		require.NoError(t, encodesAs(dst, src))
		for i, h := range want {
			if dst[i] != h {
				t.Fatalf("encode(%g) = %#04x, want %#04x", src[i], dst[i], h)
			}
		}
		dst[len(dst)-1]++
		require.Error(t, encodesAs(dst, src))
	})
}

// Quiet and signalling NaNs of both signs: the top ten bits of the payload are kept and the quiet bit is set, so that a
// payload in the low bits alone does not become infinity.
func TestEncodeHalfNaN(t *testing.T) {
	var src []uint32
	for top := range uint32(0x400) {
		for _, low := range []uint32{0, 1, 0x1000, 0x1fff} {
			if top|low != 0 {
				src = append(src, 0x7f800000|top<<13|low, 0xff800000|top<<13|low)
			}
		}
	}
	kerneltest.ForEachISA(t, func(t *testing.T) {
		dst := make([]uint16, len(src))
		EncodeHalf(dst, float32s(src))
		for i, u := range src {
			require.Equal(t, uint16(u>>16&0x8000|0x7e00|u>>13&0x3ff), dst[i], "%#08x", u)
		}
		require.NoError(t, encodesAs(dst, float32s(src)))
	})
}

// Values of every exponent with random mantissas. EDGEJEPA_EXHAUSTIVE tries all 2^32 instead, which takes minutes.
func TestEncodeHalfMany(t *testing.T) {
	step := uint64(10007)
	if all, _ := strconv.ParseBool(os.Getenv("EDGEJEPA_EXHAUSTIVE")); all {
		step = 1
	}
	kerneltest.ForEachISA(t, func(t *testing.T) {
		src, dst := make([]float32, 1<<14), make([]uint16, 1<<14)
		for u := uint64(0); u < 1<<32; {
			for i := range src {
				src[i] = math.Float32frombits(uint32(u))
				u += step
			}
			EncodeHalf(dst, src)
			if err := encodesAs(dst, src); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Every length up to a few vectors and beyond a chunk, every misalignment of both sides; nothing outside is written.
func TestHalfLengths(t *testing.T) {
	lengths := []int{100, 127, 1000, 1<<14 - 1, 1<<14 + 9}
	for n := range 70 {
		lengths = append(lengths, n)
	}
	kerneltest.ForEachISA(t, func(t *testing.T) {
		for _, n := range lengths {
			for shift := range 4 {
				x, y := kerneltest.NewBuffer(n, shift), kerneltest.NewBuffer(n, 3*shift)
				kerneltest.Fill(x.X, kerneltest.Kinds[(n+shift)%len(kerneltest.Kinds)], uint64(n))
				const before = 8
				all := slices.Repeat([]uint16{0xabcd}, before+n+32)
				h := all[before+shift:][:n]
				EncodeHalf(h, x.X)
				require.NoError(t, encodesAs(h, x.X))
				DecodeHalf(y.X, h)
				require.NoError(t, decodesAs(y.X, h))
				require.NoError(t, x.Check())
				require.NoError(t, y.Check())
				for i, v := range all {
					if i -= before + shift; i < 0 || i >= n {
						require.Equal(t, uint16(0xabcd), v, "n %d: smashed [%d]", n, i)
					}
				}
			}
		}
	})
}

// With memory that may not be touched right before and right behind both slices, nothing reads or writes beyond either.
func TestHalfStaysInside(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		for n := 1; n < 70; n++ {
			for _, atEnd := range []bool{true, false} {
				x, h := kerneltest.Fenced(t, n, atEnd), kerneltest.FencedAs[uint16](t, n, atEnd)
				EncodeHalf(h, x)
				require.NoError(t, encodesAs(h, x))
				DecodeHalf(x, h)
				require.NoError(t, decodesAs(x, h))
			}
		}
	})
}

func TestHalfShapes(t *testing.T) {
	require.PanicsWithValue(t, "fp: EncodeHalf: lengths differ", func() { EncodeHalf(make([]uint16, 1), nil) })
	require.PanicsWithValue(t, "fp: DecodeHalf: lengths differ", func() { DecodeHalf(nil, make([]uint16, 1)) })
	x, h := make([]float32, 100), make([]uint16, 100)
	kerneltest.ForEachISA(t, func(t *testing.T) {
		require.Zero(t, testing.AllocsPerRun(10, func() { EncodeHalf(h, x); DecodeHalf(x, h) }))
	})
}

// FuzzHalf takes the input for float32 bits, any number of them at any misalignment.
func FuzzHalf(f *testing.F) {
	f.Add([]byte{0, 0, 0x80, 0x7f, 1, 0, 0x80, 0xff, 0, 0xf0, 0x7f, 0x47}, uint8(1))
	f.Add(make([]byte, 4*37), uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, shift uint8) {
		from := int(shift % 8)
		src := make([]float32, from+len(data)/4)[from:]
		for i := range src {
			src[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		}
		check := func(t *testing.T) {
			h := make([]uint16, 7-from+len(src))[7-from:]
			EncodeHalf(h, src)
			require.NoError(t, encodesAs(h, src))
			back := make([]float32, len(h))
			DecodeHalf(back, h)
			require.NoError(t, decodesAs(back, h))
		}
		check(t)
		defer kerneltest.Only(0)()
		check(t)
	})
}

// Bytes read and written a second, beside a copy of as many bytes: 4096 elements, in a first-level cache, and 2^17.
func BenchmarkHalf(b *testing.B) {
	for _, n := range []int{1 << 12, 1 << 17} {
		x, h := make([]float32, n), make([]uint16, n)
		kerneltest.Fill(x, kerneltest.Normal, 1)
		EncodeHalf(h, x)
		from, to := make([]float32, 3*n/4), make([]float32, 3*n/4)
		run := func(name string, f func()) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.SetBytes(6 * int64(n))
				for b.Loop() {
					f()
				}
			})
		}
		run("copy", func() { copy(to, from) })
		both := func(path string) {
			run("encode/"+path, func() { EncodeHalf(h, x) })
			run("decode/"+path, func() { DecodeHalf(x, h) })
		}
		both(cpu.ISA())
		restore := kerneltest.Only(0)
		both("generic")
		restore()
	}
}
