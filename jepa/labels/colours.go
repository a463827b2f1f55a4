package labels

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// colours reads classes.yaml: the names, and their colours unless it is a list of names.
func (s settings) colours() (names []string, code map[uint32]uint8, err error) {
	n := s.get("classes")
	if n == nil {
		return nil, nil, &Problem{File: s.file, What: `has no classes: write  classes: {name: "#rrggbb"}  or  classes: [name, name]`}
	}
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 || isNumber(n.Content[0].Value) && !strings.HasPrefix(n.Content[1].Value, "#") {
		names, err = s.names(n)
		return names, nil, err
	}
	code = map[uint32]uint8{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		c, err := parseColour(value.Value)
		if err != nil {
			return nil, nil, s.problem(value, "%s: %v", quote(name.Value), err)
		}
		if class, twice := code[c]; twice {
			return nil, nil, s.problem(value, "%s has the colour of %s", quote(name.Value), quote(names[class]))
		}
		if len(names) == maxMaskClasses {
			return nil, nil, s.problem(name, "more than %d classes", maxMaskClasses)
		}
		code[c] = uint8(len(names))
		names = append(names, name.Value)
	}
	if ignore := s.get("ignore"); ignore != nil {
		c, err := parseColour(ignore.Value)
		if err == nil {
			if class, twice := code[c]; twice {
				err = fmt.Errorf("is the colour of %s", quote(names[class]))
			}
		}
		if err != nil {
			return nil, nil, s.problem(ignore, "ignore: %v", err)
		}
		code[c] = Ignore
	}
	return names, code, checkNames(s.file, names)
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

// parseColour reads #rrggbb.
func parseColour(s string) (uint32, error) {
	hex, ok := strings.CutPrefix(s, "#")
	v, err := strconv.ParseUint(hex, 16, 32)
	if !ok || len(hex) != 6 || err != nil {
		return 0, fmt.Errorf(`%s is no colour: write "#rrggbb", in quotes, since # begins a comment`, quote(s))
	}
	return uint32(v), nil
}
