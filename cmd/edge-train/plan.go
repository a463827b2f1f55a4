package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"edgejepa/device"
	"edgejepa/internal/arena"
	"edgejepa/internal/cli"
	"edgejepa/jepa"
	"edgejepa/jepa/data"
	"edgejepa/jepa/report"
	"edgejepa/quant"
	"edgejepa/vit"
	"edgejepa/vit/pixels"
)

const (
	defaultEpochs = 100
	fewPictures   = 1000 // below this a warning: representation learning wants variety
)

// runConfig is config.json: everything resolved, so that the run can be repeated.
type runConfig struct {
	Program       string      `json:"program"`
	Paths         []string    `json:"paths"` // absolute
	Pictures      int         `json:"pictures"`
	Names         string      `json:"names_sha256"` // of the pictures' paths below Paths, in order
	MaxMegapixels float64     `json:"max_megapixels"`
	InitFrom      string      `json:"init_from,omitempty"` // ID of the model whose weights the run started from
	Run           jepa.Config `json:"run"`
}

// mostConfig is how long a config.json may be: a FIFO would have no end.
const mostConfig = 1 << 20

// readRunConfig reads a run's config.json.
func readRunConfig(dir string) (runConfig, error) {
	path := filepath.Join(dir, configFile)
	if info, err := os.Stat(path); err == nil && (!info.Mode().IsRegular() || info.Size() > mostConfig) {
		return runConfig{}, fmt.Errorf("%s is no configuration: a file of at most %s", path, cli.Bytes(mostConfig))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return runConfig{}, err
	}
	rc, err := parseRunConfig(b)
	if err != nil {
		return runConfig{}, fmt.Errorf("%s: %w", path, err)
	}
	return rc, nil
}

func parseRunConfig(b []byte) (runConfig, error) {
	var file struct {
		runConfig
		Run json.RawMessage `json:"run"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return runConfig{}, err
	}
	rc := file.runConfig
	var err error
	rc.Run, err = jepa.ParseConfig(string(file.Run))
	return rc, err
}

// plan is a run that has been checked against everything it depends on and has touched nothing yet.
type plan struct {
	config  runConfig
	resume  bool
	timed   bool // --max-time decides the length, once the speed has been measured
	set     *data.Set
	roots   []string // folders and files it was found under
	listed  bool     // the run has a list of it
	limits  pixels.Limits
	init    *vit.Encoder // weights to start from, or nil
	workers int
	memory  memoryPlan
	sample  *report.SampleOptions // pictures that the report shows; nil: none, and why
	noSight string
}

// plan resolves the command line.
func (f *pretrainFlags) plan(given func(string) bool, paths []string, progress *cli.Progress) (*plan, error) {
	if f.out == "" {
		return nil, cli.Usagef("pretrain needs --out RUN, the folder to write to (try edge-train pretrain --help)")
	}
	here, err := device.Here()
	if err != nil {
		progress.Warnf("this machine: %v", err)
	}
	if f.nice < 0 || f.nice > 19 {
		return nil, cli.Usagef("--nice %d: a priority is from 0 to 19", f.nice)
	}
	p := &plan{}
	if p.workers, err = threads(f.threads, here); err != nil {
		return nil, err
	}
	stored, err := f.storedConfig()
	if err != nil {
		return nil, err
	}
	var base *jepa.Config
	if stored != nil {
		p.resume = true
		base = &stored.Run
		if !given("max-megapixels") {
			f.maxMegapixels = stored.MaxMegapixels
		}
		if len(paths) == 0 {
			paths = stored.Paths
		}
	}
	if len(paths) == 0 {
		return nil, cli.Usagef("pretrain requires at least 1 arg, a folder of pictures (try edge-train pretrain --help)")
	}
	if p.limits, err = limitsOf(f.maxMegapixels); err != nil {
		return nil, err
	}
	c, err := f.configure(given, base)
	if err != nil {
		return nil, err
	}
	if f.memory > 0 {
		debug.SetMemoryLimit(int64(f.memory) - programBytes) // until hold: a million paths leave garbage behind
	}
	skip := func(err error) { progress.Warnf("skipping %v", err) }
	o := data.Options{ImageSize: c.Encoder.ImageSize, Limits: p.limits, OnSkip: skip}
	if stored != nil {
		list, err := readList(f.out, paths, *stored)
		if err != nil {
			return nil, err
		}
		if list != nil {
			p.set, p.listed = data.OpenList(list, o), true
		}
	}
	if p.set == nil {
		if p.set, err = data.Open(paths, o); err != nil {
			return nil, err
		}
	}
	p.roots = paths
	rc := runConfig{Program: "edge-train " + version(), Pictures: p.set.Len(), MaxMegapixels: f.maxMegapixels}
	for _, path := range paths {
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		rc.Paths = append(rc.Paths, abs)
	}
	rc.Names = namesHash(p.set.Paths(), paths)
	if rc.Pictures < 2 {
		return nil, fmt.Errorf("%d pictures under %s: nothing to learn from", rc.Pictures, strings.Join(paths, " "))
	}
	if stored == nil && !given("batch") {
		c.Batch = min(c.Batch, max(2, rc.Pictures/4))
	}
	if err := f.setSteps(&c, given, stored, rc.Pictures); err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, cli.Usage(err)
	}
	rc.Run = c
	if err := p.initFrom(f.initFrom, &rc, stored); err != nil {
		return nil, err
	}
	p.timed = stored == nil && f.maxTime > 0 && !given("epochs") && !given("max-steps")
	p.config = rc
	if stored != nil {
		if err := sameRun(*stored, rc); err != nil {
			return nil, err
		}
		p.config = *stored
	}
	return p, p.fit(here, int64(f.memory), f.eval, 0)
}

// initFrom loads the weights that --init-from names and notes which they are.
func (p *plan) initFrom(path string, rc *runConfig, stored *runConfig) error {
	if path == "" {
		if stored != nil {
			rc.InitFrom = stored.InitFrom
		}
		return nil
	}
	file, err := openModel(path)
	if err != nil {
		return err
	}
	if p.init, _, err = loadEncoders(file); err != nil {
		return err
	}
	if p.init.Config != rc.Run.Encoder {
		return cli.Usagef("--init-from %s: the model is %s, the run wants %s", path, p.init.Config.JSON(), rc.Run.Encoder.JSON())
	}
	rc.InitFrom = quant.FloatID(p.init, nil)
	return nil
}

// fit shares out the memory that was asked for, or what the machine can spare; the report has its part already.
func (p *plan) fit(here device.Profile, asked int64, eval string, report int64) error {
	budget, err := device.Budget(here, asked)
	if err != nil {
		return cli.Usage(err)
	}
	judged := 0
	if eval != "" {
		for _, err := range pixels.Walk([]string{eval}, nil) {
			if err == nil {
				judged++
			}
		}
	}
	l := limit{bytes: budget, asked: asked > 0, report: report}
	if p.init != nil {
		l.init = arena.Measure(func(a *arena.Arena) *vit.Encoder { return vit.PlaceEncoder(a, p.init.Config, false) })
	}
	p.memory, err = share(p.config.Run, p.set, p.limits, p.workers, judged, l)
	return err
}

// loader is the stream of batches from a step on.
func (p *plan) loader(step int) *data.Loader {
	c := p.config.Run
	return data.NewLoader(p.set, data.LoaderOptions{
		Batch: c.Batch, Seed: c.Seed, Step: step, Workers: p.memory.workers, Slots: p.memory.slots, Collect: p.memory.collect(),
		Augment: data.AugmentOptions{
			Views: c.PictureViews(), CropScale: c.CropScale, Flip: c.Flip, Jitter: c.Jitter, Mean: c.Encoder.Mean, Std: c.Encoder.Std,
		},
	})
}

// describe says what is about to be done.
func (p *plan) describe(out *cli.Progress, maxTime time.Duration, parts bool) {
	rc, c := p.config, p.config.Run
	others := ""
	if n := p.set.Others(); n > 0 {
		others = " (" + cli.OtherFiles(n) + ")"
	}
	out.Infof("%s pictures%s; %d tokens a picture (%d pixels, patches of %d)", cli.Count(int64(rc.Pictures)), others, c.Encoder.Tokens(), c.Encoder.ImageSize, c.Encoder.PatchSize)
	length := fmt.Sprintf("%d steps of %d pictures, %.1f epochs", c.Steps, c.Batch, float64(c.Steps)*float64(c.Batch)/float64(rc.Pictures))
	if p.timed {
		length = fmt.Sprintf("batches of %d pictures, as many as fit into %s", c.Batch, cli.Span(maxTime))
	}
	out.Infof("%s in %v, %v: encoder %s parameters, %s %s; %s", c.Preset, c.Precision, c.Objective, cli.Count(vit.CountParams(c.Encoder)),
		c.Objective.Head(), cli.Count(c.HeadParams()), length)
	p.memory.describe(out, c, p.workers, parts)
	if rc.Pictures < fewPictures {
		out.Warnf("%d pictures are few: features get better with thousands", rc.Pictures)
	}
}

// storedConfig reads the run that --resume goes on with, and refuses to overwrite one otherwise.
func (f *pretrainFlags) storedConfig() (*runConfig, error) {
	if f.resume != resumeNo {
		rc, err := readRunConfig(f.out)
		switch {
		case !errors.Is(err, fs.ErrNotExist):
			return &rc, cli.Usage(err)
		case f.resume == resumeYes:
			return nil, cli.Usagef("--resume: there is no run in %s; --resume=auto would begin one", f.out)
		}
	}
	for _, name := range runFiles {
		if name == listFile { // alone, it is of a start that was cut off
			continue
		}
		if _, err := os.Stat(filepath.Join(f.out, name)); err == nil && !f.force && !f.dryRun {
			return nil, cli.Usagef("%s holds a run already (%s): --resume goes on with it, --force overwrites it", f.out, name)
		}
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
	if was.MaxMegapixels != now.MaxMegapixels {
		diff = append(diff, fmt.Sprintf("max_megapixels was %g, now %g", was.MaxMegapixels, now.MaxMegapixels))
	}
	if was.InitFrom != now.InitFrom {
		diff = append(diff, fmt.Sprintf("init_from was model %q, now %q", was.InitFrom, now.InitFrom))
	}
	if len(diff) > 0 {
		return cli.Usagef("--resume: this is not the run that was begun: %s", strings.Join(diff, "; "))
	}
	return nil
}

// limitThreads holds the whole process, not only the pool, to a number of threads that was asked for.
func limitThreads(n int) { runtime.GOMAXPROCS(n) }

// finishErr joins what ended a run with what went wrong while it was being saved.
func finishErr(reason, saving error) error {
	if saving == nil {
		return reason
	}
	return errors.Join(reason, fmt.Errorf("the state could not be saved: %w", saving))
}
