package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"edgejepa/device"
	"edgejepa/internal/arena"
	"edgejepa/internal/cli"
	"edgejepa/internal/parallel"
	"edgejepa/internal/safetensors"
	"edgejepa/jepa/probe"
	"edgejepa/vit"
	"edgejepa/vit/heads"
	"edgejepa/vit/pixels"
)

const (
	testShare      = 0.2 // of the pictures, when there is no test folder
	neighbours     = 20
	temperature    = 0.1
	monitorSamples = 5000 // pictures whose features RankMe and the deviation look at
)

// judgement is how good features are, in percent, beside those of the same network at its initial weights.
type judgement struct {
	Linear       float64 `json:"linear"`
	KNN          float64 `json:"knn"`
	LinearRandom float64 `json:"linear_random"`
	KNNRandom    float64 `json:"knn_random"`
}

// probeReport is what probe --json prints.
type probeReport struct {
	judgement
	LinearTarget float64 `json:"linear_target"`
	KNNTarget    float64 `json:"knn_target"`
	RankMe       float64 `json:"rankme"`
	FeatureStd   float64 `json:"feature_std"`
	Classes      int     `json:"classes"`
	Train        int     `json:"train"`
	Test         int     `json:"test"`
	Skipped      int     `json:"skipped,omitempty"`

	dim int // width of a feature, the most that RankMe can be
}

type probeFlags struct {
	model, data, test string
	which             string
	asJSON, quiet     bool
	perClass          int
	threads           int
	seed              uint64
	maxMegapixels     float64
}

func probeCommand(io streams) *cobra.Command {
	f := &probeFlags{}
	c := &cobra.Command{
		Use:   "probe --model RUN|FILE --data LABELLED_DIR [--test LABELLED_DIR]",
		Short: "Judge an encoder on labelled pictures, beside the same network untrained",
		Long: `Embeds the pictures under --data (one sub-folder a class) with the frozen encoder and classifies those under --test by
k nearest neighbours and by a linear probe. Without --test a fifth of the pictures is set aside, the same fifth for equal
seeds. The same network at its initial weights is judged beside it: an encoder that is not clearly better has learnt
nothing, whatever its loss. Both encoders of a run are judged, the context encoder and its slow average, the target.`,
		Example: "  edge-train probe --model run --data labelled/\n  edge-train probe --model run --data train/ --test test/ --json\n" +
			"  edge-train probe --model run --data train/ --test test/ --per-class 50   # if so few were labelled",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return runProbe(c.Context(), io, f) },
	}
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVarP(&f.model, "model", "m", "", "folder of a run, or a model file (f32 or f16)")
	fs.StringVar(&f.which, "which", "last", "encoders of a run: last or best")
	fs.StringVarP(&f.data, "data", "d", "", "labelled pictures to learn from")
	fs.StringVar(&f.test, "test", "", "labelled pictures to judge on (default: a fifth of --data)")
	fs.IntVar(&f.perClass, "per-class", 0, "learn from so many pictures of each class, drawn by --seed (default: all)")
	fs.BoolVar(&f.asJSON, "json", false, "print JSON")
	fs.IntVar(&f.threads, "threads", 0, "threads (default: all cores)")
	fs.Uint64Var(&f.seed, "seed", 0, "of what is drawn")
	fs.Float64Var(&f.maxMegapixels, "max-megapixels", 64, "larger pictures are passed over")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "say nothing but warnings and errors")
	return c
}

// limitsOf are the bounds on a picture for a --max-megapixels flag.
func limitsOf(megapixels float64) (pixels.Limits, error) {
	if !(megapixels > 0 && megapixels <= 10000) {
		return pixels.Limits{}, cli.Usagef("--max-megapixels is %g: it must lie in (0, 10000]", megapixels)
	}
	return pixels.Limits{MaxPixels: int64(megapixels * 1e6)}, nil
}

// loadEncoders reads the context and the target encoder of a file; one that has only one encoder gives it twice.
func loadEncoders(f *safetensors.File) (ctx, target *vit.Encoder, err error) {
	if f.Metadata["precision"] == "int8" {
		return nil, nil, cli.Usagef("%s is an int8 export: probe the run that it came from", f.Path)
	}
	has := func(prefix string) bool {
		for _, t := range f.Tensors {
			if strings.HasPrefix(t.Name, prefix) {
				return true
			}
		}
		return false
	}
	if has(vit.ContextPrefix) || !has(vit.TargetPrefix) {
		if ctx, err = vit.LoadEncoder(f, vit.ContextPrefix); err != nil {
			return nil, nil, err
		}
		target = ctx
	}
	if has(vit.TargetPrefix) {
		if target, err = vit.LoadEncoder(f, vit.TargetPrefix); err != nil {
			return nil, nil, err
		}
		if ctx == nil {
			ctx = target
		}
	}
	return ctx, target, nil
}

// openedRun is what probe and export start from.
type openedRun struct {
	file            *safetensors.File
	context, target *vit.Encoder
	head            *heads.Head // of a file that tune wrote; else nil
	limits          pixels.Limits
	workers         int
}

// openRun reads --model and resolves the flags that go with it.
func openRun(model string, megapixels float64, threadsFlag int) (m openedRun, err error) {
	if m.limits, err = limitsOf(megapixels); err != nil {
		return m, err
	}
	here, _ := device.Here()
	if m.workers, err = threads(threadsFlag, here); err != nil {
		return m, err
	}
	if m.file, err = openModel(model); err != nil {
		return m, err
	}
	if m.context, m.target, err = loadEncoders(m.file); err != nil {
		return m, err
	}
	m.head, err = heads.Load(m.file, m.context.Config)
	return m, err
}

// trainingSeed is the seed that a run's network started from, 0 where the file does not say.
func trainingSeed(f *safetensors.File) uint64 {
	var t struct{ Seed uint64 }
	for _, key := range []string{"training", "run"} {
		if json.Unmarshal([]byte(f.Metadata[key]), &t) == nil && f.Metadata[key] != "" {
			break
		}
	}
	return t.Seed
}

// evalBytes is what probing while training takes.
func evalBytes(c vit.Config, workers int) int64 {
	pool := parallel.New(workers)
	defer pool.Close()
	passes := arena.Measure(func(a *arena.Arena) *vit.Pass {
		e := vit.PlaceEncoder(a, c, false) // the untrained network
		e.PlacePass(a, pool, featureBatch, featureBatch*c.Tokens(), vit.Infer)
		return e.PlacePass(a, pool, featureBatch, featureBatch*c.Tokens(), vit.Infer)
	})
	return passes + 2*4*featureBatch*int64(c.PixelLen())
}

// untrained is an encoder of that shape at its initial weights.
func untrained(c vit.Config, seed uint64) (*vit.Encoder, error) {
	e, err := vit.NewEncoder(c)
	if err != nil {
		return nil, err
	}
	e.Params.Init(seed)
	e.Pack()
	return e, nil
}

func runProbe(ctx context.Context, io streams, f *probeFlags) error {
	if f.model == "" || f.data == "" {
		return cli.Usagef("probe needs --model and --data (try edge-train probe --help)")
	}
	if f.perClass < 0 {
		return cli.Usagef("--per-class %d: it must be at least 1", f.perClass)
	}
	model, err := whichModel(f.model, f.which)
	if err != nil {
		return err
	}
	m, err := openRun(model, f.maxMegapixels, f.threads)
	if err != nil {
		return err
	}
	contextEnc, targetEnc := m.context, m.target
	random, err := untrained(contextEnc.Config, trainingSeed(m.file))
	if err != nil {
		return err
	}

	progress := cli.NewProgress(io.err, "picture", cli.LogAuto, f.quiet)
	r := probeReport{}
	skip := func(err error) {
		r.Skipped++
		progress.Warnf("skipping %v", err)
	}
	train, err := openLabelled(f.data, nil, skip)
	if err != nil {
		return err
	}
	var test labelled
	if f.test == "" {
		train, test = train.split(testShare, f.seed)
	} else if test, err = openLabelled(f.test, train.classes, skip); err != nil {
		return err
	}
	if f.perClass > 0 {
		train = train.draw(f.perClass, f.seed)
	}
	pool := parallel.New(m.workers)
	defer pool.Close()
	z := newFeaturizer(pool, m.limits, contextEnc.Config, contextEnc.NewPass(pool, featureBatch), targetEnc.NewPass(pool, featureBatch), random.NewPass(pool, featureBatch))
	total := int64(len(train.paths) + len(test.paths))
	shown := func(base int) func(int) {
		return func(done int) {
			progress.Update(cli.Status{Done: int64(base + done), Total: total, Images: int64(base + done)})
		}
	}
	a, err := z.features(ctx, train, skip, shown(0))
	if err != nil {
		return err
	}
	b, err := z.features(ctx, test, skip, shown(len(train.paths)))
	if err != nil {
		return err
	}
	progress.Finish()
	r.Linear, r.KNN = probe.Linear(pool, a[0], b[0]), probe.KNN(pool, a[0], b[0], neighbours, temperature)
	r.LinearTarget, r.KNNTarget = r.Linear, r.KNN
	if targetEnc != contextEnc {
		r.LinearTarget, r.KNNTarget = probe.Linear(pool, a[1], b[1]), probe.KNN(pool, a[1], b[1], neighbours, temperature)
	}
	r.LinearRandom, r.KNNRandom = probe.Linear(pool, a[2], b[2]), probe.KNN(pool, a[2], b[2], neighbours, temperature)
	sample := firstRows(a[0], monitorSamples)
	r.RankMe, r.FeatureStd = probe.RankMe(pool, sample), probe.FeatureStd(sample)
	r.dim = sample.D
	r.Classes, r.Train, r.Test = len(train.classes), a[0].N, b[0].N
	if err := r.write(io, f); err != nil {
		return err
	}
	if r.Skipped > 0 {
		return cli.ErrSkipped
	}
	return nil
}

// firstRows is a view of at most n rows spread evenly over f.
func firstRows(f probe.Features, n int) probe.Features {
	if f.N <= n {
		return f
	}
	index := make([]int, n)
	for i := range index {
		index[i] = i * f.N / n
	}
	return f.Rows(index)
}

func (r probeReport) write(io streams, f *probeFlags) error {
	if f.asJSON {
		return writeJSON(io.out, r)
	}
	_, err := fmt.Fprintf(io.out, `%d classes, %d pictures to learn from, %d to judge on
                 linear probe   k-NN
context encoder  %8.2f %%  %8.2f %%
target encoder   %8.2f %%  %8.2f %%
untrained        %8.2f %%  %8.2f %%
RankMe %.1f of %d, feature deviation %.3f
`, r.Classes, r.Train, r.Test, r.Linear, r.KNN, r.LinearTarget, r.KNNTarget, r.LinearRandom, r.KNNRandom, r.RankMe, r.dim, r.FeatureStd)
	return err
}

// judge probes a run while it trains.
type judge struct {
	every       int
	pool        *parallel.Pool
	train, test labelled
	z           *featurizer
	random      judgement // LinearRandom and KNNRandom, once known
	skip        func(error)
}

// newJudge prepares --eval for an encoder that is being trained.
func newJudge(ctx context.Context, dir string, every int, pool *parallel.Pool, limits pixels.Limits, e *vit.Encoder, seed uint64, skip func(error)) (*judge, error) {
	all, err := openLabelled(dir, nil, skip)
	if err != nil {
		return nil, err
	}
	j := &judge{every: every, pool: pool, skip: skip}
	j.train, j.test = all.split(testShare, seed)
	random, err := untrained(e.Config, seed)
	if err != nil {
		return nil, err
	}
	r, err := j.figures(ctx, newFeaturizer(pool, limits, e.Config, random.NewPass(pool, featureBatch)))
	if err != nil {
		return nil, err
	}
	j.random.LinearRandom, j.random.KNNRandom = r.Linear, r.KNN
	j.z = newFeaturizer(pool, limits, e.Config, e.NewPass(pool, featureBatch))
	return j, nil
}

// judge probes the encoder as it is now.
func (j *judge) judge(ctx context.Context) (*judgement, error) {
	r, err := j.figures(ctx, j.z)
	return &r, err
}

// figures probes the featurizer's first network.
func (j *judge) figures(ctx context.Context, z *featurizer) (judgement, error) {
	r := j.random
	a, err := z.features(ctx, j.train, j.skip, func(int) {})
	if err != nil {
		return r, err
	}
	b, err := z.features(ctx, j.test, j.skip, func(int) {})
	if err != nil {
		return r, err
	}
	r.Linear, r.KNN = probe.Linear(j.pool, a[0], b[0]), probe.KNN(j.pool, a[0], b[0], neighbours, temperature)
	return r, nil
}
