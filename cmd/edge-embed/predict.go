package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"edgejepa/internal/cli"
	"edgejepa/quant"
	"edgejepa/vit/heads"
	"edgejepa/vit/pixels"
)

const predictLong = `Answers what the head of a model was trained for, one JSON object a picture and line, in input order:

  classify  {"path":"a.jpg","class":"cat","probability":0.93,"probabilities":{"cat":0.93,"dog":0.05,…}}
            --top N likeliest classes, the likeliest first
  segment   {"path":"a.jpg","width":640,"height":480,"mask":"DIR/a.jpg.png","pixels":{"background":300000,"nucleus":7200}}
            --masks DIR writes a PNG of the picture's size whose palette index is the class, in the model's order; without
            it there is no "mask". Pixels are counted in either case.
  detect    {"path":"a.jpg","width":640,"height":480,"boxes":[{"class":"RBC","score":0.91,"x0":10.5,"y0":3,"x1":60,"y1":55}]}
            in pixels of the upright picture, the likeliest first; --threshold F leaves out what is less likely

--draw DIR writes each picture with its answer drawn on it. Below DIR files have their picture's path with an ending of their
own: photos/a.jpg gives DIR/photos/a.jpg.png, /photos/a.jpg gives DIR/%root/photos/a.jpg.png and ../a.jpg DIR/%up/a.jpg.png.

Pictures, their order, what is said of those that cannot be read and exit codes are those of edge-embed (see edge-embed
--help). The same pictures give the same bytes, masks and drawings among them, on every machine and for any number of threads.`

const predictExamples = `  edge-embed predict --model model.safetensors photos/ > answers.jsonl
  edge-embed predict --model nuclei.safetensors --masks masks photos/ > answers.jsonl
  edge-embed predict --model cells.safetensors --threshold 0.4 --draw drawn -o boxes.jsonl photos/`

var drawFormats = []string{"png", "jpg"}

// predictCommand is "edge-embed predict".
func predictCommand(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:     "predict --model FILE [PATH...]",
		Short:   "Classify pictures, segment them or find objects in them",
		Long:    predictLong,
		Example: predictExamples,
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			o.paths, o.format = args, "jsonl"
			if err := o.checkPredict(); err != nil {
				return cli.Usage(err)
			}
			return o.predict(c.Context())
		},
	}
	f := c.Flags()
	f.SortFlags = false
	o.sourceFlags(f)
	o.outputFlags(f)
	f.StringVar(&o.masks, "masks", "", "segment: write a PNG of classes for each picture below `DIR`")
	f.StringVar(&o.draw, "draw", "", "write each picture with its answer drawn on it below `DIR`")
	f.StringVar(&o.drawFormat, "draw-format", "png", "`png|jpg`: of --draw")
	f.IntVar(&o.top, "top", 5, "classify: list the `N` likeliest classes")
	f.Float64Var(&o.threshold, "threshold", 0.3, "detect: leave out what is less likely than `F`")
	o.effortFlags(f)
	return c
}

// checkPredict finds what is wrong with the settings before anything is opened or written.
func (o *options) checkPredict() error {
	if err := o.checkSource("edge-embed predict"); err != nil {
		return err
	}
	switch {
	case !slices.Contains(drawFormats, o.drawFormat):
		return fmt.Errorf("--draw-format %s: choose one of %s", o.drawFormat, strings.Join(drawFormats, ", "))
	case o.top < 1:
		return fmt.Errorf("--top %d: it must be at least 1", o.top)
	case !(o.threshold >= heads.LeastScore && o.threshold <= 1):
		return fmt.Errorf("--threshold %g: it must lie in %g..1", o.threshold, heads.LeastScore)
	case o.force && o.output == "" && o.masks == "" && o.draw == "":
		return errors.New("--force is about --output, --masks and --draw, none of which is there")
	case o.masks != "" && o.draw != "" && filepath.Clean(o.masks) == filepath.Clean(o.draw):
		return errors.New("--masks and --draw are one folder: choose two")
	}
	if err := o.checkFolder("--masks", o.masks); err != nil {
		return err
	}
	if err := o.checkFolder("--draw", o.draw); err != nil {
		return err
	}
	return o.checkOutputs()
}

// predict answers for everything that the options name.
func (o *options) predict(ctx context.Context) error {
	return o.over(ctx, func(m *quant.Model, on machine) (job, error) {
		head := m.Head()
		if head == nil {
			return job{}, cli.Usagef("%s is an encoder without a head, which gives vectors only: run edge-embed without predict, or train a head with edge-train tune", o.model)
		}
		c, e := head.Config, m.Config()
		if o.masks != "" && c.Task != heads.Segment {
			return job{}, cli.Usagef("--masks is for models that segment: %s is one to %s", o.model, c.Task)
		}
		return job{sink: newPredictions(o, m, on), minSide: c.MinSide(e), did: "predicted", input: func() input {
			var r pixels.Resizer
			var img pixels.Image
			return func(dst []uint8, src pixels.Image) {
				c.Input(&img, &r, src, e)
				copy(dst, img.Pix)
			}
		}}, nil
	})
}
