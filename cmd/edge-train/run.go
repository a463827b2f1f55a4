package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"encoding/json"

	"edgejepa/internal/cli"
	"edgejepa/internal/durable"
	"edgejepa/internal/parallel"
	"edgejepa/internal/safetensors"
	"edgejepa/jepa"
	"edgejepa/jepa/data"
	"edgejepa/jepa/probe"
)

const (
	defaultCheckpointEvery = 10 * time.Minute
	logEvery               = 10 * time.Second // between two lines of metrics.jsonl, at most
)

// runConfig is config.json: everything resolved, so that the run can be repeated.
type runConfig struct {
	Program  string      `json:"program"`
	Paths    []string    `json:"paths"`
	Pictures int         `json:"pictures"`
	Names    string      `json:"names_sha256"` // of the pictures' paths, in order
	Run      jepa.Config `json:"run"`
}

func readRunConfig(dir string) (runConfig, error) {
	var rc runConfig
	path := filepath.Join(dir, configFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return rc, err
	}
	if err := json.Unmarshal(b, &rc); err != nil {
		return rc, fmt.Errorf("%s: %w", path, err)
	}
	if err := rc.Run.Validate(); err != nil {
		return rc, fmt.Errorf("%s: %w", path, err)
	}
	return rc, nil
}

// training is a run under way.
type training struct {
	dir      string
	config   runConfig
	trainer  *jepa.Trainer
	loader   *data.Loader
	pool     *parallel.Pool
	progress *cli.Progress
	lines    *durable.Lines
	judge    *judge // nil without --eval
	every    time.Duration
	deadline time.Time // zero: none

	collapsed bool
	logged    time.Time
	loggedAt  int // step of the last line
	saved     time.Time
}

// metrics is one line of metrics.jsonl.
type metrics struct {
	Step            int     `json:"step"`
	Epoch           float64 `json:"epoch"`
	Loss            float64 `json:"loss"`
	VarianceLoss    float64 `json:"variance_loss,omitempty"`
	LR              float64 `json:"lr"`
	WeightDecay     float64 `json:"weight_decay"`
	EMA             float64 `json:"ema"`
	GradNorm        float64 `json:"grad_norm"`
	ImagesPerSecond float64 `json:"images_per_second"`
	FeatureStd      float64 `json:"feature_std"`
	RankMe          float64 `json:"rankme"`
	SkippedSteps    int     `json:"skipped_steps"`
	*judgement              // with --eval
}

// errStopped ends a run at its --max-time.
var errStopped = errors.New("stopped at --max-time")

// loop trains until the last step, the deadline or an interruption, and leaves a checkpoint in each case.
func (t *training) loop(ctx context.Context) error {
	c := t.config.Run
	now := time.Now()
	t.logged, t.saved, t.loggedAt = now, now, t.trainer.Done()
	if t.judge != nil && t.trainer.Done() == 0 {
		if err := t.log(ctx, jepa.Stats{}, true); err != nil {
			return err
		}
	}
	for t.trainer.Done() < c.Steps {
		b, err := t.loader.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				return err
			}
			return t.leave(context.Cause(ctx))
		}
		st := t.trainer.Step(b.Pixels)
		if st.Skipped {
			t.progress.Warnf("step %d: the gradient is not finite; the step was passed over", st.Step)
		}
		last := st.Step == c.Steps
		eval := t.judge != nil && (st.Step%t.judge.every == 0 || last)
		if now := time.Now(); last || eval || st.Step == 1 || now.Sub(t.logged) >= logEvery {
			if err := t.log(ctx, st, eval); err != nil {
				return err
			}
		}
		t.progress.Update(cli.Status{Done: int64(st.Step), Total: int64(c.Steps), Images: int64(st.Step) * int64(c.Batch), Loss: st.Loss})
		switch now := time.Now(); {
		case last:
		case ctx.Err() != nil:
			return t.leave(context.Cause(ctx))
		case !t.deadline.IsZero() && now.After(t.deadline):
			return t.leave(errStopped)
		case now.Sub(t.saved) >= t.every:
			if err := t.save(); err != nil {
				return err
			}
		}
	}
	return t.leave(nil)
}

// log writes one line of metrics, and warns when the features collapse.
func (t *training) log(ctx context.Context, st jepa.Stats, eval bool) error {
	c, now := t.config.Run, time.Now()
	m := metrics{
		Step: t.trainer.Done(), Epoch: float64(t.trainer.Done()) * float64(c.Batch) / float64(t.config.Pictures),
		Loss: st.Loss, VarianceLoss: st.Variance, LR: st.LR, WeightDecay: st.WeightDecay, EMA: st.EMA, GradNorm: st.GradNorm,
		SkippedSteps: t.trainer.Skipped(),
	}
	if steps := m.Step - t.loggedAt; steps > 0 {
		m.ImagesPerSecond = float64(steps*c.Batch) / now.Sub(t.logged).Seconds()
	}
	if x, n, d := t.trainer.Recent(); n >= 2 {
		f := probe.Features{X: x, N: n, D: d}
		m.RankMe, m.FeatureStd = probe.RankMe(t.pool, f), probe.FeatureStd(f)
		t.warnOfCollapse(m)
	}
	if eval {
		j, err := t.judge.judge(ctx)
		if err != nil {
			return err
		}
		m.judgement = j
		t.progress.Infof("step %d: linear probe %.2f %% (untrained %.2f), k-NN %.2f %% (untrained %.2f), RankMe %.1f",
			m.Step, j.Linear, j.LinearRandom, j.KNN, j.KNNRandom, m.RankMe)
	}
	t.logged, t.loggedAt = time.Now(), m.Step
	return t.lines.Append(m)
}

// warnOfCollapse says once, plainly, when the features of different pictures have become alike. The limits are those at
// which public runs of this size were past saving; healthy ones stay a factor of ten away.
func (t *training) warnOfCollapse(m metrics) {
	if m.Step < 50 {
		return
	}
	collapsed := m.RankMe < 1.5 || m.FeatureStd < 1e-3
	if collapsed && !t.collapsed {
		t.progress.Warnf("step %d: COLLAPSE: features of different pictures are all but equal (RankMe %.2f, feature_std %.5f). "+
			"The loss means nothing now. Start again with a lower --lr, a higher --variance-weight or a larger --batch.", m.Step, m.RankMe, m.FeatureStd)
	}
	t.collapsed = collapsed
}

// save writes a checkpoint. The log is flushed first, so that it covers what the checkpoint has.
func (t *training) save() error {
	if err := t.lines.Sync(); err != nil {
		return err
	}
	t.saved = time.Now()
	return durable.SaveCheckpoint(t.dir, checkpointFile, t.trainer.WriteCheckpoint)
}

// leave ends the run: checkpoint and encoders are written whatever the reason.
func (t *training) leave(reason error) error {
	t.progress.Finish()
	if err := t.save(); err != nil {
		return err
	}
	write := func(w io.Writer) error { return t.trainer.WriteEncoders(w, nil) }
	if err := durable.WriteFile(filepath.Join(t.dir, encoderFile), 0o644, write); err != nil {
		return err
	}
	done, steps := t.trainer.Done(), t.config.Run.Steps
	switch {
	case reason == nil:
		t.progress.Infof("done: %d steps; %s holds both encoders", done, filepath.Join(t.dir, encoderFile))
		return nil
	case errors.Is(reason, errStopped):
		t.progress.Infof("time is up at step %d of %d; the state is saved: --resume goes on, probe and export work now", done, steps)
		return nil
	}
	t.progress.Infof("stopped at step %d of %d; the state is saved: --resume goes on exactly here", done, steps)
	return reason
}

// restore brings the trainer to the newest complete checkpoint of dir. It returns false when there is none.
func (t *training) restore() (bool, error) {
	var loaded *safetensors.File
	_, refused, err := durable.Recover(t.dir, checkpointFile, func(path string) error {
		f, err := safetensors.Open(path)
		if err == nil {
			err = f.Verify()
		}
		if err == nil {
			loaded = f
		}
		return err
	})
	for _, r := range refused {
		t.progress.Warnf("a damaged checkpoint was put aside: %v", r)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := t.trainer.Restore(loaded); err != nil {
		return false, err
	}
	done := t.trainer.Done()
	return true, durable.TruncateJSONL(filepath.Join(t.dir, metricsFile), func(line []byte) bool {
		var m struct{ Step int }
		return json.Unmarshal(line, &m) == nil && m.Step <= done
	})
}
