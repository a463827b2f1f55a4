package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
)

// Line is a line of metrics.jsonl. What it does not say, or says is not finite, is NaN.
type Line struct {
	Step              int     `json:"step"`
	Epoch             float64 `json:"epoch"`
	Loss              float64 `json:"loss"`
	Regulariser       float64 `json:"variance_loss"`
	LR                float64 `json:"lr"`
	GradNorm          float64 `json:"grad_norm"`
	ImagesPerSecond   float64 `json:"images_per_second"`
	FeatureStd        float64 `json:"feature_std"`
	RankMe            float64 `json:"rankme"`
	Skipped           int     `json:"skipped_steps"`
	Temperature       float64 `json:"temperature"` // °C
	Rested            float64 `json:"rested"`      // share of the time, to cool
	RollBacks         int     `json:"rollbacks"`
	KNN               float64 `json:"knn"` // percent, as those below
	Linear            float64 `json:"linear"`
	KNNRandom         float64 `json:"knn_random"`
	LinearRandom      float64 `json:"linear_random"`
	Consistency       float64 `json:"consistency"`
	ConsistencyRandom float64 `json:"consistency_random"`
	Best              string  `json:"best"` // the figure by which the best encoder was kept at this step

	Task struct {
		Figure float64 `json:"figure"` // percent, see tune.Figures
	} `json:"figures"` // of a tuning, after an evaluation
}

func emptyLine() Line {
	nan := math.NaN()
	l := Line{
		Epoch: nan, Loss: nan, Regulariser: nan, LR: nan, GradNorm: nan, ImagesPerSecond: nan, FeatureStd: nan, RankMe: nan, Temperature: nan,
		Rested: nan, KNN: nan, Linear: nan, KNNRandom: nan, LinearRandom: nan, Consistency: nan, ConsistencyRandom: nan,
	}
	l.Task.Figure = nan
	return l
}

// judged says that the line has figures that come seldom, and is not one of many alike.
func (l *Line) judged() bool {
	return !math.IsNaN(l.KNN) || !math.IsNaN(l.Task.Figure) || !math.IsNaN(l.Consistency) || l.Best != ""
}

// mostLines is how many lines a report shows at most, judged ones aside.
const mostLines = 320

// ReadMetrics reads a run's metrics.jsonl, of which it keeps judged lines, the first, the last and an even choice of the
// others. A missing file has no lines. A line that is torn or is not JSON is passed over.
func ReadMetrics(path string) ([]Line, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readLines(f)
}

// longestLine is how long a line may be: one that has no end is passed over, and takes no memory.
const longestLine = 1 << 20

func readLines(r io.Reader) ([]Line, error) {
	var t thinner
	whole := true // text begins where a line does
	for b := bufio.NewReaderSize(r, longestLine); ; {
		text, err := b.ReadSlice('\n')
		if l := emptyLine(); err == nil && whole && json.Unmarshal(text, &l) == nil {
			t.add(l)
		}
		switch err {
		case nil:
			whole = true
		case bufio.ErrBufferFull:
			whole = false
		case io.EOF:
			return t.lines(), nil
		default:
			return nil, err
		}
	}
}

// thinner keeps every stride-th of the lines it is given, and doubles the stride when they become too many.
type thinner struct {
	kept   []Line
	number []int // of each kept line; -1: it stays
	n      int
	stride int
	last   Line
}

func (t *thinner) add(l Line) {
	t.stride = max(t.stride, 1)
	t.last = l
	number := t.n
	t.n++
	switch {
	case l.judged():
		number = -1
	case number%t.stride != 0:
		return
	}
	t.kept, t.number = append(t.kept, l), append(t.number, number)
	if common(t.number) <= mostLines {
		return
	}
	t.stride *= 2
	n := 0
	for i, number := range t.number {
		if number < 0 || number%t.stride == 0 {
			t.kept[n], t.number[n] = t.kept[i], number
			n++
		}
	}
	t.kept, t.number = t.kept[:n], t.number[:n]
}

// common counts lines that need not stay.
func common(number []int) int {
	n := 0
	for _, i := range number {
		if i >= 0 {
			n++
		}
	}
	return n
}

func (t *thinner) lines() []Line {
	if n := len(t.kept); n > 0 && t.kept[n-1].Step != t.last.Step {
		return append(t.kept, t.last)
	}
	return t.kept
}
