package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"edgejepa/device"
	"edgejepa/internal/cli"
	"edgejepa/internal/durable"
	"edgejepa/internal/parallel"
	"edgejepa/jepa/report"
	"edgejepa/jepa/tune"
	"edgejepa/quant"
	"edgejepa/vit/heads"
)

// tuneMetrics is one line of metrics.jsonl of a HEAD folder.
type tuneMetrics struct {
	Step            int           `json:"step"`
	Epoch           number        `json:"epoch"`
	Loss            number        `json:"loss"`
	LR              number        `json:"lr"`
	GradNorm        number        `json:"grad_norm"`
	ImagesPerSecond number        `json:"images_per_second"`
	Figures         *tune.Figures `json:"figures,omitempty"`
}

// tuning is a tuning under way.
type tuning struct {
	dir      string
	plan     *tunePlan
	run      *tune.Run
	progress *cli.Progress
	lines    *durable.Lines
	skipped  int
	last     tune.Figures
	begun    time.Time
	from     int // step
	logged   time.Time
	loggedAt int
	saved    time.Time
	report   bool
	shown    time.Time // when the report was written
}

// tuneGarbage is how much garbage may lie beside what is alive, in percent: a step makes hardly any, decoding does.
const tuneGarbage = 25

// runTune is the command: everything that can be checked is checked before anything is touched.
func runTune(ctx context.Context, io streams, f *tuneFlags) error {
	progress := cli.NewProgress(io.err, "step", f.logFormat, f.quiet)
	p, err := f.plan(progress)
	if err != nil {
		return err
	}
	p.describe(f, progress)
	if f.dryRun {
		return nil
	}
	if f.threads > 0 {
		limitThreads(f.threads)
	}
	if f.nice != 0 {
		if err := device.Nice(f.nice); err != nil {
			progress.Warnf("%v", err)
		}
	}
	if err := durable.MkdirAll(f.out, 0o755); err != nil {
		return err
	}
	lock, err := durable.LockDir(f.out)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	debug.SetGCPercent(tuneGarbage)
	if p.budget > 0 {
		debug.SetMemoryLimit(p.budget)
	}
	pool := parallel.New(p.workers)
	defer pool.Close()
	t := &tuning{dir: f.out, plan: p, progress: progress, report: f.report}
	if err := t.begin(ctx, f, pool); err != nil {
		return err
	}
	if t.lines, err = durable.AppendLines(filepath.Join(f.out, metricsFile)); err != nil {
		return err
	}
	defer t.lines.Close()
	if err := t.loop(ctx); err != nil {
		progress.Finish()
		if ctx.Err() != nil {
			if saving := t.save(); saving != nil {
				return finishErr(err, saving)
			}
			t.show(false)
			progress.Infof("stopped at step %d of %d; the state is saved: --resume goes on exactly here", t.run.Done(), p.config.Steps)
		}
		return err
	}
	if err := t.finish(ctx); err != nil {
		return err
	}
	if t.skipped > 0 || p.lost > 0 {
		return cli.ErrSkipped
	}
	return nil
}

// begin makes the run, at its start or at its newest checkpoint.
func (t *tuning) begin(ctx context.Context, f *tuneFlags, pool *parallel.Pool) error {
	p := t.plan
	skip := func(err error) {
		t.skipped++
		t.progress.Warnf("skipping %v", err)
	}
	p.train.Open(p.config.Encoder, p.limits, p.cache, skip)
	p.val.Open(p.config.Encoder, p.limits, p.cache/4, skip)
	tr, err := tune.NewTrainer(p.config, p.encoder, p.chunk, pool)
	if err != nil {
		return cli.Usage(err)
	}
	if p.resume {
		file, err := newestTuned(f.out, t.progress)
		if err != nil {
			return err
		}
		if file != nil {
			if err := tr.Restore(file); err != nil {
				return err
			}
			if err := file.Close(); err != nil {
				return err
			}
			t.progress.Infof("resumed at step %d", tr.Done())
		}
	}
	t.run, err = tune.Begin(ctx, tr, p.train, p.features, func(done int) {
		t.progress.Update(cli.Status{Done: int64(done), Total: int64(p.train.Len()), Images: int64(done), Note: "features"})
	})
	if err != nil {
		return err
	}
	if p.timed {
		p.config.SetSteps(t.measure(time.Duration(f.maxTime)))
		t.progress.Infof("%d steps of %d pictures (%.1f epochs)", p.config.Steps, p.config.Batch, float64(p.config.Steps*p.config.Batch)/float64(p.train.Len()))
		t.run.Restart(p.encoder, p.config.Steps)
	}
	p.encoder = nil
	done := t.run.Done()
	if err := durable.TruncateJSONL(filepath.Join(t.dir, metricsFile), func(line []byte) bool {
		var m struct{ Step int }
		return json.Unmarshal(line, &m) == nil && m.Step <= done && p.resume
	}); err != nil {
		return err
	}
	if p.resume {
		return nil
	}
	for _, name := range []string{checkpointFile, durable.PrevName(checkpointFile), tunedFile, figuresFile, reportFile} {
		if err := durable.Remove(filepath.Join(t.dir, name)); err != nil {
			return err
		}
	}
	if err := durable.SyncDir(t.dir); err != nil {
		return err
	}
	in, err := f.inputs()
	if err != nil {
		return err
	}
	rc := tuneConfig{Program: version(), Encoder: p.id, Inputs: in, Train: p.train.Len(), Val: p.val.Len(), Names: p.names, Run: p.config, Settings: f.settings()}
	return durable.WriteFile(filepath.Join(t.dir, configFile), 0o644, func(w io.Writer) error { return writeJSON(w, rc) })
}

func readTuneConfig(dir string) (c tuneConfig, err error) {
	path := filepath.Join(dir, configFile)
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Size() > mostConfig {
		return c, fmt.Errorf("%s is no configuration: a file of at most %s", path, cli.Bytes(mostConfig))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// measure says how many steps fit into a time, a twentieth left for judging.
func (t *tuning) measure(within time.Duration) int {
	const warm, least = 3, 5 * time.Second
	for range warm {
		t.run.Next()
	}
	begun, steps := time.Now(), 0
	for time.Since(begun) < least {
		t.run.Next()
		steps++
	}
	each := time.Since(begun) / time.Duration(steps)
	return max(20, int(float64(within)*0.95/float64(each)))
}

// cachedEvals is how often a head on features that are computed once is judged: that computes those of the pictures to judge on
// each time, and takes longer than the steps between.
const cachedEvals = 2

// loop trains until the last step, an interruption or an error.
func (t *tuning) loop(ctx context.Context) error {
	c := t.plan.config
	t.begun = time.Now()
	t.logged, t.saved, t.loggedAt, t.from = t.begun, t.begun, t.run.Done(), t.run.Done()
	evals := defaultEvals
	if c.Cached() {
		evals = cachedEvals
	}
	every := max(1, c.Steps/evals)
	for t.run.Done() < c.Steps {
		st := t.run.Next()
		last, now := st.Step == c.Steps, time.Now()
		eval := st.Step%every == 0 || last
		if eval || st.Step == 1 || now.Sub(t.logged) >= logEvery {
			if err := t.log(ctx, st, eval); err != nil {
				return err
			}
		}
		t.progress.Update(cli.Status{Done: int64(st.Step), Total: int64(c.Steps), Images: int64(st.Step) * int64(c.Batch), Loss: st.Loss})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if now.Sub(t.saved) >= defaultCheckpointEvery && !last {
			if err := t.save(); err != nil {
				t.progress.Warnf("training goes on, and %s is tried again: %v", checkpointFile, err)
			}
			t.saved = time.Now()
		}
	}
	return nil
}

// log writes one line of metrics, with figures after an evaluation.
func (t *tuning) log(ctx context.Context, st tune.Stats, eval bool) error {
	now, c := time.Now(), t.plan.config
	m := tuneMetrics{Step: st.Step, Loss: number(st.Loss), LR: number(st.LR), GradNorm: number(st.GradNorm), Epoch: number(float64(st.Step*c.Batch) / float64(t.plan.train.Len()))}
	if n := st.Step - t.loggedAt; n > 0 {
		m.ImagesPerSecond = number(float64(n*c.Batch) / now.Sub(t.logged).Seconds())
	}
	if eval {
		f, err := t.run.Judge(ctx, t.plan.val, c.Head.Task == heads.Classify)
		if err != nil {
			return err
		}
		m.Figures, t.last = &f, f
		t.progress.Infof("step %d: %s", st.Step, figureText(f))
	}
	if err := t.lines.Append(m); err != nil {
		t.progress.Warnf("training goes on without a line of %s: %v", metricsFile, err)
	}
	t.logged, t.loggedAt = time.Now(), st.Step
	if eval || now.Sub(t.shown) >= reportEvery {
		t.show(st.Step < c.Steps)
	}
	return nil
}

// show writes the report. That it cannot be written is no reason to stop.
func (t *tuning) show(live bool) {
	if !t.report {
		return
	}
	lines, err := report.ReadMetrics(filepath.Join(t.dir, metricsFile))
	if err == nil {
		p, now, done := t.plan, time.Now(), t.run.Done()
		page := report.TaskPage{Name: filepath.Base(t.dir), Config: p.config, Train: p.train.Len(), Val: p.val.Len(), Program: "edge-train " + version(),
			Step: done, Live: live, Written: now, Lines: lines}
		if n := done - t.from; n > 0 && live {
			page.Left = time.Duration(float64(now.Sub(t.begun)) / float64(n) * float64(p.config.Steps-done))
		}
		if t.last.Task != "" {
			page.Figures = &t.last
		}
		err = durable.WriteFile(filepath.Join(t.dir, reportFile), 0o644, page.Write)
	}
	if t.shown = time.Now(); err != nil {
		t.progress.Warnf("training goes on without %s: %v", reportFile, err)
	}
}

// figureText is the figures in a line.
func figureText(f tune.Figures) string {
	switch f.Task {
	case heads.Segment:
		return fmt.Sprintf("Dice %.2f %%, mean IoU %.2f %%, pixels %.2f %%", f.Dice, f.MeanIoU, f.Accuracy)
	case heads.Detect:
		return fmt.Sprintf("AP50 %.2f %%, AP %.2f %%", f.AP50, f.AP)
	}
	if f.Top5 > 0 {
		return fmt.Sprintf("top-1 %.2f %%, top-5 %.2f %%", f.Top1, f.Top5)
	}
	return fmt.Sprintf("top-1 %.2f %%", f.Top1)
}

func (t *tuning) save() error {
	return durable.SaveCheckpoint(t.dir, checkpointFile, t.run.WriteCheckpoint)
}

// finish writes what the run was for.
func (t *tuning) finish(ctx context.Context) error {
	t.progress.Finish()
	if t.last.Task == "" { // resumed behind its last step
		f, err := t.run.Judge(ctx, t.plan.val, t.plan.config.Head.Task == heads.Classify)
		if err != nil {
			return err
		}
		t.last = f
	}
	h := t.run.Head
	if h.Config.Task == heads.Classify {
		h.Config.Temperature = t.last.Temperature
	}
	figures, err := json.Marshal(t.last)
	if err != nil {
		return err
	}
	meta := map[string]string{"figures": string(figures)}
	write := func(w io.Writer) error { return quant.WriteFloat(w, t.run.Encoder, quant.F32, h, meta) }
	if err := t.save(); err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(t.dir, tunedFile), 0o644, write); err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(t.dir, figuresFile), 0o644, func(w io.Writer) error { return writeJSON(w, t.last) }); err != nil {
		return err
	}
	t.progress.Infof("done: %s; %s in %s", figureText(t.last), filepath.Join(t.dir, tunedFile), cli.Span(time.Since(t.begun)))
	return nil
}
