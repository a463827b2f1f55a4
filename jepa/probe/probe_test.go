package probe

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/parallel"
	"edgejepa/internal/rng"
)

func pool(t *testing.T, workers int) *parallel.Pool {
	p := parallel.New(workers)
	t.Cleanup(p.Close)
	return p
}

// The reference's figures on its own data (testdata/README.md).
func TestGoldenProbe(t *testing.T) {
	text, err := os.ReadFile("../../testdata/golden/probe.json")
	require.NoError(t, err)
	var g struct {
		D                   int
		TrainX              []float32 `json:"train_x8"`
		TrainY              []int32   `json:"train_y"`
		TestX               []float32 `json:"test_x8"`
		TestY               []int32   `json:"test_y"`
		Linear, KNN, RankMe float64
		FeatureStd          float64 `json:"feature_std"`
	}
	require.NoError(t, json.Unmarshal(text, &g))
	features := func(x []float32, y []int32) Features {
		for i := range x {
			x[i] /= 8
		}
		return Features{x, y, len(y), g.D}
	}
	train, test := features(g.TrainX, g.TrainY), features(g.TestX, g.TestY)
	require.NoError(t, train.Check())
	p := pool(t, 2)
	require.InDelta(t, g.KNN, KNN(p, train, test, 20, 0.1), 1e-4) // one picture is 1.1
	require.InDelta(t, g.Linear, Linear(p, train, test), 1e-4)
	require.InDelta(t, g.RankMe, RankMe(p, train), 1e-6)
	require.InDelta(t, g.FeatureStd, FeatureStd(train), 1e-6)

	// The figures depend on the parameters that they are said to have.
	require.NotEqual(t, KNN(p, train, test, 20, 0.1), KNN(p, train, test, 3, 0.1))
	require.NotEqual(t, KNN(p, train, test, 20, 0.1), KNN(p, train, test, 20, 10))
}

// blobs are classes that overlap, as features with an offset and unequal scales.
func blobs(seed uint64, n, d, classes int, noise float64) Features {
	f := Features{N: n, D: d}
	for i := range n {
		r := rng.New(seed, rng.PurposeProbe, 1, uint64(i))
		c := r.IntN(classes)
		f.Y = append(f.Y, int32(c))
		for j := range d {
			center := rng.New(99, rng.PurposeProbe, uint64(c), uint64(j))
			f.X = append(f.X, float32((center.Norm()+noise*r.Norm())*(0.1+float64(j)/float64(d))+3))
		}
	}
	return f
}

// nearestByHand is KNN in float64, sorting all of the training pictures.
func nearestByHand(train, test Features, k int, temperature float64) float64 {
	d := train.D
	mean := make([]float64, d)
	for i, x := range train.X {
		mean[i%d] += float64(x) / float64(train.N)
	}
	cosine := func(a, b []float32) float64 {
		var ab, aa, bb float64
		for j := range a {
			x, y := float64(a[j])-mean[j], float64(b[j])-mean[j]
			ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
		}
		return ab / math.Sqrt(aa*bb)
	}
	hit := 0
	for i := range test.N {
		s, order := make([]float64, train.N), make([]int, train.N)
		for j := range s {
			s[j], order[j] = cosine(test.X[i*d:][:d], train.X[j*d:][:d]), j
		}
		slices.SortStableFunc(order, func(a, b int) int {
			switch {
			case s[a] > s[b]:
				return -1
			case s[a] < s[b]:
				return 1
			}
			return 0
		})
		votes := make([]float64, train.Classes())
		for _, j := range order[:min(k, len(order))] {
			votes[train.Y[j]] += math.Exp(s[j] / temperature)
		}
		if int32(slices.Index(votes, slices.Max(votes))) == test.Y[i] {
			hit++
		}
	}
	return 100 * float64(hit) / float64(test.N)
}

func TestKNNByHand(t *testing.T) {
	p := pool(t, 3)
	for _, n := range []int{2, 7, knnBlock, knnBlock + 1, 2*knnBlock + 77} { // fewer than k, whole blocks, and not
		for _, tests := range []int{1, knnQueries, knnQueries + 5} {
			train, test := blobs(1, n, 19, 4, 1.5), blobs(2, tests, 19, 4, 1.5)
			require.Equal(t, nearestByHand(train, test, 20, 0.1), KNN(p, train, test, 20, 0.1), "%d, %d", n, tests)
		}
	}
}

func TestKNNTies(t *testing.T) {
	p := pool(t, 2)
	// The query is as near to the first training picture as to the second, which has the smaller label.
	train := Features{X: []float32{1, 0, 1, 0, -1, 0, -1, 0}, Y: []int32{2, 1, 0, 0}, N: 4, D: 2}
	for want, k := range map[int32]int{2: 1, 1: 2} { // one neighbour: the first; two that vote alike: the smaller class
		test := Features{X: []float32{3, 0}, Y: []int32{want}, N: 1, D: 2}
		require.Equal(t, 100.0, KNN(p, train, test, k, 0.1), "k %d", k)
	}
}

func TestThreadsChangeNothing(t *testing.T) {
	train, test := blobs(1, 1500, 21, 5, 2), blobs(2, 300, 21, 5, 2)
	fit := func(workers int) ([]float64, [3]float64) {
		p := pool(t, workers)
		mean, std := train.moments()
		l := newLogistic(p, standardized(train, mean, std), train.Y, train.D, 5)
		w := make([]float64, 22*5)
		lbfgs{eval: l.eval, iterations: 30, history: 10}.minimize(w)
		return w, [3]float64{KNN(p, train, test, 20, 0.1), Linear(p, train, test), RankMe(p, train)}
	}
	weights, figures := fit(1)
	for _, workers := range []int{2, 5} {
		w, f := fit(workers)
		require.Equal(t, weights, w)
		require.Equal(t, figures, f)
	}
}

func TestProbesLearnAndControl(t *testing.T) {
	p := pool(t, 2)
	train, test := blobs(1, 800, 16, 4, 0.7), blobs(2, 400, 16, 4, 0.7)
	require.Greater(t, KNN(p, train, test, 20, 0.1), 90.0)
	require.Greater(t, Linear(p, train, test), 90.0)
	// Labels that have nothing to do with the pictures: chance, within 5 sigma of 400 tosses.
	for k, y := range [][]int32{train.Y, test.Y} {
		for i := range y {
			r := rng.New(8, rng.PurposeProbe, uint64(k), uint64(i))
			y[i] = int32(r.IntN(4))
		}
	}
	chance := 5 * 100 * math.Sqrt(0.25*0.75/400)
	require.InDelta(t, 25, KNN(p, train, test, 20, 0.1), chance)
	require.InDelta(t, 25, Linear(p, train, test), chance)
}

// A collapsed or broken encoder must yield a figure, not a crash.
func TestDegenerateFeatures(t *testing.T) {
	p := pool(t, 2)
	nan := float32(math.NaN())
	for name, x := range map[string]func(i int) float32{
		"constant": func(int) float32 { return 0.7 },
		"zero":     func(int) float32 { return 0 },
		"NaN":      func(int) float32 { return nan },
		"some NaN": func(i int) float32 { return []float32{nan, 1, 2}[i%3] },
		"huge":     func(i int) float32 { return float32(i%7-3) * 1e30 },
		"infinite": func(i int) float32 { return []float32{float32(math.Inf(1)), 1, -2}[i%3] },
		"tiny":     func(i int) float32 { return float32(i%5) * 1e-40 },
	} {
		f := blobs(1, 60, 9, 3, 1)
		for i := range f.X {
			f.X[i] = x(i)
		}
		for _, v := range []float64{KNN(p, f, f, 20, 0.1), Linear(p, f, f)} {
			require.True(t, v >= 0 && v <= 100, "%s: %g", name, v)
		}
		require.GreaterOrEqual(t, RankMe(p, f), 0.0, name)
	}
	none := Features{D: 4}
	require.Zero(t, KNN(p, none, none, 20, 0.1))
	require.Zero(t, Linear(p, none, none))
	require.Zero(t, RankMe(p, none))
	require.Zero(t, FeatureStd(none))

	// A class that training has not seen is missed; a single class is right.
	train, test := blobs(1, 50, 4, 1, 1), blobs(2, 50, 4, 2, 1)
	seen := 0.0
	for _, y := range test.Y {
		seen += float64(1 - y)
	}
	require.Equal(t, 2*seen, KNN(p, train, test, 20, 0.1))
	require.Equal(t, 2*seen, Linear(p, train, test))
}

func TestCheck(t *testing.T) {
	good := blobs(1, 10, 3, 2, 1)
	require.NoError(t, good.Check())
	for want, edit := range map[string]func(*Features){
		"no features":              func(f *Features) { *f = Features{} },
		"30 numbers and 9 labels":  func(f *Features) { f.Y = f.Y[:9] },
		"29 numbers and 10 labels": func(f *Features) { f.X = f.X[:29] },
		"picture 3 has class -1":   func(f *Features) { f.Y[3] = -1 },
		"the encoder has diverged": func(f *Features) { f.X[4] = float32(math.Inf(1)) },
	} {
		f := blobs(1, 10, 3, 2, 1)
		edit(&f)
		require.ErrorContains(t, f.Check(), want)
	}
}

func TestSplit(t *testing.T) {
	var y []int32
	for c, n := range []int{1, 2, 3, 10, 100} {
		for range n {
			y = append(y, int32(c))
		}
	}
	train, test := Split(y, 0.2, 1)
	require.True(t, slices.IsSorted(train) && slices.IsSorted(test))
	require.ElementsMatch(t, slices.Concat(train, test), upTo(len(y)))
	count := make([]int, 5)
	for _, i := range test {
		count[y[i]]++
	}
	require.Equal(t, []int{0, 1, 1, 2, 20}, count)

	again, _ := Split(y, 0.2, 1)
	require.Equal(t, train, again)
	other, _ := Split(y, 0.2, 2)
	require.NotEqual(t, train, other)

	few := Draw(y, 2, 1)
	require.True(t, slices.IsSorted(few))
	clear(count)
	for _, i := range few {
		count[y[i]]++
	}
	require.Equal(t, []int{1, 2, 2, 2, 2}, count)
	require.Equal(t, few, Draw(y, 2, 1))
	require.NotEqual(t, few, Draw(y, 2, 2))

	f := blobs(1, len(y), 3, 5, 1)
	g := f.Rows(test)
	require.NoError(t, g.Check())
	require.Equal(t, f.X[test[4]*3:test[4]*3+3], g.X[12:15])
	require.Equal(t, f.Y[test[4]], g.Y[4])
}

func upTo(n int) []int {
	x := make([]int, n)
	for i := range x {
		x[i] = i
	}
	return x
}

func TestRankMe(t *testing.T) {
	p := pool(t, 2)
	// Columns of a Hadamard matrix are centred and orthogonal: the singular values are the scales, times sqrt(32).
	scaled := func(scales ...float64) Features {
		f := Features{N: 32, D: len(scales), Y: make([]int32, 32)}
		for i := range 32 {
			for j, s := range scales {
				sign := 1 - 2*(parity(i&(j+1)))
				f.X = append(f.X, float32(float64(sign)*s+5))
			}
		}
		return f
	}
	require.InDelta(t, 6, RankMe(p, scaled(2, 2, 2, 2, 2, 2)), 1e-4) // the 1e-7 in p adds a few 1e-6
	require.InDelta(t, 3, RankMe(p, scaled(2, 0, 2, 0, 2, 0)), 1e-4)
	require.InDelta(t, 1, RankMe(p, scaled(0, 0, 4, 0, 0, 0)), 1e-4)
	require.InDelta(t, math.Exp(0.25*math.Log(4)+0.75*math.Log(4.0/3)), RankMe(p, scaled(1, 3)), 1e-4)
	require.Equal(t, 1.0, RankMe(p, scaled(0, 0, 0)))

	// Fewer pictures than features: at most one dimension a picture, less the mean's.
	wide := blobs(1, 12, 40, 3, 1)
	require.Less(t, RankMe(p, wide), 11.01)
	require.Greater(t, RankMe(p, wide), 8.0)
	// Either matrix gives the same: four copies of every picture double all singular values. The larger matrix has 28
	// zeros more, whose p of 1e-7 add 28 * 1e-7 * -log(1e-7) = 5e-5 to the entropy.
	tall := wide
	tall.X, tall.Y, tall.N = nil, nil, 48
	for range 4 {
		tall.X, tall.Y = append(tall.X, wide.X...), append(tall.Y, wide.Y...)
	}
	require.InEpsilon(t, RankMe(p, wide), RankMe(p, tall), 1e-4)
}

func parity(i int) int {
	n := 0
	for ; i > 0; i &= i - 1 {
		n ^= 1
	}
	return n
}

func TestFeatureStd(t *testing.T) {
	f := Features{X: []float32{1, 10, 3, 10, 5, 10, 7, 10}, Y: make([]int32, 4), N: 4, D: 2}
	require.InDelta(t, math.Sqrt(20.0/3)/2, FeatureStd(f), 1e-12)
}

func TestLBFGS(t *testing.T) {
	rosenbrock := func(x, g []float64) float64 {
		a, b := 1-x[0], x[1]-x[0]*x[0]
		g[0], g[1] = -2*a-400*x[0]*b, 200*b
		return a*a + 100*b*b
	}
	for _, start := range [][]float64{{-1.2, 1}, {5, -7}, {0, 0}} {
		x := slices.Clone(start)
		lbfgs{rosenbrock, 150, 10}.minimize(x)
		require.InDeltaSlice(t, []float64{1, 1}, x, 1e-4, "%v", start)
	}
	evals := 0
	quadratic := func(x, g []float64) (v float64) {
		evals++
		for i := range x { // condition number 100, the minimum at i
			s := math.Pow(10, 2*float64(i)/float64(len(x)-1))
			d := x[i] - float64(i)
			g[i] = s * d
			v += s * d * d / 2
		}
		return v
	}
	x := make([]float64, 20)
	lbfgs{quadratic, 150, 20}.minimize(x)
	for i, v := range x {
		require.InDelta(t, float64(i), v, 1e-3)
	}
	require.Less(t, evals, 150*5/4+25)

	evals = 0
	lbfgs{quadratic, 5, 20}.minimize(make([]float64, 20))
	require.Less(t, evals, 5*5/4+25, "the bound holds")

	// Values that are no number end the search where it was.
	x = []float64{1, 2}
	lbfgs{func(x, g []float64) float64 { g[0], g[1] = math.NaN(), 1; return math.NaN() }, 150, 10}.minimize(x)
	require.Equal(t, []float64{1, 2}, x)
}

// The gradient against central differences. The loss is in float32 logits, so its rounding, about 2^-24 of the logits'
// size, divided by the step is what the tolerance allows: 1e-7 / 2e-2, and the differences' own error, step^2/6.
func TestLogisticGradient(t *testing.T) {
	f := blobs(3, 700, 5, 3, 1)
	mean, std := f.moments()
	l := newLogistic(pool(t, 2), standardized(f, mean, std), f.Y, 5, 3)
	w := make([]float64, 18)
	for i := range w {
		r := rng.New(4, rng.PurposeProbe, 0, uint64(i))
		w[i] = r.Norm()
	}
	g, scrap := make([]float64, 18), make([]float64, 18)
	l.eval(w, g)
	const step = 1.0 / 128
	for i := range w {
		v := slices.Clone(w)
		v[i] += step
		up := l.eval(v, scrap)
		v[i] -= 2 * step
		down := l.eval(v, scrap)
		require.InDelta(t, (up-down)/(2*step), g[i], 4e-5, "%d", i)
	}
	require.Greater(t, largest(g), 1e-2, "a gradient of nothing proves nothing")
}

func BenchmarkKNN(b *testing.B) {
	p := parallel.New(2)
	defer p.Close()
	train, test := blobs(1, 10000, 128, 10, 3), blobs(2, 1000, 128, 10, 3)
	for b.Loop() {
		KNN(p, train, test, 20, 0.1)
	}
}

func BenchmarkLinear(b *testing.B) {
	p := parallel.New(2)
	defer p.Close()
	train, test := blobs(1, 10000, 128, 10, 3), blobs(2, 1000, 128, 10, 3)
	for b.Loop() {
		Linear(p, train, test)
	}
}
