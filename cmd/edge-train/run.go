package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"edgejepa/device"
	"edgejepa/internal/cli"
	"edgejepa/internal/durable"
	"edgejepa/internal/parallel"
	"edgejepa/internal/safetensors"
	"edgejepa/internal/sdnotify"
	"edgejepa/jepa"
	"edgejepa/jepa/data"
	"edgejepa/jepa/probe"
)

const (
	defaultCheckpointEvery = 10 * time.Minute
	logEvery               = 10 * time.Second // between two lines of metrics.jsonl, at most
	defaultEvals           = 10               // evaluations of a run with --eval, beside the one at its start
	patience               = time.Hour        // that systemd is asked to have with what is no step: lists, evaluations, saving
)

// training is a run under way.
type training struct {
	dir      string
	config   runConfig
	trainer  *jepa.Trainer
	loader   *data.Loader
	pool     *parallel.Pool
	progress *cli.Progress
	pace     *device.Pace
	notify   *sdnotify.Notifier // nil outside of systemd
	lines    *durable.Lines
	judge    *judge        // nil without --eval
	judging  time.Duration // that an evaluation may take
	report   *reporter     // nil without a report
	plan     *plan
	every    time.Duration
	deadline time.Time // zero: none

	stopOnCollapse bool
	collapsed      bool
	best           float64         // what encoders must surpass to become best.safetensors; -Inf: there are none
	failing        map[string]bool // files that could not be written, when last tried
	skips          int             // steps passed over, in a row
	unsound        bool            // the state is not worth saving
	paced          bool
	begun          time.Time
	startedAt      int // step
	logged         time.Time
	loggedAt       int           // step of the last line
	rested         time.Duration // since then, to cool
	underVoltage   bool          // likewise
	throttled      bool
	saved          time.Time
	writtenBefore  int64 // durable.Written when the run began here
	writtenLogged  int64 // and at the last line
}

// sensors are those of this machine. Tests replace them.
var sensors = os.DirFS("/")

// number is a figure that may not be finite, which JSON writes as null.
type number float64

func (n number) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// metrics is one line of metrics.jsonl.
type metrics struct {
	Step            int    `json:"step"`
	Epoch           number `json:"epoch"`
	Loss            number `json:"loss"`
	VarianceLoss    number `json:"variance_loss"`
	LR              number `json:"lr"`
	WeightDecay     number `json:"weight_decay"`
	EMA             number `json:"ema"`
	GradNorm        number `json:"grad_norm"`
	ImagesPerSecond number `json:"images_per_second"`
	FeatureStd      number `json:"feature_std"`
	RankMe          number `json:"rankme"`
	SkippedSteps    int    `json:"skipped_steps"`
	Temperature     number `json:"temperature,omitempty"`   // °C, where there is a sensor
	Rested          number `json:"rested,omitempty"`        // share of the time, to cool
	UnderVoltage    bool   `json:"under_voltage,omitempty"` // seen since the line before
	Throttled       bool   `json:"throttled,omitempty"`     // likewise, for whatever reason
	BytesWritten    int64  `json:"bytes_written"`           // to files, since the line before
	RollBacks       int    `json:"rollbacks,omitempty"`     // after divergence: each halved the rate

	// Percent of the report's pictures that another crop of the same is nearest to, and the same before training: an estimate
	// without labels.
	Consistency       *number `json:"consistency,omitempty"`
	ConsistencyRandom *number `json:"consistency_random,omitempty"`

	Best       string `json:"best,omitempty"` // the figure, knn or rankme, by which best.safetensors was written at this step
	*judgement        // with --eval
}

// errStopped ends a run at its --max-time.
var errStopped = errors.New("stopped at --max-time")

// pretrain is the command: everything that can be checked is checked before anything is touched.
func pretrain(ctx context.Context, io streams, f *pretrainFlags, flags *pflag.FlagSet, paths []string) error {
	begin := time.Now()
	progress := cli.NewProgress(io.err, "step", f.logFormat, f.quiet)
	warn := func(s string) { progress.Warnf("%s", s) }
	notify := sdnotify.FromEnv(warn)
	notify.Starting(patience)
	p, err := f.plan(flags.Changed, paths, progress)
	if err != nil {
		return err
	}
	listen := ""
	if f.serve != "" {
		if !f.report {
			return cli.Usagef("--serve shows the report, and --report=false leaves it out: give one of them")
		}
		if listen, err = serveAddress(f.serve); err != nil {
			return err
		}
	}
	if err := p.planReport(f.reportFlags, f.eval); err != nil {
		return err
	}
	p.describe(progress, time.Duration(f.maxTime), f.dryRun)
	p.describeWrites(progress, time.Duration(f.checkpointEvery), p.evals(f.eval, f.evalEvery), f.report)
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
	if listen != "" {
		s, err := serve(f.out, listen)
		if err != nil {
			return err
		}
		defer s.close()
		s.announce(progress)
	}
	p.memory.hold()
	pool := parallel.New(p.workers)
	defer pool.Close()
	tr, err := jepa.NewTrainer(p.config.Run, p.memory.plan, pool)
	if err != nil {
		return cli.Usage(err)
	}
	t := &training{dir: f.out, trainer: tr, pool: pool, progress: progress, plan: p, notify: notify, writtenBefore: durable.Written(), every: time.Duration(f.checkpointEvery), failing: map[string]bool{}, stopOnCollapse: f.stopOnCollapse}
	t.pace = device.NewPace(sensors, f.maxTemperature, warn)
	p.set.Cache(p.memory.cache)
	if f.maxTime > 0 {
		t.deadline = begin.Add(time.Duration(f.maxTime))
	}
	evals := time.Duration(0)
	if f.eval != "" {
		notify.Starting(patience)
		begun := time.Now()
		if t.judge, err = newJudge(ctx, f.eval, f.evalEvery, pool, p.limits, tr.Context, p.config.Run.Seed, func(err error) { progress.Warnf("skipping %v", err) }); err != nil {
			return err
		}
		evals, t.judging = (defaultEvals+2)*time.Since(begun), 4*time.Since(begun)
	}
	if p.timed {
		steps, err := t.measureSteps(ctx, p, begin, time.Duration(f.maxTime), evals)
		if err != nil {
			return err
		}
		p.config.Run.SetSteps(steps)
		tr.Restart(p.config.Run)
	}
	t.config = p.config
	if t.judge != nil && t.judge.every <= 0 {
		t.judge.every = max(1, p.config.Run.Steps/defaultEvals)
	}
	if err := t.begin(p); err != nil {
		return err
	}
	if t.lines, err = durable.AppendLines(filepath.Join(f.out, metricsFile)); err != nil {
		return err
	}
	defer func() { t.lines.Close() }()
	if f.report {
		t.report = newReporter(f.out, p, tr.Context, pool, progress)
	}
	if err := t.remember(); err != nil {
		return err
	}
	t.loader = p.loader(tr.Done())
	defer func() {
		if t.loader != nil {
			t.loader.Close()
		}
	}()
	if err := t.leave(ctx, t.loop(ctx)); err != nil {
		return err
	}
	if p.set.Skipped() > 0 {
		return cli.ErrSkipped
	}
	return nil
}

// begin sets the trainer to the run's start, or to its newest checkpoint.
func (t *training) begin(p *plan) error {
	if p.resume {
		if !p.listed {
			if err := writeList(t.dir, p.set.Paths(), p.roots); err != nil {
				return err
			}
		}
		// What an earlier stop exported would soon be older than the checkpoint.
		if err := durable.Remove(filepath.Join(t.dir, encoderFile)); err != nil {
			return err
		}
		found, err := t.restore()
		if err != nil {
			return err
		}
		if found {
			t.progress.Infof("resumed at step %d", t.trainer.Done())
			return t.checkRollback()
		}
		if p.config.InitFrom != "" && p.init == nil {
			return cli.Usagef("--resume: the run had no checkpoint yet: give its --init-from again")
		}
		t.progress.Infof("no checkpoint yet: starting at step 0")
	} else {
		if err := t.clean(); err != nil {
			return err
		}
		if err := writeList(t.dir, p.set.Paths(), p.roots); err != nil {
			return err
		}
		write := func(w io.Writer) error { return writeJSON(w, t.config) } // last: it makes the folder a run, which has a list
		if err := durable.WriteFile(filepath.Join(t.dir, configFile), 0o644, write); err != nil {
			return err
		}
	}
	if p.init == nil {
		return nil
	}
	return t.trainer.InitFrom(p.init)
}

// clean removes a run that --force overwrites.
func (t *training) clean() error {
	if err := durable.Sweep(t.dir); err != nil {
		return err
	}
	for _, name := range runFiles {
		if err := durable.Remove(filepath.Join(t.dir, name)); err != nil {
			return err
		}
	}
	return durable.SyncDir(t.dir) // or power could bring an old checkpoint back beside the new configuration
}

// restore brings the trainer to the newest complete checkpoint of the run. It returns false when there is none. Lines of
// the log from after it are dropped: they will be written again.
func (t *training) restore() (bool, error) {
	var loaded *safetensors.File
	_, refused, err := durable.Recover(t.dir, checkpointFile, func(path string) (err error) {
		loaded, err = openChecked(path)
		return err
	})
	for _, r := range refused {
		t.progress.Warnf("a damaged checkpoint was put aside: %v", r)
	}
	found := !errors.Is(err, fs.ErrNotExist)
	if found {
		if err == nil {
			err = errors.Join(t.trainer.Restore(loaded), loaded.Close())
		}
		if err != nil {
			return false, err
		}
	}
	return found, t.cutLog(found)
}

// cutLog drops the lines of the log that are from after the trainer's step, or all of them.
func (t *training) cutLog(keep bool) error {
	done := t.trainer.Done()
	return durable.TruncateJSONL(filepath.Join(t.dir, metricsFile), func(line []byte) bool {
		var m struct{ Step int }
		return keep && json.Unmarshal(line, &m) == nil && m.Step <= done
	})
}

// openChecked opens a file for one reading, as large as it may be, if it agrees with its checksum.
func openChecked(path string) (*safetensors.File, error) {
	f, err := safetensors.Stream(path)
	if err != nil {
		return nil, err
	}
	if err := f.Verify(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// loop trains until the last step, the deadline, an interruption or an error.
func (t *training) loop(ctx context.Context) error {
	c := t.config.Run
	t.notify.Starting(patience)
	if t.report != nil {
		t.report.look(ctx, t.trainer.Done(), lookGrace)
	}
	t.begun = time.Now()
	t.logged, t.saved, t.loggedAt, t.startedAt = t.begun, t.begun, t.trainer.Done(), t.trainer.Done()
	t.writtenLogged = t.writtenBefore
	if t.judge != nil && t.trainer.Done() == 0 {
		if err := t.log(ctx, jepa.Stats{}, true, false); err != nil {
			return err
		}
	}
	t.notify.Starting(patience) // anew: what the first step takes is counted from here
	for t.trainer.Done() < c.Steps {
		b, err := t.loader.Next(ctx)
		if err != nil {
			return err
		}
		begun := time.Now()
		st := t.trainer.Step(b.Pixels)
		t.notify.Beat()
		t.rest(ctx, time.Since(begun))
		if t.watch(st) != nil {
			if err := t.goBack(); err != nil {
				return err
			}
			continue
		}
		last := st.Step == c.Steps
		if !last && t.trainer.Unsound == 0 && st.Step%rollbackEvery(c.Steps) == 0 {
			t.saveRollback()
		}
		eval := t.judge != nil && (st.Step%t.judge.every == 0 || last)
		now := time.Now()
		saving := now.Sub(t.saved) >= t.every && t.trainer.Unsound == 0
		if last || eval || saving || st.Step == 1 || now.Sub(t.logged) >= logEvery {
			done := t.notify.Patient(max(patience, t.judging))
			due := t.report != nil && !last && t.report.due(now)
			switch {
			case due:
				t.report.look(ctx, st.Step, 0)
			case t.report != nil && last:
				t.report.look(ctx, st.Step, lookGrace)
			}
			if err := t.log(ctx, st, eval, last || saving); err != nil {
				return err
			}
			if due {
				t.show(now)
			}
			done()
		}
		t.progress.Update(cli.Status{Done: int64(st.Step), Total: int64(c.Steps), Images: int64(st.Step) * int64(c.Batch), Loss: st.Loss})
		switch {
		case last:
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !t.deadline.IsZero() && now.After(t.deadline):
			return errStopped
		case saving:
			t.saveOnTheWay()
		}
	}
	return nil
}

// rest waits for as long as a hot board should after a step that took work.
func (t *training) rest(ctx context.Context, work time.Duration) {
	rest := t.pace.Rest(time.Now(), work)
	t.rested += rest
	h := t.pace.Heat()
	t.underVoltage, t.throttled = t.underVoltage || h.UnderVoltage, t.throttled || h.Slowed()
	for rest > 0 && ctx.Err() == nil {
		part := min(rest, time.Second)
		select {
		case <-ctx.Done():
		case <-time.After(part):
		}
		rest -= part
		t.notify.Beat()
	}
}

// log writes one line of metrics, keeps the encoders if they are the best and this is a time to save, and warns when the
// features collapse.
func (t *training) log(ctx context.Context, st jepa.Stats, eval, saving bool) error {
	c, now := t.config.Run, time.Now()
	epochs := float64(t.trainer.Done()) * float64(c.Batch) / float64(t.config.Pictures)
	m := metrics{
		Step: t.trainer.Done(), Epoch: number(epochs),
		Loss: number(st.Loss), VarianceLoss: number(st.Variance), LR: number(st.LR), WeightDecay: number(st.WeightDecay),
		EMA: number(st.EMA), GradNorm: number(st.GradNorm), SkippedSteps: t.trainer.Skipped(),
		Temperature: number(t.pace.Heat().Celsius), RollBacks: t.trainer.Halvings(),
		UnderVoltage: t.underVoltage, Throttled: t.throttled,
	}
	if steps := m.Step - t.loggedAt; steps > 0 {
		perSecond := float64(steps*c.Batch) / now.Sub(t.logged).Seconds()
		t.notify.Status(fmt.Sprintf("step %d of %d, %.1f images/s", m.Step, c.Steps, perSecond))
		m.ImagesPerSecond = number(perSecond)
		m.Rested = number(t.rested.Seconds() / now.Sub(t.logged).Seconds())
		if !t.paced && now.Sub(t.begun) >= logEvery && steps > 1 {
			t.paced = true
			t.progress.Infof("an epoch takes about %s", cli.Span(time.Duration(float64(t.config.Pictures)/perSecond*float64(time.Second))))
		}
	}
	var collapse error
	if x, n, d := t.trainer.Recent(); n >= 2 {
		f := probe.Features{X: x, N: n, D: d}
		m.RankMe, m.FeatureStd = number(probe.RankMe(t.pool, f)), number(probe.FeatureStd(f))
		collapse = t.warnOfCollapse(m)
	}
	if eval {
		j, err := t.judge.judge(ctx)
		if err != nil && ctx.Err() != nil {
			return err
		}
		if t.tolerate("the evaluation", err); err == nil {
			m.judgement = j
			t.progress.Infof("step %d: linear probe %.2f %% (untrained %.2f), k-NN %.2f %% (untrained %.2f), RankMe %.1f",
				m.Step, j.Linear, j.LinearRandom, j.KNN, j.KNNRandom, float64(m.RankMe))
		}
	}
	if t.report != nil {
		t.report.note(&m)
	}
	if eval || saving {
		t.tolerate(bestFile, t.keepBest(&m))
	}
	written := durable.Written()
	m.BytesWritten, t.writtenLogged = written-t.writtenLogged, written
	t.logged, t.loggedAt, t.rested = time.Now(), m.Step, 0
	t.underVoltage, t.throttled = false, false
	t.tolerate(metricsFile, t.lines.Append(m))
	return collapse
}

// tolerate tells of a file that could not be written, once until it could: no reason to stop learning. What is in memory
// is worth more than what is not on a disk that may have room again tomorrow.
func (t *training) tolerate(file string, err error) {
	if err != nil && !t.failing[file] {
		t.progress.Warnf("training goes on, and %s is tried again: %v", file, err)
	}
	t.failing[file] = err != nil
}

// save writes a checkpoint. The log is flushed first, so that it covers what the checkpoint has; a log that cannot be
// flushed is no reason to lose the checkpoint.
func (t *training) save() error {
	defer t.notify.Patient(patience)()
	t.tolerate(metricsFile, t.lines.Sync())
	return durable.SaveCheckpoint(t.dir, checkpointFile, t.trainer.WriteCheckpoint)
}

const (
	saveAgain = time.Minute      // after a checkpoint could not be saved it is tried again, at most so much later
	lastAgain = 10 * time.Second // likewise the last one
)

// lastFor is for how long the last checkpoint is tried to be saved. Tests have less.
var lastFor = time.Hour

// saveOnTheWay saves a checkpoint in the middle of a run, which does not end because it cannot.
func (t *training) saveOnTheWay() {
	err := t.save()
	t.tolerate(checkpointFile, err)
	if t.saved = time.Now(); err != nil {
		t.saved = t.saved.Add(min(t.every, saveAgain) - t.every)
	}
}

// saveLast writes checkpoint and encoders when a run ends. If it cannot, and nobody asked for the end, it waits for the disk
// to have room, or to be there again.
func (t *training) saveLast(ctx context.Context) error {
	told := false
	for begun := time.Now(); ; {
		err := t.save()
		if err == nil {
			err = durable.WriteFile(filepath.Join(t.dir, encoderFile), 0o644, t.trainer.WriteEncoders)
		}
		if err == nil || ctx.Err() != nil || time.Since(begun) >= lastFor {
			return err
		}
		if !told {
			told = true
			t.progress.Warnf("THE STATE CANNOT BE SAVED, and is kept in memory: %v; make room: it is tried every %s for %s, and Ctrl-C gives it up",
				err, cli.Span(lastAgain), cli.Span(lastFor))
		}
		select {
		case <-ctx.Done():
		case <-time.After(lastAgain):
		}
	}
}

// leave ends the run for any reason, nil being that it is done: checkpoint and encoders are written in every case.
func (t *training) leave(ctx context.Context, reason error) error {
	t.notify.Stopping(lastFor + patience)
	t.progress.Finish()
	if t.unsound {
		t.progress.Infof("the last checkpoint is kept as it was")
		if t.report != nil {
			t.report.write(t.trainer.Done(), 0, false)
		}
		return reason
	}
	saving := t.saveLast(ctx)
	if saving == nil && reason == nil {
		saving = t.dropRollback()
	}
	done, steps := t.trainer.Done(), t.config.Run.Steps
	if t.report != nil {
		t.report.finish(ctx, done)
	}
	t.progress.Infof("%s", writesText(durable.Written()-t.writtenBefore, time.Since(t.begun)))
	switch {
	case saving != nil:
	case reason == nil:
		t.progress.Infof("done: %d steps; %s holds both encoders", done, filepath.Join(t.dir, encoderFile))
	case errors.Is(reason, errStopped):
		t.progress.Infof("time is up at step %d of %d; the state is saved: --resume goes on, probe and export work now", done, steps)
		return nil
	case ctx.Err() != nil:
		t.progress.Infof("stopped at step %d of %d; the state is saved: --resume goes on exactly here", done, steps)
	default:
		t.progress.Infof("step %d of %d is saved: --resume goes on from here", done, steps)
	}
	return finishErr(reason, saving)
}
