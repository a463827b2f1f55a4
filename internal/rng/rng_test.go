package rng

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// The stream is part of the file format: a changed number changes every run, mask and crop.
func TestGolden(t *testing.T) {
	s := New(7, PurposeMask, 3, 11)
	var got [3]uint64
	for i := range got {
		got[i] = s.Uint64()
	}
	require.Equal(t, goldenStream, got)
}

func TestKeysSeparate(t *testing.T) {
	seen := map[uint64][4]uint64{}
	for seed := range uint64(6) {
		for p := range uint64(6) {
			for a := range uint64(12) {
				for b := range uint64(12) {
					s := New(seed, Purpose(p), a, b)
					v := s.Uint64()
					key := [4]uint64{seed, p, a, b}
					if other, ok := seen[v]; ok {
						t.Fatalf("%v and %v begin alike", key, other)
					}
					seen[v] = key
				}
			}
		}
	}
}

func TestIntNUniform(t *testing.T) {
	const n, draws = 7, 70000
	s := New(1, PurposeProbe, 0, 0)
	var count [n]float64
	for range draws {
		count[s.IntN(n)]++
	}
	chi := 0.0
	for _, c := range count {
		chi += (c - draws/n) * (c - draws/n) / (draws / n)
	}
	require.Less(t, chi, 27.9) // 6 degrees of freedom, p = 1e-4
	require.Greater(t, chi, 0.1, "too even to be random")
}

func TestNormMoments(t *testing.T) {
	const draws = 200000
	s := New(2, PurposeInit, 0, 0)
	var m1, m2, m4, far float64
	for range draws {
		x := s.Norm()
		far = max(far, math.Abs(x))
		m1 += x / draws
		m2 += x * x / draws
		m4 += x * x * x * x / draws
	}
	require.LessOrEqual(t, far, 6.0)
	require.Greater(t, far, 3.5, "one number in 2000 lies beyond")
	require.InDelta(t, 0, m1, 5/math.Sqrt(draws))
	require.InDelta(t, 1, m2, 5*math.Sqrt(1.9/draws))
	require.InDelta(t, 2.9, m4, 5*math.Sqrt(96.0/draws))
}

var goldenStream = [3]uint64{0x50d168004b93dff8, 0x1a838e9a75cc97a2, 0xfc793c438eabc00c}
