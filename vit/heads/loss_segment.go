package heads

// Ignore marks a pixel of a mask that is of no class.
const Ignore = 255

// SegmentLoss is what a segmenter learns from, for one picture's logits [n, C] and classes [n]: the mean cross-entropy of the
// pixels, each counting as the weight [C] of its class (nil: 1), plus 1 less the mean over the classes that occur of the soft
// Dice coefficient (Milletari et al., arXiv 1606.04797, with sums instead of squares),
//
//	dice[c] = 2·sum(p[c]·y[c]) / (sum p[c] + sum y[c])
//
// which counts small objects as much as large ones. Pixels of Ignore count for nothing. It fills d [n, C] with the gradient,
// times scale. probs [n, C] is scratch.
func SegmentLoss(d, logits []float32, mask []uint8, classes int, weight []float64, scale float64, probs []float64) float64 {
	of := func(y uint8) float64 {
		if weight == nil {
			return 1
		}
		return weight[y]
	}
	total, entropy := 0.0, 0.0
	both, guess, truth := make([]float64, classes), make([]float64, classes), make([]float64, classes)
	for i, y := range mask {
		if y == Ignore {
			continue
		}
		row, p := logits[i*classes:][:classes], probs[i*classes:][:classes]
		log := softmax(p, row)
		w := of(y)
		total += w
		entropy += float64(w * (log - float64(row[y])))
		for j, v := range p {
			guess[j] += v
		}
		both[y] += p[y]
		truth[y]++
	}
	present, dice := 0.0, 0.0
	for c, n := range truth {
		if n > 0 {
			present++
			dice += 2 * both[c] / (guess[c] + n)
		}
	}
	if present == 0 || total == 0 {
		clear(d)
		return 0
	}
	slope := make([]float64, classes) // of the loss by each probability
	for i, y := range mask {
		row := d[i*classes:][:classes]
		if y == Ignore {
			clear(row)
			continue
		}
		p := probs[i*classes:][:classes]
		inner := 0.0 // of the softmax's gradient
		for c, v := range p {
			slope[c] = 0
			if truth[c] > 0 {
				sum := guess[c] + truth[c]
				slope[c] = 2 * both[c] / float64(sum*sum) / present
				if int(y) == c {
					slope[c] -= 2 / sum / present
				}
			}
			inner += float64(v * slope[c])
		}
		w := of(y) / total
		for c, v := range p {
			g := float64(w * v)
			if int(y) == c {
				g -= w
			}
			row[c] = float32(scale * (g + float64(v*(slope[c]-inner))))
		}
	}
	return entropy/total + 1 - dice/present
}
