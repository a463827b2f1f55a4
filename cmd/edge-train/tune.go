package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"edgejepa/device"
	"edgejepa/internal/cli"
	"edgejepa/internal/durable"
	"edgejepa/internal/safetensors"
	"edgejepa/jepa/labels"
	"edgejepa/jepa/probe"
	"edgejepa/jepa/tune"
	"edgejepa/quant"
	"edgejepa/vit"
	"edgejepa/vit/heads"
	"edgejepa/vit/pixels"
)

// Files of a HEAD folder, beside those that it has in common with a RUN.
const (
	tunedFile   = "model.safetensors"
	figuresFile = "figures.json"
)

// tuneFlags are the command line of tune, as typed.
type tuneFlags struct {
	task, model, data, val, out string
	split, valSplit             string
	freeze, head                string
	size                        string
	random, strict              bool
	classWeights                string
	epochs, steps, batch        int
	maxTime                     cli.Duration
	lr, layerDecay, weightDecay float64
	dropPath                    float64
	augment, flip, flipY        bool
	cropScale                   []float64
	jitter                      float64
	seed                        uint64
	precision                   string
	memory                      cli.ByteSize
	threads, nice               int
	resume                      resumeMode
	force, quiet, dryRun        bool
	report                      bool
	logFormat                   cli.LogFormat
	config                      string
	maxMegapixels               float64

	typed  map[string]string // flags that were given, and their values as typed
	stored *tuneConfig       // of the run that goes on
}

func (f *tuneFlags) given(name string) bool { _, ok := f.typed[name]; return ok }

const tuneHelp = `Teaches a task to a pretrained encoder, from labelled pictures, and writes to HEAD:

  model.safetensors        encoder and head, for edge-embed predict and export
  figures.json             how good it is on the pictures of --val
  metrics.jsonl            one line a logged step, with those figures after each evaluation
  checkpoint.safetensors   the whole state, and the one before it; --resume goes on exactly where it stopped
  config.json              everything resolved
  report.html              curves, figures of each class, what was taken for what

--task says what for, and which labels --data holds:

  classify   the class of a picture: one sub-folder a class, or a CSV of file,label
  segment    the class of every pixel: images/ beside masks/ of the same names (PNG with an index, a grey level or, with
             classes.yaml, a colour a class)
  detect     boxes: Pascal VOC XML, COCO JSON or YOLO text

--freeze says what of the encoder stays as it is:

  encoder         all of it: only the head learns. Without augmentation features are computed once, which takes minutes
  N-last-blocks   all but the last N blocks
  none            nothing: the best figures, for the most time; earlier blocks learn more slowly (--layer-decay)

--split and --val-split name parts of --data: lists of ImageSets, folders, keys of data.yaml. Without --val and --val-split
a fifth of the pictures is set aside. What is wrong with labels is named by file and line, and passed over; --strict stops
there. --random-encoder starts from random weights: what the same budget gives without pretraining.`

func tuneCommand(io streams) *cobra.Command {
	f := &tuneFlags{logFormat: cli.LogAuto, resume: resumeNo}
	c := &cobra.Command{
		Use:   "tune --task classify|segment|detect --model RUN|FILE --data DIR --out HEAD",
		Short: "Teach an encoder a task from labelled pictures",
		Long:  tuneHelp,
		Example: `  edge-train tune --task classify --model run --data labelled/ --out head
  edge-train tune --task segment --model run --data cells/ --freeze none --size 256x256 --epochs 60 --out head
  edge-train tune --task detect --model run --data BCCD --split trainval --val-split test --size 320x240 --freeze none --out head
  edge-embed predict --model head/model.safetensors --draw drawn/ photos/`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if f.config != "" {
				if err := cli.ApplyConfig(c.Flags(), f.config); err != nil {
					return err
				}
			}
			f.typed = map[string]string{}
			c.Flags().Visit(func(g *pflag.Flag) { f.typed[g.Name] = g.Value.String() })
			return runTune(c.Context(), io, f)
		},
	}
	f.register(c.Flags())
	return c
}

func (f *tuneFlags) register(fs *pflag.FlagSet) {
	fs.SortFlags = false
	fs.StringVarP(&f.task, "task", "t", "", "classify, segment or detect (required)")
	fs.StringVarP(&f.model, "model", "m", "", "folder of a run, or a model file (f32 or f16)")
	fs.StringVarP(&f.data, "data", "d", "", "labelled pictures to learn from")
	fs.StringVarP(&f.out, "out", "o", "", "folder to write to (required)")
	fs.StringVar(&f.val, "val", "", "labelled pictures to judge on (default: --val-split of --data, or a fifth of it)")
	fs.StringVar(&f.split, "split", "", "part of --data to learn from, such as train")
	fs.StringVar(&f.valSplit, "val-split", "", "part of --val, or of --data, to judge on")
	fs.StringVar(&f.freeze, "freeze", "encoder", "encoder, none or N-last-blocks: what learns beside the head")
	fs.StringVar(&f.head, "head", string(heads.Linear), "classify: linear, mlp or attentive")
	fs.StringVar(&f.size, "size", "", "input of the model in pixels, as WxH (default: classify as pretrained, else by the pictures)")
	fs.IntVar(&f.epochs, "epochs", 0, "passes over the pictures (default 30)")
	fs.IntVar(&f.steps, "max-steps", 0, "optimiser steps, instead of --epochs")
	fs.Var(&f.maxTime, "max-time", "time that learning may take, such as 1h: the speed is measured and the length laid out")
	fs.IntVar(&f.batch, "batch", 0, "pictures a step (default: classify 64, else 8)")
	fs.Float64Var(&f.lr, "lr", 0, "peak learning rate of the head (default 1e-3)")
	fs.Float64Var(&f.layerDecay, "layer-decay", 0, "rate of a block beside that of the next (default 0.75)")
	fs.Float64Var(&f.weightDecay, "weight-decay", 0, "weight decay (default 0.05)")
	fs.Float64Var(&f.dropPath, "drop-path", 0, "stochastic depth of the encoder (default 0.1 where it learns)")
	fs.StringVar(&f.classWeights, "class-weights", "none", "none, or balanced: rare classes count as much as frequent ones")
	fs.BoolVar(&f.augment, "augment", true, "crop, mirror and recolour at random (default: not for a classifier on a frozen encoder)")
	fs.Float64SliceVar(&f.cropScale, "crop-scale", nil, "share of a picture's area that a crop takes, least,most")
	fs.BoolVar(&f.flip, "flip", true, "mirror half of the crops; --flip=false for text")
	fs.BoolVar(&f.flipY, "flip-y", false, "turn half of them upside down (default for segment and detect)")
	fs.Float64Var(&f.jitter, "jitter", 0, "strength of random changes of colour (default: classify 0, else 0.3)")
	fs.BoolVar(&f.random, "random-encoder", false, "start from random weights in the shape of --model")
	fs.BoolVar(&f.strict, "strict", false, "labels with anything wrong in them are an error")
	fs.Uint64Var(&f.seed, "seed", 0, "equal seeds, pictures and settings give equal bytes")
	fs.StringVar(&f.precision, "precision", "f32", "what the encoder is tuned in: f32, f16 or int8")
	fs.Var(&f.memory, "memory", "memory for network and pictures, such as 512MiB; the result does not depend on it")
	fs.IntVar(&f.threads, "threads", 0, "threads (default: all cores; the result does not depend on it)")
	fs.IntVar(&f.nice, "nice", 10, "priority, from 0, the usual one, to 19, the least (Linux)")
	fs.Var(&f.resume, "resume", "go on with what is in --out; with =auto begin if there is nothing")
	fs.Lookup("resume").NoOptDefVal = string(resumeYes)
	fs.BoolVar(&f.force, "force", false, "overwrite what is in --out")
	fs.BoolVar(&f.report, "report", true, "keep "+reportFile+" in HEAD up to date, for a browser")
	fs.StringVar(&f.config, "config", "", "YAML file of flag names and values; flags given here win")
	fs.BoolVar(&f.dryRun, "dry-run", false, "say what would be done, and stop")
	fs.Float64Var(&f.maxMegapixels, "max-megapixels", 64, "larger pictures are passed over")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "say nothing but warnings and errors")
	fs.Var(&f.logFormat, "log-format", "auto, text or json")
}

// tunePlan is a tuning that has been checked and has touched nothing yet.
type tunePlan struct {
	config     tune.Config
	resume     bool
	timed      bool         // --max-time decides the length
	encoder    *vit.Encoder // to start from, until the run has begun
	id         string       // of that
	train, val *tune.Examples
	names      string // fingerprint of their paths
	limits     pixels.Limits
	workers    int
	chunk      int
	features   int64 // bytes for features that are computed once
	cache      int64 // bytes for decoded pictures
	budget     int64 // bytes that all may take; 0: unknown
	lost       int   // pictures and boxes that were passed over
}

// tuneConfig is config.json of a HEAD folder.
type tuneConfig struct {
	Program string      `json:"program"`
	Encoder string      `json:"encoder_id"` // what it started from
	Inputs  tuneInputs  `json:"inputs"`
	Train   int         `json:"train"` // pictures
	Val     int         `json:"val"`
	Names   string      `json:"pictures_sha256"` // fingerprint of their paths
	Run     tune.Config `json:"run"`

	Settings map[string]string `json:"settings"` // those of tuneSettings that were given, as typed
}

// settings are the flags that were given and make the run what it is.
func (f *tuneFlags) settings() map[string]string {
	typed := map[string]string{}
	for _, name := range tuneSettings {
		if v, ok := f.typed[name]; ok {
			typed[name] = v
		}
	}
	return typed
}

// tuneInputs are where everything came from, so that --resume needs no more than --out. Paths are absolute.
type tuneInputs struct {
	Model    string `json:"model"`
	Random   bool   `json:"random_encoder,omitempty"`
	Data     string `json:"data"`
	Split    string `json:"split,omitempty"`
	Val      string `json:"val,omitempty"`
	ValSplit string `json:"val_split,omitempty"`
}

// remembered are the flags whose values a run that goes on has from its config.json.
func (f *tuneFlags) remembered(in *tuneInputs) map[string]*string {
	return map[string]*string{"model": &in.Model, "data": &in.Data, "split": &in.Split, "val": &in.Val, "val-split": &in.ValSplit}
}

// inputs are the flags' with absolute paths.
func (f *tuneFlags) inputs() (in tuneInputs, err error) {
	in = tuneInputs{Model: f.model, Random: f.random, Data: f.data, Split: f.split, Val: f.val, ValSplit: f.valSplit}
	for _, path := range []*string{&in.Model, &in.Data, &in.Val} {
		if *path != "" && err == nil {
			*path, err = filepath.Abs(*path)
		}
	}
	return in, err
}

// recall takes what was not given from the run that goes on, and refuses inputs and settings that are others: the same command
// line with --resume=auto begins a run and goes on with it.
func (f *tuneFlags) recall() error {
	was, err := readTuneConfig(f.out)
	if err != nil {
		return err
	}
	now, err := f.inputs()
	if err != nil {
		return err
	}
	stored, mine := f.remembered(&was.Inputs), f.remembered(&now)
	for name, v := range stored {
		if f.given(name) && *mine[name] != *v {
			return cli.Usagef("--resume: --%s is %s, the run in %s has %s", name, *mine[name], f.out, *v)
		}
	}
	if f.given("task") && heads.Task(f.task) != was.Run.Head.Task {
		return cli.Usagef("--resume: the run in %s is to %s", f.out, was.Run.Head.Task)
	}
	for _, name := range tuneSettings {
		if v, ok := f.typed[name]; ok && v != was.Settings[name] {
			return cli.Usagef("--resume goes on with the settings of the run in %s: leave --%s out", f.out, name)
		}
	}
	in := was.Inputs
	f.task, f.model, f.data, f.split, f.val, f.valSplit, f.random = string(was.Run.Head.Task), in.Model, in.Data, in.Split, in.Val, in.ValSplit, in.Random
	f.seed, f.stored = was.Run.Seed, &was
	return nil
}

// tuneSettings are the flags that make a run what it is.
var tuneSettings = []string{"freeze", "head", "size", "random-encoder", "class-weights", "epochs", "max-steps", "max-time", "batch", "lr", "layer-decay",
	"weight-decay", "drop-path", "augment", "crop-scale", "flip", "flip-y", "jitter", "seed", "precision"}

// plan resolves the command line.
func (f *tuneFlags) plan(progress *cli.Progress) (*tunePlan, error) {
	if f.out == "" {
		return nil, cli.Usagef("tune needs --out HEAD, the folder to write to (try edge-train tune --help)")
	}
	p := &tunePlan{}
	var err error
	if p.resume, err = f.resuming(); err != nil {
		return nil, err
	}
	if p.resume {
		if err := f.recall(); err != nil {
			return nil, err
		}
	}
	if lengths := []string{"epochs", "max-steps", "max-time"}; len(slices.DeleteFunc(lengths, func(n string) bool { return !f.given(n) })) > 1 {
		return nil, cli.Usagef("--epochs, --max-steps and --max-time each say how long the run is: choose one")
	}
	if f.task == "" || f.model == "" || f.data == "" {
		return nil, cli.Usagef("tune needs --task, --model and --data (try edge-train tune --help)")
	}
	here, err := device.Here()
	if err != nil {
		progress.Warnf("this machine: %v", err)
	}
	if p.workers, err = threads(f.threads, here); err != nil {
		return nil, err
	}
	if p.limits, err = limitsOf(f.maxMegapixels); err != nil {
		return nil, err
	}
	task := heads.Task(f.task)
	if err := p.examples(f, task, progress); err != nil {
		return nil, err
	}
	pretrained, err := f.open()
	if err != nil {
		return nil, err
	}
	if p.resume {
		p.config = f.stored.Run
		if p.names != f.stored.Names || !slices.Equal(p.train.Classes, p.config.Head.Classes) {
			return nil, cli.Usagef("--resume: the labelled pictures are others now, %d and %d of classes %s; the run in %s began with %d and %d, of %s", p.train.Len(), p.val.Len(),
				shortList(p.train.Classes), f.out, f.stored.Train, f.stored.Val, shortList(p.config.Head.Classes))
		}
	} else {
		e, err := f.encoderConfig(task, pretrained.Config, p.train)
		if err != nil {
			return nil, err
		}
		if p.config, err = f.configure(task, e, p.train); err != nil {
			return nil, err
		}
		p.length(f)
	}
	e := p.config.Encoder
	if p.encoder, err = pretrained.At(e.ImageSize, e.Width()); err != nil {
		return nil, cli.Usage(err)
	}
	p.id = quant.FloatID(p.encoder, nil)
	if p.resume && p.id != f.stored.Encoder && !f.saved() {
		return nil, cli.Usagef("--resume: %s is another model than the run in %s began with, and that has no checkpoint yet", f.model, f.out)
	}
	if err := p.config.Validate(); err != nil {
		return nil, cli.Usage(err)
	}
	return p, p.share(f, here)
}

// saved says that --out has a checkpoint, which has all weights.
func (f *tuneFlags) saved() bool {
	for _, name := range []string{checkpointFile, durable.PrevName(checkpointFile)} {
		if _, err := os.Stat(filepath.Join(f.out, name)); err == nil {
			return true
		}
	}
	return false
}

// resuming says whether what is in --out goes on, and refuses to overwrite it otherwise.
func (f *tuneFlags) resuming() (bool, error) {
	_, err := os.Stat(filepath.Join(f.out, configFile))
	there := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	switch {
	case f.resume == resumeYes && !there:
		return false, cli.Usagef("--resume: nothing to go on with in %s", f.out)
	case f.resume != resumeNo && there:
		return true, nil
	case there && !f.force:
		return false, cli.Usagef("%s holds a run already: --resume goes on with it, --force overwrites it", f.out)
	}
	return false, nil
}

// examples reads the labels.
func (p *tunePlan) examples(f *tuneFlags, task heads.Task, progress *cli.Progress) error {
	r := labelReader{strict: f.strict, problem: func(lost bool, err error) {
		if lost {
			p.lost++
		}
		progress.Warnf("%v", err)
	}}
	var err error
	if p.train, err = r.read(task, f.data, f.split, nil); err != nil {
		return cli.Usage(err)
	}
	if err := p.setAside(f, r, task); err != nil {
		return err
	}
	p.names = namesHash(slices.Concat(p.train.Paths, p.val.Paths), []string{f.data, f.val})
	return cli.Usage(labels.CheckParts(p.train.Part("the pictures to learn from"), p.val.Part("the pictures to judge on"), r.options(nil)))
}

// setAside finds the pictures to judge on.
func (p *tunePlan) setAside(f *tuneFlags, r labelReader, task heads.Task) (err error) {
	if f.val == "" && f.valSplit == "" {
		y := make([]int32, p.train.Len()) // one class for what is not to be classified
		for i, l := range p.train.Labels {
			y[i] = int32(l)
		}
		a, b := probe.Split(y, testShare, f.seed)
		if len(b) == 0 {
			return cli.Usagef("%d pictures are too few to set some aside: give --val", p.train.Len())
		}
		p.train, p.val = p.train.Pick(a), p.train.Pick(b)
		return nil
	}
	where := f.val
	if where == "" {
		where = f.data
	}
	if p.val, err = r.read(task, where, f.valSplit, p.train.Classes); err != nil {
		return cli.Usagef("--val: %w", err)
	}
	return nil
}

// labelReader reads labelled pictures.
type labelReader struct {
	strict  bool
	problem func(lost bool, err error) // told of what is wrong, and whether a picture or a box was lost by it
}

func (r labelReader) options(classes []string) labels.Options {
	return labels.Options{Classes: classes, Strict: r.strict, OnProblem: func(q *labels.Problem) {
		r.problem(strings.Contains(q.Done, "skipped") || strings.Contains(q.Done, "dropped"), q)
	}}
}

// read lists the pictures of a task, whose classes are numbered as in classes, unless those are nil.
func (r labelReader) read(task heads.Task, path, split string, classes []string) (*tune.Examples, error) {
	o := r.options(classes)
	o.Split = split
	switch task {
	case heads.Classify:
		c, err := labels.OpenClassification([]string{path}, o)
		if err != nil {
			return nil, err
		}
		return tune.FromClassification(c), nil
	case heads.Segment:
		s, err := labels.OpenSegmentation(path, o)
		if err != nil {
			return nil, err
		}
		return tune.FromSegmentation(s), nil
	case heads.Detect:
		d, err := labels.OpenDetection(path, o)
		if err != nil {
			return nil, err
		}
		return tune.FromDetection(d), nil
	}
	return nil, fmt.Errorf("--task %q: it must be %s, %s or %s", task, heads.Classify, heads.Segment, heads.Detect)
}

// open reads the encoder to start from.
func (f *tuneFlags) open() (*vit.Encoder, error) {
	file, err := openModel(f.model)
	if err != nil {
		return nil, err
	}
	e, _, err := loadEncoders(file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if f.random {
		e.Params.Init(f.seed)
		e.Pack()
	}
	return e, file.Close()
}

// encoderConfig is the encoder at the size that the task wants.
func (f *tuneFlags) encoderConfig(task heads.Task, e vit.Config, x *tune.Examples) (vit.Config, error) {
	w, h := e.Width(), e.ImageSize
	switch {
	case f.size != "":
		ws, hs, ok := strings.Cut(f.size, "x")
		var errW, errH error
		w, errW = strconv.Atoi(ws)
		h, errH = strconv.Atoi(hs)
		if !ok || errW != nil || errH != nil {
			return e, cli.Usagef("--size %s: give width and height in pixels, such as 320x240", f.size)
		}
	case task != heads.Classify:
		w, h = sizeFor(e, x)
	}
	e = e.At(h, w)
	if err := e.Validate(); err != nil {
		return e, cli.Usagef("--size: %w", err)
	}
	return e, nil
}

// moreTokens is how many times as many tokens as in pretraining a dense task has, if its pictures have so many pixels.
const moreTokens = 4

// sizeFor is an input of the pictures' median aspect, and no larger than their median shorter side.
func sizeFor(e vit.Config, x *tune.Examples) (w, h int) {
	var aspects []float64
	var shorts []int
	for _, s := range x.Sizes() {
		aspects, shorts = append(aspects, float64(s.W)/float64(s.H)), append(shorts, min(s.W, s.H))
	}
	slices.Sort(aspects)
	slices.Sort(shorts)
	aspect, short := aspects[len(aspects)/2], max(shorts[len(shorts)/2], e.PatchSize)
	area := float64(e.ImageSize*e.Width()) * moreTokens
	wide, high := math.Sqrt(area*aspect), math.Sqrt(area/aspect)
	most := float64(vit.MaxImageSize - e.PatchSize)
	if k := min(float64(short)/min(wide, high), most/max(wide, high)); k < 1 {
		wide, high = wide*k, high*k
	}
	side := func(v float64) int { return max(1, int(math.Round(v/float64(e.PatchSize)))) * e.PatchSize }
	return side(wide), side(high)
}

// mostWeight bounds how much more than others a rare class counts: a few pixels among millions would decide each step.
const mostWeight = 1e4

// configure turns the flags that were given into a configuration.
func (f *tuneFlags) configure(task heads.Task, e vit.Config, x *tune.Examples) (c tune.Config, err error) {
	frozen, err := f.frozen(e)
	if err != nil {
		return c, err
	}
	if f.given("head") && task != heads.Classify {
		return c, cli.Usagef("--head is for --task classify")
	}
	h := heads.Default(task, heads.Kind(f.head), e)
	h.Classes = x.Classes
	c = tune.Default(e, h, frozen)
	c.Seed = f.seed
	if c.Precision, err = vit.ParsePrecision(f.precision); err != nil {
		return c, cli.Usagef("--precision: %v", err)
	}
	set := func(name string, apply func()) {
		if f.given(name) {
			apply()
		}
	}
	set("batch", func() { c.Batch = f.batch })
	set("lr", func() { c.LR = f.lr })
	set("layer-decay", func() { c.LayerDecay = f.layerDecay })
	set("weight-decay", func() { c.WeightDecay = f.weightDecay })
	set("drop-path", func() { c.DropPath = f.dropPath })
	set("augment", func() { c.Augment.On = f.augment })
	set("flip", func() { c.Augment.Flip = f.flip })
	set("flip-y", func() { c.Augment.FlipY = f.flipY })
	set("jitter", func() { c.Augment.Jitter = f.jitter })
	for _, name := range []string{"crop-scale", "flip", "flip-y", "jitter"} {
		if f.given(name) && !c.Augment.On {
			return c, cli.Usagef("--%s is about --augment, which is off: a classifier on a frozen encoder has it only if asked for", name)
		}
	}
	if f.given("crop-scale") {
		if len(f.cropScale) != 2 {
			return c, cli.Usagef("--crop-scale takes two values with a comma")
		}
		c.Augment.CropScale = [2]float64(f.cropScale)
	}
	if !f.given("batch") {
		c.Batch = min(c.Batch, x.Len())
	}
	switch f.classWeights {
	case "none":
	case "balanced":
		if task == heads.Detect {
			return c, cli.Usagef("--class-weights is for classify and segment: a detector's loss weighs hard cells by itself")
		}
		c.ClassWeight = labels.Balanced(x.Counts())
		for i, w := range c.ClassWeight {
			c.ClassWeight[i] = min(w, mostWeight)
		}
	default:
		return c, cli.Usagef("--class-weights is %q: it must be none or balanced", f.classWeights)
	}
	return c, nil
}

// frozen is how many blocks stand still.
func (f *tuneFlags) frozen(e vit.Config) (int, error) {
	switch f.freeze {
	case "encoder":
		return e.Depth, nil
	case "none":
		return 0, nil
	}
	n, ok := strings.CutSuffix(f.freeze, "-last-blocks")
	last, err := strconv.Atoi(n)
	if !ok || err != nil || last < 1 || last > e.Depth {
		return 0, cli.Usagef("--freeze %s: it must be encoder, none, or N-last-blocks with N from 1 to %d, as in 2-last-blocks: what learns beside the head", f.freeze, e.Depth)
	}
	if last == e.Depth {
		return 0, nil
	}
	return e.Depth - last, nil
}

const defaultTuneEpochs = 30

// length sets the steps.
func (p *tunePlan) length(f *tuneFlags) {
	perEpoch := (p.train.Len() + p.config.Batch - 1) / max(p.config.Batch, 1)
	switch {
	case f.steps != 0:
		p.config.SetSteps(f.steps)
		return
	case f.epochs != 0:
		p.config.SetSteps(f.epochs * perEpoch)
		return
	}
	p.timed = f.maxTime > 0
	p.config.SetSteps(defaultTuneEpochs * perEpoch)
}

// share finds how many pictures may go through the network at a time, and shares what memory is left between features that are
// computed once and decoded pictures.
func (p *tunePlan) share(f *tuneFlags, here device.Profile) error {
	budget, err := device.Budget(here, int64(f.memory))
	if err != nil {
		return cli.Usagef("--memory: %w", err)
	}
	c := p.config
	picture, _ := decodeBytes(p.train.Paths, max(c.Encoder.ImageSize, c.Encoder.Width()), p.limits)
	fixed := programBytes + garbageBytes + int64(p.workers)*picture + 8*p.encoder.Params.Count() // with the encoder to start from, and its panels
	if c.Cached() {
		p.features = tune.CacheBytes(c, p.train.Len())
	}
	for p.chunk = c.Batch; ; p.chunk = (p.chunk + 1) / 2 {
		need := fixed + tune.Bytes(c, p.chunk, p.workers)
		if budget <= 0 || need <= budget {
			if budget > 0 {
				p.features = min(p.features, budget-need)
			}
			p.cache, p.budget = max(0, budget-need-p.features)/2, budget
			return nil
		}
		if p.chunk == 1 {
			return cli.Usagef("tuning this model at %dx%d takes %s and there are %s: choose a smaller --size, --batch or model", c.Encoder.Width(), c.Encoder.ImageSize, cli.Bytes(need), cli.Bytes(budget))
		}
	}
}

// describe says what will be done.
func (p *tunePlan) describe(f *tuneFlags, progress *cli.Progress) {
	c := p.config
	e := c.Encoder
	progress.Infof("%d pictures to learn from, %d to judge on; %d classes: %s", p.train.Len(), p.val.Len(), len(c.Head.Classes), shortList(c.Head.Classes))
	what := "only the head learns"
	switch {
	case c.Frozen == 0:
		what = "the whole encoder learns with the head"
	case c.Frozen < e.Depth:
		what = fmt.Sprintf("the last %d of %d blocks learn with the head", e.Depth-c.Frozen, e.Depth)
	}
	progress.Infof("input %dx%d, %d tokens; %s", e.Width(), e.ImageSize, e.Tokens(), what)
	if p.timed {
		progress.Infof("as many steps of %d pictures as fit into %s", c.Batch, f.maxTime.String())
	} else {
		progress.Infof("%d steps of %d pictures (%.1f epochs)", c.Steps, c.Batch, float64(c.Steps*c.Batch)/float64(p.train.Len()))
	}
	progress.Infof("memory %s, %d pictures at a time", cli.Bytes(tune.Bytes(c, p.chunk, p.workers)), p.chunk)
	if all := tune.CacheBytes(c, p.train.Len()); c.Cached() && p.features < all {
		progress.Infof("features are kept for %d %% of the pictures, and computed at each step for the others: with %s more memory it is faster", 100*p.features/all, cli.Bytes(all-p.features))
	}
}

func shortList(names []string) string {
	const most = 8
	var out []string
	for _, n := range names[:min(len(names), most)] {
		out = append(out, cli.Printable(n))
	}
	if len(names) > most {
		out = append(out, "…")
	}
	return strings.Join(out, ", ")
}

// newestTuned opens the newest checkpoint of a HEAD folder; nil if there is none.
func newestTuned(dir string, progress *cli.Progress) (*safetensors.File, error) {
	var loaded *safetensors.File
	_, refused, err := durable.Recover(dir, checkpointFile, func(path string) (err error) {
		loaded, err = openChecked(path)
		return err
	})
	for _, r := range refused {
		progress.Warnf("a damaged checkpoint was put aside: %v", r)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return loaded, err
}
