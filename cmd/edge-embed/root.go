package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"edgejepa/device"
	"edgejepa/internal/cli"
	"edgejepa/internal/cpu"
)

const long = `edge-embed writes one vector a picture. Pictures are files, or folders of any nesting: JPEG, PNG, GIF (first frame), BMP,
WebP and TIFF, told by content and not by name; EXIF orientation is applied, transparency is laid over white. Rows come
in input order: that of the arguments (then of --files-from), and within a folder by the bytes of the path.

Formats:
  jsonl  {"path":"a.jpg","embedding":[0.1,…]} a line. A path that is not UTF-8 has U+FFFD in the place of bad bytes, and
         its exact bytes in base64 as "path_bytes" beside it.
  csv    a header filename,embedding_0,… and a row a picture. Fields are quoted as in RFC 4180, so a quoted name may hold
         line ends; names keep their bytes.
  npy    NumPy array <f4 [pictures, D]. With -o FILE the names stand in FILE.paths.txt, a line a row; a name with a line
         end, or that begins with a double quote, is written in double quotes with backslash escapes.
  f32    little-endian float32, D a picture, nothing else.

With --tokens a picture gives its N patch tokens of D values instead of their mean, patches in row-major order, each token
normalised by itself: jsonl has "tokens":[[…],…] in the place of "embedding", csv a row a token with its number in a
column "token", npy is [pictures, N, D] and f32 has N·D values a picture.

A picture that cannot be read gives a line "skipping PATH: reason" on stderr and no row. Files in folders that are no
pictures, and not named like any, are counted in the last line. -o writes to a temporary file that takes its name at the
end; an interrupted run keeps the rows that are done.

Exit codes: 0 all done · 1 failed, or every picture failed · 2 wrong usage · 3 done, some pictures skipped · 130
interrupted. A folder named like a command (predict, info, licenses, help, completion) is given as ./info.`

const examples = `  edge-embed --model model.safetensors photos/ > vectors.jsonl
  edge-embed --model model.safetensors --format npy -o vectors.npy photos/
  find photos -name '*.jpg' -print0 | edge-embed --model model.safetensors --files-from - -0
  edge-embed predict --model tuned.safetensors photos/ > answers.jsonl
  edge-embed info --model model.safetensors`

// options are the settings of one run.
type options struct {
	model      string
	paths      []string
	filesFrom  string
	null       bool
	format     string
	output     string
	force      bool
	normalize  string
	tokens     bool
	threads    int
	batch      int
	megapixels float64
	onError    string
	quiet      bool

	// Of predict.
	masks, draw string
	drawFormat  string
	top         int
	threshold   float64

	others int64 // files in folders that are no pictures

	stdin          io.Reader
	stdout, stderr io.Writer
}

// run is the program: it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := cli.SignalContext(ctx)
	defer stop()
	o := &options{stdin: stdin, stdout: stdout, stderr: stderr}
	root := &cobra.Command{
		Use:           "edge-embed --model FILE [PATH...]",
		Short:         "Turn pictures into vectors",
		Long:          long,
		Example:       examples,
		Version:       version(),
		Args:          cobra.ArbitraryArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			_, err := cpu.Forced()
			return cli.Usage(err)
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.paths = args
			if err := o.check(); err != nil {
				return cli.Usage(err)
			}
			return o.run(c.Context())
		},
	}
	f := root.Flags()
	f.SortFlags = false
	o.sourceFlags(f)
	f.StringVar(&o.format, "format", "jsonl", "output `FORMAT`: "+strings.Join(formats, ", "))
	o.outputFlags(f)
	f.StringVar(&o.normalize, "normalize", "l2", "`l2|none`: scale vectors to length 1, or not")
	f.BoolVar(&o.tokens, "tokens", false, "write a picture's patch tokens instead of their mean")
	o.effortFlags(f)
	root.AddCommand(predictCommand(o), infoCommand(stdout), licensesCommand(stdout))

	root.SetArgs(slices.Clone(args)) // not nil: cobra would read the test binary's
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return cli.Usagef("%w (see %s --help)", err, c.CommandPath())
	})
	return cli.Report(ctx, stderr, "edge-embed", root.ExecuteContext(ctx))
}

// sourceFlags are those of what is read.
func (o *options) sourceFlags(f *pflag.FlagSet) {
	f.StringVar(&o.model, "model", "", "model `FILE`, as edge-train export writes it")
	f.StringVar(&o.filesFrom, "files-from", "", "read more paths from `FILE`, one a line; - is standard input")
	f.BoolVarP(&o.null, "null", "0", false, "the list of --files-from ends its paths with NUL instead")
}

// outputFlags are those of where rows go.
func (o *options) outputFlags(f *pflag.FlagSet) {
	f.StringVarP(&o.output, "output", "o", "", "write to `FILE` instead of standard output")
	f.BoolVar(&o.force, "force", false, "replace what exists")
}

// effortFlags are those of how pictures are gone through.
func (o *options) effortFlags(f *pflag.FlagSet) {
	f.IntVar(&o.threads, "threads", 0, "`N` threads; 0: one a core")
	f.IntVar(&o.batch, "batch", 0, "`N` pictures through the encoder at a time; 0: by their size")
	f.Float64Var(&o.megapixels, "max-megapixels", 0, "skip pictures above `N` million pixels; 0: 64, or less where memory is short")
	f.StringVar(&o.onError, "on-error", "skip", "`skip|fail`: what to do about an unreadable picture")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "say nothing but warnings")
}

// check finds what is wrong with the settings before anything is opened or written.
func (o *options) check() error {
	if err := o.checkSource("edge-embed"); err != nil {
		return err
	}
	switch {
	case !slices.Contains(formats, o.format):
		return fmt.Errorf("--format %s: choose one of %s", o.format, strings.Join(formats, ", "))
	case o.normalize != "l2" && o.normalize != "none":
		return fmt.Errorf("--normalize %s: choose l2 or none", o.normalize)
	case o.force && o.output == "":
		return errors.New("--force is about the file of --output, which is missing")
	case o.output == "" && isBinary(o.format) && cli.IsTerminal(o.stdout):
		return fmt.Errorf("--format %s is not for a terminal: give -o FILE, or pipe it on", o.format)
	}
	return o.checkOutputs()
}

// checkSource finds what is wrong with the settings that all commands over pictures have.
func (o *options) checkSource(command string) error {
	switch {
	case o.model == "":
		return fmt.Errorf("--model FILE is missing (see %s --help)", command)
	case len(o.paths) == 0 && o.filesFrom == "":
		return errors.New("no pictures: give files or folders, or --files-from")
	case slices.Contains(o.paths, ""):
		return errors.New("a PATH is empty")
	case o.null && o.filesFrom == "":
		return errors.New("-0 is about the list of --files-from, which is missing")
	case o.onError != "skip" && o.onError != "fail":
		return fmt.Errorf("--on-error %s: choose skip or fail", o.onError)
	case o.threads < 0 || o.threads > 1024:
		return fmt.Errorf("--threads %d: it must lie in 0..1024", o.threads)
	case o.batch < 0 || o.batch > 1024:
		return fmt.Errorf("--batch %d: it must lie in 0..1024", o.batch)
	case !(o.megapixels >= 0 && o.megapixels <= 1e4):
		return fmt.Errorf("--max-megapixels %g: it must lie in 0..10000", o.megapixels)
	}
	return nil
}

// checkOutputs finds files that the run would replace and must not.
func (o *options) checkOutputs() error {
	model, _ := os.Stat(o.model) // whether it can be read is for later
	for _, path := range o.outputs() {
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case os.SameFile(info, model):
			return fmt.Errorf("--output: %s is the model: choose another name", path)
		case info.IsDir():
			return fmt.Errorf("--output: %s is a folder", path)
		case info.Mode().IsRegular() && !o.force:
			return fmt.Errorf("--output: %s exists: choose another name, or add --force", path)
		}
	}
	return nil
}

// outputs lists the files that the run will write.
func (o *options) outputs() []string {
	switch {
	case o.output == "":
		return nil
	case o.format == "npy":
		return []string{o.output, namesFile(o.output)}
	}
	return []string{o.output}
}

// workers is how many threads to use.
func (o *options) workers(p device.Profile) int {
	if o.threads > 0 {
		return o.threads
	}
	return max(1, p.Workers())
}

// version is the module's version, what it was built with and the path that the kernels take here.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v += " " + s.Value
		}
	}
	return fmt.Sprintf("%s (%s, %s)", v, info.GoVersion, cpu.ISA())
}
