package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"edgejepa/internal/cli"
	"edgejepa/internal/licenses"
	"edgejepa/quant"
	"edgejepa/vit"
	"edgejepa/vit/heads"
)

// infoCommand is "edge-embed info".
func infoCommand(stdout io.Writer) *cobra.Command {
	var file string
	var asJSON bool
	c := &cobra.Command{
		Use:     "info --model FILE",
		Short:   "Describe a model file",
		Example: "  edge-embed info --model model.safetensors\n  edge-embed info --model model.safetensors --json",
		Args: func(c *cobra.Command, args []string) error {
			return cli.Usage(cobra.NoArgs(c, args))
		},
		RunE: func(*cobra.Command, []string) error {
			if file == "" {
				return cli.Usagef("--model FILE is missing (see edge-embed info --help)")
			}
			m, err := quant.OpenModel(file, vit.ContextPrefix)
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(stdout)
				e.SetEscapeHTML(false)
				e.SetIndent("", "  ")
				return e.Encode(m.Info())
			}
			return describe(stdout, m.Info())
		},
	}
	c.Flags().StringVar(&file, "model", "", "model `FILE`")
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}

// licensesCommand is "edge-embed licenses".
func licensesCommand(stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:     "licenses",
		Short:   "Print the licences of what is linked into this program",
		Example: "  edge-embed licenses",
		Args: func(c *cobra.Command, args []string) error {
			return cli.Usage(cobra.NoArgs(c, args))
		},
		RunE: func(*cobra.Command, []string) error {
			_, err := io.WriteString(stdout, licenses.Text)
			return err
		},
	}
}

// describe writes a line a subject. Lists inside the metadata, layer by layer, are left to --json.
func describe(w io.Writer, i quant.Info) error {
	c := i.Config
	name := i.Preset
	if name == "" {
		name = "no preset"
	}
	sum := "checksum good"
	if !i.Checksummed {
		sum = "no checksum"
	}
	fit := "shorter side scaled, centre cut"
	if i.Head != nil && i.Head.Task != heads.Classify {
		fit += " (predict: the whole picture, scaled)"
	}
	lines := [][2]string{
		{"model", i.ID},
		{"network", fmt.Sprintf("%s: dim %d, %d blocks, %d heads", name, c.Dim, c.Depth, c.Heads)},
		{"picture", fmt.Sprintf("%d x %d pixels, %s; patches of %d, %d tokens", c.Width(), c.ImageSize, fit, c.PatchSize, i.Tokens)},
		{"pixels", fmt.Sprintf("(v/255 - mean) / std, mean %v, std %v", c.Mean, c.Std)},
		{"vector", fmt.Sprintf("%d values, the %s of the tokens", c.Dim, c.Pool)},
		{"parameters", cli.Count(i.Parameters)},
		{"precision", string(i.Precision)},
		{"file", fmt.Sprintf("%s, %s", cli.Bytes(i.FileBytes), sum)},
	}
	if i.Encoder != "" {
		lines = append(lines, [2]string{"encoder", i.Encoder})
	}
	if h := i.Head; h != nil {
		kind := ""
		if h.Kind != "" {
			kind = ", " + string(h.Kind)
		}
		lines = append(lines, [2]string{"head", fmt.Sprintf("%s%s, %s parameters (edge-embed predict)", h.Task, kind, cli.Count(h.Parameters))},
			[2]string{"classes", someClasses(h.Classes)})
	}
	for _, k := range slices.Sorted(maps.Keys(i.FileMetadata)) {
		lines = append(lines, [2]string{k, brief(i.FileMetadata[k])})
	}
	for _, l := range lines {
		if _, err := fmt.Fprintf(w, "%-12s %s\n", cli.Printable(l[0]), cli.Printable(l[1])); err != nil {
			return err
		}
	}
	return nil
}

// someClasses names the first few.
func someClasses(names []string) string {
	const few = 12
	text := fmt.Sprintf("%d: %s", len(names), strings.Join(names[:min(len(names), few)], ", "))
	if len(names) > few {
		text += ", …"
	}
	return text
}

// brief is a metadata value on one line.
func brief(v any) string {
	raw, ok := v.(json.RawMessage)
	if !ok {
		return fmt.Sprint(v)
	}
	var object map[string]any
	if json.Unmarshal(raw, &object) != nil {
		return string(raw)
	}
	text := ""
	for _, k := range slices.Sorted(maps.Keys(object)) {
		format := ", %s %v"
		switch object[k].(type) {
		case []any, map[string]any:
			continue
		case float64:
			format = ", %s %.6g"
		}
		text += fmt.Sprintf(format, k, object[k])
	}
	return strings.TrimPrefix(text, ", ")
}
