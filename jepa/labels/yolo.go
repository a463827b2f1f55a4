package labels

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"edgejepa/vit/pixels"
)

// maxYOLO bounds the labels of one picture.
const maxYOLO = 4 << 20

// parseYOLO reads the labels of a picture: a line is the number of a class, then centre, width and height as fractions of the
// picture's sides, or the corners of an outline, of which the bounding box is taken. Classes are numbered as listed; the
// caller knows them by other numbers.
func (r *reporter) parseYOLO(data []byte, file string, classes int) []rawBox {
	if len(data) > maxYOLO {
		r.add(file, 0, "more than %d MB; skipped", maxYOLO>>20)
		return nil
	}
	var out []rawBox
	line := 0
	for text := range bytes.Lines(data) {
		line++
		fields := strings.Fields(strings.TrimPrefix(string(text), "\ufeff"))
		if len(fields) == 0 {
			continue
		}
		box, err := yoloBox(fields, classes)
		if err != nil {
			r.add(file, line, "%v; dropped", err)
			continue
		}
		out = append(out, rawBox{line: line, relative: true, Box: box})
	}
	return out
}

// yoloBox reads the fields of a line. The box is in fractions.
func yoloBox(fields []string, classes int) (Box, error) {
	outline := len(fields) >= 7 && len(fields)%2 == 1
	if len(fields) != 5 && !outline {
		return Box{}, fmt.Errorf("%d numbers, not a class and x, y, width, height", len(fields))
	}
	class, err := strconv.Atoi(fields[0])
	if err != nil {
		return Box{}, fmt.Errorf("class %s is not a whole number", quote(fields[0]))
	}
	if class < 0 || class >= classes {
		return Box{}, fmt.Errorf("class %d is none of 0 to %d", class, classes-1)
	}
	v := make([]float64, len(fields)-1)
	for i, f := range fields[1:] {
		if v[i], err = number(f); err != nil {
			return Box{}, fmt.Errorf("number %d %w", i+2, err)
		}
	}
	if outline {
		b := Box{X0: v[0], X1: v[0], Y0: v[1], Y1: v[1], Class: class}
		for i := 2; i < len(v); i += 2 {
			b.X0, b.X1 = min(b.X0, v[i]), max(b.X1, v[i])
			b.Y0, b.Y1 = min(b.Y0, v[i+1]), max(b.Y1, v[i+1])
		}
		return b, nil
	}
	if max(v[0], v[1], v[2], v[3]) > 2 {
		return Box{}, errors.New("numbers above 1: these are pixels, not fractions of the picture's sides")
	}
	w, h := float64(v[2]/2), float64(v[3]/2)
	return Box{X0: v[0] - w, Y0: v[1] - h, X1: v[0] + w, Y1: v[1] + h, Class: class}, nil
}

// openYOLO reads the labels of the pictures of a part.
func (b *boxReader) openYOLO(s source) error {
	names, roots, err := b.yoloParts(s)
	if err != nil {
		return err
	}
	number := make([]int, len(names)) // by the number in the files
	for i, n := range names {
		class, ok := b.classes.number(n)
		if !ok {
			class = -1
			b.add(s.where(), 0, "class %d (%s) is not among the %d to be told apart; its boxes are dropped", i, quote(n), len(b.classes.names))
		}
		number[i] = class
	}
	labelled := 0
	for _, root := range roots {
		pictures, err := b.yoloPictures(root)
		if err != nil {
			return err
		}
		for _, p := range pictures {
			if p.line > 0 {
				if err := checkPicture(p.path); err != nil {
					b.unreadable(root, p.line, err, "skipped")
					continue
				}
			}
			file, data, err := yoloLabels(p.path)
			if err != nil {
				b.walked(file, err)
				continue
			}
			if data != nil {
				labelled++
			}
			boxes := b.parseYOLO(data, file, len(names))
			for i := range boxes {
				boxes[i].Class = number[boxes[i].Class]
			}
			boxes = slices.DeleteFunc(boxes, func(r rawBox) bool { return r.Class < 0 })
			b.picture(p.path, file, 0, 0, 0, boxes)
		}
	}
	if labelled == 0 {
		return fmt.Errorf("%s: no picture has a text file with labels; they are expected in labels/ beside images/, or beside the pictures", pixels.Printable(s.where()))
	}
	return nil
}

func (s source) where() string {
	if s.file != "" {
		return s.file
	}
	return s.root
}

// yoloParts returns the names of the classes, and the folders and lists of pictures of the wanted part.
func (b *boxReader) yoloParts(s source) (names, roots []string, err error) {
	if s.file == "" {
		file := firstFile(s.root, "classes.txt", "obj.names", filepath.Join("labels", "classes.txt"))
		if file == "" {
			return nil, nil, fmt.Errorf("%s: %w", pixels.Printable(s.root), errNoNames)
		}
		if names, err = readNames(file); err != nil {
			return nil, nil, err
		}
		root := filepath.Join(s.root, "images")
		if !isFolder(root) {
			root = s.root
		}
		if s.split != "" {
			if root = filepath.Join(root, s.split); !isFolder(root) {
				return nil, nil, fmt.Errorf("%s: no such folder, so there is no part %s", pixels.Printable(root), quote(s.split))
			}
		}
		return names, []string{root}, nil
	}
	y, err := readSettings(s.file)
	if err != nil {
		return nil, nil, err
	}
	n := y.get("names")
	if n == nil {
		return nil, nil, fmt.Errorf("%s: %w", pixels.Printable(s.file), errNoNames)
	}
	if names, err = y.names(n); err != nil {
		return nil, nil, err
	}
	base := s.root
	if p := y.get("path"); p != nil && p.Value != "" {
		if base = filepath.FromSlash(p.Value); !filepath.IsAbs(base) {
			base = filepath.Join(s.root, base)
		}
		if !isFolder(base) { // it is where the set was on another machine
			base = s.root
		}
	}
	keys := []string{s.split}
	switch s.split {
	case "":
		keys = []string{"train", "val", "valid", "test"}
	case "val", "valid":
		keys = []string{"val", "valid"}
	}
	for _, key := range keys {
		n := y.get(key)
		if n == nil {
			continue
		}
		paths, err := y.paths(n)
		if err != nil {
			return nil, nil, err
		}
		for _, p := range paths {
			found := yoloRoot(base, p)
			if found == "" {
				return nil, nil, y.problem(n, "%s: no such folder or file", quote(p))
			}
			roots = append(roots, found)
		}
	}
	if len(roots) == 0 {
		return nil, nil, fmt.Errorf("%s: names no pictures under %s", pixels.Printable(s.file), strings.Join(keys, ", "))
	}
	return names, roots, nil
}

// yoloRoot finds a folder or list of pictures. Roboflow writes ../train/images for what is beside the file.
func yoloRoot(base, path string) string {
	candidates := []string{path}
	if !filepath.IsAbs(path) {
		candidates = []string{filepath.Join(base, path), filepath.Join(base, strings.TrimPrefix(path, filepath.FromSlash("../")))}
	}
	for _, c := range candidates {
		if _, err := os.Stat(c); err == nil {
			return c
		}
	}
	return ""
}

// yoloPicture is a picture, and the line of the list that names it; 0 for one in a folder.
type yoloPicture struct {
	path string
	line int
}

// yoloPictures lists a folder, or reads a list of paths relative to its own folder.
func (b *boxReader) yoloPictures(root string) ([]yoloPicture, error) {
	var out []yoloPicture
	if strings.EqualFold(filepath.Ext(root), ".txt") {
		data, err := pixels.ReadFile(root, maxList)
		if err != nil {
			return nil, err
		}
		line := 0
		for text := range bytes.Lines(data) {
			line++
			p := filepath.FromSlash(strings.TrimSpace(strings.TrimPrefix(string(text), "\ufeff")))
			if p == "" {
				continue
			}
			if !filepath.IsAbs(p) {
				p = filepath.Join(filepath.Dir(root), p)
			}
			out = append(out, yoloPicture{p, line})
		}
		return out, nil
	}
	for path, err := range pixels.Walk([]string{root}, nil) {
		if err != nil {
			b.walked(path, err)
			continue
		}
		out = append(out, yoloPicture{path: path})
	}
	return out, nil
}

// yoloLabels reads the labels of a picture: where the last folder images of its path is replaced by labels, or beside it. A
// picture without either has no objects; file is then the picture itself.
func yoloLabels(picture string) (file string, data []byte, err error) {
	sep := string(filepath.Separator)
	beside := stem(picture) + ".txt"
	candidates := []string{beside}
	if at := strings.LastIndex(sep+beside, sep+"images"+sep); at >= 0 {
		candidates = []string{beside[:at] + "labels" + beside[at+len("images"):], beside}
	}
	for _, file = range candidates {
		data, err = pixels.ReadFile(file, maxYOLO)
		if err == nil {
			return file, data, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return file, nil, err
		}
	}
	return picture, nil, nil
}
