package main

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"

	"edgejepa/device"
	"edgejepa/internal/cli"
	"edgejepa/internal/cpu"
	"edgejepa/internal/licenses"
)

// streams are where a command reads and writes: data goes to out, everything said to a person to err.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run is the program: it returns the exit code (0 done, 1 failed, 2 wrong usage, 3 some inputs skipped, 130 interrupted).
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := cli.SignalContext(ctx)
	defer stop()
	io := streams{stdin, stdout, stderr}
	root := &cobra.Command{
		Use:   "edge-train",
		Short: "Pretrain a Vision Transformer on your own pictures, without labels",
		Long: `edge-train pretrains a compact Vision Transformer on a folder of pictures by I-JEPA: it learns to predict the
representation of hidden blocks of a picture from the rest. No labels, no network, no Python.

  edge-train pretrain photos/ --out run --preset tiny     learn (stop and --resume at will)
  edge-train probe    --model run --data labelled/        is it any good? beside the same network untrained
  edge-train export   --model run --out model.safetensors --calibrate photos/
  edge-train tune     --model run --data labelled/ --task classify --out head    teach it a task
  edge-embed --model model.safetensors photos/ > vectors.jsonl`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
		PersistentPreRunE: func(*cobra.Command, []string) error {
			_, err := cpu.Forced()
			return cli.Usage(err)
		},
	}
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return cli.Usagef("%w (try %s --help)", err, c.CommandPath())
	})
	root.AddCommand(pretrainCommand(io), probeCommand(io), tuneCommand(io), evaluateCommand(io), exportCommand(io), reportCommand(io), demoCommand(io), deviceCommand(io), licensesCommand(io))
	return cli.Report(ctx, stderr, "edge-train", usage(root.ExecuteContext(ctx)))
}

// usage gives the errors that cobra makes itself, about commands and arguments, the exit code of wrong usage.
func usage(err error) error {
	if err != nil && unknownCommand(err) {
		return cli.Usage(err)
	}
	return err
}

// version is the module's version and the revision it was built from.
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

func deviceCommand(io streams) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "device",
		Short:   "Describe this machine: instruction set, cores, caches, memory, heat",
		Example: "  edge-train device\n  edge-train device --json",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			p, err := device.Here()
			if err != nil {
				fmt.Fprintf(io.err, "edge-train: %v\n", err)
			}
			if asJSON {
				return writeJSON(io.out, p)
			}
			if err := p.WriteText(io.out); err != nil {
				return err
			}
			return writeFits(io.out, p)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func licensesCommand(streams streams) *cobra.Command {
	return &cobra.Command{
		Use:     "licenses",
		Short:   "Print the licences of what is linked into this program",
		Example: "  edge-train licenses",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			_, err := io.WriteString(streams.out, licenses.Text)
			return err
		},
	}
}
