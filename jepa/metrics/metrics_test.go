package metrics

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTopK(t *testing.T) {
	nan := float32(math.NaN())
	s := Scores{C: 4, X: []float32{
		9, 1, 2, 3, // label 0 is first
		9, 1, 2, 3, // label 3 is second
		9, 1, 2, 3, // label 1 is last
		5, 5, 5, 5, // label 2 is third of equals
		nan, 1, 0, nan, // label 1 is first of what is known
		1, nan, 0, 0, // label 1 is not a number
	}}
	labels := []int{0, 3, 1, 2, 1, 1}
	require.Equal(t, 2.0/6, TopK(s, labels, 1))
	require.Equal(t, 3.0/6, TopK(s, labels, 2))
	require.Equal(t, 4.0/6, TopK(s, labels, 3))
	require.Equal(t, 5.0/6, TopK(s, labels, 4), "NaN is never a hit")
	require.EqualValues(t, Undefined, TopK(Scores{C: 3}, nil, 1))
	require.Equal(t, TopK(s, labels, 1), Confuse(s, labels).Accuracy())
}

func TestBest(t *testing.T) {
	nan := float32(math.NaN())
	require.Equal(t, 1, Best([]float32{nan, 2, 2, 1}))
	require.Equal(t, 0, Best([]float32{nan, nan}))
	require.Equal(t, 2, Best([]float32{-3, nan, -1}))
}

// The figures are scikit-learn's for y_true = 0 0 0 0 1 1 1 2 2, y_pred = 0 0 1 3 1 1 0 2 2: precision_recall_fscore_support,
// jaccard_score, balanced_accuracy_score.
func TestConfusion(t *testing.T) {
	m := NewConfusion(5)
	guess := []int{0, 0, 1, 3, 1, 1, 0, 2, 2}
	for i, y := range []int{0, 0, 0, 0, 1, 1, 1, 2, 2} {
		m.Add(y, guess[i])
	}
	require.Equal(t, []int64{2, 1, 0, 1, 0 /**/, 1, 2, 0, 0, 0 /**/, 0, 0, 2, 0, 0 /**/, 0, 0, 0, 0, 0 /**/, 0, 0, 0, 0, 0}, m.N)
	require.Equal(t, 6.0/9, m.Accuracy())
	require.Equal(t, []ClassFigures{
		{Truth: 4, Guessed: 3, Precision: 2.0 / 3, Recall: 0.5, F1: 4.0 / 7, IoU: 0.4},
		{Truth: 3, Guessed: 3, Precision: 2.0 / 3, Recall: 2.0 / 3, F1: 2.0 / 3, IoU: 0.5},
		{Truth: 2, Guessed: 2, Precision: 1, Recall: 1, F1: 1, IoU: 1},
		{Truth: 0, Guessed: 1, Precision: 0, Recall: Undefined, F1: 0, IoU: 0}, // guessed but nowhere: an IoU of 0 that counts
		{Precision: Undefined, Recall: Undefined, F1: Undefined, IoU: Undefined},
	}, m.PerClass())
	require.InDelta(t, (0.4+0.5+1+0)/4, m.MeanIoU(), 1e-15)
	require.InDelta(t, (4.0/7+2.0/3+1+0)/4, m.MeanDice(), 1e-15)
	require.InDelta(t, (0.5+2.0/3+1)/3, m.MeanRecall(), 1e-15)

	empty := NewConfusion(2)
	require.EqualValues(t, Undefined, empty.MeanIoU())
	require.EqualValues(t, Undefined, empty.Accuracy())
}

func TestPixels(t *testing.T) {
	a, both := NewConfusion(2), NewConfusion(2)
	a.AddPixels([]uint8{0, 0, 1, Ignore}, []uint8{0, 1, 1, 0})
	a.AddPixels([]uint8{1, 1, Ignore, Ignore}, []uint8{0, 1, 1, 0})
	both.AddPixels([]uint8{0, 0, 1, Ignore, 1, 1, Ignore, Ignore}, []uint8{0, 1, 1, 0, 0, 1, 1, 0})
	require.Equal(t, both, a)
	require.Equal(t, []int64{1, 1, 1, 2}, a.N)
	require.InDelta(t, (1.0/3+2.0/4)/2, a.MeanIoU(), 1e-15)
	require.InDelta(t, (2.0/4+4.0/6)/2, a.MeanDice(), 1e-15)
}

func TestWrongCallsPanic(t *testing.T) {
	require.Panics(t, func() { NewConfusion(0) })
	require.Panics(t, func() { NewConfusion(2).Add(2, 0) })
	require.Panics(t, func() { NewConfusion(2).Add(0, -1) })
	require.Panics(t, func() { NewConfusion(2).AddPixels([]uint8{0}, nil) })
	require.Panics(t, func() { NewConfusion(2).AddPixels([]uint8{2}, []uint8{0}) })
	require.Panics(t, func() { TopK(Scores{C: 2, X: make([]float32, 3)}, []int{0}, 1) })
	require.Panics(t, func() { TopK(Scores{C: 2, X: make([]float32, 4)}, []int{0}, 1) })
	require.Panics(t, func() { TopK(Scores{C: 2, X: make([]float32, 2)}, []int{2}, 1) })
}

func TestSoftmaxAndNLL(t *testing.T) {
	p := make([]float64, 3)
	Softmax(p, []float32{1000, 1000, 1000 - 2}, 2)
	e := math.Exp(-1)
	require.InDeltaSlice(t, []float64{1 / (2 + e), 1 / (2 + e), e / (2 + e)}, p, 1e-15)
	s := Scores{C: 3, X: []float32{1000, 1000, 998, 0, 0, 0}}
	require.InDelta(t, (math.Log(2+e)+1+math.Log(3))/2, NLL(s, []int{2, 1}, 2), 1e-14)
	require.EqualValues(t, Undefined, NLL(Scores{C: 3}, nil, 1))
}

func TestECE(t *testing.T) {
	// Two classes; a logit of log(p/(1-p)) for the first gives it probability p.
	logit := func(p float64) float32 { return float32(math.Log(p / (1 - p))) }
	s := Scores{C: 2, X: []float32{logit(0.9), 0, logit(0.95), 0, logit(0.92), 0, logit(0.62), 0}}
	labels := []int{0, 0, 1, 0}
	// Ten bins: (0.9, 1] holds three with mean 0.92333 and two right, (0.6, 0.7] one with 0.62, right. 0.9 as a logit in
	// float32 is a little above 0.9.
	require.Greater(t, float64(logit(0.9)), math.Log(9))
	require.InDelta(t, (math.Abs(2-2.77)+math.Abs(1-0.62))/4, ECE(s, labels, 1, 10), 1e-6)
	// One bin: accuracy 3/4 against a mean of 0.8475.
	require.InDelta(t, 0.8475-0.75, ECE(s, labels, 1, 1), 1e-6)
	require.EqualValues(t, Undefined, ECE(Scores{C: 2}, nil, 1, 15))
}

func TestTemperature(t *testing.T) {
	// A share q of pictures with logits (a, 0) is of the first class: sigma(a/T) = q.
	for _, a := range []float32{0.3, 1, 7, 60} {
		var s Scores
		s.C = 2
		var labels []int
		for i := range 10 {
			s.X = append(s.X, a, 0)
			labels = append(labels, min(1, i/8)) // q = 0.8
		}
		require.InEpsilon(t, float64(a)/math.Log(4), Temperature(s, labels), 1e-12)
	}

	// Labels drawn at temperature 3: that is what comes out, it is the least, and the probabilities become honest.
	const drawn = 3
	rng := rand.New(rand.NewPCG(1, 2))
	s := Scores{C: 7}
	var labels []int
	for range 4000 {
		row := make([]float32, s.C)
		for j := range row {
			row[j] = float32(5 * rng.NormFloat64())
		}
		s.X = append(s.X, row...)
		p := make([]float64, s.C)
		Softmax(p, row, drawn)
		y := 0
		for u := rng.Float64() - p[0]; u > 0 && y < s.C-1; u -= p[y] {
			y++
		}
		labels = append(labels, y)
	}
	best := Temperature(s, labels)
	require.InDelta(t, drawn, best, 0.15)
	least := NLL(s, labels, best)
	for _, f := range []float64{0.5, 0.9, 0.999, 1.001, 1.1, 2} {
		require.Less(t, least, NLL(s, labels, f*best), "%g", f)
	}
	slope, curvature := s.slope(labels, 1/best)
	require.InDelta(t, 0, slope, 1e-8)
	require.Greater(t, curvature, 0.0)
	require.Less(t, ECE(s, labels, best, CalibrationBins), ECE(s, labels, 1, CalibrationBins)/5)
}

func TestTemperatureStaysInBounds(t *testing.T) {
	require.EqualValues(t, MinTemperature, Temperature(Scores{C: 2, X: []float32{9, 0, 0, 9}}, []int{0, 1}), "all right: sharper is always better")
	require.EqualValues(t, MaxTemperature, Temperature(Scores{C: 2, X: []float32{9, 0, 0, 9}}, []int{1, 0}), "all wrong: flatter is always better")
	require.EqualValues(t, 1, Temperature(Scores{C: 2, X: []float32{5, 5}}, []int{1}), "the logits say nothing")
	require.EqualValues(t, 1, Temperature(Scores{C: 2}, nil))
}
