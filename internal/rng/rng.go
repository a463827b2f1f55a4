// Package rng gives random numbers that are a pure function of (seed, purpose, a, b).
//
// There is no generator state to save: a mask, a crop or a shuffle is keyed by the step, epoch or picture it
// belongs to, so a resumed run draws what the uninterrupted one would have drawn, on any number of threads.
// The stream is SplitMix64 (Steele, Lea, Flood 2014) started from a hash of the key.
package rng

import "math/bits"

// Purpose separates the streams that share a seed, step and index.
type Purpose uint64

const (
	PurposeInit      Purpose = 1 + iota // weights at the start; a = hash of the parameter's name
	PurposeMask                         // a = step
	PurposeCrop                         // a = epoch, b = picture
	PurposeShuffle                      // a = epoch
	PurposeRound                        // stochastic rounding; a = step, b = tensor
	PurposeProbe                        // splits and sampling when an encoder is judged
	PurposeDemo                         // the drawn picture set; a = class, b = picture
	PurposeCalibrate                    // which pictures calibrate a quantised encoder
	PurposeSlice                        // directions on which features are projected; a = step, b = direction
	PurposeDropPath                     // residual branches left out; a = step, b = picture and block
)

const gamma = 0x9e3779b97f4a7c15 // 2^64 / golden ratio, odd

// Source is one stream. It is a value: copy it to branch, make one per key.
type Source struct{ state uint64 }

// New returns the stream of a key. Different keys give unrelated streams.
func New(seed uint64, p Purpose, a, b uint64) Source {
	h := mix(seed + gamma)
	h = mix(h ^ (uint64(p) + gamma))
	h = mix(h ^ (a + 0x3c6ef372fe94f82b))
	return Source{mix(h ^ (b + 0x632be59bd9b4e019))}
}

// mix is SplitMix64's finaliser: a bijection in which every input bit reaches every output bit.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Uint64 returns 64 uniform bits.
func (s *Source) Uint64() uint64 {
	s.state += gamma
	return mix(s.state)
}

// Float64 returns a uniform multiple of 2^-53 in [0, 1).
func (s *Source) Float64() float64 { return float64(s.Uint64()>>11) * 0x1p-53 }

// IntN returns a uniform integer in [0, n), without bias (Lemire 2019). It panics unless n > 0.
func (s *Source) IntN(n int) int {
	if n <= 0 {
		panic("rng: IntN: n must be positive")
	}
	hi, lo := bits.Mul64(s.Uint64(), uint64(n))
	for reject := -uint64(n) % uint64(n); lo < reject; {
		hi, lo = bits.Mul64(s.Uint64(), uint64(n))
	}
	return int(hi)
}

// Norm returns a standard normal number cut to [-6, 6]: the sum of twelve uniforms less six (Irwin-Hall).
// It needs only integers and one exact scaling, so it is the same number on every machine; its kurtosis is
// 2.9 where the normal's is 3, which no initialisation of weights notices.
func (s *Source) Norm() float64 {
	var sum int64
	for range 6 { // two 32-bit uniforms from each draw
		u := s.Uint64()
		sum += int64(u>>32) + int64(u&0xffffffff)
	}
	return float64(sum-6<<32) * 0x1p-32
}

// Hash turns a name into a key component (FNV-1a).
func Hash(name string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 0x100000001b3
	}
	return h
}
