package labels

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"edgejepa/vit/pixels"
)

// Classification is a list of pictures with one class each.
type Classification struct {
	Paths   []string
	Labels  []int    // [picture], index into Classes
	Classes []string // Options.Classes, or those found in byte order
}

// Counts returns the number of pictures of each class [C].
func (c *Classification) Counts() []int64 {
	n := make([]int64, len(c.Classes))
	for _, y := range c.Labels {
		n[y]++
	}
	return n
}

// OpenClassification lists the pictures under paths: folders with one sub-folder a class, of any depth below that, and CSV
// files (see ReadCSV), taken together. With Options.Split a folder is replaced by its sub-folder of that name, and of a CSV
// the rows with that in their column split are taken.
//
// Pictures are not decoded, but each has the first bytes of one. It is an error if a picture of a folder lies in no class
// folder, or if there is no picture, or, without Options.Classes, only one class.
func OpenClassification(paths []string, o Options) (*Classification, error) {
	r := &reporter{options: o}
	l := &classLister{reporter: r, classes: newClassSet(o.Classes), seen: map[string]int{}}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if info.IsDir() {
			err = l.folder(path)
		} else {
			err = l.csv(path)
		}
		if err != nil {
			return nil, err
		}
	}
	return l.finish(paths)
}

// classLister gathers rows of a picture and a class.
type classLister struct {
	*reporter
	classes *classSet
	rows    []classRow
	seen    map[string]int // by clean path: index into rows
}

type classRow struct {
	path     string
	class    int
	file     string // the CSV; empty for a folder
	line     int
	disputed bool // listed with two classes
}

func (l *classLister) folder(root string) error {
	if s := l.options.Split; s != "" {
		root = filepath.Join(root, s)
		if info, err := os.Stat(root); err != nil || !info.IsDir() {
			return fmt.Errorf("%s: no such folder, so there is no part %s", pixels.Printable(root), quote(s))
		}
	}
	for path, err := range pixels.Walk([]string{root}, nil) {
		if err != nil {
			l.walked(path, err)
			continue
		}
		name, err := className(root, path)
		if err != nil {
			return err
		}
		l.row(classRow{path: path}, name)
	}
	return nil
}

// walked reports a file that pixels.Walk passed over.
func (r *reporter) walked(path string, err error) {
	var fe *pixels.FileError
	if errors.As(err, &fe) {
		err = fe.Err
	}
	r.unreadable(path, 0, err, "skipped")
}

// className returns the folder directly below root in which path lies.
func className(root, path string) (string, error) {
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return "", err
	}
	class, _, nested := strings.Cut(rel, string(filepath.Separator))
	if !nested {
		return "", &pixels.FileError{Path: path, Err: errors.New("lies in no class folder: labelled pictures lie in one sub-folder a class")}
	}
	return class, nil
}

// row takes a picture unless it is listed already or its class is not wanted.
func (l *classLister) row(row classRow, name string) {
	at := row.file
	if at == "" {
		at = row.path
	}
	class, ok := l.classes.number(name)
	if !ok {
		l.add(at, row.line, "class %s is not among the %d classes to be told apart; the picture is skipped", quote(name), len(l.classes.names))
		return
	}
	key := filepath.Clean(row.path)
	if i, twice := l.seen[key]; twice {
		first := &l.rows[i]
		switch {
		case first.class == class:
			l.add(at, row.line, "%s is listed already%s; skipped", pixels.Printable(row.path), first.where())
		default:
			first.disputed = true
			l.add(at, row.line, "%s is of class %s here and of class %s%s; the picture is skipped", pixels.Printable(row.path), quote(name), quote(l.classes.names[first.class]), first.where())
		}
		return
	}
	l.seen[key] = len(l.rows)
	row.class = class
	l.rows = append(l.rows, row)
}

// where says in which line a row was, after a space.
func (r *classRow) where() string {
	if r.line == 0 {
		return ""
	}
	return fmt.Sprintf(" in line %d", r.line)
}

func (l *classLister) finish(paths []string) (*Classification, error) {
	names, moved := l.classes.sorted()
	c := &Classification{Classes: names}
	for _, r := range l.rows {
		if !r.disputed {
			c.Paths = append(c.Paths, r.path)
			c.Labels = append(c.Labels, moved[r.class])
		}
	}
	where := pixels.Printable(strings.Join(paths, ", "))
	switch {
	case len(c.Paths) == 0 && l.first != nil:
		return nil, fmt.Errorf("no labelled picture in %s can be used; the first of %d problems: %w", where, l.count, l.first)
	case len(c.Paths) == 0:
		return nil, fmt.Errorf("no labelled pictures in %s: give a folder with one sub-folder a class, or a CSV of file,label", where)
	case len(c.Classes) < 2:
		return nil, fmt.Errorf("all pictures in %s are of class %s: telling classes apart takes two or more", where, quote(c.Classes[0]))
	}
	return c, l.done()
}
