package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"
	yaml "go.yaml.in/yaml/v3"
)

// maxConfig bounds a settings file; a full one has about 2 KB.
const maxConfig = 1 << 20

// ApplyConfig sets flags from a YAML file whose keys are flag names. Flags given on the command line win, so parse that
// first. Every error is one of usage and names file, line and key; no flag has changed then.
func ApplyConfig(flags *pflag.FlagSet, file string) error {
	b, err := readConfig(file)
	if err != nil {
		return Usage(err)
	}
	return applyConfig(flags, file, b)
}

func applyConfig(flags *pflag.FlagSet, file string, b []byte) error {
	settings, err := parseConfig(flags, b)
	if err != nil {
		return Usagef("%s:%w", file, err)
	}
	var undo []func()
	for _, s := range settings {
		undo = append(undo, s.restorer())
		if err := s.apply(flags); err != nil {
			for _, restore := range undo {
				restore()
			}
			return Usagef("%s:%d: %s: %w", file, s.line, s.flag.Name, ownMessage(err))
		}
	}
	return nil
}

func readConfig(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(b) > maxConfig {
		err = fmt.Errorf("%s: over %s; not a settings file", file, Bytes(maxConfig))
	}
	return b, err
}

type setting struct {
	flag   *pflag.Flag
	line   int
	values []string
	list   bool
}

func (s *setting) apply(flags *pflag.FlagSet) error {
	slice, ok := s.flag.Value.(pflag.SliceValue)
	switch {
	case ok:
		if err := slice.Replace(s.values); err != nil {
			return err
		}
		s.flag.Changed = true
		return nil
	case s.list:
		return errors.New("takes one value, not a list")
	}
	return flags.Set(s.flag.Name, s.values[0])
}

// restorer returns a function that gives the flag its present value back.
func (s *setting) restorer() func() {
	f, changed := s.flag, s.flag.Changed
	if slice, ok := f.Value.(pflag.SliceValue); ok {
		old := slice.GetSlice()
		return func() { _ = slice.Replace(old); f.Changed = changed }
	}
	old := f.Value.String()
	return func() { _ = f.Value.Set(old); f.Changed = changed }
}

// ownMessage takes the flag's own message out of pflag's, which speaks of the command line.
func ownMessage(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// parseConfig returns the settings that the command line leaves open. Errors start with the line number.
func parseConfig(flags *pflag.FlagSet, b []byte) ([]setting, error) {
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err == io.EOF {
		return nil, nil // an empty file sets nothing
	} else if err != nil {
		return nil, fmt.Errorf(" %w", err) // yaml's message has the line
	}
	if err := dec.Decode(&more); err != io.EOF {
		return nil, errors.New(" holds more than one YAML document")
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%d: must be a list of name: value", root.Line)
	}
	var out []setting
	seen := map[string]int{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		name := key.Value
		flag := flags.Lookup(name)
		if key.Kind != yaml.ScalarNode || flag == nil || name == "help" || name == "config" {
			return nil, fmt.Errorf("%d: unknown key %q%s", key.Line, name, suggest(flags, name))
		}
		if line, dup := seen[name]; dup {
			return nil, fmt.Errorf("%d: %s was set in line %d already", key.Line, name, line)
		}
		seen[name] = key.Line
		s := setting{flag: flag, line: key.Line}
		items := []*yaml.Node{value}
		if value.Kind == yaml.SequenceNode {
			items, s.list = value.Content, true
		}
		for _, item := range items {
			if item.Kind == yaml.AliasNode {
				item = item.Alias
			}
			if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
				return nil, fmt.Errorf("%d: %s has no plain value", item.Line, name)
			}
			s.values = append(s.values, item.Value)
		}
		if !flag.Changed {
			out = append(out, s)
		}
	}
	return out, nil
}

// suggest names the flag that name may have been meant for.
func suggest(flags *pflag.FlagSet, name string) string {
	best, bestDistance := "", 3
	flags.VisitAll(func(f *pflag.Flag) {
		if d := distance(strings.ReplaceAll(name, "_", "-"), f.Name); d < bestDistance && f.Name != "help" && f.Name != "config" {
			best, bestDistance = f.Name, d
		}
	})
	if best == "" {
		return "; see --help for the names"
	}
	return "; did you mean " + best + "?"
}

// distance is the Levenshtein distance of a and b in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
