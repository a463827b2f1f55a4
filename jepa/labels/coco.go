package labels

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"edgejepa/vit/pixels"
)

// maxCOCO bounds an annotation file; instances_train2017.json has 448 MB, nearly all of it outlines.
const maxCOCO = 2 << 30

// cocoFile is what an annotation file says.
type cocoFile struct {
	images      []cocoImage
	annotations []cocoAnnotation
	categories  []cocoCategory
}

type cocoImage struct {
	id            int64
	name          string
	width, height int
	line          int
}

type cocoAnnotation struct {
	image, category int64
	box             [4]float64 // x, y, width, height
	area            float64
	crowd           bool
	line            int
}

type cocoCategory struct {
	id   int64
	name string
	line int
}

// parseCOCO reads an annotation file (https://cocodataset.org/#format-data) element by element. Elements that cannot be used
// are reported; the error, of a file that is broken as a whole, is a *Problem with the line.
func (r *reporter) parseCOCO(in io.Reader, file string) (c cocoFile, err error) {
	s := newJSONStream(in)
	if t, err := s.Token(); err != nil {
		return c, s.fail(file, err)
	} else if t != json.Delim('{') {
		return c, &Problem{File: file, Line: s.line(), What: "is no COCO annotation file: that is an object with images, annotations and categories (a list is a file of results)"}
	}
	for s.More() {
		key, err := s.Token()
		if err != nil {
			return c, s.fail(file, err)
		}
		switch key {
		case "images":
			err = s.elements(func(raw json.RawMessage, line int) {
				if image, ok := r.cocoImage(raw, file, line); ok {
					c.images = append(c.images, image)
				}
			})
		case "annotations":
			err = s.elements(func(raw json.RawMessage, line int) {
				if a, ok := r.cocoAnnotation(raw, file, line); ok {
					c.annotations = append(c.annotations, a)
				}
			})
		case "categories":
			err = s.elements(func(raw json.RawMessage, line int) {
				if k, ok := r.cocoCategory(raw, file, line); ok {
					c.categories = append(c.categories, k)
				}
			})
		default:
			err = s.skip()
		}
		if err != nil {
			return c, s.fail(file, err)
		}
	}
	if _, err := s.Token(); err != nil {
		return c, s.fail(file, err)
	}
	return c, nil
}

func (r *reporter) cocoImage(raw []byte, file string, line int) (cocoImage, bool) {
	var v struct {
		ID       *int64  `json:"id"`
		FileName *string `json:"file_name"`
		Width    float64 `json:"width"`
		Height   float64 `json:"height"`
	}
	switch err := json.Unmarshal(raw, &v); {
	case err != nil:
		r.add(file, line, "image: %s; skipped", jsonReason(err))
	case v.ID == nil:
		r.add(file, line, "image without an id; skipped")
	case v.FileName == nil || *v.FileName == "":
		r.add(file, line, "image %d without a file_name; skipped", *v.ID)
	default:
		return cocoImage{id: *v.ID, name: *v.FileName, width: whole(v.Width), height: whole(v.Height), line: line}, true
	}
	return cocoImage{}, false
}

// whole is a side in pixels, or 0 for what cannot be one.
func whole(v float64) int {
	if v > 0 && v < 1<<31 && v == float64(int64(v)) {
		return int(v)
	}
	return 0
}

func (r *reporter) cocoAnnotation(raw []byte, file string, line int) (cocoAnnotation, bool) {
	var v struct {
		ID       json.RawMessage `json:"id"`
		Image    *int64          `json:"image_id"`
		Category *int64          `json:"category_id"`
		BBox     []float64       `json:"bbox"`
		Area     float64         `json:"area"`
		IsCrowd  json.RawMessage `json:"iscrowd"`
	}
	err := json.Unmarshal(raw, &v)
	name := "annotation " + printableID(v.ID)
	switch {
	case err != nil:
		r.add(file, line, "%s: %s; dropped", name, jsonReason(err))
	case v.Image == nil || v.Category == nil:
		r.add(file, line, "%s without image_id or category_id; dropped", name)
	case len(v.BBox) != 4:
		r.add(file, line, "%s has a bbox of %d numbers, not x, y, width, height; dropped", name, len(v.BBox))
	default:
		crowd := string(v.IsCrowd)
		return cocoAnnotation{image: *v.Image, category: *v.Category, box: [4]float64(v.BBox), area: v.Area, crowd: crowd == "1" || crowd == "true", line: line}, true
	}
	return cocoAnnotation{}, false
}

func printableID(raw []byte) string {
	if len(raw) == 0 {
		return "without an id"
	}
	return strings.Trim(quote(string(raw)), `"`)
}

func (r *reporter) cocoCategory(raw []byte, file string, line int) (cocoCategory, bool) {
	var v struct {
		ID   *int64  `json:"id"`
		Name *string `json:"name"`
	}
	switch err := json.Unmarshal(raw, &v); {
	case err != nil:
		r.add(file, line, "category: %s; dropped with its boxes", jsonReason(err))
	case v.ID == nil || v.Name == nil || strings.TrimSpace(*v.Name) == "":
		r.add(file, line, "category without id or name; dropped with its boxes")
	default:
		return cocoCategory{id: *v.ID, name: strings.TrimSpace(*v.Name), line: line}, true
	}
	return cocoCategory{}, false
}

// jsonReason says which field has a wrong type.
func jsonReason(err error) string {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		if wrong.Field == "" {
			return "is a " + wrong.Value + ", not an object"
		}
		return fmt.Sprintf("%s is a %s", wrong.Field, wrong.Value)
	}
	return err.Error()
}

// openCOCO reads an annotation file and joins its three lists.
func (b *boxReader) openCOCO(s source) error {
	in, err := pixels.Open(s.file, maxCOCO)
	if err != nil {
		return err
	}
	defer in.Close()
	c, err := b.parseCOCO(in, s.file)
	if err != nil {
		return err
	}
	classOf := b.cocoClasses(c.categories, s.file)
	byImage := b.cocoJoin(&c, classOf, s.file)
	find := pictureFinder{folders: cocoFolders(s.file)}
	for i, image := range c.images {
		if byImage[i] == nil {
			continue
		}
		path, ok := find.picture(image.name)
		if !ok {
			b.add(s.file, image.line, "no file %s in %s or beside it; skipped with its %d boxes", quote(image.name), pixels.Printable(find.folders[0]), len(*byImage[i]))
			continue
		}
		b.picture(path, s.file, image.line, image.width, image.height, *byImage[i])
	}
	return nil
}

// cocoClasses numbers the categories by rising id, as pycocotools does, and maps ids to classes; -1 is one that is not wanted.
func (b *boxReader) cocoClasses(categories []cocoCategory, file string) map[int64]int {
	slices.SortStableFunc(categories, func(x, y cocoCategory) int { return cmp.Compare(x.id, y.id) })
	classOf := map[int64]int{}
	owner := map[string]int64{}
	for _, k := range categories {
		if _, twice := classOf[k.id]; twice {
			b.add(file, k.line, "category id %d is there twice; this one (%s) is dropped", k.id, quote(k.name))
			continue
		}
		if id, twice := owner[k.name]; twice {
			b.add(file, k.line, "category %d has the name of category %d, %s; taken for the same class", k.id, id, quote(k.name))
		} else {
			owner[k.name] = k.id
		}
		class, ok := b.classes.number(k.name)
		if !ok {
			b.add(file, k.line, "category %d (%s) is not among the %d classes to be told apart; its boxes are dropped", k.id, quote(k.name), len(b.classes.names))
			class = -1
		}
		classOf[k.id] = class
	}
	return classOf
}

// cocoJoin returns the boxes of each image; nil for an image whose id is there already.
func (b *boxReader) cocoJoin(c *cocoFile, classOf map[int64]int, file string) []*[]rawBox {
	out := make([]*[]rawBox, len(c.images))
	byID := map[int64]*[]rawBox{}
	for i, image := range c.images {
		if byID[image.id] != nil {
			b.add(file, image.line, "image id %d is there twice; this one (%s) is skipped", image.id, quote(image.name))
			continue
		}
		out[i] = new([]rawBox)
		byID[image.id] = out[i]
	}
	for _, a := range c.annotations {
		boxes := byID[a.image]
		class, known := classOf[a.category]
		switch {
		case boxes == nil:
			b.add(file, a.line, "annotation of image %d, which is not in the file; dropped", a.image)
		case !known:
			b.add(file, a.line, "annotation of category %d, which is not in the file; dropped", a.category)
		case class >= 0:
			x, y, w, h := a.box[0], a.box[1], a.box[2], a.box[3]
			*boxes = append(*boxes, rawBox{line: a.line, Box: Box{X0: x, Y0: y, X1: x + w, Y1: y + h, Class: class, Area: a.area, Crowd: a.crowd}})
		}
	}
	return out
}

// cocoFolders lists where the pictures of a file may be: beside it (Roboflow), or in or beside the folder above, by the names
// that COCO and its imitators use.
func cocoFolders(file string) []string {
	here := filepath.Dir(file)
	above := filepath.Join(here, "..")
	name := stem(filepath.Base(file))
	for _, prefix := range []string{"instances_", "annotations_"} {
		name = strings.TrimPrefix(name, prefix)
	}
	out := []string{here}
	for _, f := range []string{"images", name, filepath.Join("images", name)} {
		out = append(out, filepath.Join(here, f))
	}
	for _, f := range []string{name, filepath.Join("images", name), "images", "JPEGImages", ""} {
		out = append(out, filepath.Join(above, f))
	}
	return slices.DeleteFunc(out, func(f string) bool { return !isFolder(f) })
}

// pictureFinder looks for pictures in several folders, first where the last one was.
type pictureFinder struct{ folders []string }

func (f *pictureFinder) picture(name string) (path string, ok bool) {
	name = filepath.FromSlash(strings.ReplaceAll(name, `\`, "/"))
	if filepath.IsAbs(name) {
		return name, firstFile(filepath.Dir(name), filepath.Base(name)) != ""
	}
	for i, folder := range f.folders {
		if path := firstFile(folder, name); path != "" {
			copy(f.folders[1:i+1], f.folders[:i])
			f.folders[0] = folder
			return path, true
		}
	}
	return "", false
}
