package labels

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const cocoSound = `{
  "info": {"year": 2026, "deep": [[[]], {"a": {}}]},
  "annotations": [
    {"id": 5, "image_id": 7, "category_id": 90, "bbox": [1, 2, 10, 4.5], "area": 12.5, "iscrowd": 0, "segmentation": [[1, 2, 3]]},
    {"id": 6, "image_id": 9, "category_id": 3, "bbox": [0, 0, 64, 32], "iscrowd": 1}
  ],
  "images": [
    {"id": 9, "file_name": "b.jpg", "width": 64, "height": 32},
    {"id": 7, "file_name": "sub/a.jpg"},
    {"id": 1, "file_name": "none.jpg", "license": null, "width": 64, "height": 32}
  ],
  "categories": [{"id": 90, "name": "tooth"}, {"id": 3, "name": "cat", "supercategory": "animal"}]
}`

func TestCOCO(t *testing.T) {
	dir := tree(t, map[string]string{
		"annotations/instances_val2017.json": cocoSound, "annotations/captions_val2017.json": "{}", "annotations/instances_train2017.json": cocoSound,
		"val2017/b.jpg": "64x32", "val2017/sub/a.jpg": "64x32", "val2017/none.jpg": "64x32"})
	d, err := OpenDetection(dir, Options{Split: "val", Strict: true})
	require.NoError(t, err)
	require.Equal(t, []string{"val2017/b.jpg", "val2017/sub/a.jpg", "val2017/none.jpg"}, relative(dir, d.Paths))
	require.Equal(t, []string{"cat", "tooth"}, d.Classes, "by rising id")
	require.Equal(t, [][]Box{{{X1: 64, Y1: 32, Crowd: true}}, {{X0: 1, Y0: 2, X1: 11, Y1: 6.5, Class: 1, Area: 12.5}}, {}}, d.Boxes)

	_, err = OpenDetection(dir, Options{})
	require.ErrorContains(t, err, "2 JSON files, among them instances_train2017.json and instances_val2017.json: name one of them, or a split")
	e, err := OpenDetection(filepath.Join(dir, "annotations", "instances_val2017.json"), Options{Classes: []string{"tooth"}})
	require.NoError(t, err)
	require.Equal(t, [][]Box{{}, {{X0: 1, Y0: 2, X1: 11, Y1: 6.5, Area: 12.5}}, {}}, e.Boxes)

	// As Roboflow lays it out.
	dir = tree(t, map[string]string{"valid/_annotations.coco.json": cocoSound, "valid/b.jpg": "64x32", "valid/sub/a.jpg": "64x32", "valid/none.jpg": "64x32", "train/_annotations.coco.json": "{}"})
	d, err = OpenDetection(dir, Options{Split: "valid", Strict: true})
	require.NoError(t, err)
	require.Equal(t, []string{"valid/b.jpg", "valid/sub/a.jpg", "valid/none.jpg"}, relative(dir, d.Paths))
}

func TestCOCOBroken(t *testing.T) {
	dir := tree(t, map[string]string{"set.json": `{
"categories": [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}, {"id": 2, "name": "cat"},
  {"name": "ox"}, {"id": 5}, 7],
"images": [
  {"id": 1, "file_name": "a.jpg"},
  {"id": 1, "file_name": "b.jpg"},
  {"file_name": "b.jpg"},
  {"id": 3},
  {"id": 4, "file_name": "missing.jpg"},
  {"id": 5, "file_name": "a.jpg"},
  {"id": 6, "file_name": "b.jpg", "width": 10, "height": 10},
  {"id": "7", "file_name": "b.jpg"}
],
"annotations": [
  {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]},
  {"id": 2, "image_id": 1, "category_id": 2, "bbox": [1, 1, 5, 5]},
  {"id": 3, "image_id": 1, "category_id": 1, "bbox": [-3, 1, 5, 5], "area": 25},
  {"id": 4, "image_id": 1, "category_id": 1, "bbox": [1, 1, 0, 5]},
  {"id": 5, "image_id": 1, "category_id": 1, "bbox": [1, 1, -2, 5]},
  {"id": 6, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5]},
  {"id": 7, "image_id": 1, "category_id": 1},
  {"id": 8, "image_id": 1, "category_id": 9, "bbox": [1, 1, 5, 5]},
  {"id": 9, "image_id": 99, "category_id": 1, "bbox": [1, 1, 5, 5]},
  {"id": 10, "category_id": 1, "bbox": [1, 1, 5, 5]},
  {"id": 11, "image_id": 1, "category_id": 1, "bbox": [1, "x", 5, 5]},
  {"id": 12, "image_id": 1, "category_id": 1,
    "bbox": [1e308, 1, 1e308, 5]},
  {"id": 13, "image_id": 1, "category_id": 1, "bbox": [2, 2, 5, 5], "area": -4},
  null
]}`, "a.jpg": "64x32", "b.jpg": "64x32"})
	o, problems := collect(dir)
	d, err := OpenDetection(dir, o)
	require.NoError(t, err)
	require.Equal(t, []string{"a.jpg"}, relative(dir, d.Paths))
	require.Equal(t, []string{"cat"}, d.Classes)
	require.Equal(t, [][]Box{{{X0: 1, Y0: 1, X1: 6, Y1: 6}, {Y0: 1, X1: 2, Y1: 6, Area: 10}, {X0: 2, Y0: 2, X1: 7, Y1: 7}}}, d.Boxes)
	require.Equal(t, []string{
		`set.json:3: category without id or name; dropped with its boxes`,
		`set.json:3: category without id or name; dropped with its boxes`,
		`set.json:3: category: is a number, not an object; dropped with its boxes`,
		`set.json:7: image without an id; skipped`,
		`set.json:8: image 3 without a file_name; skipped`,
		`set.json:12: image: id is a string; skipped`,
		`set.json:20: annotation 6 has a bbox of 3 numbers, not x, y, width, height; dropped`,
		`set.json:21: annotation 7 has a bbox of 0 numbers, not x, y, width, height; dropped`,
		`set.json:24: annotation 10 without image_id or category_id; dropped`,
		`set.json:25: annotation 11: bbox is a string; dropped`,
		`set.json:29: annotation without an id without image_id or category_id; dropped`,
		`set.json:2: category id 1 is there twice; this one ("dog") is dropped`,
		`set.json:2: category 2 has the name of category 1, "cat"; taken for the same class`,
		`set.json:6: image id 1 is there twice; this one ("b.jpg") is skipped`,
		`set.json:22: annotation of category 9, which is not in the file; dropped`,
		`set.json:23: annotation of image 99, which is not in the file; dropped`,
		`set.json:16: box 2 (cat) is there already; dropped`,
		`set.json:17: box 3 (cat) reaches beyond the picture of 64x32 pixels (-3, 1 to 2, 6); clipped`,
		`set.json:18: box 4 (cat) is empty (1, 1 to 1, 6); dropped`,
		`set.json:19: box 5 (cat) ends before it begins (1, 1 to -1, 6); dropped`,
		`set.json:26: box 6 (cat) has a coordinate that is not a finite number; dropped`,
		`set.json:28: box 7 (cat) states an area of -4; that of the box is taken`,
		`set.json:9: no file "missing.jpg" in DIR or beside it; skipped with its 0 boxes`,
		`set.json:10: a.jpg is annotated already; its 0 boxes here are skipped`,
		`set.json:11: is for a picture of 10x10 pixels, but b.jpg has 64x32; skipped`,
	}, strings.Split(strings.ReplaceAll(strings.Join(withoutFolder(problems(), dir), "\n"), dir, "DIR"), "\n"))
}

func TestCOCOUnreadable(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "f.json:1: not valid JSON: the file ends too early",
		"{\n\"images\": [\n{\"id\": 1":        "f.json:3: not valid JSON: the file ends too early",
		"[\n1]":                               "f.json:1: is no COCO annotation file",
		"{\"images\": [\n{\"id\": 1}\n,}]":    "f.json:3: not valid JSON: invalid character '}'",
		"{\n\n\"images\": {}}":                "f.json:3: not valid JSON: { where a list should begin",
		"{\"x\": " + strings.Repeat("[", 1e6): "f.json:1: not valid JSON: lists nested more than 100 deep",
		"{\"images\": [" + strings.Repeat("[", 1e6):           "f.json:1: not valid JSON: invalid character '[' exceeded max depth",
		"{\"x\": {\"a\": \"" + strings.Repeat("a", 2e7):       "f.json:1: not valid JSON: an element of more than 8 MB",
		"{\"images\": [{\"a\": \"" + strings.Repeat("a", 2e7): "f.json:1: not valid JSON: an element of more than 8 MB",
	} {
		r := &reporter{}
		_, err := r.parseCOCO(strings.NewReader(text), "f.json")
		require.ErrorContains(t, err, want, "%.40s", text)
	}
}

// Lines are right however the reader cuts the text, and far from the beginning.
func TestJSONLines(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("{\"images\": [")
	want := []int{}
	line := 1
	for i := range 3000 {
		if i > 0 {
			b.WriteByte(',')
		}
		for range i % 4 {
			b.WriteByte('\n')
			line++
		}
		want = append(want, line)
		fmt.Fprintf(&b, "{\"id\":\n%d}", i)
		line++
	}
	b.WriteString("]}")
	for _, chunk := range []int{1, 7, 1000, 1 << 20} {
		var got []int
		r := &reporter{options: Options{OnProblem: func(p *Problem) { got = append(got, p.Line) }}}
		_, err := r.parseCOCO(&slow{b.Bytes(), chunk}, "f")
		require.NoError(t, err)
		require.Equal(t, want, got, "in pieces of %d", chunk)
	}
}

// slow reads a few bytes at a time.
type slow struct {
	data []byte
	n    int
}

func (s *slow) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.n)], s.data)
	s.data = s.data[n:]
	return n, nil
}

func FuzzCOCO(f *testing.F) {
	f.Add([]byte(cocoSound))
	f.Add([]byte(`{"categories":[{"id":1,"name":"a"}],"images":[{"id":1,"file_name":"a.jpg"}],"annotations":[{"image_id":1,"category_id":1,"bbox":[1e400,-1,5,null]}]}`))
	f.Add([]byte("{\"images\":\n[[[{}]]],\"annotations\":[null,3,\"x\"]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := bytes.Count(data, []byte("\n")) + 1
		b := newBoxReader(Options{OnProblem: func(p *Problem) {
			require.True(t, p.Line >= 1 && p.Line <= lines, p)
			require.NotContains(t, p.What, "\n")
		}})
		c, err := b.parseCOCO(bytes.NewReader(data), "f.json")
		if err != nil {
			p := err.(*Problem)
			require.True(t, p.Line >= 1 && p.Line <= lines, p)
			return
		}
		for _, boxes := range b.cocoJoin(&c, b.cocoClasses(c.categories, "f.json"), "f.json") {
			if boxes != nil {
				b.checkFitted(t, *boxes, lines)
			}
		}
	})
}
