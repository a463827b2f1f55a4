package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"edgejepa/device"
	"edgejepa/internal/cli"
	"edgejepa/internal/durable"
	"edgejepa/internal/parallel"
	"edgejepa/jepa/data"
	"edgejepa/jepa/report"
	"edgejepa/vit"
)

const (
	reportEvery  = time.Minute // between two reports, at least
	reportSlower = 60          // or this part of the time that the run has taken: cards wear out
	lookShare    = 50          // looking at pictures may take this part of the time
)

// lookGrace is what looks may take beside, at the start and at the end. Tests have more.
var lookGrace = 3 * time.Second

// reportFlags are those of pretrain about showing a run and about its health.
type reportFlags struct {
	report         bool
	serve          string
	stopOnCollapse bool
}

func (f *reportFlags) add(fs *pflag.FlagSet) {
	fs.BoolVar(&f.report, "report", true, "keep "+reportFile+" in the run's folder up to date: curves and pictures, for a browser")
	fs.StringVar(&f.serve, "serve", "", "show the report while training at this address, such as :8080; only on this machine unless another is named, such as 0.0.0.0:8080")
	fs.BoolVar(&f.stopOnCollapse, "stop-on-collapse", false, "end the run when features collapse, instead of warning")
}

// reporter keeps a run's report up to date.
type reporter struct {
	dir      string
	page     report.Page
	sample   *report.Sample // nil: pictures are not shown
	cost     time.Duration  // of a look
	spent    time.Duration  // on looks so far
	begun    time.Time
	written  time.Time
	fresh    float64 // consistency that no line has yet, NaN: none
	random   float64 // consistency before training, NaN: unknown
	progress *cli.Progress
}

// sampleOptions are those of a run.
func sampleOptions(rc runConfig) report.SampleOptions {
	c := rc.Run
	return report.SampleOptions{
		Config:  c,
		Augment: data.AugmentOptions{CropScale: c.CropScale, Flip: c.Flip, Jitter: c.Jitter, Mean: c.Encoder.Mean, Std: c.Encoder.Std},
	}
}

// planReport sets memory aside for the report: for serving it, which was asked for, at the cost of training; for looking at
// pictures at most half of what training leaves over. The rest is for decoded pictures.
func (p *plan) planReport(f reportFlags, eval string) error {
	m := &p.memory
	switch {
	case f.serve == "":
	case m.budget > 0 && m.need()+serveBytes > m.budget:
		here, _ := device.Here() // what cannot be read has been told
		if err := p.fit(here, m.budget, eval, serveBytes); err != nil {
			return cli.Usagef("with --serve, for which %s are kept: %w", cli.Bytes(serveBytes), err)
		}
	default:
		m.report += serveBytes
	}
	if f.report {
		p.planSample()
	}
	if m.cache > 0 {
		m.cache = max(0, (m.budget-m.need())/4*3)
	}
	return nil
}

// planSample chooses the pictures that the report shows, or notes that there is no memory for any.
func (p *plan) planSample() {
	m := &p.memory
	decoding := m.decode / int64(max(m.workers, 1)) // one picture at a time, beside the loader's
	left := int64(math.MaxInt64)
	if m.budget > 0 {
		left = (m.budget - m.need()) / 2
	}
	o, bytes, ok := report.SampleFor(sampleOptions(p.config), p.set.Len(), p.workers, left-decoding)
	if !ok {
		p.noSight = "The memory that the run may take (--memory) leaves none for looking at pictures."
		return
	}
	p.sample = &o
	m.report += bytes + decoding
}

// newReporter prepares the report of a run that is about to begin.
func newReporter(dir string, p *plan, e *vit.Encoder, pool *parallel.Pool, progress *cli.Progress) *reporter {
	r := &reporter{dir: dir, page: pageOf(dir, p.config), begun: time.Now(), fresh: math.NaN(), random: math.NaN(), progress: progress}
	r.page.NoSight = p.noSight
	if p.sample != nil {
		r.sample = report.NewSample(p.set, e, pool, *p.sample)
		r.page.NoSight = "The pictures have not been looked at yet: that may take no more than a fiftieth of the time. When the run is over, edge-train report looks at them."
	}
	return r
}

// pageOf is the report of a run but for what changes.
func pageOf(dir string, rc runConfig) report.Page {
	name := dir
	if abs, err := filepath.Abs(dir); err == nil {
		name = filepath.Base(abs)
	}
	return report.Page{Name: cli.Printable(name), Config: rc.Run, Pictures: rc.Pictures, Program: rc.Program}
}

// remember takes over what an earlier part of the run has found.
func (r *reporter) remember(lines []report.Line) {
	for _, l := range lines {
		if !math.IsNaN(l.ConsistencyRandom) {
			r.random = l.ConsistencyRandom
		}
	}
}

// look shows the pictures to the encoder if there is time for it. Looks never fail a run.
func (r *reporter) look(ctx context.Context, step int, grace time.Duration) {
	if r.sample == nil {
		return
	}
	if r.page.Sight == nil { // nothing better is known than a guess
		begun := time.Now()
		r.cost = r.sample.Cost()
		r.spent += time.Since(begun)
	}
	if r.spent+r.cost > time.Since(r.begun)/lookShare+grace {
		return
	}
	begun := time.Now()
	sight, err := r.sample.Look(ctx, step)
	r.cost = max(time.Since(begun), 1)
	r.spent += r.cost
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		r.page.Sight, r.page.NoSight = nil, fmt.Sprintf("The pictures cannot be shown: %v.", err)
		return
	}
	r.page.Sight, r.fresh = sight, sight.Consistency
	if step == 0 {
		r.random = sight.Consistency
	}
}

// note adds to a line what the report has found out.
func (r *reporter) note(m *metrics) {
	if !math.IsNaN(r.fresh) {
		m.Consistency, r.fresh = ptr(number(r.fresh)), math.NaN()
		if !math.IsNaN(r.random) {
			m.ConsistencyRandom = ptr(number(r.random))
		}
	}
}

func ptr[T any](v T) *T { return &v }

// due says that the report is old.
func (r *reporter) due(now time.Time) bool {
	return now.Sub(r.written) >= max(reportEvery, now.Sub(r.begun)/reportSlower)
}

// write writes the report. A report that cannot be written is no reason to stop.
func (r *reporter) write(step int, left time.Duration, live bool) {
	r.written = time.Now()
	p := &r.page
	p.Step, p.Left, p.Live, p.Written = step, left, live, r.written
	lines, err := report.ReadMetrics(filepath.Join(r.dir, metricsFile))
	if err == nil {
		p.Lines = lines
		err = durable.WriteFile(filepath.Join(r.dir, reportFile), 0o644, p.Write)
	}
	if err != nil {
		r.progress.Warnf("the report: %v", err)
	}
}

// finish writes the last report of this part of the run, with a last look unless that would keep somebody waiting.
func (r *reporter) finish(ctx context.Context, step int) {
	if s := r.page.Sight; ctx.Err() == nil && (s == nil || s.Step != step) {
		r.look(ctx, step, lookGrace)
	}
	r.write(step, 0, false)
}

// show brings the report up to date.
func (t *training) show(now time.Time) {
	if t.report == nil {
		return
	}
	c := t.config.Run
	left := time.Duration(0)
	if done := t.trainer.Done() - t.startedAt; done > 0 {
		left = time.Duration(float64(now.Sub(t.begun)) / float64(done) * float64(c.Steps-t.trainer.Done()))
		if !t.deadline.IsZero() {
			left = max(0, min(left, t.deadline.Sub(now)))
		}
	}
	t.report.write(t.trainer.Done(), left, true)
}

type reportCommandFlags struct {
	run, out, which string
	threads         int
}

func reportCommand(io streams) *cobra.Command {
	f := &reportCommandFlags{}
	c := &cobra.Command{
		Use:   "report --run RUN [--out FILE]",
		Short: "Draw a run's report anew: curves, neighbours, tokens and a map of the pictures",
		Long: `Draws the page that pretrain keeps in RUN/` + reportFile + `: what metrics.jsonl has as curves, and what the encoder makes of a
sample of the run's pictures, if they are still where they were. The page is one file that needs nothing else.`,
		Example: "  edge-train report --run run\n  edge-train report --run run --which best --out best.html",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(c *cobra.Command, _ []string) error { return runReport(c.Context(), io, f) },
	}
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVarP(&f.run, "run", "r", "", "folder of the run")
	fs.StringVarP(&f.out, "out", "o", "", "file to write (default: RUN/"+reportFile+")")
	fs.StringVar(&f.which, "which", "last", "encoder of the run: last or best")
	fs.IntVar(&f.threads, "threads", 0, "threads (default: all cores)")
	return c
}

func runReport(ctx context.Context, io streams, f *reportCommandFlags) error {
	if f.run == "" {
		return cli.Usagef("report needs --run (try edge-train report --help)")
	}
	rc, err := readRunConfig(f.run)
	if err != nil {
		return cli.Usage(err)
	}
	if f.out == "" {
		// A run under way keeps its own report, and nobody else's.
		lock, err := durable.LockDir(f.run)
		if err != nil {
			return err
		}
		defer lock.Unlock()
		f.out = filepath.Join(f.run, reportFile)
	}
	page := pageOf(f.run, rc)
	if page.Lines, err = report.ReadMetrics(filepath.Join(f.run, metricsFile)); err != nil {
		return err
	}
	for _, l := range page.Lines {
		page.Step = max(page.Step, l.Step)
	}
	page.Written = time.Now()
	if page.Sight, err = sightOf(ctx, io.err, f, rc, page.Step); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		page.NoSight = fmt.Sprintf("The pictures cannot be shown: %v.", err)
		fmt.Fprintf(io.err, "edge-train: the report has no pictures: %v\n", err)
	}
	if err := durable.WriteFile(f.out, 0o644, page.Write); err != nil {
		return err
	}
	fmt.Fprintln(io.err, "wrote", cli.Printable(f.out))
	return nil
}

// sightOf looks at the pictures that a run was trained on.
func sightOf(ctx context.Context, said io.Writer, f *reportCommandFlags, rc runConfig, step int) (*report.Sight, error) {
	model, err := whichModel(f.run, f.which)
	if err != nil {
		return nil, err
	}
	m, err := openRun(model, rc.MaxMegapixels, f.threads)
	if err != nil {
		return nil, err
	}
	if m.context.Config != rc.Run.Encoder {
		return nil, errors.New("the encoder is not the one of config.json")
	}
	for _, p := range rc.Paths {
		if _, err := os.Stat(p); err != nil {
			return nil, err
		}
	}
	set, err := data.Open(rc.Paths, data.Options{ImageSize: rc.Run.Encoder.ImageSize, Limits: m.limits})
	if err != nil {
		return nil, err
	}
	pool := parallel.New(m.workers)
	defer pool.Close()
	here, _ := device.Here()
	budget, err := device.Budget(here, 0)
	if err != nil || budget <= 0 {
		budget = math.MaxInt64
	}
	o, _, ok := report.SampleFor(sampleOptions(rc), set.Len(), m.workers, budget/2)
	if !ok {
		return nil, errors.New("the machine has too little memory free")
	}
	return report.NewSample(set, m.context, pool, o).Look(ctx, step)
}
