package fixed

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/kernels/kerneltest"
)

func geluExact(x float64) float64 { return x / 2 * math.Erfc(-x/math.Sqrt2) }

// Every 16-bit x gives an int8 within the bound of RequantGELU, at every scale.
func TestRequantGELUBound(t *testing.T) {
	for _, zero := range []int{0, -1, -77, -128} {
		for scale := 0x1p-10; scale <= 4; scale *= 1.39 {
			g, err := NewGELU(scale, zero)
			require.NoError(t, err)
			require.True(t, g.Fraction >= 5 && g.Fraction <= 12 && g.shift >= 1 && g.shift <= 8 && g.mult >= 1<<14, "%+v", g)
			worst := 0.0
			for x := -32768; x <= 32767; x++ {
				exact := geluExact(math.Ldexp(float64(x), -g.Fraction))/scale + float64(zero)
				worst = max(worst, math.Abs(float64(g.apply(int16(x)))-max(min(exact, 127), -128)))
			}
			require.LessOrEqual(t, worst, 0.5+1./128+(5.1e-4+math.Ldexp(1.5, -g.Fraction))/scale, "scale %g: %+v", scale, g)
			require.Greater(t, worst, 0.49)
			require.EqualValues(t, zero, g.apply(0))
			require.EqualValues(t, zero, g.apply(-32768))
			if g.Fraction < 12 { // x reaches as far as the output's range
				require.EqualValues(t, 127, g.apply(32767))
			}
		}
	}
	// Scales whose reciprocal has the mantissa at which the multiplier rounds to 2^15, and its neighbours.
	ties := 0
	for e := -9; e < 2; e++ {
		for scale, n := math.Ldexp(1/(1-0x1p-16), e), 0; n < 3; scale, n = math.Nextafter(scale, 0), n+1 {
			if f, _ := math.Frexp(1 / scale); f == 1-0x1p-16 {
				ties++
			}
			g, err := NewGELU(scale, -128)
			require.NoError(t, err)
			require.GreaterOrEqual(t, g.mult, int16(1<<14), "scale %g", scale)
			require.Greater(t, g.apply(32767), g.apply(0), "scale %g", scale)
		}
	}
	require.GreaterOrEqual(t, ties, 5)
	for _, bad := range []float64{0, -1, math.NaN(), math.Inf(1), 0x1p-11, 5} {
		_, err := NewGELU(bad, 0)
		require.Error(t, err)
	}
	for _, bad := range []int{-129, 1} {
		_, err := NewGELU(1, bad)
		require.Error(t, err)
	}
}

func TestRequantGELU(t *testing.T) {
	kerneltest.ForEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 5))
		for n, cols := range intCols {
			g, err := NewGELU(math.Ldexp(1+r.Float64(), n%11-10), -n*37%129)
			require.NoError(t, err)
			q := anyRequant(t, r, cols)
			if n%2 == 0 {
				q, _, _ = netRequant(t, r, cols, 1<<21, 1<<13)
			}
			rows, ld, ldacc := 1+n%5, cols+n%3, cols+n%2*5
			acc := fillI32(r, rows*ldacc, 21, true)
			dst := slices.Repeat([]int8{99}, rows*ld)
			RequantGELU(dst[:(rows-1)*ld+cols], ld, acc[:(rows-1)*ldacc+cols], ldacc, rows, cols, q, g)
			for i := range rows {
				for j := range ld {
					want := int8(99)
					if j < cols {
						v := requantOracle(acc[i*ldacc+j], q, j)
						want = g.apply(int16(max(min(v, 32767), -32768)))
					}
					require.Equal(t, want, dst[i*ld+j], "cols %d [%d,%d]", cols, i, j)
				}
			}
		}
		// All 16-bit inputs, through the identity.
		for i, scale := range []float64{0x1p-10, 0.02, 0.1, 1, 4} {
			g, err := NewGELU(scale, -32*i)
			require.NoError(t, err)
			q, err := NewRequant([]float64{1}, []float64{0}, 1<<16)
			require.NoError(t, err)
			all := &Requant{q.Lift, slices.Repeat(q.Mult, 512), slices.Repeat(q.Add, 512), slices.Repeat(q.Shift, 512)}
			acc, dst := make([]int32, 1<<16), make([]int8, 1<<16)
			for i := range acc {
				acc[i] = int32(i) - 32768
			}
			RequantGELU(dst, 512, acc, 512, 128, 512, all, g)
			for i, x := range acc {
				if want := g.apply(int16(x)); dst[i] != want {
					t.Fatalf("scale %g, %d: %d, want %d", scale, x, dst[i], want)
				}
			}
		}
	})
}

// What three ways to GELU keep of a normal signal, each with the best scales of a few: the table loses to the rounding of
// its input as well as to that of its output, RequantGELU to the latter alone, and a zero point halves the step.
func TestGELUSNR(t *testing.T) {
	for _, sigma := range []float64{0.5, 1, 2} {
		r := rand.New(rand.NewPCG(3, 5))
		const n, unit = 1 << 13, 1e-4
		acc := make([]int32, n)
		for i := range acc {
			acc[i] = int32(r.NormFloat64() * sigma / unit)
		}
		snr := func(y []int8, scale float64, zero int) float64 {
			signal, noise := 0.0, 0.0
			for i, a := range acc {
				e := geluExact(float64(a) * unit)
				d := float64(int(y[i])-zero)*scale - e
				signal, noise = signal+e*e, noise+d*d
			}
			return 10 * math.Log10(signal/noise)
		}
		requant := func(ratio float64) *Requant {
			q, err := NewRequant(slices.Repeat([]float64{ratio}, 256), make([]float64, 256), 1<<20)
			require.NoError(t, err)
			return q
		}
		x, y := make([]int8, n), make([]int8, n)
		direct := func(scale float64, zero int) float64 {
			g, err := NewGELU(scale, zero)
			require.NoError(t, err)
			RequantGELU(y, 256, acc, 256, n/256, 256, requant(math.Ldexp(unit, g.Fraction)), g)
			most := 0.5 + 1./128 + (5.1e-4+math.Ldexp(2.1, -g.Fraction))/scale
			for i, a := range acc {
				want := geluExact(float64(a)*unit)/scale + float64(zero)
				require.LessOrEqual(t, math.Abs(float64(y[i])-max(min(want, 127), -128)), most)
			}
			return snr(y, scale, zero)
		}
		table, plain, shifted := 0.0, 0.0, 0.0
		for clip := 2.5; clip < 5; clip += 0.25 {
			out, zero := clip*sigma/127, -128+int(math.Ceil(0.17*255/(clip*sigma+0.17)))
			plain, shifted = max(plain, direct(out, 0)), max(shifted, direct((clip*sigma+0.17)/255, zero))
			for inClip := 3.; inClip < 5; inClip += 0.25 {
				in := inClip * sigma / 127
				RequantI8(x, 256, acc, 256, n/256, 256, requant(unit/in))
				Lookup(y, x, GELUTable(in, out))
				table = max(table, snr(y, out, 0))
			}
		}
		t.Logf("sigma %g: %.1f dB by table, %.1f dB from the sums, %.1f dB with a zero point", sigma, table, plain, shifted)
		require.Greater(t, table, 35.)
		require.Greater(t, plain, table+1)
		require.Greater(t, shifted, plain+4.5)
	}
}
