package labels

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"edgejepa/vit/pixels"
)

const (
	maxVOC  = 4 << 20  // bytes of an annotation; 15,000 objects
	maxList = 64 << 20 // bytes of a list of pictures
)

// vocFile is what one annotation says.
type vocFile struct {
	filename      string
	width, height int // 0 if not stated
	objects       []vocObject
}

// vocObject is an object with its coordinates as they are written.
type vocObject struct {
	Name      string `xml:"name"`
	Difficult string `xml:"difficult"`
	Boxes     []struct {
		XMin string `xml:"xmin"`
		YMin string `xml:"ymin"`
		XMax string `xml:"xmax"`
		YMax string `xml:"ymax"`
	} `xml:"bndbox"`
	line int
}

// parseVOC reads an annotation. The error is a *Problem with the line. Entities that a file defines are not expanded by
// encoding/xml, and are an error.
func parseVOC(data []byte, file string) (v vocFile, err error) {
	if len(data) > maxVOC {
		return v, &Problem{File: file, What: fmt.Sprintf("more than %d MB", maxVOC>>20)}
	}
	d := xml.NewDecoder(bytes.NewReader(data))
	fail := func(err error) (vocFile, error) {
		line, _ := d.InputPos()
		var syntax *xml.SyntaxError
		if errors.As(err, &syntax) {
			return vocFile{}, &Problem{File: file, Line: syntax.Line, What: "not valid XML: " + syntax.Msg}
		}
		if err == io.EOF {
			err = errors.New("ends too early")
		}
		return vocFile{}, &Problem{File: file, Line: line, What: "not valid XML: " + err.Error()}
	}
	root := false
	for depth := 0; ; {
		token, err := d.Token()
		if err == io.EOF && root && depth == 0 {
			return v, nil
		}
		if err != nil {
			return fail(err)
		}
		switch t := token.(type) {
		case xml.EndElement:
			depth--
		case xml.StartElement:
			line, _ := d.InputPos()
			switch {
			case depth == 0 && (root || t.Name.Local != "annotation"):
				return v, &Problem{File: file, Line: line, What: fmt.Sprintf("holds <%.40s>, not the <annotation> of Pascal VOC", t.Name.Local)}
			case depth == 0:
				root = true
				depth++
			case t.Name.Local == "filename":
				err = d.DecodeElement(&v.filename, &t)
			case t.Name.Local == "size":
				var size struct {
					Width  string `xml:"width"`
					Height string `xml:"height"`
				}
				err = d.DecodeElement(&size, &t)
				v.width, v.height = positive(size.Width), positive(size.Height)
			case t.Name.Local == "object":
				o := vocObject{line: line}
				if err = d.DecodeElement(&o, &t); err == nil {
					v.objects = append(v.objects, o)
				}
			default:
				err = d.Skip()
			}
			if err != nil {
				return fail(err)
			}
		}
	}
}

// positive is a whole number, or 0 for what is none: tools write 0 or nothing for a size they do not know.
func positive(s string) int {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// boxes turns the objects of an annotation into boxes.
func (b *boxReader) vocBoxes(v vocFile, file string) []rawBox {
	var out []rawBox
	for i, o := range v.objects {
		name := fmt.Sprintf("object %d (%s)", i+1, quote(strings.TrimSpace(o.Name)))
		if strings.TrimSpace(o.Name) == "" {
			b.add(file, o.line, "object %d has no name; dropped", i+1)
			continue
		}
		if len(o.Boxes) != 1 {
			b.add(file, o.line, "%s has %d boxes where there should be one; dropped", name, len(o.Boxes))
			continue
		}
		box := o.Boxes[0]
		var at [4]float64
		var err error
		for j, text := range []string{box.XMin, box.YMin, box.XMax, box.YMax} {
			if at[j], err = number(text); err != nil {
				b.add(file, o.line, "%s: %s %v; dropped", name, [...]string{"xmin", "ymin", "xmax", "ymax"}[j], err)
				break
			}
		}
		if err != nil {
			continue
		}
		// By the letter this is one pixel wide; it is what a click without a drag leaves.
		if at[0] == at[2] || at[1] == at[3] {
			b.add(file, o.line, "%s is empty: it begins and ends at the same pixel (%g, %g, %g, %g); dropped", name, at[0], at[1], at[2], at[3])
			continue
		}
		class, ok := b.classes.number(strings.TrimSpace(o.Name))
		if !ok {
			b.add(file, o.line, "%s: the class is not among the %d to be told apart; dropped", name, len(b.classes.names))
			continue
		}
		out = append(out, rawBox{line: o.line, Box: Box{X0: at[0] - 1, Y0: at[1] - 1, X1: at[2], Y1: at[3], Class: class,
			Difficult: strings.TrimSpace(o.Difficult) == "1"}})
	}
	return out
}

// number reads a finite coordinate.
func number(text string) (float64, error) {
	text = strings.TrimSpace(text)
	v, err := strconv.ParseFloat(text, 64)
	switch {
	case text == "":
		return 0, errors.New("is missing")
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("is %s, not a number", quote(text))
	case err != nil || v-v != 0:
		return 0, fmt.Errorf("is %s, not a finite number", quote(text))
	}
	return v, nil
}

// openVOC reads the annotations that a list names, or all of them.
func (b *boxReader) openVOC(s source) error {
	annotations, pictures := filepath.Join(s.root, "Annotations"), filepath.Join(s.root, "JPEGImages")
	if !isFolder(annotations) {
		annotations = s.root
	}
	if !isFolder(pictures) {
		if pictures = filepath.Join(s.root, "images"); !isFolder(pictures) {
			pictures = s.root
		}
	}
	var wanted []vocEntry
	if s.file != "" {
		list, err := pixels.ReadFile(s.file, maxList)
		if err != nil {
			return err
		}
		wanted = b.vocList(list, s.file, annotations)
	} else {
		for _, f := range filesIn(annotations, ".xml") {
			wanted = append(wanted, vocEntry{annotation: f})
		}
	}
	byStem, err := picturesByStem(pictures)
	if err != nil {
		return err
	}
	for _, e := range wanted {
		data, err := pixels.ReadFile(e.annotation, maxVOC)
		if err != nil {
			if e.list == "" {
				b.walked(e.annotation, err)
			} else {
				b.unreadable(e.list, e.line, err, "skipped")
			}
			continue
		}
		v, err := parseVOC(data, e.annotation)
		if err != nil {
			p := err.(*Problem)
			b.add(p.File, p.Line, "%s; skipped", p.What)
			continue
		}
		boxes := b.vocBoxes(v, e.annotation)
		picture := byStem[stem(filepath.Base(e.annotation))]
		if picture == "" && v.filename != "" {
			// The last element alone: where the picture was on the annotator's machine is no business of this one.
			picture = filepath.Base(strings.ReplaceAll(v.filename, `\`, "/"))
		}
		if picture == "" {
			b.add(e.annotation, 0, "no picture of that name in %s; skipped", pixels.Printable(pictures))
			continue
		}
		b.picture(filepath.Join(pictures, picture), e.annotation, 0, v.width, v.height, boxes)
	}
	return nil
}

// vocEntry is an annotation to be read, and the line of the list that names it.
type vocEntry struct {
	annotation, list string
	line             int
}

// vocList reads names of pictures without ending, one a line. What follows a space is a flag of VOC's lists of one class.
func (b *boxReader) vocList(data []byte, file, annotations string) []vocEntry {
	var out []vocEntry
	seen := map[string]int{}
	line := 0
	for text := range bytes.Lines(data) {
		line++
		fields := strings.Fields(strings.TrimPrefix(string(text), "\ufeff"))
		if len(fields) == 0 {
			continue
		}
		name := fields[0]
		if ext := strings.ToLower(filepath.Ext(name)); ext == ".xml" || slices.Contains(pictureEndings, ext) {
			name = stem(name)
		}
		if !filepath.IsLocal(name) {
			b.add(file, line, "%s leads out of the folder; skipped", quote(name))
			continue
		}
		if first, twice := seen[name]; twice {
			b.add(file, line, "%s is listed in line %d already; skipped", quote(name), first)
			continue
		}
		seen[name] = line
		out = append(out, vocEntry{annotation: filepath.Join(annotations, name+".xml"), list: file, line: line})
	}
	return out
}

func stem(name string) string { return strings.TrimSuffix(name, filepath.Ext(name)) }

// picturesByStem maps the names of files in a folder without their ending to the whole names, of equals the first in byte
// order whose ending is a picture's.
func picturesByStem(folder string) (map[string]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, e := range entries {
		if slices.Contains(pictureEndings, strings.ToLower(filepath.Ext(e.Name()))) && out[stem(e.Name())] == "" {
			out[stem(e.Name())] = e.Name()
		}
	}
	return out, nil
}

// pictureEndings are the usual ones of pictures that are decoded. What a file is decides itself by its first bytes.
var pictureEndings = []string{".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
