package kerneltest

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	nan = float32(math.NaN())
	inf = float32(math.Inf(1))
)

// A comparator that cannot fail proves nothing, so each has its negative controls.
func TestEqualBits(t *testing.T) {
	require.NoError(t, EqualBits(nil, nil))
	require.NoError(t, EqualBits([]float32{1, -inf, nan}, []float32{1, -inf, math.Float32frombits(0xffc00001)}))
	for _, c := range [][2][]float32{
		{{1}, {1, 2}},
		{{1, 2}, {1}},
		{{0}, {float32(math.Copysign(0, -1))}},
		{{1}, {math.Nextafter32(1, 2)}},
		{{nan}, {1}},
		{{1}, {nan}},
		{{inf}, {-inf}},
	} {
		require.Error(t, EqualBits(c[0], c[1]), "%v %v", c[0], c[1])
	}
	require.NoError(t, EqualBits64(math.NaN(), math.NaN()))
	require.NoError(t, EqualBits64(1, 1))
	require.Error(t, EqualBits64(1, math.Nextafter(1, 2)))
	require.Error(t, EqualBits64(math.NaN(), 1))
	require.Error(t, EqualBits64(1, math.NaN()))
}

func TestWithin(t *testing.T) {
	require.NoError(t, Within([]float64{100, -100, 0, math.Inf(1)}, []float32{101, -99, 0.5, inf}, 0.5, 0.01))
	for _, c := range []struct {
		want float64
		got  float32
	}{
		{100, 101.6}, {-100, -101.6}, {-100, 100}, {0, 0.6}, {0, -0.6},
		{0, nan}, {math.NaN(), 0}, {math.NaN(), nan}, {math.Inf(1), 1e30}, {1, inf}, {math.Inf(1), -inf},
	} {
		require.Error(t, Within([]float64{c.want}, []float32{c.got}, 0.5, 0.01), "%v", c)
	}
	require.Error(t, Within([]float64{1, 2}, []float32{1}, 1, 1))
}

func TestBufferCheck(t *testing.T) {
	for offset := range 4 {
		for _, n := range []int{0, 1, 17} {
			b := NewBuffer(n, offset)
			require.Len(t, b.X, n)
			Fill(b.X, Special, 1)
			require.NoError(t, b.Check())
			for _, at := range []int{b.from - 1, b.from + n, 0, len(b.all) - 1} {
				was := b.all[at]
				b.all[at] = 0
				require.Error(t, b.Check(), "n %d, word %d", n, at)
				b.all[at] = was
			}
		}
	}
}

func TestFill(t *testing.T) {
	x, y := make([]float32, 4096), make([]float32, 4096)
	for _, k := range Kinds {
		Fill(x, k, 7)
		Fill(y, k, 7)
		require.NoError(t, EqualBits(x, y), "%v is not a function of its seed", k)
		Fill(y, k, 8)
		require.Error(t, EqualBits(x, y), "%v ignores its seed", k)
		var nans, infs, denormals, negative int
		for _, v := range x {
			a := math.Abs(float64(v))
			switch {
			case v != v:
				nans++
			case math.IsInf(a, 1):
				infs++
			case a > 0 && a < 0x1p-126:
				denormals++
			}
			if v < 0 {
				negative++
			}
		}
		require.Greater(t, negative, len(x)/4, "%v", k)
		require.Equal(t, k == Special, nans > 0 && infs > 0, "%v", k)
		if k == Denormal {
			require.Greater(t, denormals, len(x)/2)
		}
	}
}

// TestGradient: a right gradient passes at 1e-4, and each way of being wrong fails at the 1e-3 that tests ask for.
func TestGradient(t *testing.T) {
	x, y := make([]float32, 50), make([]float32, 50)
	Fill(x, Normal, 1)
	Fill(y, Normal, 2)
	f := func() (s float64) { // sum of x^3 y / 3
		for i, v := range x {
			s += math.Pow(float64(v), 3) * float64(y[i]) / 3
		}
		return s
	}
	grad := func(change func(g []float32)) []float32 {
		g := make([]float32, len(x))
		for i, v := range x {
			g[i] = v * v * y[i]
		}
		change(g)
		return g
	}
	was := slices.Clone(x)
	require.Less(t, Gradient(x, grad(func([]float32) {}), f), 1e-4)
	require.Equal(t, was, x)
	largest := func(g []float32) int {
		at := 0
		for i, v := range g {
			if math.Abs(float64(v)) > math.Abs(float64(g[at])) {
				at = i
			}
		}
		return at
	}
	for name, change := range map[string]func(g []float32){
		"sign": func(g []float32) {
			for i := range g {
				g[i] = -g[i]
			}
		},
		"one percent": func(g []float32) {
			for i := range g {
				g[i] *= 1.01
			}
		},
		"one element lost":   func(g []float32) { g[largest(g)] = 0 },
		"one element's sign": func(g []float32) { g[3] = -g[3] },
		"order":              func(g []float32) { slices.Reverse(g) },
		"nothing":            func(g []float32) { clear(g) },
		"NaN":                func(g []float32) { g[7] = float32(math.NaN()) },
	} {
		require.False(t, Gradient(x, grad(change), f) < 5e-3, name)
	}
}
