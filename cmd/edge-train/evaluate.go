package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"edgejepa/device"
	"edgejepa/internal/cli"
	"edgejepa/internal/parallel"
	"edgejepa/jepa/tune"
	"edgejepa/quant"
	"edgejepa/vit"
	"edgejepa/vit/heads"
)

// evaluateFlags are the command line of evaluate, as typed.
type evaluateFlags struct {
	model, data, split string
	strict             bool
	asJSON, quiet      bool
	threads            int
	maxMegapixels      float64
}

func evaluateCommand(io streams) *cobra.Command {
	f := &evaluateFlags{}
	c := &cobra.Command{
		Use:   "evaluate --model HEAD|FILE --data DIR",
		Short: "Judge a tuned or exported model on labelled pictures",
		Long: `Answers for the labelled pictures under --data as edge-embed predict does and compares: top-1, top-5, calibration and (of
up to 12 classes, or with --json) the confusion matrix of a classifier; Dice, mean IoU and pixels of one that segments; AP at
IoU 0.5 and 0.5:0.95, as COCO counts, of one that detects. Labels are those that tune reads. An int8 file and the model it was
exported from can so be compared.`,
		Example: "  edge-train evaluate --model head --data labelled/\n  edge-train evaluate --model model.safetensors --data BCCD --split test --json",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(c *cobra.Command, _ []string) error { return runEvaluate(c.Context(), io, f) },
	}
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVarP(&f.model, "model", "m", "", "folder that tune filled, or a model file of whatever precision")
	fs.StringVarP(&f.data, "data", "d", "", "labelled pictures")
	fs.StringVar(&f.split, "split", "", "part of --data, such as test")
	fs.BoolVar(&f.strict, "strict", false, "labels with anything wrong in them are an error")
	fs.BoolVar(&f.asJSON, "json", false, "print JSON")
	fs.IntVar(&f.threads, "threads", 0, "threads (default: all cores; the result does not depend on it)")
	fs.Float64Var(&f.maxMegapixels, "max-megapixels", 64, "larger pictures are passed over")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "say nothing but warnings and errors")
	return c
}

func runEvaluate(ctx context.Context, io streams, f *evaluateFlags) error {
	if f.model == "" || f.data == "" {
		return cli.Usagef("evaluate needs --model and --data (try edge-train evaluate --help)")
	}
	limits, err := limitsOf(f.maxMegapixels)
	if err != nil {
		return err
	}
	here, _ := device.Here()
	workers, err := threads(f.threads, here)
	if err != nil {
		return err
	}
	path, err := modelPath(f.model)
	if err != nil {
		return err
	}
	m, err := quant.OpenModel(path, vit.ContextPrefix)
	if err != nil {
		return err
	}
	h := m.Head()
	if h == nil {
		return cli.Usagef("%s is an encoder without a head: probe judges those, and tune trains a head", path)
	}
	progress := cli.NewProgress(io.err, "picture", cli.LogAuto, f.quiet)
	lost := 0
	r := labelReader{strict: f.strict, problem: func(severe bool, err error) {
		if severe {
			lost++
		}
		progress.Warnf("%v", err)
	}}
	x, err := r.read(h.Config.Task, f.data, f.split, h.Config.Classes)
	if err != nil {
		return cli.Usage(err)
	}
	pool := parallel.New(workers)
	defer pool.Close()
	skip := func(err error) {
		lost++
		progress.Warnf("skipping %v", err)
	}
	figures, err := tune.Evaluate(ctx, m.NewPredictor(pool, evaluateBatch), h, x, pool, limits, skip, func(done int) {
		progress.Update(cli.Status{Done: int64(done), Total: int64(x.Len()), Images: int64(done)})
	})
	progress.Finish()
	if err != nil {
		return err
	}
	if f.asJSON {
		err = writeJSON(io.out, figures)
	} else {
		err = printFigures(io.out, figures)
	}
	if err == nil && lost > 0 {
		err = cli.ErrSkipped
	}
	return err
}

// evaluateBatch is how many pictures go through a float network at a time.
const evaluateBatch = 4

// printFigures tells a person.
func printFigures(w io.Writer, f tune.Figures) error {
	if _, err := fmt.Fprintf(w, "%s, %d pictures\n", figureText(f), f.Pictures); err != nil {
		return err
	}
	width := 5
	for _, c := range f.Classes {
		width = max(width, len(c.Name))
	}
	share := func(v float64) string {
		if v < 0 {
			return "–"
		}
		return fmt.Sprintf("%.2f", v)
	}
	for i, c := range f.Classes {
		var err error
		if f.Task == heads.Detect {
			if i == 0 {
				fmt.Fprintf(w, "%-*s %10s %8s %8s\n", width, "class", "objects", "AP50", "AP")
			}
			_, err = fmt.Fprintf(w, "%-*s %10d %8s %8s\n", width, cli.Printable(c.Name), c.Examples, share(c.AP50), share(c.AP))
		} else {
			if i == 0 {
				fmt.Fprintf(w, "%-*s %10s %9s %8s %8s %8s\n", width, "class", "examples", "precision", "recall", "F1", "IoU")
			}
			_, err = fmt.Fprintf(w, "%-*s %10d %9s %8s %8s %8s\n", width, cli.Printable(c.Name), c.Examples, share(c.Precision), share(c.Recall), share(c.F1), share(c.IoU))
		}
		if err != nil {
			return err
		}
	}
	if f.Task != heads.Classify {
		return nil
	}
	fmt.Fprintf(w, "probabilities at temperature %.3g: negative log-likelihood %.4f, calibration error %.2f %%\n", f.Temperature, f.NLL, f.ECE)
	return printConfusion(w, f, width)
}

// mostColumns is how many classes a matrix in a terminal has; --json has it of any number.
const mostColumns = 12

// printConfusion tells which class was taken for which: rows are what it was, columns what was answered, in the order of rows.
func printConfusion(w io.Writer, f tune.Figures, width int) error {
	if len(f.Classes) > mostColumns {
		return nil
	}
	fmt.Fprintln(w, "was, and was taken for:")
	for i, row := range f.Confusion {
		fmt.Fprintf(w, "%-*s", width, cli.Printable(f.Classes[i].Name))
		for _, n := range row {
			fmt.Fprintf(w, " %6d", n)
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return nil
}
