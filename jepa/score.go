package jepa

import (
	"fmt"
	"io"
	"math"
	"strconv"

	"edgejepa/internal/safetensors"
)

// Score is how good a run's encoders were at a step, by one measure. Scores of two measures do not compare.
type Score struct {
	Step    int
	Measure string // such as "knn"
	Value   float64
}

// Where the metadata of encoders says what they scored.
const (
	scoreStepKey    = "score_step"
	scoreMeasureKey = "score_measure"
	scoreValueKey   = "score_value"
)

// WriteScored is WriteEncoders with what the encoders scored, which lasts as long as the file does.
func (t *Trainer) WriteScored(w io.Writer, s Score) error {
	return t.writeEncoders(w, map[string]string{
		scoreStepKey: strconv.Itoa(s.Step), scoreMeasureKey: s.Measure, scoreValueKey: strconv.FormatFloat(s.Value, 'g', -1, 64),
	})
}

// ReadScore is what a file of encoders scored; ok is false if it does not say.
func ReadScore(f *safetensors.File) (s Score, ok bool, err error) {
	measure, ok := f.Metadata[scoreMeasureKey]
	if !ok {
		return Score{}, false, nil
	}
	step, err := strconv.Atoi(f.Metadata[scoreStepKey])
	if err != nil || step < 0 {
		return Score{}, false, fmt.Errorf("%s: %s is %q", f.Path, scoreStepKey, f.Metadata[scoreStepKey])
	}
	value, err := strconv.ParseFloat(f.Metadata[scoreValueKey], 64)
	if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
		return Score{}, false, fmt.Errorf("%s: %s is %q", f.Path, scoreValueKey, f.Metadata[scoreValueKey])
	}
	return Score{step, measure, value}, true, nil
}
