package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"edgejepa/internal/cli"
	"edgejepa/jepa"
	"edgejepa/vit"
)

// pretrainFlags are the command line of pretrain, as typed.
type pretrainFlags struct {
	out                  string
	preset               string
	imageSize, patchSize int
	epochs, maxSteps     int
	maxTime              cli.Duration
	batch                int
	lr                   float64
	seed                 uint64
	precision            string
	memory               cli.ByteSize
	threads, nice        int
	maxTemperature       float64
	resume               resumeMode
	force                bool
	initFrom, config     string
	dryRun, quiet        bool
	logFormat            cli.LogFormat
	eval                 string
	evalEvery            int
	checkpointEvery      cli.Duration

	objective        string
	sigreg           float64
	views            int
	projector        []int
	maskRatio        float64
	viewWeight       float64
	pixelWeight      float64
	jitter           float64
	predictor, loss  string
	dropPath         float64
	targetLayers     int
	ema, weightDecay []float64
	cropScale        []float64
	clip, variance   float64
	flip, equalMasks bool
	compatMasks      bool
	targets          int
	targetScale      []float64
	predictorDepth   int
	maxMegapixels    float64

	reportFlags
}

// resumeMode is --resume: whether the run in --out goes on.
type resumeMode string

const (
	resumeNo   resumeMode = "false"
	resumeYes  resumeMode = "true"
	resumeAuto resumeMode = "auto" // as true if there is one, else as false
)

// Set parses s.
func (m *resumeMode) Set(s string) error {
	if s == string(resumeAuto) {
		*m = resumeAuto
		return nil
	}
	yes, err := strconv.ParseBool(s)
	if err != nil {
		return fmt.Errorf("%q is not one of true, false, auto", s)
	}
	*m = resumeMode(strconv.FormatBool(yes))
	return nil
}

func (m *resumeMode) String() string { return string(*m) }

// Type names the value in the help text.
func (m *resumeMode) Type() string { return "true|false|auto" }

const pretrainHelp = `Learns from the pictures under PATH... (folders of any nesting, or files; labels are not needed) and writes to RUN:

  config.json              everything resolved, so that the run can be repeated
  metrics.jsonl            one line a logged step: loss, rates, gradient norm, images/s, RankMe, feature deviation
  checkpoint.safetensors   the whole state, and the one before it
  encoder.safetensors      context and target encoder, for probe and export
  best.safetensors         likewise, as they were when k-NN was best (with --eval), or RankMe after the warm-up: --which best
  rollback.safetensors     the state of a fixed step, to which a run that diverges goes back; gone when the run is done
  report.html              curves and what the encoder sees, for a browser; --serve :8080 shows it live

A lower loss does not mean better features: look at rankme and feature_std, and use --eval or the probe command, which
compare with the same network untrained.

A run that diverges, its gradient not finite or huge for 20 steps in a row, goes back and on at half the learning rate,
three times at most; metrics.jsonl counts them as rollbacks. It goes back to the last of the points that end each tenth of
the run, at least 100 steps apart, or to its start: equal settings end in equal bytes then too. Without labels, consistency says of how
many pictures another crop is found again among some hundred: it should rise above consistency_random, its start.

Ctrl-C, SIGTERM and --max-time save a checkpoint and leave; --resume goes on exactly where it stopped. With --max-time
the speed is measured first and the schedule is laid out to end in time. Under systemd (Type=notify) it says when training
has begun and how far it is, and feeds the watchdog as steps are made: see edge-train.service beside the source.

--objective says what is learned by; the encoder and what comes out are the same:

  ijepa    predict the features of hidden blocks from what is visible, with --pixel-weight their pixels too;
           --variance-weight and --sigreg-weight hold against collapse
  lejepa   equal features for random views of a picture, each a quarter of the patches of a crop, all of them together
           normally distributed (SIGReg)
  byol     predict the slowly following features of one view from those of another
  mae      draw the hidden three quarters of a picture's patches, and equal features for two such views; --views 1 for one,
           without that

--precision says in what numbers the network is trained; it belongs to the run as --lr does:

  f32    float32 throughout: the reference
  f16    what is kept is kept in halves: activations for the backward pass, the optimiser's moments, the target encoder.
         It is computed in float32. Two thirds of the memory
  int8   besides, the products of the blocks take 8-bit operands, those of gradients where layers are wide: the fastest,
         most so where there are dot-product instructions

--memory bounds what the process has resident, and nothing else: with little, activations are computed twice and batches
go through the network in parts, at the cost of speed, and the run ends in the same bytes. --dry-run lists what takes what.`

func pretrainCommand(io streams) *cobra.Command {
	f := &pretrainFlags{logFormat: cli.LogAuto, resume: resumeNo, checkpointEvery: cli.Duration(defaultCheckpointEvery)}
	c := &cobra.Command{
		Use:   "pretrain PATH... --out RUN",
		Short: "Pretrain an encoder on pictures, without labels",
		Long:  pretrainHelp,
		Example: `  edge-train pretrain photos/ --out run --preset tiny --max-time 8h
  edge-train pretrain --out run --resume
  edge-train pretrain photos/ --out run --preset base --precision f16 --memory 2.5GiB
  edge-train pretrain photos/ --out run --preset nano --image-size 64 --patch-size 8 --dry-run`,
		RunE: func(c *cobra.Command, paths []string) error {
			if f.config != "" {
				if err := cli.ApplyConfig(c.Flags(), f.config); err != nil {
					return err
				}
			}
			return pretrain(c.Context(), io, f, c.Flags(), paths)
		},
	}
	f.register(c.Flags())
	return c
}

func (f *pretrainFlags) register(fs *pflag.FlagSet) {
	fs.SortFlags = false
	fs.StringVarP(&f.out, "out", "o", "", "folder of the run (required)")
	fs.StringVar(&f.preset, "preset", "nano", "network: nano, mini, tiny, small, base")
	fs.IntVar(&f.imageSize, "image-size", 0, "side of the input in pixels (default: the preset's)")
	fs.IntVar(&f.patchSize, "patch-size", 0, "side of a patch in pixels (default: the preset's)")
	fs.IntVar(&f.epochs, "epochs", 0, "passes over the pictures (default 100, unless --max-steps or --max-time is given)")
	fs.IntVar(&f.maxSteps, "max-steps", 0, "optimiser steps, instead of --epochs")
	fs.Var(&f.maxTime, "max-time", "time the run may take, such as 2h or 45m")
	fs.IntVar(&f.batch, "batch", 0, "pictures a step (default 128; fewer when there are few pictures)")
	fs.Float64Var(&f.lr, "lr", 0, "peak learning rate (default 1e-3)")
	fs.Uint64Var(&f.seed, "seed", 0, "equal seeds, pictures and settings give equal bytes")
	fs.StringVar(&f.precision, "precision", "f32", "f32, the reference; f16: two thirds of the memory; int8: as little, and the fastest")
	fs.Var(&f.memory, "memory", "memory the run may take, such as 512MiB; the result does not depend on it (default: what the machine has free)")
	fs.IntVar(&f.threads, "threads", 0, "threads (default: all cores; the result does not depend on it)")
	fs.IntVar(&f.nice, "nice", 10, "priority, from 0, the usual one, to 19, the least: others on the board go first (Linux)")
	fs.Float64Var(&f.maxTemperature, "max-temperature", 80, "°C from which on training rests part of the time; 0: never")
	fs.Var(&f.resume, "resume", "go on with the run in --out; with =auto, for services, begin it if there is none")
	fs.Lookup("resume").NoOptDefVal = string(resumeYes)
	fs.BoolVar(&f.force, "force", false, "overwrite a run in --out")
	fs.StringVar(&f.initFrom, "init-from", "", "start from this model's context encoder instead of random weights")
	fs.StringVar(&f.config, "config", "", "YAML file of flag names and values; flags given here win")
	fs.BoolVar(&f.dryRun, "dry-run", false, "say what would be done, and stop")
	fs.StringVar(&f.eval, "eval", "", "folder with one sub-folder a class: probe during training, beside the untrained network")
	fs.IntVar(&f.evalEvery, "eval-every", 0, "steps between two evaluations (default: a tenth of the run)")
	fs.Var(&f.checkpointEvery, "checkpoint-every", "time between two checkpoints")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "say nothing but warnings and errors")
	fs.Var(&f.logFormat, "log-format", "auto, text or json")

	f.reportFlags.add(fs)

	fs.StringVar(&f.objective, "objective", jepa.IJEPA.String(), "what is learned by: ijepa, lejepa, byol or mae")
	fs.StringVar(&f.predictor, "predictor", jepa.PredictorViT, "predictor: vit or mlp")
	fs.IntVar(&f.predictorDepth, "predictor-depth", 0, "blocks of the predictor (default: the preset's)")
	fs.StringVar(&f.loss, "loss", jepa.LossSmoothL1, "smooth_l1 (the official code's) or l2 (the paper's)")
	fs.IntVar(&f.targetLayers, "target-layers", 1, "ijepa: blocks of the target encoder whose outputs are averaged to what is predicted")
	fs.Float64Var(&f.dropPath, "drop-path", 0, "stochastic depth: chance to leave a picture out of a branch of the context encoder's last block, less in earlier ones")
	fs.Float64SliceVar(&f.ema, "ema", nil, "EMA momentum of the target encoder, first,last (default 0.996,0.9999)")
	fs.Float64SliceVar(&f.weightDecay, "weight-decay", nil, "weight decay, first,last (default 0.05,0.05)")
	fs.Float64Var(&f.clip, "clip", 1, "bound on the gradient's norm; 0: none")
	fs.Float64Var(&f.variance, "variance-weight", 0.1, "weight of the term against collapse; 0: the paper's loss alone")
	fs.Float64Var(&f.sigreg, "sigreg-weight", 0, "weight of the term that makes features normally distributed (default 0, in lejepa 0.05)")
	fs.IntVar(&f.views, "views", 0, "views of a picture, whose features are made equal: 2 or more in lejepa (default 4), 1 for none in mae (default 2) and ijepa (default 1)")
	fs.IntSliceVar(&f.projector, "projector", nil, "of views: hidden and output width of the projector (default 512,64)")
	fs.Float64Var(&f.maskRatio, "mask-ratio", 0, "mae, lejepa: share of the patches of each view that is hidden from the encoder (default 0.75)")
	fs.Float64SliceVar(&f.cropScale, "crop-scale", nil, "share of a picture's area that a crop takes, least,most (default 0.3,1)")
	fs.BoolVar(&f.flip, "flip", true, "mirror half of the crops; --flip=false for text or X-rays")
	fs.Float64Var(&f.viewWeight, "view-weight", 0, "ijepa, mae: weight of the term on --views (default 0.2)")
	fs.Float64Var(&f.pixelWeight, "pixel-weight", 0, "ijepa: weight of predicting the hidden patches' pixels beside their features")
	fs.Float64Var(&f.jitter, "jitter", 0, "strength of random changes of brightness, contrast and saturation (default 0.4 where there are views, else 0)")
	fs.IntVar(&f.targets, "targets", 4, "target blocks a picture")
	fs.Float64SliceVar(&f.targetScale, "target-scale", nil, "share of the patches that a target block covers, least,most (default 0.15,0.2)")
	fs.BoolVar(&f.equalMasks, "equal-context", true, "cut the contexts of a batch to the shortest, at random: more pictures a second")
	fs.BoolVar(&f.compatMasks, "compat-masks", false, "the official code's mask sampler, where it terminates")
	fs.Float64Var(&f.maxMegapixels, "max-megapixels", 64, "larger pictures are passed over")
}

// configure turns the flags that were given into a configuration, starting from base: a preset's recipe, or the
// configuration of the run that is resumed.
func (f *pretrainFlags) configure(given func(string) bool, base *jepa.Config) (jepa.Config, error) {
	var c jepa.Config
	if base != nil {
		c = *base
		if given("preset") || given("image-size") || given("patch-size") {
			if !given("preset") {
				f.preset = c.Preset
			}
			p, err := vit.PresetNamed(f.preset)
			if err != nil {
				return c, cli.Usage(err)
			}
			if !given("image-size") {
				f.imageSize = c.Encoder.ImageSize
			}
			if !given("patch-size") {
				f.patchSize = c.Encoder.PatchSize
			}
			c.Preset, c.Encoder = p.Name, p.Config(f.imageSize, f.patchSize)
		}
	} else {
		p, err := vit.PresetNamed(f.preset)
		if err != nil {
			return c, cli.Usage(err)
		}
		e := p.Config(f.imageSize, f.patchSize)
		if err := e.Validate(); err != nil {
			return c, cli.Usage(err)
		}
		c = jepa.Default(p, f.imageSize, f.patchSize)
	}
	set := func(name string, apply func()) {
		if given(name) {
			apply()
		}
	}
	var bad error
	set("objective", func() {
		o, err := jepa.ParseObjective(f.objective)
		if err != nil {
			bad = cli.Usagef("--objective: %v", err)
		}
		if o != c.Objective {
			c.SetObjective(o)
		}
	})
	set("precision", func() {
		p, err := vit.ParsePrecision(f.precision)
		if err != nil {
			bad = cli.Usagef("--precision: %v", err)
		}
		c.Precision = p
	})
	set("views", func() {
		if c.Views = f.views; c.Objective == jepa.IJEPA || c.Objective == jepa.MAE {
			c.SetViews(f.views)
		}
	})
	pair := func(name string, v []float64, dst *[2]float64) {
		set(name, func() {
			switch len(v) {
			case 1:
				*dst = [2]float64{v[0], v[0]}
			case 2:
				*dst = [2]float64{v[0], v[1]}
			default:
				bad = cli.Usagef("--%s takes one value, or two with a comma", name)
			}
		})
	}
	set("batch", func() { c.Batch = f.batch })
	set("lr", func() { c.LR = f.lr })
	set("seed", func() { c.Seed = f.seed })
	set("predictor", func() { c.Predictor = f.predictor })
	set("predictor-depth", func() { c.PredictorDepth = f.predictorDepth })
	set("loss", func() { c.Loss = f.loss })
	set("drop-path", func() { c.DropPath = f.dropPath })
	set("target-layers", func() {
		if c.TargetLayers = f.targetLayers; f.targetLayers == 1 {
			c.TargetLayers = 0 // as it is written where nothing is averaged
		} else if f.targetLayers < 1 {
			bad = cli.Usagef("--target-layers %d: it must be at least 1", f.targetLayers)
		}
	})
	set("clip", func() { c.Clip = f.clip })
	set("pixel-weight", func() { c.PixelWeight = f.pixelWeight })
	set("view-weight", func() { c.ViewWeight = f.viewWeight })
	set("variance-weight", func() { c.VarianceWeight = f.variance })
	set("sigreg-weight", func() { c.SIGRegWeight = f.sigreg })
	set("mask-ratio", func() { c.MaskRatio = f.maskRatio })
	set("jitter", func() { c.Jitter = f.jitter })
	set("projector", func() {
		if len(f.projector) != 2 {
			bad = cli.Usagef("--projector takes two values with a comma")
			return
		}
		c.Projector = [2]int(f.projector)
	})
	set("flip", func() { c.Flip = f.flip })
	set("targets", func() { c.Masks.Targets = f.targets })
	set("equal-context", func() { c.Masks.EqualContext = f.equalMasks })
	set("compat-masks", func() { c.Masks.Compat = f.compatMasks })
	pair("ema", f.ema, &c.EMA)
	pair("weight-decay", f.weightDecay, &c.WeightDecay)
	pair("crop-scale", f.cropScale, &c.CropScale)
	pair("target-scale", f.targetScale, &c.Masks.TargetScale)
	for _, name := range foreignFlags[c.Objective] {
		if given(name) {
			bad = cli.Usagef("--%s has no part in objective %v", name, c.Objective)
		}
	}
	return c, bad
}

// foreignFlags would set what a configuration has for every objective and only others read.
var foreignFlags = map[jepa.Objective][]string{
	jepa.LeJEPA: append(predictorFlags, maskFlags...), jepa.BYOL: append(predictorFlags, maskFlags...), jepa.MAE: maskFlags,
}

var (
	predictorFlags = []string{"loss", "predictor", "predictor-depth"}
	maskFlags      = []string{"targets", "target-scale", "equal-context", "compat-masks"}
)
