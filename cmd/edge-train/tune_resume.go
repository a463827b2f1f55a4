package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"edgejepa/internal/cli"
	"edgejepa/internal/durable"
	"edgejepa/jepa/tune"
	"edgejepa/vit/heads"
)

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
