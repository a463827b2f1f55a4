package labels

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"edgejepa/vit/pixels"
)

// Options say which part of a set is wanted and what becomes of what is wrong in it.
type Options struct {
	// Split names a part of the set, as train or val: a list in ImageSets, a folder, a key of data.yaml, a value of the
	// column split. Empty takes everything, or the only part that there is.
	Split string

	// Classes numbers the classes, for a part that is to be judged by those of another. Annotations of other classes are
	// problems. Nil numbers those that are found or listed.
	Classes []string

	// Strict makes it an error if there was any Problem.
	Strict bool

	// OnProblem is told of each problem, in the order of the files. It may be nil.
	OnProblem func(*Problem)
}

// Problem is an annotation or picture that was not taken as it stands.
type Problem struct {
	File string
	Line int    // counted from 1; 0 if the whole file is meant
	What string // is wrong
	Done string // about it: skipped (a picture), dropped (a box), clipped, ...; empty if reading ended there
}

func (p *Problem) Error() string {
	var s strings.Builder
	s.WriteString(pixels.Printable(p.File))
	if p.Line > 0 {
		s.WriteString(":" + strconv.Itoa(p.Line))
	}
	s.WriteString(": " + p.What)
	if p.Done != "" {
		s.WriteString("; " + p.Done)
	}
	return s.String()
}

// reporter collects problems.
type reporter struct {
	options Options
	count   int
	first   *Problem
}

// add reports a problem; line 0 is the whole file. The text ends in what was done, after a semicolon.
func (r *reporter) add(file string, line int, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p := &Problem{File: file, Line: line, What: text}
	if at := strings.LastIndex(text, "; "); at >= 0 {
		p.What, p.Done = text[:at], text[at+2:]
	}
	r.count++
	if r.first == nil {
		r.first = p
	}
	if r.options.OnProblem != nil {
		r.options.OnProblem(p)
	}
}

// unreadable reports a picture or mask, naming it once.
func (r *reporter) unreadable(file string, line int, err error, done string) {
	r.add(file, line, "%v; %s", err, done)
}

// done is the error of a strict reading.
func (r *reporter) done() error {
	switch {
	case !r.options.Strict || r.count == 0:
		return nil
	case r.count == 1:
		return r.first
	}
	return fmt.Errorf("%d problems with the labels, the first: %w", r.count, r.first)
}

// quote returns a text from a file fit for a message: quoted, and cut if it is long.
func quote(s string) string {
	const most = 60
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strconv.Quote(s)
}

// plain names a missing file once.
func plain(path string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return &pixels.FileError{Path: path, Err: err}
}
