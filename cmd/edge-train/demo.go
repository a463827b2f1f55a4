package main

import (
	"context"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"edgejepa/cmd/edge-train/demoset"
	"edgejepa/device"
	"edgejepa/internal/cli"
	"edgejepa/internal/durable"
	"edgejepa/internal/parallel"
	"edgejepa/jepa/probe"
	"edgejepa/quant"
	"edgejepa/vit"
	"edgejepa/vit/pixels"
)

type demoFlags struct {
	out      string
	preset   string
	perClass int
	maxSteps int
	maxTime  cli.Duration
	threads  int
	seed     uint64
	force    bool
}

// demoMarker is a file by which a folder is known for a demo's own, to be overwritten.
const demoMarker = ".edgejepa-demo"

const demoSize = 32 // side of the pictures and of the input, in pixels

func demoCommand(io streams) *cobra.Command {
	f := &demoFlags{maxTime: cli.Duration(80 * time.Second)}
	c := &cobra.Command{
		Use:   "demo",
		Short: "Draw a small picture set and run the whole pipeline on it",
		Long: `Draws a labelled picture set of its own, then pretrains on it, probes, exports to int8 and embeds, by the same commands
that a folder of your own would take, each printed as it runs. NEIGHBOURS.png in the folder shows some pictures, each
beside those whose embeddings are nearest.`,
		Example: "  edge-train demo\n  edge-train demo --out short --max-time 30s",
		Args:    usageArgs(cobra.NoArgs),
		RunE:    func(c *cobra.Command, _ []string) error { return runDemo(c.Context(), io, f) },
	}
	fs := c.Flags()
	fs.SortFlags = false
	fs.StringVarP(&f.out, "out", "o", "edgejepa-demo", "folder to write to")
	fs.StringVar(&f.preset, "preset", "nano", "network")
	fs.IntVar(&f.perClass, "per-class", 250, "pictures a class")
	fs.IntVar(&f.maxSteps, "max-steps", 0, "optimiser steps, instead of --max-time")
	fs.Var(&f.maxTime, "max-time", "time to pretrain")
	fs.IntVar(&f.threads, "threads", 0, "threads (default: all cores)")
	fs.Uint64Var(&f.seed, "seed", 0, "of the pictures and of the run")
	fs.BoolVar(&f.force, "force", false, "overwrite an earlier demo")
	return c
}

func runDemo(ctx context.Context, io streams, f *demoFlags) error {
	dir := func(name string) string { return filepath.Join(f.out, name) }
	if _, err := os.Stat(f.out); err == nil {
		if !f.force {
			return cli.Usagef("%s exists: --force overwrites it, --out takes another folder", f.out)
		}
		if _, err := os.Stat(dir(demoMarker)); err != nil {
			return cli.Usagef("%s is not an earlier demo: --out takes another folder", f.out)
		}
		for _, name := range []string{"pictures", "run", "model.safetensors", "NEIGHBOURS.png"} {
			if err := os.RemoveAll(dir(name)); err != nil {
				return err
			}
		}
	}
	if err := os.MkdirAll(f.out, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(dir(demoMarker), nil, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(io.err, "drawing pictures in %s\n", dir("pictures"))
	if err := demoset.Write(dir("pictures"), demoset.Options{PerClass: f.perClass, Size: demoSize, Seed: f.seed}); err != nil {
		return err
	}
	common := []string{"--threads", fmt.Sprint(f.threads)}
	length := []string{"--max-time", f.maxTime.String()}
	if f.maxSteps > 0 {
		length = []string{"--max-steps", fmt.Sprint(f.maxSteps)}
	}
	steps := [][]string{
		append(append([]string{"pretrain", dir("pictures"), "--out", dir("run"), "--preset", f.preset, "--image-size", fmt.Sprint(demoSize),
			"--patch-size", "4", "--batch", "64", "--seed", fmt.Sprint(f.seed)}, length...), common...),
		append([]string{"probe", "--model", dir("run"), "--data", dir("pictures"), "--quiet"}, common...),
		append([]string{"export", "--model", dir("run"), "--out", dir("model.safetensors"), "--calibrate", dir("pictures"), "--quiet"}, common...),
	}
	for _, args := range steps {
		fmt.Fprintf(io.err, "\n$ edge-train %s\n", strings.Join(args, " "))
		if code := run(ctx, args, io.in, io.out, io.err); code != cli.ExitOK {
			return &cli.ExitError{Code: code}
		}
	}
	if err := f.neighbours(ctx, io, dir("pictures"), dir("model.safetensors"), dir("NEIGHBOURS.png")); err != nil {
		return err
	}
	fmt.Fprintf(io.err, "\nnext: edge-embed --model %s %s\n", dir("model.safetensors"), dir("pictures"))
	return nil
}

const (
	sheetRows    = 12
	sheetColumns = 9
)

// neighbours embeds the pictures with the exported model and draws a sheet of nearest neighbours.
func (f *demoFlags) neighbours(ctx context.Context, io streams, pictures, model, sheet string) error {
	fmt.Fprintf(io.err, "\nembedding with %s\n", model)
	m, err := quant.OpenModel(model, vit.ContextPrefix)
	if err != nil {
		return err
	}
	fatal := func(err error) { fmt.Fprintln(io.err, err) }
	l, err := openLabelled(pictures, nil, fatal)
	if err != nil {
		return err
	}
	here, _ := device.Here()
	n, err := threads(f.threads, here)
	if err != nil {
		return err
	}
	pool := parallel.New(n)
	defer pool.Close()
	z := newFeaturizer(pool, pixels.Limits{}, m.Config())
	z.exported = m.NewEmbedder(pool, featureBatch)
	x, err := z.features(ctx, l, fatal, func(int) {})
	if err != nil {
		return err
	}
	same := 0
	near := nearest(x[0])
	for i, j := range near {
		if l.y[i] == l.y[j] {
			same++
		}
	}
	fmt.Fprintf(io.out, "the nearest neighbour is of the same class for %.1f %% of %d pictures (chance: %.1f %%); see %s\n",
		100*float64(same)/float64(len(near)), len(near), 100/float64(len(l.classes)), sheet)
	return drawSheet(sheet, l, x[0])
}

// drawSheet writes a picture of queries, one a row, each followed by its nearest neighbours.
func drawSheet(path string, l labelled, x probe.Features) error {
	const gap, zoom = 2, 2
	cell := demoSize*zoom + gap
	out := image.NewRGBA(image.Rect(0, 0, sheetColumns*cell+2*gap, sheetRows*cell))
	for i := range out.Pix {
		out.Pix[i] = 0xff
	}
	for row := range sheetRows {
		q := (2*row + 1) * x.N / (2 * sheetRows)
		for col, at := range append([]int{q}, rank(x, q, sheetColumns-1)...) {
			img, err := pixels.Load(l.paths[at], pixels.Limits{})
			if err != nil {
				return err
			}
			left := col * cell
			if col > 0 {
				left += 2 * gap
			}
			for y := range demoSize * zoom {
				for px := range demoSize * zoom {
					r, g, b := img.At(px/zoom, y/zoom)
					o := out.PixOffset(left+px, row*cell+y)
					out.Pix[o], out.Pix[o+1], out.Pix[o+2] = r, g, b
				}
			}
		}
	}
	return durable.WriteFile(path, 0o644, func(w io.Writer) error { return png.Encode(w, out) })
}
