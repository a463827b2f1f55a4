package metrics

import (
	"math"

	"edgejepa/fp"
)

// Softmax writes the probabilities exp(x/T) / sum exp(x/T) of a row of logits [C] at temperature T > 0.
func Softmax(dst []float64, logits []float32, temperature float64) {
	if len(dst) != len(logits) {
		panic("metrics: Softmax: dst and logits differ in length")
	}
	top := highest(logits)
	var sum float64
	for j, v := range logits {
		dst[j] = fp.Exp((float64(v) - top) / temperature)
		sum += dst[j]
	}
	for j := range dst {
		dst[j] /= sum
	}
}

func highest(row []float32) float64 {
	top := math.Inf(-1)
	for _, v := range row {
		top = max(top, float64(v))
	}
	return top
}

// NLL is the mean of -log softmax(logits/T)[label] over the pictures, in nats: the cross-entropy. Undefined without
// pictures.
func NLL(logits Scores, labels []int, temperature float64) float64 {
	logits.check(labels)
	if len(labels) == 0 {
		return Undefined
	}
	var sum float64
	for i, y := range labels {
		row := logits.Row(i)
		top := highest(row)
		var z float64
		for _, v := range row {
			z += fp.Exp((float64(v) - top) / temperature)
		}
		sum += fp.Log(z) - (float64(row[y])-top)/temperature
	}
	return sum / float64(len(labels))
}

// CalibrationBins is how many bins Guo et al. use.
const CalibrationBins = 15

// ECE is the expected calibration error of softmax(logits/T): pictures are put into bins of equal width by the probability
// p of their best class, bin b holding (b/B, (b+1)/B], and the error is the sum over bins of n_b/n |accuracy_b - mean p_b|
// (Naeini et al. 2015; Guo et al., arXiv 1706.04599, equation 3). Undefined without pictures.
func ECE(logits Scores, labels []int, temperature float64, bins int) float64 {
	logits.check(labels)
	if len(labels) == 0 {
		return Undefined
	}
	hits, confidence := make([]float64, bins), make([]float64, bins)
	p := make([]float64, logits.C)
	for i, y := range labels {
		row := logits.Row(i)
		Softmax(p, row, temperature)
		best := Best(row)
		b := min(bins-1, max(0, int(math.Ceil(p[best]*float64(bins)))-1))
		confidence[b] += p[best]
		if best == y {
			hits[b]++
		}
	}
	var sum float64
	for b := range bins {
		sum += math.Abs(hits[b] - confidence[b])
	}
	return sum / float64(len(labels))
}

const (
	// Temperatures stay within these bounds: with logits that separate the held-out pictures the best would be 0, and
	// with ones that say nothing infinity.
	MinTemperature = 1.0 / 64
	MaxTemperature = 64

	temperatureSteps = 100 // bisection alone needs 60
)

// Temperature returns the T in [MinTemperature, MaxTemperature] that minimises NLL(logits, labels, T), for pictures that
// were not trained on: temperature scaling, which makes probabilities honest and changes no ranking (Guo et al., arXiv
// 1706.04599, section 4.2). The NLL is convex in b = 1/T, with the derivatives
//
//	sum over pictures of E_p[x] - x_label  and  Var_p[x],  p = softmax(b x),
//
// so Newton's method finds it, kept by bisection from leaving the bracket. It returns 1 without pictures or if the logits
// say nothing at all.
func Temperature(logits Scores, labels []int) float64 {
	logits.check(labels)
	low, high := 1.0/MaxTemperature, 1.0/MinTemperature
	slope, curvature := logits.slope(labels, 1)
	if slope == 0 && curvature == 0 {
		return 1
	}
	if s, _ := logits.slope(labels, low); s >= 0 {
		return MaxTemperature
	}
	if s, _ := logits.slope(labels, high); s <= 0 {
		return MinTemperature
	}
	b := 1.0
	for range temperatureSteps {
		if slope > 0 {
			high = b
		} else {
			low = b
		}
		next := b - slope/curvature
		if !(next > low && next < high) { // also where the curvature is 0
			next = (low + high) / 2
		}
		if math.Abs(next-b) <= 1e-15*b {
			break
		}
		b = next
		slope, curvature = logits.slope(labels, b)
	}
	return 1 / b
}

// slope returns the first and second derivative of the summed NLL by b = 1/T.
func (s Scores) slope(labels []int, b float64) (slope, curvature float64) {
	for i, y := range labels {
		row := s.Row(i)
		top := highest(row)
		var z, first, second float64 // sums of p, p x and p x² with x counted from the top
		for _, v := range row {
			x := float64(v) - top
			p := fp.Exp(b * x)
			z += p
			first += float64(p * x)
			second += float64(p * float64(x*x))
		}
		m := first / z
		slope += m - (float64(row[y]) - top)
		curvature += second/z - float64(m*m)
	}
	return slope, curvature
}
