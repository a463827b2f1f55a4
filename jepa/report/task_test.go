package report

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"edgejepa/jepa/tune"
	"edgejepa/vit"
	"edgejepa/vit/heads"
)

// The page of a tuning shows curves, figures, classes and, where there is one, the confusion matrix; names from outside are
// escaped.
func TestTaskPage(t *testing.T) {
	p, err := vit.PresetNamed("micro")
	require.NoError(t, err)
	for _, task := range []heads.Task{heads.Classify, heads.Segment, heads.Detect} {
		e := p.Config(0, 0)
		kind := heads.Kind("")
		if task == heads.Classify {
			kind = heads.Linear
		}
		h := heads.Default(task, kind, e)
		h.Classes = []string{`<b>"`, "blue"}
		f := &tune.Figures{Task: task, Main: 80, Classes: []tune.ClassFigure{{Name: h.Classes[0], Examples: 3, Recall: 50, F1: -1}, {Name: "blue", Examples: 4}}}
		if task != heads.Detect {
			f.Confusion = [][]int64{{2, 1}, {0, 4}}
		}
		c := tune.Default(e, h, 0)
		c.SetSteps(200)
		lines := logged()
		for i := range lines {
			lines[i].Task.Figure = math.NaN()
			if i%10 == 9 {
				lines[i].Task.Figure = float64(i)
			}
		}
		page := &TaskPage{Name: `head <i>`, Config: c, Train: 9, Val: 7, Program: "edge-train test", Step: 196, Live: true, Left: time.Hour,
			Written: time.Unix(1_800_000_000, 0), Lines: lines, Figures: f}
		var b bytes.Buffer
		require.NoError(t, page.Write(&b))
		ids, err := checkMarkup(b.String())
		require.NoError(t, err)
		for _, id := range []string{"chart-judged", "chart-loss", "chart-rate", "chart-speed", "figures", "numbers"} {
			require.True(t, ids[id], "%s: %s", task, id)
		}
		require.NotContains(t, b.String(), "<b>\"")
		require.NotContains(t, b.String(), "NaN")
		require.Equal(t, task != heads.Detect, bytes.Contains(b.Bytes(), []byte(`class="confusion"`)))

		page.Lines, page.Figures = nil, nil
		b.Reset()
		require.NoError(t, page.Write(&b))
		_, err = checkMarkup(b.String())
		require.NoError(t, err)
		require.Contains(t, b.String(), "No step has been logged")
	}
}

// A line without an end is passed over, and what follows is read.
func TestLongLine(t *testing.T) {
	log := `{"step":1}` + "\n" + `{"step":2,"best":"` + strings.Repeat("x", 3*longestLine) + `"}` + "\n" + `{"step":3}` + "\n" + `{"step":4`
	lines, err := readLines(strings.NewReader(log))
	require.NoError(t, err)
	require.Len(t, lines, 2)
	require.Equal(t, 3, lines[1].Step)
}
