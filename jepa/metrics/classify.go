package metrics

// Scores are what a classifier says of N pictures: logits or probabilities [N, C], a higher one being more likely.
type Scores struct {
	X []float32 // [N, C]
	C int
}

// N returns the number of pictures.
func (s Scores) N() int { return len(s.X) / s.C }

// Row returns the scores [C] of picture i.
func (s Scores) Row(i int) []float32 { return s.X[i*s.C:][:s.C] }

// check panics unless there is a label in [0, C) for each picture.
func (s Scores) check(labels []int) {
	if s.C <= 0 || len(s.X)%s.C != 0 {
		panic("metrics: Scores: X is not a number of rows of C")
	}
	if len(labels) != s.N() {
		panic("metrics: Scores: pictures and labels differ in number")
	}
	for _, y := range labels {
		if y < 0 || y >= s.C {
			panic("metrics: Scores: label out of range")
		}
	}
}

// Best returns the class with the highest score, of equals the first; 0 if all are NaN.
func Best(row []float32) int {
	best := -1
	for j, v := range row {
		if v == v && (best < 0 || v > row[best]) {
			best = j
		}
	}
	return max(best, 0)
}

// TopK is the share of pictures whose class is among the k with the highest scores. Of equal scores the first class counts
// as higher, so constant scores get no credit. A score of NaN is below all others and is never a hit. Undefined without
// pictures.
func TopK(s Scores, labels []int, k int) float64 {
	s.check(labels)
	var hits int64
	for i, y := range labels {
		row := s.Row(i)
		higher := 0
		for j, v := range row {
			if v > row[y] || v == row[y] && j < y {
				higher++
			}
		}
		if row[y] == row[y] && higher < k {
			hits++
		}
	}
	return ratio(hits, int64(len(labels)))
}

// Confuse counts the class with the highest score against the label of each picture.
func Confuse(s Scores, labels []int) *Confusion {
	s.check(labels)
	m := NewConfusion(s.C)
	for i, y := range labels {
		m.Add(y, Best(s.Row(i)))
	}
	return m
}
