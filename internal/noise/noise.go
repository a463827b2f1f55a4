// Package noise gives the random bits of stochastic rounding: a hash of a counter, cheap in 32-bit vector lanes.
package noise

// Stream names the random bits of a stochastic rounding: element i of a call takes Word(Key, Index+i), the index modulo
// 2^32. The bits belong to the place and not to the path or the worker, so a vector may be cut anywhere if At moves the
// noise along. Key is to be fresh for every step and tensor; any value will do, small consecutive ones too.
type Stream struct{ Key, Index uint32 }

// At is the stream that begins i elements later.
func (s Stream) At(i int) Stream { return Stream{s.Key, s.Index + uint32(i)} }

// Mul1 and Mul2 are the multipliers of the two rounds, exported for the assembly of other packages. With the shifts they are
// the least biased two-round hash known, by TheIronBorn and Wellons (github.com/skeeto/hash-prospector, "lowbias32",
// 16 21f0aaad 15 d35a2d97 15).
const (
	Mul1 = 0x21f0aaad
	Mul2 = 0xd35a2d97
)

// Lane is what the lane of the stream's first element holds.
func (s Stream) Lane() uint32 { return s.Index + Mix(s.Key) }

// Word is a hash of a counter: 32 random bits for place index of stream key.
//
//	x := index + Mix(key)                           // Mix(key) is the same for the whole loop
//	x ^= x>>16; x *= Mul1; x ^= x>>15; x ^= key     // first round, then the key again
//	x *= Mul2; x ^= x>>15
//
// The key enters twice: with the addition alone two streams would be one sequence read from two places. In vector code a
// lane holds index+Mix(key) and moves on by the block, and all operations are those of 32-bit lanes: shifts, exclusive
// ors, and two low products, VPMULLD on AVX2 and MUL.4S on NEON. All 32 bits may be used, the top and the bottom 13 of
// a word as two independent draws.
func Word(key, index uint32) uint32 {
	return FromLane(key, index+Mix(key))
}

// FromLane is Word for a lane that holds index+Mix(key), as Stream.Lane gives it.
func FromLane(key, x uint32) uint32 {
	x ^= x >> 16
	x *= Mul1
	x ^= x>>15 ^ key
	x *= Mul2
	return x ^ x>>15
}

// Mix is lowbias32, a bijection in which every input bit moves every output bit with probability one half.
func Mix(x uint32) uint32 { return FromLane(0, x) }
