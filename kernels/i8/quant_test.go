package i8

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/kernels/kerneltest"
)

var (
	nan32 = float32(math.NaN())
	inf32 = float32(math.Inf(1))
)

// quantOracle quantises one row from the definition, with the standard library's rounding.
func quantOracle(x []float32) (q []int8, scale float32) {
	q = make([]int8, len(x))
	var absmax float32
	for _, v := range x {
		if v != v || math.IsInf(float64(v), 0) {
			return q, nan32
		}
		absmax = max(absmax, float32(math.Abs(float64(v))))
	}
	if absmax < 0x1p-100 {
		return q, 0
	}
	inv := 127 / absmax
	for i, v := range x {
		q[i] = int8(math.RoundToEven(float64(max(min(float32(v*inv), 127), -127))))
	}
	return q, absmax / 127
}

// quantRows are rows of every length around the vector widths, of every magnitude, with ties and non-finite values.
func quantRow(r *rand.Rand, cols, kind int) []float32 {
	x := make([]float32, cols)
	for i := range x {
		switch kind % 4 {
		case 0:
			x[i] = float32(r.NormFloat64())
		case 1: // ties: absmax 127, so x*inv is x
			x[i] = float32(r.IntN(509)-254) / 2
		case 2:
			x[i] = float32(r.NormFloat64() * math.Ldexp(1, r.IntN(250)-125))
		case 3:
			x[i] = math.Float32frombits(r.Uint32() &^ (1 << 29)) // any magnitude, no NaN
		}
	}
	if kind%4 == 1 {
		x[r.IntN(cols)] = -127
	}
	at := r.IntN(cols)
	switch kind {
	case 4:
		clear(x)
	case 5:
		clear(x)
		x[at] = -0x1p-149
	case 6:
		x[at] = nan32
	case 7:
		x[at] = -inf32
	case 8:
		x[at] = -math.MaxFloat32
	case 9:
		x[at] = math.Float32frombits(0xff800001) // a signalling NaN
	case 10:
		for i := range x {
			x[i] = float32(math.Copysign(0x1p-100, float64(x[i])))
		}
	}
	return x
}

const quantKinds = 11

func sameBits(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }

func TestQuantizeRows(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(9, 1))
		for cols := 1; cols < 140; cols++ {
			var x []float32
			for kind := range quantKinds {
				x = append(x, quantRow(r, cols, kind)...)
			}
			was := slices.Clone(x)
			ldq := cols + cols%3
			q := slices.Repeat([]int8{99}, quantKinds*ldq+32)
			scale := slices.Repeat([]float32{-1}, quantKinds+2)
			QuantizeRows(q[:(quantKinds-1)*ldq+cols], scale, x, quantKinds, cols, ldq)
			for i := range quantKinds {
				want, s := quantOracle(x[i*cols : (i+1)*cols])
				require.Equal(t, want, q[i*ldq:i*ldq+cols], "cols %d kind %d", cols, i)
				require.True(t, sameBits(scale[i], s) || s != s && scale[i] != scale[i],
					"cols %d kind %d: scale %g, want %g", cols, i, scale[i], s)
				for _, v := range q[i*ldq+cols : max((i+1)*ldq, len(q)*(i/(quantKinds-1)))] {
					require.EqualValues(t, 99, v, "cols %d: written outside row %d", cols, i)
				}
			}
			require.Equal(t, []float32{-1, -1}, scale[quantKinds:])
			require.True(t, slices.EqualFunc(was, x, sameBits), "the input was modified")
		}
	})
}

// Rounding is to even on both sides of every half.
func TestQuantizeRowsTies(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		x := []float32{127}
		for v := float32(-126.5); v <= 126.5; v++ {
			x = append(x, math.Nextafter32(v, -200), v, math.Nextafter32(v, 200))
		}
		q, scale := make([]int8, len(x)), make([]float32, 1)
		QuantizeRows(q, scale, x, 1, len(x), len(x))
		require.EqualValues(t, 1, scale[0])
		for i, v := range x {
			require.EqualValues(t, math.RoundToEven(float64(v)), q[i], "%v", v)
		}
	})
}

// chainSum is the largest sum of magnitudes of a chain, from the definition.
func chainSum(q []int8) (most int) {
	for b := 0; b < len(q); b += 32 {
		for i := range 8 {
			sum := 0
			for k := b + i; k < min(b+32, len(q)); k += 8 {
				sum += max(int(q[k]), -int(q[k]))
			}
			most = max(most, sum)
		}
	}
	return most
}

func TestQuantizeWeights(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(2, 9))
		tight := 0
		for k := 1; k < 140; k++ {
			const n = 9
			w := make([]float32, n*k)
			for i := range w {
				switch i / k {
				case 0:
					w[i] = 0.25 // every chain of the same values
				case 1:
					w[i] = float32(r.IntN(2)*2 - 1)
				case 2:
					w[i] = float32(r.Float64()*2 - 1)
				case 3:
					w[i] = 0
				default:
					w[i] = float32(r.NormFloat64())
				}
			}
			w[4*k], w[5*k+k-1], w[6*k] = nan32, inf32, math.MaxFloat32
			q, scale := make([]int8, n*k), make([]float32, n)
			QuantizeWeights(q, scale, w, n, k)
			require.NoError(t, CheckChains(q, n, k))
			for j := range n {
				row, s := w[j*k:(j+1)*k], scale[j]
				if j == 3 {
					require.Zero(t, s)
				}
				if j == 4 || j == 5 {
					require.True(t, s != s)
					s = 0
				}
				if s == 0 {
					require.Equal(t, make([]int8, k), q[j*k:(j+1)*k])
					continue
				}
				most := chainSum(q[j*k : (j+1)*k])
				require.LessOrEqual(t, most, chainMax)
				if most >= 252 {
					tight++
				}
				full := false
				for i, v := range row {
					require.InDelta(t, float64(v), float64(s)*float64(q[j*k+i]), float64(s)*(0.5+0x1p-15))
					full = full || max(q[j*k+i], -q[j*k+i]) == 127
				}
				require.True(t, full || most >= chainMax-chainLen, "k %d channel %d: the scale is larger than it must be", k, j)
			}
		}
		require.Greater(t, tight, 100, "no chain came near its limit: the rule was not tested")
	})
}

func TestQuantizeWeightsSameOnEveryPath(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 3))
	const n, k = 20, 333
	w := make([]float32, n*k)
	for i := range w {
		w[i] = float32(r.NormFloat64() * math.Ldexp(1, i/k*11-100))
	}
	var q0 []int8
	var s0 []float32
	kerneltest.ForEachISA(t, func(t *testing.T) {
		q, scale := make([]int8, n*k), make([]float32, n)
		QuantizeWeights(q, scale, w, n, k)
		if q0 == nil {
			q0, s0 = q, scale
		}
		require.Equal(t, q0, q)
		require.True(t, slices.EqualFunc(s0, scale, sameBits))
	})
}

func TestQuantCheckChains(t *testing.T) {
	const n, k = 3, 70
	for lane := range 8 {
		for base := 0; base+24+lane < k; base += 32 {
			q := make([]int8, n*k)
			c := q[k+base+lane:]
			c[0], c[8], c[16], c[24] = 64, -64, 64, -63
			require.NoError(t, CheckChains(q, n, k))
			c[24] = 64
			require.ErrorContains(t, CheckChains(q, n, k), "channel 1")
			c[24], c[25] = 63, 127 // another chain
			require.NoError(t, CheckChains(q, n, k))
		}
	}
	q := make([]int8, n*k)
	q[2*k+69], q[2*k+65] = -127, 127 // the last block is short
	require.NoError(t, CheckChains(q, n, k))
	q[2*k+69] = -128
	require.ErrorContains(t, CheckChains(q, n, k), "channel 2 at k 69")
	require.Error(t, CheckChains(q[:5], n, k))

	r := rand.New(rand.NewPCG(4, 4)) // the sums in words against the definition, on both sides of the limit
	fits := 0
	for range 4000 {
		q := make([]int8, 32)
		for i := range q {
			q[i] = int8(r.IntN(2*100) - 100)
			if r.IntN(2) > 0 {
				q[i] /= 2
			}
		}
		want := chainSum(q) <= chainMax
		require.Equal(t, want, CheckChains(q, 1, 32) == nil)
		if want {
			fits++
		}
	}
	require.True(t, fits > 400 && fits < 3600, "one-sided: %d of 4000 fit", fits)
}

func TestDequant(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(6, 6))
		for cols := 1; cols < 70; cols++ {
			const rows = 3
			ldd, ldacc := cols+cols%4, cols+cols%3
			acc := make([]int32, rows*ldacc)
			for i := range acc {
				acc[i] = int32(r.Uint32()) >> r.IntN(32)
			}
			acc[0] = math.MinInt32
			sa, sw, bias := make([]float32, rows), make([]float32, cols), make([]float32, cols)
			for i := range sa {
				sa[i] = r.Float32()
			}
			for j := range sw {
				sw[j], bias[j] = r.Float32(), float32(r.NormFloat64()*1e5)
			}
			for _, b := range [][]float32{nil, bias} {
				dst := slices.Repeat([]float32{-7}, rows*ldd+16)
				Dequant(dst[:(rows-1)*ldd+cols], ldd, acc[:(rows-1)*ldacc+cols], ldacc, rows, cols, sa, sw, b)
				for i, got := range dst {
					want := float32(-7)
					if y, x := i/ldd, i%ldd; y < rows && x < cols {
						s := float32(sa[y] * sw[x])
						want = float32(float32(acc[y*ldacc+x]) * s)
						if b != nil {
							want += b[x]
						}
					}
					require.True(t, sameBits(want, got), "cols %d, dst[%d] = %g, want %g", cols, i, got, want)
				}
			}
		}
	})
}

func TestQuantAllocs(t *testing.T) {
	const n, k = 6, 50
	x, q, scale, acc := make([]float32, n*k), make([]int8, n*k), make([]float32, k), make([]int32, n*k)
	require.Zero(t, testing.AllocsPerRun(10, func() {
		QuantizeRows(q, scale, x, n, k, k)
		QuantizeWeights(q, scale, x, n, k)
		Dequant(x, k, acc, k, n, k, scale, scale, nil)
	}))
}
