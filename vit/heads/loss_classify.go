package heads

import (
	"math"

	"edgejepa/fp"
)

// softmax fills p with the softmax of logits and returns the logarithm of the sum that it divides by.
func softmax(p []float64, logits []float32) float64 {
	most := math.Inf(-1)
	for _, v := range logits {
		most = max(most, float64(v))
	}
	sum := 0.0
	for i, v := range logits {
		p[i] = fp.Exp(float64(v) - most)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return most + fp.Log(sum)
}

// CrossEntropy returns the sum over pictures of -sum(q·log softmax(logits)), q being 1-smooth on the label and smooth spread
// over all classes (Szegedy et al., arXiv 1512.00567), each picture counting as the weight [C] of its class (nil: 1), times
// scale: for the mean of a batch 1 over the sum of its weights. It fills d [B, C] with the gradient of the logits [B, C].
func CrossEntropy(d, logits []float32, labels []int, weight []float64, smooth, scale float64) (loss float64) {
	c := len(logits) / len(labels)
	p := make([]float64, c)
	for i, y := range labels {
		share := scale
		if weight != nil {
			share *= weight[y]
		}
		row := logits[i*c:][:c]
		log := softmax(p, row)
		for j, v := range p {
			q := smooth / float64(c)
			if j == y {
				q += 1 - smooth
			}
			loss += float64(float64(share*q) * (log - float64(row[j])))
			d[i*c+j] = float32(share * (v - q))
		}
	}
	return loss
}
