package labels

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestYOLO(t *testing.T) {
	const a, b = "0 0.5 0.5 0.25 0.5\n1 0.75 0.25 0.5 0.5\n", "1 0 0 0.5 0 0.5 0.25 0 0.25\n"
	boxesA := []Box{{X0: 24, Y0: 8, X1: 40, Y1: 24}, {X0: 32, Y0: 0, X1: 64, Y1: 16, Class: 1}}
	boxesB := []Box{{X1: 32, Y1: 8, Class: 1}} // of an outline
	for name, c := range map[string]struct {
		files map[string]string
		at    string
		split string
		paths []string
		boxes [][]Box
	}{
		"images beside labels, classes.txt": {
			files: map[string]string{"classes.txt": "cat\ndog\n", "images/a.jpg": "64x32", "images/b.png": "64x32", "images/empty.jpg": "64x32", "labels/a.txt": a, "labels/b.txt": b},
			paths: []string{"images/a.jpg", "images/b.png", "images/empty.jpg"}, boxes: [][]Box{boxesA, boxesB, {}}},
		"data.yaml, parts below images": {
			files: map[string]string{"data.yaml": "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n",
				"images/train/a.jpg": "64x32", "images/val/b.jpg": "64x32", "labels/train/a.txt": a, "labels/val/b.txt": b},
			split: "val", paths: []string{"images/val/b.jpg"}, boxes: [][]Box{boxesB}},
		"every part": {
			files: map[string]string{"data.yaml": "path: /nowhere/at/all\ntrain: images/train\nval: images/val\nnc: 2\nnames: [cat, dog]\n",
				"images/train/a.jpg": "64x32", "images/val/b.jpg": "64x32", "labels/train/a.txt": a, "labels/val/b.txt": b},
			at: "data.yaml", paths: []string{"images/train/a.jpg", "images/val/b.jpg"}, boxes: [][]Box{boxesA, boxesB}},
		"Roboflow": {
			files: map[string]string{"data.yaml": "train: ../train/images\nval: ../valid/images\nnames: ['cat', 'dog']\n",
				"train/images/a.jpg": "64x32", "train/labels/a.txt": a, "valid/images/b.jpg": "64x32", "valid/labels/b.txt": b},
			split: "train", paths: []string{"train/images/a.jpg"}, boxes: [][]Box{boxesA}},
		"a list of pictures": {
			files: map[string]string{"data.yaml": "train: [list.txt]\nnames: [cat, dog]\n", "list.txt": "./images/b.jpg\n\nimages/a.jpg\n",
				"images/a.jpg": "64x32", "labels/a.txt": a, "images/b.jpg": "64x32", "labels/b.txt": b},
			paths: []string{"images/b.jpg", "images/a.jpg"}, boxes: [][]Box{boxesB, boxesA}},
		"text beside the pictures": {
			files: map[string]string{"classes.txt": "cat\r\ndog\r\n", "a.jpg": "64x32", "a.txt": a, "b.jpg": "64x32", "b.txt": b},
			paths: []string{"a.jpg", "b.jpg"}, boxes: [][]Box{boxesA, boxesB}},
		"turned": {
			files: map[string]string{"classes.txt": "cat\ndog\n", "a.jpg": "32x64@6", "a.txt": a},
			paths: []string{"a.jpg"}, boxes: [][]Box{boxesA}},
	} {
		dir := tree(t, c.files)
		d, err := OpenDetection(filepath.Join(dir, c.at), Options{Split: c.split, Strict: true})
		require.NoError(t, err, name)
		require.Equal(t, c.paths, relative(dir, d.Paths), name)
		require.Equal(t, c.boxes, d.Boxes, name)
		require.Equal(t, []string{"cat", "dog"}, d.Classes, name)
	}
}

func TestYOLOBroken(t *testing.T) {
	dir := tree(t, map[string]string{"classes.txt": "cat\ndog\n", "images/a.jpg": "64x32", "images/b.jpg": "raw:no", "images/c.jpg": "64x32", "labels/c.txt": "1 .5 .5 .5 .5\n",
		"labels/a.txt": "0 0.5 0.5 0.25 0.5\n" + // 1
			"2 0.5 0.5 0.25 0.5\n" + // 2
			"-1 0.5 0.5 0.25 0.5\n" + // 3
			"0.0 0.5 0.5 0.25 0.5\n" + // 4
			"0 0.5 0.5 0.25\n" + // 5
			"0 0.5 0.5 0.25 0.5 0.99\n" + // 6: a prediction
			"0 0.5 nan 0.25 0.5\n" + // 7
			"0 32 16 16 16\n" + // 8: pixels
			"0 0.5 0.5 0 0.5\n" + // 9
			"0 0.9 0.5 0.5 0.5\n" + // 10: clipped
			"0 1.5 0.5 0.5 0.5\n" + // 11: outside
			"0 0.5 0.5 0.25 0.5\n" + // 12: twice
			"0 0.5 0.5 1.000001 1\n"}) // 13: clipped without a word
	o, problems := collect(dir)
	d, err := OpenDetection(dir, o)
	require.NoError(t, err)
	require.Equal(t, []string{"images/a.jpg", "images/c.jpg"}, relative(dir, d.Paths))
	require.Len(t, d.Boxes[0], 3)
	require.InDelta(t, 41.6, d.Boxes[0][1].X0, 1e-12)
	require.Equal(t, Box{X1: 64, Y1: 32}, d.Boxes[0][2])
	require.Equal(t, []string{
		"images/b.jpg: not a picture: unknown format; skipped",
		"labels/a.txt:2: class 2 is none of 0 to 1; dropped",
		"labels/a.txt:3: class -1 is none of 0 to 1; dropped",
		`labels/a.txt:4: class "0.0" is not a whole number; dropped`,
		"labels/a.txt:5: 4 numbers, not a class and x, y, width, height; dropped",
		"labels/a.txt:6: 6 numbers, not a class and x, y, width, height; dropped",
		`labels/a.txt:7: number 3 is "nan", not a finite number; dropped`,
		"labels/a.txt:8: numbers above 1: these are pixels, not fractions of the picture's sides; dropped",
		"labels/a.txt:9: box 2 (cat) is empty (32, 8 to 32, 24); dropped",
		"labels/a.txt:10: box 3 (cat) reaches beyond the picture of 64x32 pixels (41.6, 8 to 73.6, 24); clipped",
		"labels/a.txt:11: box 4 (cat) lies outside the picture of 64x32 pixels (80, 8 to 112, 24); dropped",
		"labels/a.txt:12: box 5 (cat) is there already; dropped",
	}, problems())

	o, problems = collect(dir)
	o.Classes = []string{"dog"}
	d, err = OpenDetection(dir, o)
	require.NoError(t, err)
	require.Equal(t, [][]Box{{}, {{X0: 16, Y0: 8, X1: 48, Y1: 24}}}, d.Boxes)
	require.Equal(t, `: class 0 ("cat") is not among the 1 to be told apart; its boxes are dropped`, withoutFolder(problems(), dir)[0][len(dir):])
}

func TestYOLOErrors(t *testing.T) {
	for want, files := range map[string]map[string]string{
		"no class names: write them into classes.txt":           {"images/a.jpg": "64x32", "labels/a.txt": "0 .5 .5 .5 .5"},
		"data.yaml: no class names":                             {"data.yaml": "train: images"},
		"data.yaml:2: \"images\": no such folder or file":       {"data.yaml": "names: [a]\ntrain: images"},
		"data.yaml: names no pictures under train, val":         {"data.yaml": "names: [a]\n"},
		"data.yaml:2: class 1 has no name":                      {"data.yaml": "names: [a,\n'']\n"},
		"data.yaml:1: \"2\": 2 classes have the numbers 0 to 1": {"data.yaml": "names: {0: a, 2: b}\n"},
		"data.yaml: classes 0 and 1 have the same name, \"a\"":  {"data.yaml": "names: [a, a]\n"},
		"data.yaml: yaml: ":                                     {"data.yaml": "names: [a\n"},
		"data.yaml:1: must be a list of name: value":            {"data.yaml": "- a\n"},
		"data.yaml:1: the classes must be a list":               {"data.yaml": "names: a\n"},
		"classes.txt:2: class 1 has no name":                    {"classes.txt": "a\n\nb\n", "images/a.jpg": "64x32", "labels/a.txt": "0 .5 .5 .5 .5"},
		"no picture has a text file with labels":                {"classes.txt": "a\nb\n", "images/a.jpg": "64x32"},
		"no boxes found: neither Pascal VOC":                    {"images/a.jpg": "64x32"},
	} {
		_, err := OpenDetection(tree(t, files), Options{})
		require.ErrorContains(t, err, want)
	}
	// A settings file cannot make itself large: aliases are not followed.
	_, err := parseSettings([]byte("a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nnames: [*b,*b,*b,*b,*b,*b,*b]\n"), "data.yaml")
	require.NoError(t, err)
	dir := tree(t, map[string]string{"classes.txt": "a\nb"})
	_, err = OpenDetection(filepath.Join(dir, "classes.txt"), Options{})
	require.ErrorContains(t, err, "not a file that boxes are read from")
	_, err = OpenDetection(filepath.Join(dir, "none"), Options{})
	require.ErrorContains(t, err, "none")
}

func FuzzYOLO(f *testing.F) {
	f.Add([]byte("0 0.5 0.5 0.25 0.5\n1 0 0 0.5 0 0.5 0.25 0 0.25\n"), uint8(2))
	f.Add([]byte("\ufeff7 1e308 -1e308 1e308 1\r\n\r\n0 inf nan 0x1p-2 1_0"), uint8(9))
	f.Fuzz(func(t *testing.T, data []byte, classes uint8) {
		lines := bytes.Count(data, []byte("\n")) + 1
		b := newBoxReader(Options{OnProblem: func(p *Problem) {
			require.LessOrEqual(t, p.Line, lines)
			require.NotContains(t, p.What, "\n")
		}})
		for i := range classes {
			b.classes.number(string(rune('a' + i)))
		}
		b.checkFitted(t, b.parseYOLO(data, "f.txt", int(classes)), lines)
	})
}
