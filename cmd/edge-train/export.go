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
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"edgejepa/internal/cli"
	"edgejepa/internal/durable"
	"edgejepa/internal/parallel"
	"edgejepa/internal/rng"
	"edgejepa/jepa/probe"
	"edgejepa/quant"
	"edgejepa/vit"
	"edgejepa/vit/heads"
	"edgejepa/vit/pixels"
)

// calibrationPictures is how many set scales and corrections. The report is about others.
const calibrationPictures = 64

type exportFlags struct {
	model, out, format, encoder string
	which                       string
	calibrate                   []string
	report                      string
	force, quiet                bool
	threads                     int
	seed                        uint64
	reportPictures              int
	maxMegapixels               float64
}

// exportReport is what export --report writes.
type exportReport struct {
	Format       string             `json:"format"`
	Encoder      string             `json:"encoder"`
	Head         string             `json:"head,omitempty"` // its task
	Bytes        int64              `json:"bytes"`
	Parameters   int64              `json:"parameters"`
	Milliseconds float64            `json:"milliseconds_a_picture"` // one picture at a time on one thread of this machine, decoded
	Calibration  *quant.Calibration `json:"calibration,omitempty"`
	Fidelity     *fidelity          `json:"fidelity,omitempty"`
}

// fidelity compares the exported network with its f32 original, on pictures that did not calibrate it.
type fidelity struct {
	quant.Fidelity
	LayerPictures int      `json:"layer_pictures,omitempty"` // how many of the pictures the layers' figures are about
	SameNeighbour float64  `json:"same_nearest_neighbour"`   // share of pictures, in percent, whose nearest neighbour is the same
	KNN           *float64 `json:"knn,omitempty"`            // of the exported network, in percent, where there are labels
	KNNFloat      *float64 `json:"knn_f32,omitempty"`
	KNNOther      *float64 `json:"knn_other_encoder,omitempty"` // of the run's other encoder in f32
	Linear        *float64 `json:"linear,omitempty"`            // the linear probe, likewise
	LinearFloat   *float64 `json:"linear_f32,omitempty"`

	Head *agreement `json:"head,omitempty"`
}

func exportCommand(io streams) *cobra.Command {
	f := &exportFlags{}
	c := &cobra.Command{
		Use:   "export --model RUN|HEAD|FILE --out FILE",
		Short: "Write an encoder, and its head, for edge-embed, as int8, f16 or f32",
		Long: `Writes one encoder of a run to a file for edge-embed. int8 is a quarter of the size of f32 and the fastest; --calibrate
names pictures like those that will be embedded, from which it learns scales and corrections. A report compares it with
f32 on other pictures of that folder: cosine of the embeddings, nearest neighbours, the noise of every layer, and k-NN and
linear probe where the pictures lie in one sub-folder a class.

Of a folder that tune filled, encoder and head are written, and the report has how often the head says the same as in f32.`,
		Example: "  edge-train export --model run --out model.safetensors --calibrate photos/\n  edge-train export --model run --out f16.safetensors --format f16 --encoder target\n" +
			"  edge-train export --model head --out cells.safetensors --calibrate photos/   # what tune made",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return runExport(c.Context(), io, f) },
	}
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVarP(&f.model, "model", "m", "", "folder of a run or of tune, or a model file (f32 or f16)")
	fs.StringVar(&f.which, "which", "last", "encoders of a run: last or best")
	fs.StringVarP(&f.out, "out", "o", "", "file to write")
	fs.StringVar(&f.format, "format", "int8", "int8, f16 or f32")
	fs.StringVar(&f.encoder, "encoder", "context", "which of a run's encoders: context, or target, its slow average")
	fs.StringArrayVar(&f.calibrate, "calibrate", nil, "pictures to calibrate int8 on and to compare with f32 on (may be repeated)")
	fs.StringVar(&f.report, "report", "", "also write the report as JSON to this file")
	fs.BoolVar(&f.force, "force", false, "overwrite --out")
	fs.IntVar(&f.threads, "threads", 0, "threads (default: all cores)")
	fs.Uint64Var(&f.seed, "seed", 0, "which pictures calibrate and which are reported about")
	fs.IntVar(&f.reportPictures, "report-pictures", 1000, "how many pictures the report compares")
	fs.Float64Var(&f.maxMegapixels, "max-megapixels", 64, "larger pictures are passed over")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "say nothing but warnings and errors")
	return c
}

func (f *exportFlags) check() error {
	switch {
	case f.model == "" || f.out == "":
		return cli.Usagef("export needs --model and --out (try edge-train export --help)")
	case f.format != "int8" && f.format != "f16" && f.format != "f32":
		return cli.Usagef("--format %q: choose int8, f16 or f32", f.format)
	case f.encoder != "context" && f.encoder != "target":
		return cli.Usagef("--encoder %q: choose context or target", f.encoder)
	case f.reportPictures < 2 || f.reportPictures > 1e6:
		return cli.Usagef("--report-pictures is %d: it must lie in 2..1000000", f.reportPictures)
	case f.report != "" && filepath.Clean(f.report) == filepath.Clean(f.out):
		return cli.Usagef("--report is the file of --out: choose another name")
	case f.format == "int8" && len(f.calibrate) == 0:
		return cli.Usagef("int8 needs --calibrate DIR: pictures like those that will be embedded (any few dozen will do)")
	}
	if _, err := os.Stat(f.out); err == nil && !f.force {
		return cli.Usagef("%s exists: --force overwrites it", f.out)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return cli.Usage(err)
	}
	return nil
}

func runExport(ctx context.Context, io streams, f *exportFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	model, err := whichModel(f.model, f.which)
	if err != nil {
		return err
	}
	m, err := openRun(model, f.maxMegapixels, f.threads)
	if err != nil {
		return err
	}
	enc, other := m.context, m.target
	if f.encoder == "target" {
		enc, other = other, enc
	}
	pool := parallel.New(m.workers)
	defer pool.Close()
	e := &exporter{flags: f, enc: enc, other: other, head: m.head, pool: pool, progress: cli.NewProgress(io.err, "picture", cli.LogAuto, f.quiet)}
	e.report = exportReport{Format: f.format, Encoder: f.encoder, Parameters: enc.Params.Count()}
	meta := map[string]string{"encoder": f.encoder}
	if t, ok := m.file.Metadata["training"]; ok {
		meta["training"] = t
	}
	if m.head != nil {
		if f.encoder == "target" {
			return cli.Usagef("--encoder target: %s holds a head and the one encoder it was trained on", m.file.Path)
		}
		e.report.Encoder, e.report.Parameters = "tuned", e.report.Parameters+m.head.Params.Count()
		e.report.Head = string(m.head.Config.Task)
		meta["encoder"] = "tuned"
		if t, ok := m.file.Metadata["figures"]; ok {
			meta["figures"] = t
		}
	}
	if err := e.write(ctx, m.limits, meta); err != nil {
		return err
	}
	if err := e.report.print(io.out, f.out); err != nil {
		return err
	}
	if e.skipped > 0 {
		return cli.ErrSkipped
	}
	return nil
}

// exporter is one export under way.
type exporter struct {
	flags      *exportFlags
	enc, other *vit.Encoder
	head       *heads.Head // nil: none
	pool       *parallel.Pool
	progress   *cli.Progress
	report     exportReport
	skipped    int
}

func (e *exporter) skip(err error) {
	e.skipped++
	e.progress.Warnf("skipping %v", err)
}

// write calibrates, compares and writes the file and the report.
func (e *exporter) write(ctx context.Context, limits pixels.Limits, meta map[string]string) error {
	f := e.flags
	var q *quant.Encoder
	if f.format == "int8" {
		var err error
		if q, err = e.compare(ctx, limits); err != nil {
			return err
		}
	}
	if e.report.Calibration != nil {
		meta[quant.KeyCalibration] = marshal(e.report.Calibration)
	}
	if e.report.Fidelity != nil {
		meta[quant.KeyFidelity] = marshal(e.report.Fidelity)
	}
	err := durable.WriteFile(f.out, 0o644, func(w io.Writer) error {
		if f.format == "int8" {
			meta[quant.KeySource] = quant.FloatID(e.enc, e.head)
			return quant.Write(w, q, e.head, meta)
		}
		return quant.WriteFloat(w, e.enc, quant.Precision(f.format), e.head, meta)
	})
	if err != nil {
		return err
	}
	st, err := os.Stat(f.out)
	if err != nil {
		return err
	}
	e.report.Bytes = st.Size()
	if e.report.Milliseconds, err = timed(f.out); err != nil {
		return err
	}
	if f.format != "int8" && len(f.calibrate) > 0 {
		if err := e.compareFile(ctx, limits); err != nil {
			return err
		}
	}
	if f.report == "" {
		return nil
	}
	return durable.WriteFile(f.report, 0o644, func(w io.Writer) error { return writeJSON(w, e.report) })
}

func marshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("edge-train: a report always has a JSON form")
	}
	return string(b)
}

// compareFile measures what an f16 or f32 file lost, by reading it again.
func (e *exporter) compareFile(ctx context.Context, limits pixels.Limits) error {
	all, err := e.pictures()
	if err != nil {
		return err
	}
	m, err := quant.OpenModel(e.flags.out, vit.ContextPrefix)
	if err != nil {
		return err
	}
	e.report.Fidelity = &fidelity{}
	return e.measure(ctx, limits, all, m.NewEmbedder(e.pool, featureBatch))
}

// compare quantises on some of the --calibrate pictures and measures what was lost on others.
func (e *exporter) compare(ctx context.Context, limits pixels.Limits) (*quant.Encoder, error) {
	all, err := e.pictures()
	if err != nil {
		return nil, err
	}
	c := e.enc.Config
	z := newFeaturizer(e.pool, limits, c)
	z.forHead(e.head)
	cut := min(calibrationPictures, (len(all.paths)+1)/2)
	read := z.decode(all.paths[:cut], e.skip)
	if len(read) == 0 {
		return nil, fmt.Errorf("none of the %d pictures for calibration can be read", cut)
	}
	q, cal, err := quant.Calibrate(e.enc, e.pool, z.crops, len(read))
	if err != nil {
		return nil, err
	}
	e.report.Calibration = &cal

	rest := labelled{paths: all.paths[cut:], classes: all.classes}
	if all.y != nil {
		rest.y = all.y[cut:]
	}
	if len(rest.paths) < 2 {
		e.progress.Warnf("%d pictures are too few to measure fidelity on: give more than %d", len(all.paths), len(all.paths))
		return q, nil
	}
	e.report.Fidelity = &fidelity{}
	layers := z.decode(rest.paths[:min(calibrationPictures, len(rest.paths))], func(error) {}) // measure reads them again, and tells
	if len(layers) > 0 {
		e.report.Fidelity = &fidelity{Fidelity: quant.Compare(e.enc, q, e.pool, z.crops, len(layers)), LayerPictures: len(layers)}
	}
	return q, e.measure(ctx, limits, rest, q.NewPass(e.pool))
}

// measure fills the report's fidelity from the embeddings of pictures by the original and by what was exported, or takes it
// away if fewer than two can be read.
func (e *exporter) measure(ctx context.Context, limits pixels.Limits, l labelled, exported quant.Embedder) error {
	labels := l.y != nil
	if !labels {
		l.y = make([]int32, len(l.paths))
	}
	z := newFeaturizer(e.pool, limits, e.enc.Config, e.enc.NewPass(e.pool, featureBatch), e.other.NewPass(e.pool, featureBatch))
	z.exported = exported
	z.forHead(e.head)
	before := e.skipped
	x, err := z.features(ctx, l, e.skip, func(done int) {
		e.progress.Update(cli.Status{Done: int64(done), Total: int64(len(l.paths)), Images: int64(done)})
	})
	e.progress.Finish()
	if read := len(l.paths) - (e.skipped - before); read < 2 && ctx.Err() == nil {
		e.progress.Warnf("%d of %d pictures can be read: too few to measure fidelity on", read, len(l.paths))
		e.report.Fidelity = nil
		return nil
	}
	if err != nil {
		return err
	}
	e.report.Fidelity.measure(e.pool, x, labels)
	if e.head == nil {
		return nil
	}
	return e.agree(ctx, limits, l.paths, quant.NewPredictor(exported, e.head, e.pool, headBatch))
}

// pictures draws up to calibrationPictures + --report-pictures of the --calibrate pictures. Labels come with them when
// there is one folder with one sub-folder a class.
func (e *exporter) pictures() (labelled, error) {
	var all labelled
	if len(e.flags.calibrate) == 1 {
		var skipped []error
		l, err := openLabelled(e.flags.calibrate[0], nil, func(err error) { skipped = append(skipped, err) })
		if err == nil {
			all = l
			for _, err := range skipped {
				e.skip(err)
			}
		}
	}
	if all.y == nil {
		for path, err := range pixels.Walk(e.flags.calibrate, nil) {
			if err != nil {
				e.skip(err)
				continue
			}
			all.paths = append(all.paths, path)
		}
	}
	if len(all.paths) == 0 {
		return all, cli.Usagef("--calibrate: no pictures under %v", e.flags.calibrate)
	}
	r := rng.New(e.flags.seed, rng.PurposeCalibrate, 0, 0)
	n := min(len(all.paths), calibrationPictures+e.flags.reportPictures)
	for i := range n {
		j := i + r.IntN(len(all.paths)-i)
		all.paths[i], all.paths[j] = all.paths[j], all.paths[i]
		if all.y != nil {
			all.y[i], all.y[j] = all.y[j], all.y[i]
		}
	}
	all.paths = all.paths[:n]
	if all.y != nil {
		all.y = all.y[:n]
	}
	return all, nil
}

// measure compares features: x holds those of the f32 network, of the run's other encoder and of the exported network.
func (f *fidelity) measure(pool *parallel.Pool, x []probe.Features, labels bool) {
	cos := cosines(x[0], x[2], make([]float64, x[0].D))
	f.Pictures, f.LeastCosine, f.MeanCosine = x[0].N, slices.Min(cos), mean(cos)
	cos = cosines(x[0], x[2], centre(x[0]))
	f.LeastCentred, f.MeanCentred = slices.Min(cos), mean(cos)
	a, b := nearest(x[0]), nearest(x[2])
	same := 0
	for i := range a {
		if a[i] == b[i] {
			same++
		}
	}
	f.SameNeighbour = 100 * float64(same) / float64(len(a))
	if !labels {
		return
	}
	f.KNNFloat, f.KNNOther, f.KNN = crossValidated(x[0], knn(pool)), crossValidated(x[1], knn(pool)), crossValidated(x[2], knn(pool))
	f.LinearFloat, f.Linear = crossValidated(x[0], linear(pool)), crossValidated(x[2], linear(pool))
}

// accuracy judges features by those of other pictures, in percent.
type accuracy func(train, test probe.Features) float64

func knn(pool *parallel.Pool) accuracy {
	return func(train, test probe.Features) float64 { return probe.KNN(pool, train, test, neighbours, temperature) }
}

func linear(pool *parallel.Pool) accuracy {
	return func(train, test probe.Features) float64 { return probe.Linear(pool, train, test) }
}

// folds is in how many parts crossValidated cuts the pictures.
const folds = 5

// crossValidated judges each part of the pictures by all others. So every picture counts, which a difference of a few tenths
// of a percent needs: where a network and its copy disagree about 300 of 10,000 pictures, as often for the better as for the
// worse, the figures differ by sqrt(300)/100 = 0.17 percent by chance.
func crossValidated(x probe.Features, judge accuracy) *float64 {
	sum := 0.0
	for k := range folds {
		var train, test []int
		for i := range x.N {
			if i%folds == k {
				test = append(test, i)
			} else {
				train = append(train, i)
			}
		}
		if len(test) > 0 {
			sum += float64(judge(x.Rows(train), x.Rows(test)) * float64(len(test)))
		}
	}
	v := sum / float64(x.N)
	return &v
}

// timed is how many milliseconds the model in a file takes for a picture that is decoded, on one thread: the least of
// several runs, for other programs may be at work.
func timed(path string) (float64, error) {
	m, err := quant.OpenModel(path, vit.ContextPrefix)
	if err != nil {
		return 0, err
	}
	pool := parallel.New(1)
	defer pool.Close()
	c := m.Config()
	pix, v := make([]uint8, c.PixelLen()), make([]float32, c.Dim)
	run := m.NewEmbedder(pool, 1).Embed
	if h := m.Head(); h != nil {
		v, run = make([]float32, h.OutLen()), m.NewPredictor(pool, 1).Predict
	}
	for i := range pix {
		pix[i] = uint8(i * 7)
	}
	const runs, enough = 5, 300 * time.Millisecond
	least := time.Duration(math.MaxInt64)
	for i, start := 0, time.Now(); i < runs || (i < 100 && time.Since(start) < enough); i++ {
		from := time.Now()
		run(v, pix, 1)
		least = min(least, time.Since(from))
	}
	return least.Seconds() * 1e3, nil
}

func (r exportReport) print(w io.Writer, path string) error {
	what := r.Encoder + " encoder"
	if r.Head != "" {
		what += " and head to " + r.Head
	}
	fmt.Fprintf(w, "%s: %s as %s, %s parameters, %s, %.3g ms a picture on one thread here\n",
		path, what, r.Format, cli.Count(r.Parameters), cli.Bytes(r.Bytes), r.Milliseconds)
	f := r.Fidelity
	if f == nil {
		return nil
	}
	_, err := fmt.Fprintf(w, "beside f32, on %d pictures: cosine mean %.5f, least %.5f (centred %.4f); same nearest neighbour for %.1f %%\n",
		f.Pictures, f.MeanCosine, f.LeastCosine, f.MeanCentred, f.SameNeighbour)
	if f.Head != nil {
		err = f.Head.print(w)
	}
	if f.KNN != nil {
		_, err = fmt.Fprintf(w, "k-NN %.2f %% (f32 %.2f %%, the run's other encoder in f32 %.2f %%); linear probe %.2f %% (f32 %.2f %%)\n",
			*f.KNN, *f.KNNFloat, *f.KNNOther, *f.Linear, *f.LinearFloat)
	}
	if len(f.Layers) > 0 {
		_, err = fmt.Fprintf(w, "signal to noise in dB, least to most of each kind of layer: %s; the stream behind the last block %.1f, peak %.0f %% of its range, %d values cut off\n",
			noise(f.Layers), f.Stream[len(f.Stream)-1], 100*f.StreamPeak, f.StreamCut)
	}
	return err
}

// noise lists the range of the figures of each kind of layer: qkv, attn and so on.
func noise(layers []quant.LayerSQNR) string {
	var kinds []string
	least, most := map[string]float64{}, map[string]float64{}
	for _, l := range layers {
		kind := l.Name[strings.LastIndexByte(l.Name, '.')+1:]
		if strings.HasPrefix(l.Name, "patch") {
			kind = "patches"
		}
		if _, ok := least[kind]; !ok {
			kinds = append(kinds, kind)
			least[kind], most[kind] = l.SQNR, l.SQNR
		}
		least[kind], most[kind] = min(least[kind], l.SQNR), max(most[kind], l.SQNR)
	}
	for i, k := range kinds {
		kinds[i] = fmt.Sprintf("%s %.1f–%.1f", k, least[k], most[k])
	}
	return strings.Join(kinds, ", ")
}
