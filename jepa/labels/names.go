package labels

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"edgejepa/vit/pixels"
)

// maxNames bounds a file of class names or settings.
const maxNames = 1 << 20

// readNames reads class names, one a line; empty lines at the end do not count. A class without a name is an error, since
// those after it would change their number.
func readNames(file string) ([]string, error) {
	data, err := pixels.ReadFile(file, maxNames)
	if err != nil {
		return nil, err
	}
	text := strings.TrimRight(strings.TrimPrefix(string(data), "\ufeff"), " \t\r\n")
	var names []string
	for i, line := range strings.Split(text, "\n") {
		names = append(names, strings.TrimSpace(line))
		if names[i] == "" {
			return nil, &Problem{File: file, Line: i + 1, What: fmt.Sprintf("class %d has no name", i)}
		}
	}
	return names, checkNames(file, names)
}

// checkNames refuses the same name for two classes.
func checkNames(file string, names []string) error {
	seen := map[string]int{}
	for i, n := range names {
		if first, twice := seen[n]; twice {
			return &Problem{File: file, What: fmt.Sprintf("classes %d and %d have the same name, %s", first, i, quote(n))}
		}
		seen[n] = i
	}
	return nil
}

// settings is a YAML file whose document is a mapping. Aliases are not followed, so it cannot grow.
type settings struct {
	file string
	root *yaml.Node
}

func readSettings(file string) (settings, error) {
	data, err := pixels.ReadFile(file, maxNames)
	if err != nil {
		return settings{}, err
	}
	return parseSettings(data, file)
}

func parseSettings(data []byte, file string) (settings, error) {
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc); err != nil {
		return settings{}, &Problem{File: file, What: strings.Join(strings.Fields(err.Error()), " ")}
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return settings{}, &Problem{File: file, Line: doc.Line, What: "must be a list of name: value"}
	}
	return settings{file, doc.Content[0]}, nil
}

// get returns the value of a key, or nil.
func (s settings) get(key string) *yaml.Node {
	for i := 0; i+1 < len(s.root.Content); i += 2 {
		if s.root.Content[i].Value == key {
			return s.root.Content[i+1]
		}
	}
	return nil
}

func (s settings) problem(n *yaml.Node, format string, args ...any) error {
	return &Problem{File: s.file, Line: n.Line, What: fmt.Sprintf(format, args...)}
}

// names reads class names from a list, or from a mapping of numbers that are 0 to n-1 to names.
func (s settings) names(n *yaml.Node) ([]string, error) {
	var names []string
	switch n.Kind {
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode || item.Value == "" {
				return nil, s.problem(item, "class %d has no name", len(names))
			}
			names = append(names, item.Value)
		}
	case yaml.MappingNode:
		names = make([]string, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			k, err := strconv.Atoi(n.Content[i].Value)
			if err != nil || k < 0 || k >= len(names) || names[k] != "" {
				return nil, s.problem(n.Content[i], "%s: %d classes have the numbers 0 to %d, each once", quote(n.Content[i].Value), len(names), len(names)-1)
			}
			if names[k] = n.Content[i+1].Value; names[k] == "" {
				return nil, s.problem(n.Content[i], "class %d has no name", k)
			}
		}
	default:
		return nil, s.problem(n, "the classes must be a list")
	}
	if len(names) == 0 {
		return nil, s.problem(n, "no classes")
	}
	return names, checkNames(s.file, names)
}

// paths reads one path or a list of them.
func (s settings) paths(n *yaml.Node) ([]string, error) {
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	var out []string
	for _, item := range items {
		if item.Kind != yaml.ScalarNode || item.Value == "" {
			return nil, s.problem(item, "must be a path or a list of paths")
		}
		out = append(out, filepath.FromSlash(item.Value))
	}
	return out, nil
}

var errNoNames = errors.New("no class names: write them into classes.txt, one a line, or into data.yaml as names: [a, b]")
