package kernels

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/fp"
	"edgejepa/internal/noise"
	"edgejepa/kernels/kerneltest"
)

// halfKernels lists every kernel that stores halves, on n elements. The operands are x, of floats, and h, of halves; the
// last half operand is what nearest rounding would change.
var halfKernels = []struct {
	name          string
	floats, halfs int
	run           func(x [][]float32, h [][]uint16, bits noise.Stream)
}{
	{"RoundHalf", 1, 1, func(x [][]float32, h [][]uint16, bits noise.Stream) { RoundHalf(h[0], x[0], bits) }},
	{"LerpHalf", 1, 1, func(x [][]float32, h [][]uint16, bits noise.Stream) { LerpHalf(h[0], x[0], 0.996, bits) }},
	{"AdamW.StepHalf", 2, 2, func(x [][]float32, h [][]uint16, bits noise.Stream) {
		testAdamW.StepHalf(x[0], x[1], h[0], h[1], 0.7, bits)
	}},
	{"AdamW.StepHalfEMA", 3, 2, func(x [][]float32, h [][]uint16, bits noise.Stream) {
		testAdamW.StepHalfEMA(x[0], x[1], h[0], h[1], x[2], 0.7, 0.996, bits)
	}},
	{"AdamW.StepHalfEMAHalf", 2, 3, func(x [][]float32, h [][]uint16, bits noise.Stream) {
		testAdamW.StepHalfEMAHalf(x[0], x[1], h[0], h[1], h[2], 0.7, 0.996, bits)
	}},
}

// equalHalves is kerneltest.EqualBits for halves: any NaN is as good as another.
func equalHalves(want, got []uint16) error {
	if len(want) != len(got) {
		return fmt.Errorf("length %d, want %d", len(got), len(want))
	}
	for i, w := range want {
		if g := got[i]; g != w && !(fp.Half(g).IsNaN() && fp.Half(w).IsNaN()) {
			return fmt.Errorf("[%d] of %d: half %#04x, want %#04x", i, len(want), g, w)
		}
	}
	return nil
}

func TestEqualHalves(t *testing.T) {
	require.NoError(t, equalHalves([]uint16{1, 0x7e00}, []uint16{1, 0xfe01}))
	for _, c := range [][2][]uint16{{{1}, {2}}, {{1}, {1, 2}}, {{0}, {0x8000}}, {{0x7c00}, {0x7c01}}, {{0x7c01}, {0x7c00}}} {
		require.Error(t, equalHalves(c[0], c[1]))
	}
}

// fillHalves sets h to the halves of values of kind k.
func fillHalves(h []uint16, k kerneltest.Kind, seed uint64) {
	x := make([]float32, len(h))
	kerneltest.Fill(x, k, seed)
	if k == kerneltest.Denormal { // those of halves
		for i := range x {
			x[i] *= 0x1p114
		}
	}
	fp.EncodeHalf(h, x)
}

// Every path gives the bits of the generic one, at every length and misalignment, and stays inside its slices.
func TestHalfPathsAgree(t *testing.T) {
	const guard = 0xabcd
	forEachISA(t, func(t *testing.T) {
		for _, k := range halfKernels {
			for _, n := range sizes() {
				for shift, kind := range kerneltest.Kinds {
					var x, wantX [][]float32
					var h, wantH, around [][]uint16
					var bufs []*kerneltest.Buffer
					for i := range k.floats {
						b := kerneltest.NewBuffer(n, (i+shift)%4)
						kerneltest.Fill(b.X, kind, uint64(100*n+i))
						bufs, x, wantX = append(bufs, b), append(x, b.X), append(wantX, slices.Clone(b.X))
					}
					for i := range k.halfs {
						all := make([]uint16, n+32)
						for j := range all {
							all[j] = guard
						}
						v := all[8+(i+shift)%8:][:n]
						fillHalves(v, kind, uint64(100*n+50+i))
						around, h, wantH = append(around, all), append(h, v), append(wantH, slices.Clone(v))
					}
					bits := noise.Stream{Key: uint32(n), Index: 0xfffffff0 + uint32(shift)} // the index may wrap around
					onGeneric(func() { k.run(wantX, wantH, bits) })
					k.run(x, h, bits)
					var err error
					for i, b := range bufs {
						err = errors.Join(err, kerneltest.EqualBits(wantX[i], x[i]), b.Check())
					}
					for i, all := range around {
						err = errors.Join(err, equalHalves(wantH[i], h[i]))
						from := 8 + (i+shift)%8
						for j, v := range all {
							if (j < from || j >= from+n) && v != guard {
								err = errors.Join(err, fmt.Errorf("smashed h%d[%d]", i, j-from))
							}
						}
					}
					if err != nil {
						t.Fatalf("%s, n %d, %v: %v", k.name, n, kind, err)
					}
				}
			}
		}
	})
}

// A vector cut into pieces, the noise moved along, gives the bits of the whole; with noise that stays it does not.
func TestHalfMayBeCut(t *testing.T) {
	const n, cut = 201, 83
	forEachISA(t, func(t *testing.T) {
		for _, k := range halfKernels {
			run := func(first, second noise.Stream, at int) (x [][]float32, h [][]uint16) {
				for i := range k.floats {
					x = append(x, filled(n, kerneltest.Normal, uint64(i)))
				}
				for i := range k.halfs {
					h = append(h, make([]uint16, n))
					fillHalves(h[i], kerneltest.Normal, uint64(9+i))
				}
				part := func(from, to int, bits noise.Stream) {
					var xs [][]float32
					var hs [][]uint16
					for i := range x {
						xs = append(xs, x[i][from:to])
					}
					for i := range h {
						hs = append(hs, h[i][from:to])
					}
					k.run(xs, hs, bits)
				}
				part(0, at, first)
				part(at, n, second)
				return x, h
			}
			bits := noise.Stream{Key: 3, Index: 5}
			wantX, wantH := run(bits, bits, n)
			x, h := run(bits, bits.At(cut), cut)
			require.Equal(t, wantX, x, k.name)
			require.Equal(t, wantH, h, k.name)
			_, h = run(bits, bits, cut)
			require.NotEqual(t, wantH, h, k.name)
			_, h = run(noise.Stream{Key: 4, Index: 5}, bits, n)
			require.NotEqual(t, wantH, h, k.name)
		}
	})
}

// With memory that may not be touched right before and right behind every slice, nothing reads beyond either.
func TestHalfStaysInside(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		for _, k := range halfKernels {
			for _, n := range []int{1, 5, 15, 16, 17, 31, 33, 47, 67} {
				for _, atEnd := range []bool{true, false} {
					var x [][]float32
					var h [][]uint16
					for range k.floats {
						x = append(x, kerneltest.Fenced(t, n, atEnd))
					}
					for range k.halfs {
						h = append(h, kerneltest.FencedAs[uint16](t, n, atEnd))
					}
					k.run(x, h, noise.Stream{})
				}
			}
		}
	})
}

func TestHalfAllocatesNothing(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		for _, k := range halfKernels {
			x, h := make([][]float32, k.floats), make([][]uint16, k.halfs)
			for i := range x {
				x[i] = make([]float32, 83)
			}
			for i := range h {
				h[i] = make([]uint16, 83)
			}
			require.Zero(t, testing.AllocsPerRun(5, func() { k.run(x, h, noise.Stream{}) }), k.name)
		}
	})
}

func TestHalfPanicsOnWrongShapes(t *testing.T) {
	x2, x3, h2, h3 := make([]float32, 2), make([]float32, 3), make([]uint16, 2), make([]uint16, 3)
	var c AdamW
	for name, f := range map[string]func(){
		"RoundHalf":         func() { RoundHalf(h2, x3, noise.Stream{}) },
		"LerpHalf":          func() { LerpHalf(h3, x2, 1, noise.Stream{}) },
		"StepHalf g":        func() { c.StepHalf(x2, x3, h2, h2, 1, noise.Stream{}) },
		"StepHalf m":        func() { c.StepHalf(x2, x2, h3, h2, 1, noise.Stream{}) },
		"StepHalf s":        func() { c.StepHalf(x2, x2, h2, h3, 1, noise.Stream{}) },
		"StepHalfEMA":       func() { c.StepHalfEMA(x2, x2, h2, h2, x3, 1, 1, noise.Stream{}) },
		"StepHalfEMA m":     func() { c.StepHalfEMA(x2, x2, h3, h2, x2, 1, 1, noise.Stream{}) },
		"StepHalfEMAHalf":   func() { c.StepHalfEMAHalf(x2, x2, h2, h2, h3, 1, 1, noise.Stream{}) },
		"StepHalfEMAHalf s": func() { c.StepHalfEMAHalf(x2, x2, h2, h3, h2, 1, 1, noise.Stream{}) },
	} {
		require.Panics(t, f, name)
	}
}

// One hash for every machine and path, NaN being one value.
func TestHalfBitsAreTheSameEverywhere(t *testing.T) {
	const want = "345162f8e4d21edc"
	forEachISA(t, func(t *testing.T) {
		sum := sha256.New()
		for _, k := range halfKernels {
			for _, n := range []int{7, 16, 43, 384} {
				for _, kind := range kerneltest.Kinds {
					var x [][]float32
					var h [][]uint16
					for i := range k.floats {
						x = append(x, filled(n, kind, uint64(i)))
					}
					for i := range k.halfs {
						h = append(h, make([]uint16, n))
						fillHalves(h[i], kind, uint64(9+i))
					}
					k.run(x, h, noise.Stream{Key: 1, Index: uint32(n)})
					for _, x := range x {
						for i, v := range x {
							if v != v {
								x[i] = float32(math.NaN())
							}
						}
						require.NoError(t, binary.Write(sum, binary.LittleEndian, x))
					}
					for _, h := range h {
						for i, v := range h {
							if fp.Half(v).IsNaN() {
								h[i] = 0x7e00
							}
						}
						require.NoError(t, binary.Write(sum, binary.LittleEndian, h))
					}
				}
			}
		}
		require.Equal(t, want, hex.EncodeToString(sum.Sum(nil)[:8]))
	})
}
