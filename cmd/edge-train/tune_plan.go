package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"edgejepa/device"
	"edgejepa/internal/cli"
	"edgejepa/internal/durable"
	"edgejepa/internal/safetensors"
	"edgejepa/jepa/tune"
	"edgejepa/quant"
	"edgejepa/vit"
	"edgejepa/vit/heads"
	"edgejepa/vit/pixels"
)

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
