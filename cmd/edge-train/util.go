package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"edgejepa/device"
	"edgejepa/internal/cli"
	"edgejepa/internal/durable"
	"edgejepa/internal/safetensors"
	"edgejepa/jepa"
	"edgejepa/vit"
)

// Files of a RUN folder.
const (
	configFile     = "config.json"
	metricsFile    = "metrics.jsonl"
	checkpointFile = "checkpoint.safetensors"
	encoderFile    = "encoder.safetensors"
	bestFile       = "best.safetensors"
	rollbackFile   = "rollback.safetensors"
	reportFile     = "report.html"
	listFile       = "pictures.list"
)

// runFiles are all of them.
var runFiles = []string{configFile, metricsFile, checkpointFile, durable.PrevName(checkpointFile), durable.DamagedName(checkpointFile), encoderFile, bestFile, rollbackFile, reportFile, listFile}

func writeJSON(w io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// usageArgs gives a complaint about the number of arguments the exit code of wrong usage.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return cli.Usagef("%w (try %s --help)", err, c.CommandPath())
		}
		return nil
	}
}

func unknownCommand(err error) bool {
	return strings.HasPrefix(err.Error(), "unknown command") || strings.HasPrefix(err.Error(), "required flag")
}

// modelPath turns --model's value into a file: of a RUN folder its encoder, or what a run cut off has left; of one that tune
// filled the tuned model.
func modelPath(path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", cli.Usagef("--model: %w", err)
	}
	if !st.IsDir() {
		return path, nil
	}
	encoders := filepath.Join(path, encoderFile)
	if _, err := os.Stat(encoders); err == nil {
		return encoders, nil
	}
	tuned := filepath.Join(path, tunedFile)
	if _, err := os.Stat(tuned); err == nil {
		return tuned, nil
	}
	p, err := durable.LoadNewest(path, checkpointFile, func(p string) error {
		f, err := safetensors.Open(p)
		if err != nil {
			return err
		}
		return f.Verify()
	})
	if errors.Is(err, fs.ErrNotExist) {
		return "", cli.Usagef("--model: %s is not a run: it has neither %s nor %s", path, encoderFile, checkpointFile)
	}
	return p, err
}

// openModel reads a model file and checks it against its checksum, if it has one.
func openModel(path string) (*safetensors.File, error) {
	p, err := modelPath(path)
	if err != nil {
		return nil, err
	}
	f, err := safetensors.Open(p)
	if err != nil {
		return nil, err
	}
	if err := f.Verify(); err != nil && !errors.Is(err, safetensors.ErrNoChecksum) {
		return nil, err
	}
	return f, nil
}

// threads resolves the --threads flag: 0 means every core that this process may use.
func threads(flag int, p device.Profile) (int, error) {
	switch {
	case flag < 0 || flag > 256:
		return 0, cli.Usagef("--threads is %d: it must lie in 1..256, or be 0 for all cores", flag)
	case flag > 0:
		return flag, nil
	}
	return max(1, p.Workers()), nil
}

// writeFits lists what training takes for each preset, at full speed and at least, beside what this machine has.
func writeFits(w io.Writer, p device.Profile) error {
	usable := p.Usable()
	fmt.Fprintf(w, "\nTraining memory (batch 64; pictures and cache not counted):\n")
	for _, pre := range vit.Presets[1:] {
		c := jepa.Default(pre, 0, 0)
		c.Batch = 64
		c.SetSteps(1)
		_, full, _ := jepa.Fit(c, max(1, p.Workers()), 0)
		_, least, _ := jepa.Fit(c, max(1, p.Workers()), 1)
		verdict := "fits"
		switch {
		case usable > 0 && least > usable:
			verdict = "does not fit"
		case usable > 0 && full > usable:
			verdict = "fits, more slowly"
		}
		if _, err := fmt.Fprintf(w, "  %-6s %3d/%-2d  %8s, or %8s at least: %s\n", pre.Name, pre.ImageSize, pre.PatchSize, cli.Bytes(full), cli.Bytes(least), verdict); err != nil {
			return err
		}
	}
	return nil
}
