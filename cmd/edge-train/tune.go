package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"edgejepa/internal/cli"
	"edgejepa/vit/heads"
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
