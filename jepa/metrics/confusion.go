package metrics

// Ignore is the label of a pixel that does not count.
const Ignore = 255

// Confusion counts what was taken for what: N[truth*C+guess] for C classes. Its rows are the truth, its columns the
// guesses. The zero value with C set by NewConfusion is empty.
type Confusion struct {
	C int
	N []int64 // [C, C]
}

// NewConfusion returns an empty matrix for so many classes.
func NewConfusion(classes int) *Confusion {
	if classes <= 0 {
		panic("metrics: NewConfusion: no classes")
	}
	return &Confusion{C: classes, N: make([]int64, classes*classes)}
}

// Add counts one example. Both classes must be in [0, C).
func (m *Confusion) Add(truth, guess int) {
	if truth < 0 || truth >= m.C || guess < 0 || guess >= m.C {
		panic("metrics: Confusion.Add: class out of range")
	}
	m.N[truth*m.C+guess]++
}

// AddPixels counts each pixel of a picture; truth and guess have the same length. Pixels whose truth is Ignore do not
// count. A guess is always a class.
func (m *Confusion) AddPixels(truth, guess []uint8) {
	if len(truth) != len(guess) {
		panic("metrics: Confusion.AddPixels: truth and guess differ in length")
	}
	for i, t := range truth {
		if t != Ignore {
			m.Add(int(t), int(guess[i]))
		}
	}
}

// sums returns for each class how often it was right, was true, was guessed; and the total.
func (m *Confusion) sums() (right, truth, guess []int64, total int64) {
	right, truth, guess = make([]int64, m.C), make([]int64, m.C), make([]int64, m.C)
	for t := range m.C {
		right[t] = m.N[t*m.C+t]
		for g, n := range m.N[t*m.C:][:m.C] {
			truth[t] += n
			guess[g] += n
			total += n
		}
	}
	return right, truth, guess, total
}

// Accuracy is the share of examples, or pixels, whose class was guessed: the sum of the diagonal by that of the matrix.
func (m *Confusion) Accuracy() float64 {
	right, _, _, total := m.sums()
	var hits int64
	for _, n := range right {
		hits += n
	}
	return ratio(hits, total)
}

// ClassFigures judge one class against all others. With TP right guesses, FP wrong ones and FN misses:
type ClassFigures struct {
	Truth, Guessed int64   // examples of the class; guesses of it
	Precision      float64 // TP / (TP+FP); Undefined if it was never guessed
	Recall         float64 // TP / (TP+FN); Undefined if there was none
	F1             float64 // 2 TP / (2 TP + FP + FN), the harmonic mean of both, and equal to Dice; Undefined if the class is absent from both
	IoU            float64 // TP / (TP+FP+FN), the Jaccard index; Undefined if the class is absent from both
}

// PerClass returns the figures of each class [C].
func (m *Confusion) PerClass() []ClassFigures {
	right, truth, guess, _ := m.sums()
	out := make([]ClassFigures, m.C)
	for c, tp := range right {
		out[c] = ClassFigures{
			Truth: truth[c], Guessed: guess[c],
			Precision: ratio(tp, guess[c]),
			Recall:    ratio(tp, truth[c]),
			F1:        ratio(2*tp, truth[c]+guess[c]),
			IoU:       ratio(tp, truth[c]+guess[c]-tp),
		}
	}
	return out
}

// MeanIoU is the mean of the IoU of the classes that occur in the truth or the guesses, background included, counted over
// all pixels of all pictures (Everingham et al., The Pascal VOC challenge, 2010, section 4.3; Long et al., arXiv 1411.4038).
// A class that is guessed but occurs nowhere has an IoU of 0 and counts; one that is in neither does not.
func (m *Confusion) MeanIoU() float64 {
	return m.mean(func(f ClassFigures) float64 { return f.IoU })
}

// MeanDice is the mean of the Dice coefficient, 2|A∩B| / (|A|+|B|), over the same classes as MeanIoU (Dice 1945).
func (m *Confusion) MeanDice() float64 {
	return m.mean(func(f ClassFigures) float64 { return f.F1 })
}

// MeanRecall is the mean of the recall of the classes that occur in the truth: the balanced accuracy (Brodersen et al.,
// 2010), which frequent classes do not dominate.
func (m *Confusion) MeanRecall() float64 {
	return m.mean(func(f ClassFigures) float64 { return f.Recall })
}

func (m *Confusion) mean(figure func(ClassFigures) float64) float64 {
	values := make([]float64, 0, m.C)
	for _, f := range m.PerClass() {
		values = append(values, figure(f))
	}
	return mean(values)
}
