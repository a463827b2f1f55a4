package kernels

// Noise names the random bits of a stochastic rounding: element i of a call takes the word noise(Key, Index+i). The bits
// belong to the place and not to the path or the worker, so a vector may be cut anywhere if At moves the noise along. Key is to
// be fresh for every step and tensor; any value will do, small consecutive ones too.
type Noise struct{ Key, Index uint32 }

// At is the noise that begins i elements later.
func (n Noise) At(i int) Noise { return Noise{n.Key, n.Index + uint32(i)} }

// The multipliers and shifts are those of TheIronBorn and Wellons, the least biased two-round hash known
// (github.com/skeeto/hash-prospector, "lowbias32", 16 21f0aaad 15 d35a2d97 15).
const (
	noiseMul1 = 0x21f0aaad
	noiseMul2 = 0xd35a2d97
)

// noise is a hash of a counter: 32 random bits for place index of stream key.
//
//	x := index + mix(key)                                        // mix(key) is the same for the whole loop
//	x ^= x>>16; x *= noiseMul1; x ^= x>>15; x ^= key             // first round, then the key again
//	x *= noiseMul2; x ^= x>>15
//
// The key enters twice: with the addition alone two streams would be one sequence read from two places. In vector code a
// lane holds index+mix(key) and moves on by the block, and all operations are those of 32-bit lanes: shifts, exclusive
// ors, and two low products, VPMULLD on AVX2 and MUL.4S on NEON. All 32 bits may be used, the top and the bottom 13 of
// a word as two independent draws.
func noise(key, index uint32) uint32 {
	return noiseFrom(key, index+mix(key))
}

// noiseFrom is noise for a lane that holds index+mix(key).
func noiseFrom(key, x uint32) uint32 {
	x ^= x >> 16
	x *= noiseMul1
	x ^= x>>15 ^ key
	x *= noiseMul2
	return x ^ x>>15
}

// mix is lowbias32, a bijection in which every input bit moves every output bit with probability one half.
func mix(x uint32) uint32 { return noiseFrom(0, x) }
