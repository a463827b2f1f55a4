package noise

import (
	"math"
	"math/bits"
	"testing"

	"github.com/stretchr/testify/require"
)

// The stream is part of what a training run is: these words are those of a second implementation, in Python.
func TestNoiseValues(t *testing.T) {
	for _, c := range [][3]uint32{
		{0, 0, 0x00000000},
		{0, 1, 0x06d3fa73},
		{1, 0, 0xcabfff16},
		{7, 12345, 0x820303ae},
		{4294967295, 4294967295, 0x2aa2af0e},
	} {
		require.Equal(t, c[2], Word(c[0], c[1]), "key %d, index %d", c[0], c[1])
	}
	require.Equal(t, uint32(0x06d3fa73), Mix(1))
}

// A stream is the words of its key from its index on, wherever it is cut, beyond the last index too.
func TestStream(t *testing.T) {
	for _, s := range []Stream{{}, {7, 12345}, {1 << 31, math.MaxUint32 - 3}} {
		for i := range 9 {
			want := Word(s.Key, s.Index+uint32(i))
			require.Equal(t, want, FromLane(s.Key, s.Lane()+uint32(i)), "%v at %d", s, i)
			require.Equal(t, want, FromLane(s.Key, s.At(i).Lane()), "%v at %d", s, i)
			require.Equal(t, s.At(i), s.At(i/2).At(i-i/2))
			require.NotEqual(t, want, Word(s.Key, s.At(i+1).Index))
		}
	}
}

// correlation of bit b1 of f with bit b2 of g over n places, in standard deviations of what chance makes.
func correlation(n int, f, g func(i uint32) uint32, b1, b2 int) float64 {
	agree := 0
	for i := range uint32(n) {
		agree += int(^(f(i)>>b1 ^ g(i)>>b2) & 1)
	}
	return math.Abs(float64(2*agree-n)) / math.Sqrt(float64(n))
}

// Every bit is fair, and independent of the bits of the next place, of the next and some other keys, and of the other
// draw from the same word. Of thousands of comparisons some are off by 4 standard deviations; none must be by 6.
func TestNoiseIsFairAndIndependent(t *testing.T) {
	const n, limit = 1 << 13, 6.0
	stream := func(key, shift uint32) func(uint32) uint32 {
		return func(i uint32) uint32 { return Word(key, i+shift) }
	}
	zero := func(uint32) uint32 { return 0 }
	for _, key := range []uint32{0, 1, 2, 1 << 31, 0xdeadbeef} {
		own := stream(key, 0)
		for b := range 32 {
			require.Less(t, correlation(n, own, zero, b, 0), limit, "bit %d of key %d", b, key)
			for name, other := range map[string]func(uint32) uint32{
				"next place": stream(key, 1), "next block": stream(key, 16), "next key": stream(key+1, 0),
				"key's top bit": stream(key^1<<31, 0), "key's bit 16": stream(key^1<<16, 0),
				"place and key": stream(key+1, 0xffffffff), "far": stream(key, 1<<31),
			} {
				require.Less(t, correlation(n, own, other, b, b), limit, "bit %d of key %d and the %s", b, key, name)
			}
		}
		third := func(i uint32) uint32 { return Word(key, i) * Mul1 }
		for b := range 13 {
			for c := range 13 {
				require.Less(t, correlation(n, own, own, b, 19+c), limit, "low %d and high %d of key %d", b, c, key)
				require.Less(t, correlation(n, own, third, b, 19+c), limit, "low %d and third %d of key %d", b, c, key)
				require.Less(t, correlation(n, own, third, 19+b, 19+c), limit, "high %d and third %d of key %d", b, c, key)
			}
		}
	}
	// What is not random is found out: a counter, and streams that are one sequence read from two places.
	require.Greater(t, correlation(n, func(i uint32) uint32 { return i }, zero, 20, 0), limit)
	require.Greater(t, correlation(n, func(i uint32) uint32 { return i }, func(i uint32) uint32 { return i + 16 }, 0, 0), limit)
}

// Flipping any bit of key or index flips half of the 32 bits, on average and for each of the two within 3 %.
func TestNoiseAvalanche(t *testing.T) {
	const n = 2000
	for b := range 32 {
		var byKey, byIndex int
		for i := range uint32(n) {
			key, index := Mix(2*i), Mix(2*i+1)
			w := Word(key, index)
			byKey += bits.OnesCount32(w ^ Word(key^1<<b, index))
			byIndex += bits.OnesCount32(w ^ Word(key, index^1<<b))
		}
		require.InEpsilon(t, 16*n, byKey, 0.03, "key bit %d", b)
		require.InEpsilon(t, 16*n, byIndex, 0.03, "index bit %d", b)
	}
}
