package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"edgejepa/internal/cli"
	"edgejepa/internal/durable"
	"edgejepa/internal/safetensors"
	"edgejepa/jepa"
	"edgejepa/jepa/report"
)

const (
	badSteps    = 20 // steps in a row without a sound gradient at which a run has diverged
	mostReturns = 3  // times that a run which diverged goes back
)

// Measures that best.safetensors may be kept by.
const (
	byKNN    = "knn"
	byRankMe = "rankme"
)

// soundNorm is a gradient's norm, in units of the bound that clips it, up to which it is sound. Runs that learn stay below 10.
const soundNorm = 100.0

// sound says whether a step of a run whose gradients are clipped to clip had a sound one. Tests replace it: it takes much
// to make a run diverge.
var sound = func(st jepa.Stats, clip float64) bool {
	return !st.Skipped && st.GradNorm <= soundNorm*max(clip, 1)
}

var (
	errDiverged  = errors.New("the run has diverged")
	errCollapsed = errors.New("the features have collapsed (--stop-on-collapse): start again with a lower --lr, a higher --variance-weight or a larger --batch")
)

// watch warns of steps that were passed over, and returns errDiverged when the gradient has not been sound for long. That
// depends on the steps alone: how many it was is part of the state, so a run that is resumed finds the same.
func (t *training) watch(st jepa.Stats) error {
	if st.Skipped && t.skips == 0 {
		t.progress.Warnf("step %d: the gradient is not finite; the step is passed over", st.Step)
	}
	t.skips++
	if !st.Skipped {
		t.skips = 0
	}
	t.trainer.Unsound++
	if sound(st, t.config.Run.Clip) {
		t.trainer.Unsound = 0
	}
	if t.trainer.Unsound >= badSteps {
		return errDiverged
	}
	return nil
}

// goBack returns a run that has diverged to its last rollback point, or to its start, and goes on at half the learning rate.
// The new state is saved at once: the halved rate belongs to it.
func (t *training) goBack() error {
	defer t.notify.Patient(patience)()
	t.unsound = true
	if t.trainer.Halvings() == mostReturns {
		return fmt.Errorf("the gradient has not been sound for %d steps, for the %s time: %w; start again with a lower --lr (it was %g)",
			badSteps, [...]string{"first", "second", "third", "fourth"}[mostReturns], errDiverged, t.config.Run.LR)
	}
	at, halvings := t.trainer.Done(), t.trainer.Halvings()
	t.loader.Close()
	t.loader = nil
	runtime.GC() // the next loader needs as much again
	t.tolerate(metricsFile, t.lines.Close())
	if err := t.restoreRollback(); err != nil {
		return err
	}
	for t.trainer.Halvings() <= halvings {
		t.trainer.HalveRate()
	}
	lines, err := durable.AppendLines(filepath.Join(t.dir, metricsFile))
	if err != nil {
		return err
	}
	t.lines = lines
	t.loader = t.plan.loader(t.trainer.Done())
	t.skips, t.unsound = 0, false
	t.loggedAt, t.logged, t.rested = t.trainer.Done(), time.Now(), 0
	t.progress.Warnf("step %d: DIVERGENCE: the gradient has not been sound for %d steps. Going back to step %d, and on with 1/%d of the learning rate",
		at, badSteps, t.trainer.Done(), 1<<t.trainer.Halvings())
	t.saveOnTheWay()
	return nil
}

// warnOfCollapse says once, plainly, when the features of different pictures have become alike, and returns errCollapsed if
// that is to end the run.
func (t *training) warnOfCollapse(m metrics) error {
	if m.Step < report.CollapseFrom {
		return nil
	}
	collapsed := report.Collapsed(m.Step, float64(m.RankMe), float64(m.FeatureStd))
	if collapsed && !t.collapsed {
		t.progress.Warnf("step %d: COLLAPSE: features of different pictures are all but equal (RankMe %.2f, feature_std %.5f). "+
			"The loss means nothing now. Start again with a lower --lr, a higher --variance-weight or a larger --batch.",
			m.Step, float64(m.RankMe), float64(m.FeatureStd))
	}
	t.collapsed = collapsed
	if collapsed && t.stopOnCollapse {
		return errCollapsed
	}
	return nil
}

// keepBest writes the encoders as they are to best.safetensors if they are better than all before: by k-NN with --eval, else
// by RankMe, and then only after the warm-up, through which untrained features have a high rank too. It notes the figure's
// name in the line.
func (t *training) keepBest(m *metrics) error {
	score := jepa.Score{Step: m.Step, Measure: byRankMe, Value: float64(m.RankMe)}
	switch {
	case m.judgement != nil:
		score.Measure, score.Value = byKNN, m.KNN
	case t.judge != nil || m.Step <= t.config.Run.Warmup || t.collapsed:
		return nil
	}
	if m.Step == 0 || !(score.Value > t.best) {
		return nil
	}
	write := func(w io.Writer) error { return t.trainer.WriteScored(w, score) }
	if err := durable.WriteFile(filepath.Join(t.dir, bestFile), 0o644, write); err != nil {
		return err
	}
	t.best, m.Best = score.Value, score.Measure
	return nil
}

// remember finds out what a resumed run has to know of its past. The log may have lost lines that best.safetensors is
// from, so that says itself what it scored. Figures of two kinds do not compare: k-NN, which knows labels, has its way
// over RankMe when a run goes on with --eval or without.
func (t *training) remember() error {
	t.best = math.Inf(-1)
	best, ok, err := readScore(filepath.Join(t.dir, bestFile))
	switch {
	case err != nil:
		t.progress.Warnf("the best encoders so far are lost: %v", err)
	case !ok || best.Measure == byRankMe && t.judge != nil:
	case best.Measure == byKNN && t.judge == nil:
		t.best = math.Inf(1)
	default:
		t.best = best.Value
	}
	if t.report == nil {
		return nil
	}
	lines, err := report.ReadMetrics(filepath.Join(t.dir, metricsFile))
	if err != nil {
		return err
	}
	t.report.remember(lines)
	return nil
}

// readScore reads what a run's best encoders scored, and no more of the file. One that is absent, or does not say, is no
// error.
func readScore(path string) (s jepa.Score, ok bool, err error) {
	f, err := safetensors.Stream(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, false, nil
	}
	if err != nil {
		return s, false, err
	}
	defer f.Close()
	return jepa.ReadScore(f)
}

// whichModel turns --model and --which into the model to open: of a run the last encoders or the best.
func whichModel(model, which string) (string, error) {
	switch which {
	case "last":
		return model, nil
	case "best":
	default:
		return "", cli.Usagef("--which %q: choose last or best", which)
	}
	path := filepath.Join(model, bestFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", cli.Usagef("--which best: %s has no %s: it is not a run, or none was better than its start yet", model, bestFile)
	} else if err != nil {
		return "", cli.Usage(err)
	}
	return path, nil
}
