package report

import (
	"fmt"
	"html"
	"io"
)

// literal is markup written in this package. Constants become one by themselves, strings from outside do not.
type literal string

// markup writes HTML. Whatever is not a literal is escaped: file names are anybody's.
type markup struct {
	w   io.Writer
	err error // the first
}

// put writes format with its verbs filled in. Strings are escaped for text and quoted attributes.
func (m *markup) put(format literal, args ...any) {
	if m.err != nil {
		return
	}
	for i, a := range args {
		switch v := a.(type) {
		case string:
			args[i] = html.EscapeString(v)
		case literal:
			args[i] = string(v)
		}
	}
	_, m.err = fmt.Fprintf(m.w, string(format), args...)
}
