package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"edgejepa/device"
	"edgejepa/internal/cli"
	"edgejepa/internal/durable"
	"edgejepa/internal/parallel"
	"edgejepa/jepa"
	"edgejepa/jepa/data"
	"edgejepa/vit"
)

const (
	defaultEpochs = 100
	fewPictures   = 1000 // below this a warning: representation learning wants variety
)

// pretrain is the command: everything is checked before anything is touched.
func pretrain(ctx context.Context, io streams, f *pretrainFlags, flags *pflag.FlagSet, paths []string) error {
	if f.out == "" {
		return cli.Usagef("pretrain needs --out RUN, the folder to write to (try edge-train pretrain --help)")
	}
	progress := cli.NewProgress(io.err, "step", f.logFormat, f.quiet)
	here, err := device.Here()
	if err != nil {
		progress.Warnf("this machine: %v", err)
	}
	workers, err := threads(f.threads, here)
	if err != nil {
		return err
	}
	limits, err := limitsOf(f.maxMegapixels)
	if err != nil {
		return err
	}
	stored, err := f.storedConfig()
	if err != nil {
		return err
	}
	var base *jepa.Config
	if stored != nil {
		base = &stored.Run
	}
	c, err := f.configure(flags.Changed, base)
	if err != nil {
		return err
	}

	skip := func(err error) { progress.Warnf("skipping %v", err) }
	set, err := data.Open(paths, data.Options{ImageSize: c.Encoder.ImageSize, Limits: limits, OnSkip: skip})
	if err != nil {
		return err
	}
	rc := runConfig{Program: "edge-train " + version(), Paths: paths, Pictures: set.Len(), Names: namesHash(set.Paths())}
	if rc.Pictures < 2 {
		return &cli.ExitError{Code: cli.ExitFailed, Err: fmt.Errorf("%d pictures under %s: nothing to learn from", rc.Pictures, strings.Join(paths, " "))}
	}
	if stored == nil && !flags.Changed("batch") {
		c.Batch = min(c.Batch, max(2, rc.Pictures/4))
	}
	if err := f.setSteps(&c, flags.Changed, stored, rc.Pictures); err != nil {
		return err
	}
	if err := c.Validate(); err != nil {
		return cli.Usage(err)
	}
	rc.Run = c
	if stored != nil {
		if err := sameRun(*stored, rc); err != nil {
			return err
		}
		rc = *stored
	}

	// Memory: the trainer first, what is left may hold decoded pictures.
	budget, err := device.Budget(here, int64(f.memory))
	if err != nil {
		return cli.Usage(err)
	}
	need := jepa.Footprint(c, workers) + data.LoaderBytes(c.Batch, c.Encoder.ImageSize)
	if budget > 0 && need > budget {
		return cli.Usagef("training takes %s, and the memory allowed is %s: lower --batch (now %d) or --image-size, take a smaller --preset, or raise --memory to at least %s",
			cli.Bytes(need), cli.Bytes(budget), c.Batch, cli.Bytes(need))
	}
	cache := int64(0)
	if budget > need {
		cache = (budget - need) / 2
	}
	f.describe(progress, rc, need, cache, workers)
	if f.dryRun {
		return nil
	}

	if err := os.MkdirAll(f.out, 0o755); err != nil {
		return err
	}
	lock, err := durable.LockDir(f.out)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	pool := parallel.New(workers)
	defer pool.Close()
	tr, err := jepa.NewTrainer(c, pool)
	if err != nil {
		return cli.Usage(err)
	}
	t := &training{dir: f.out, config: rc, trainer: tr, pool: pool, progress: progress, every: time.Duration(f.checkpointEvery)}
	set.Cache(cache)
	open := func(step int) *data.Loader {
		return data.NewLoader(set, data.LoaderOptions{
			Batch: c.Batch, Seed: c.Seed, Step: step, Workers: workers,
			Augment: data.AugmentOptions{CropScale: c.CropScale, Flip: c.Flip, Mean: c.Encoder.Mean, Std: c.Encoder.Std},
		})
	}
	start := time.Now()
	if f.maxTime > 0 {
		t.deadline = start.Add(time.Duration(f.maxTime))
	}
	if stored == nil && f.maxTime > 0 && !flags.Changed("epochs") && !flags.Changed("max-steps") {
		steps, err := t.measureSteps(ctx, set, cache, open, time.Duration(f.maxTime))
		if err != nil {
			return err
		}
		c.SetSteps(steps)
		t.config.Run = c
		tr.Restart(c)
	}
	if err := t.begin(f, stored != nil); err != nil {
		return err
	}
	if t.lines, err = durable.AppendLines(filepath.Join(f.out, metricsFile)); err != nil {
		return err
	}
	defer t.lines.Close()
	if f.eval != "" {
		every := f.evalEvery
		if every <= 0 {
			every = max(1, c.Steps/10)
		}
		if t.judge, err = newJudge(ctx, f.eval, every, pool, limits, t.trainer.Context, c.Seed, skip); err != nil {
			return err
		}
	}
	t.loader = open(t.trainer.Done())
	defer t.loader.Close()
	if err := t.loop(ctx); err != nil {
		return err
	}
	if set.Skipped() > 0 {
		return cli.ErrSkipped
	}
	return nil
}

// storedConfig reads the run that --resume goes on with, and refuses to overwrite one otherwise.
func (f *pretrainFlags) storedConfig() (*runConfig, error) {
	rc, err := readRunConfig(f.out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if f.resume {
			return nil, cli.Usagef("--resume: there is no run in %s", f.out)
		}
		return nil, nil
	case f.force && !f.resume:
		return nil, nil
	case err != nil:
		return nil, cli.Usage(err)
	case !f.resume && !f.dryRun:
		return nil, cli.Usagef("%s holds a run already: --resume goes on with it, --force overwrites it", f.out)
	case f.resume:
		return &rc, nil
	}
	return nil, nil
}

// setSteps sets the length of the run. With --max-time alone it is a guess until the speed has been measured.
func (f *pretrainFlags) setSteps(c *jepa.Config, given func(string) bool, stored *runConfig, pictures int) error {
	perEpoch := max(1, pictures/c.Batch)
	switch {
	case given("epochs") && given("max-steps"):
		return cli.Usagef("--epochs and --max-steps contradict each other: give one")
	case given("max-steps"):
		c.SetSteps(f.maxSteps)
	case given("epochs"):
		c.SetSteps(f.epochs * perEpoch)
	case stored != nil:
		if given("lr") {
			c.SetSteps(c.Steps)
		}
	default:
		c.SetSteps(defaultEpochs * perEpoch)
	}
	if c.Steps < 1 {
		return cli.Usagef("the run would have %d steps: give --epochs or --max-steps of at least 1", c.Steps)
	}
	return nil
}

// sameRun refuses to go on with a run under other settings or pictures, naming what differs.
func sameRun(was, now runConfig) error {
	var diff []string
	if a, b := was.Run.JSON(), now.Run.JSON(); a != b {
		diff = jepa.DiffConfig(a, b)
	}
	if was.Pictures != now.Pictures {
		diff = append(diff, fmt.Sprintf("pictures were %d, now %d", was.Pictures, now.Pictures))
	} else if was.Names != now.Names {
		diff = append(diff, "the pictures' names or their order changed")
	}
	if len(diff) > 0 {
		return cli.Usagef("--resume: this is not the run that was begun: %s", strings.Join(diff, "; "))
	}
	return nil
}

// namesHash is a fingerprint of a list of paths.
func namesHash(paths []string) string {
	h := sha256.New()
	for _, p := range paths {
		io.WriteString(h, p)
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))
}

// describe says what is about to be done.
func (f *pretrainFlags) describe(p *cli.Progress, rc runConfig, need, cache int64, workers int) {
	c := rc.Run
	p.Infof("%s pictures; %d tokens a picture (%d pixels, patches of %d)", cli.Count(int64(rc.Pictures)), c.Encoder.Tokens(), c.Encoder.ImageSize, c.Encoder.PatchSize)
	p.Infof("%s: encoder %s parameters, predictor %s; %d steps of %d pictures, %.1f epochs", c.Preset,
		cli.Count(encoderParams(c.Encoder)), cli.Count(predictorParams(c)), c.Steps, c.Batch, float64(c.Steps)*float64(c.Batch)/float64(rc.Pictures))
	p.Infof("memory: %s for training, up to %s for decoded pictures; %d threads", cli.Bytes(need), cli.Bytes(cache), workers)
	if rc.Pictures < fewPictures {
		p.Warnf("%d pictures are few: features get better with thousands", rc.Pictures)
	}
}

// measureSteps finds how many steps fit into limit. It measures what decoding a batch and what training on one take,
// the latter on a state that is thrown away: both use all cores, so a step costs their sum as long as pictures must be
// decoded, and training alone once they are all in the cache.
func (t *training) measureSteps(ctx context.Context, set *data.Set, cache int64, open func(int) *data.Loader, limit time.Duration) (int, error) {
	begin := time.Now()
	spend := min(20*time.Second, max(2*time.Second, limit/40)) // on each of the two
	l := open(0)
	defer l.Close()
	batches := 0
	var px []float32
	for ; batches == 0 || time.Since(begin) < spend; batches++ {
		b, err := l.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return 0, context.Cause(ctx)
			}
			return 0, err
		}
		px = b.Pixels
	}
	decode := time.Since(begin) / time.Duration(batches+1) // one more was being prepared
	l.Close()

	t.trainer.Step(px) // touches fresh memory
	begun, steps := time.Now(), 0
	for ; steps == 0 || time.Since(begun) < spend && ctx.Err() == nil; steps++ {
		t.trainer.Step(px)
	}
	train := time.Since(begun) / time.Duration(steps)

	left := float64(limit-time.Since(begin)) * 0.97
	first := left / float64(train+decode)
	if perEpoch := float64(set.Len()) / float64(t.config.Run.Batch); first > perEpoch && fits(set, cache) {
		first = perEpoch + (left-perEpoch*float64(train+decode))/(float64(train)*1.05) // crops are still cut
	}
	if first < 1 {
		return 0, cli.Usagef("--max-time %s is too short for a single step here: give more time or a smaller network", cli.Span(limit))
	}
	t.progress.Infof("a step takes %s, decoding its pictures %s: %d steps in %s", cli.Span(train), cli.Span(decode), int(first), cli.Span(limit))
	return int(first), nil
}

// fits guesses from a few pictures whether all of them, decoded, fit into the cache.
func fits(set *data.Set, cache int64) bool {
	const look = 8
	bytes, n := int64(0), int64(0)
	for i := range look {
		if img, err := set.Picture(i * set.Len() / look); err == nil {
			bytes += int64(len(img.Pix))
			n++
		}
	}
	return n > 0 && bytes/n*int64(set.Len()) <= cache
}

// begin sets the trainer to the run's start, or to its newest checkpoint.
func (t *training) begin(f *pretrainFlags, resume bool) error {
	if resume {
		ok, err := t.restore()
		if err != nil {
			return err
		}
		if ok {
			t.progress.Infof("resumed at step %d", t.trainer.Done())
		} else {
			t.progress.Infof("no checkpoint yet: starting at step 0")
		}
		if ok || f.initFrom == "" {
			return nil
		}
	} else {
		if err := t.clean(); err != nil {
			return err
		}
		text, err := json.MarshalIndent(t.config, "", "  ")
		if err != nil {
			return err
		}
		err = durable.WriteFile(filepath.Join(t.dir, configFile), 0o644, func(w io.Writer) error {
			_, err := w.Write(append(text, '\n'))
			return err
		})
		if err != nil {
			return err
		}
	}
	if f.initFrom == "" {
		return nil
	}
	file, err := openModel(f.initFrom)
	if err != nil {
		return err
	}
	ctx, _, err := loadEncoders(file)
	if err != nil {
		return err
	}
	if err := t.trainer.InitFrom(ctx); err != nil {
		return cli.Usagef("--init-from %s: %w", f.initFrom, err)
	}
	return nil
}

// clean removes a run that --force overwrites.
func (t *training) clean() error {
	if err := durable.Sweep(t.dir); err != nil {
		return err
	}
	for _, name := range []string{configFile, metricsFile, checkpointFile, durable.PrevName(checkpointFile), encoderFile} {
		if err := os.Remove(filepath.Join(t.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func encoderParams(c vit.Config) int64 {
	return vit.CountParams(c)
}

func predictorParams(c jepa.Config) int64 { return c.PredictorParams() }
