package labels

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"edgejepa/vit/pixels"
)

// maxCSV bounds a list of labels: a hundred bytes for each of two million pictures.
const maxCSV = 256 << 20

// columns by which a first line is known for names rather than a picture.
var (
	fileColumns  = []string{"file", "filename", "file_name", "filepath", "path", "image", "image_path", "img", "picture"}
	labelColumns = []string{"label", "class", "class_name", "category", "target"}
	splitColumns = []string{"split", "set", "subset", "part"}
)

// labelRow is a line of a list of labels.
type labelRow struct {
	file, label, split string
	line               int
}

// readCSV yields the rows of a list of labels (RFC 4180): a file and its label, separated by commas, or by semicolons or tabs
// if the first line has no comma, quoted or not. A first line that names the columns may put them in any order, and may add
// a column split.
func (r *reporter) readCSV(in io.Reader, file string, yield func(labelRow)) {
	data, err := io.ReadAll(io.LimitReader(in, maxCSV))
	if err != nil {
		r.unreadable(file, 0, err, "skipped")
		return
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	c := csv.NewReader(bytes.NewReader(data))
	c.Comma, c.FieldsPerRecord, c.TrimLeadingSpace, c.ReuseRecord = separator(data), -1, true, true
	columns := [3]int{0, 1, -1} // of file, label and split
	for first := true; ; first = false {
		fields, err := c.Read()
		var broken *csv.ParseError
		switch {
		case err == io.EOF:
			return
		case errors.As(err, &broken):
			r.add(file, broken.StartLine, "%v; skipped", broken.Err)
			continue
		case err != nil:
			r.unreadable(file, 0, err, "the rest is skipped")
			return
		}
		line, _ := c.FieldPos(0)
		if first {
			if named, ok := header(fields); ok {
				columns = named
				continue
			}
		}
		if len(fields) <= max(columns[0], columns[1], columns[2]) {
			r.add(file, line, "%d fields where there should be a file and a label; skipped", len(fields))
			continue
		}
		row := labelRow{file: strings.TrimSpace(fields[columns[0]]), label: strings.TrimSpace(fields[columns[1]]), line: line}
		if columns[2] >= 0 {
			row.split = strings.TrimSpace(fields[columns[2]])
		}
		switch {
		case row.file == "":
			r.add(file, line, "names no file; skipped")
		case row.label == "":
			r.add(file, line, "%s has no label; skipped", quote(row.file))
		default:
			yield(row)
		}
	}
}

func separator(data []byte) rune {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	switch {
	case bytes.ContainsRune(line, ','):
	case bytes.ContainsRune(line, ';'):
		return ';'
	case bytes.ContainsRune(line, '\t'):
		return '\t'
	}
	return ','
}

// header returns the columns that a first line names; ok is false if it names none.
func header(fields []string) (columns [3]int, ok bool) {
	find := func(names []string) int {
		return slices.IndexFunc(fields, func(f string) bool { return slices.Contains(names, strings.ToLower(strings.TrimSpace(f))) })
	}
	columns = [3]int{find(fileColumns), find(labelColumns), find(splitColumns)}
	return columns, columns[0] >= 0 && columns[1] >= 0
}

// csv takes the rows of a list. Paths are relative to its folder.
func (l *classLister) csv(path string) error {
	f, err := pixels.Open(path, maxCSV)
	if err != nil {
		return err
	}
	defer f.Close()
	split, splits := l.options.Split, false
	l.readCSV(f, path, func(row labelRow) {
		splits = splits || row.split != ""
		if split != "" && row.split != split {
			return
		}
		picture := filepath.FromSlash(row.file)
		if !filepath.IsAbs(picture) {
			picture = filepath.Join(filepath.Dir(path), picture)
		}
		if err := checkPicture(picture); err != nil {
			l.unreadable(path, row.line, err, "skipped")
			return
		}
		l.row(classRow{path: picture, file: path, line: row.line}, row.label)
	})
	if split != "" && !splits {
		return fmt.Errorf("%s: no column split, so there is no part %s; give each part a file of its own", pixels.Printable(path), quote(split))
	}
	return nil
}

// checkPicture says what is wrong with a file that is to be a picture, from its first bytes.
func checkPicture(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return plain(path, err)
	}
	if info.IsDir() {
		return &pixels.FileError{Path: path, Err: errors.New("is a folder, not a picture")}
	}
	for _, err := range pixels.Walk([]string{path}, nil) {
		return err
	}
	return &pixels.FileError{Path: path, Err: errors.New("not a picture")}
}
