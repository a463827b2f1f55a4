package labels

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVOCOfBCCD(t *testing.T) {
	o, problems := collect("testdata/bccd")
	d, err := OpenDetection("testdata/bccd", o)
	require.NoError(t, err)
	require.Equal(t, []string{"Platelets", "RBC", "WBC"}, d.Classes)
	require.Equal(t, []string{"JPEGImages/BloodImage_00164.jpg", "JPEGImages/BloodImage_00338.jpg", "JPEGImages/BloodImage_00389.jpg"}, relative("testdata/bccd", d.Paths))
	require.Equal(t, []int{12, 13, 8}, []int{len(d.Boxes[0]), len(d.Boxes[1]), len(d.Boxes[2])})
	require.Equal(t, 640, d.Sizes[0].W)
	require.Equal(t, 480, d.Sizes[0].H)
	// The one thing wrong is real: a click without a drag.
	require.Equal(t, []string{`Annotations/BloodImage_00338.xml:157: object 13 ("RBC") is empty: it begins and ends at the same pixel (504, 337, 504, 337); dropped`}, problems())

	train, err := OpenDetection("testdata/bccd", Options{Split: "train"})
	require.NoError(t, err)
	require.Len(t, train.Paths, 2)
	list, err := OpenDetection("testdata/bccd/ImageSets/Main/train.txt", Options{})
	require.NoError(t, err)
	require.Equal(t, train.Boxes, list.Boxes)
	val, err := OpenDetection("testdata/bccd", Options{Split: "val", Classes: train.Classes})
	require.NoError(t, err)
	require.Equal(t, d.Boxes[2], val.Boxes[0])
	require.NoError(t, CheckParts(Part{"train", train.Paths, train.Classes, train.Counts(), "box"}, Part{"val", val.Paths, val.Classes, val.Counts(), "box"}, Options{Strict: true}))
	_, err = OpenDetection("testdata/bccd", Options{Split: "test"})
	require.ErrorContains(t, err, `there is no part "test"; there is train, val`)
	_, err = OpenDetection("testdata/bccd", Options{Strict: true})
	require.ErrorContains(t, err, "is empty")
}

// object is an annotated object of VOC on one line.
func object(name, xmin, ymin, xmax, ymax, more string) string {
	return "<object><name>" + name + "</name>" + more + "<bndbox><xmin>" + xmin + "</xmin><ymin>" + ymin + "</ymin><xmax>" + xmax + "</xmax><ymax>" + ymax + "</ymax></bndbox></object>\n"
}

func TestVOCCoordinates(t *testing.T) {
	dir := tree(t, map[string]string{
		"VOCdevkit/VOC2007/JPEGImages/a.jpg": "64x32",
		"VOCdevkit/VOC2007/Annotations/a.xml": "<annotation><size><width>64</width><height>32</height></size>\n" +
			object("whole", "1", "1", "64", "32", "<difficult>1</difficult><part><name>head</name><bndbox><xmin>3</xmin></bndbox></part>") +
			object("real", "1.5", " 2 ", "10.25", "1e1", "") + "</annotation>"})
	d, err := OpenDetection(dir, Options{Strict: true}) // found two folders down
	require.NoError(t, err)
	require.Equal(t, []string{"real", "whole"}, d.Classes)
	require.Equal(t, [][]Box{{{X1: 64, Y1: 32, Class: 1, Difficult: true}, {X0: 0.5, Y0: 1, X1: 10.25, Y1: 10}}}, d.Boxes)
	require.Equal(t, []int64{1, 1}, d.Counts())
}

func TestVOCBroken(t *testing.T) {
	head := "<annotation>\n<size><width>64</width><height>32</height></size>\n" // objects from line 3 on
	good := object("cat", "1", "1", "5", "5", "")
	files := map[string]string{
		"ImageSets/Main/train.txt": "a\nb\nmissing\na\n../up\nnopicture\nbroken.jpg 1\nother\nbomb\nsmall\nunreadable\nempty\n\n",
		"Annotations/a.xml": head +
			object("cat", "10", "10", "20", "20", "") + // 3
			object("cat", "60", "10", "70", "20", "") + // 4: clipped
			object("cat", "70", "10", "80", "20", "") + // 5: outside
			object("cat", "30", "10", "20", "20", "") + // 6: inverted
			object("cat", "NaN", "10", "20", "20", "") + // 7
			object("cat", "1e999", "10", "20", "20", "") + // 8
			object("cat", "", "10", "20", "20", "") + // 9
			object("cat", "ten", "10", "20", "20", "") + // 10
			object("", "10", "10", "20", "20", "") + // 11
			object("cat", "10", "10", "20", "20", "") + // 12: twice
			object("dog", "10", "10", "20", "20", "") + // 13: another class at the same place
			"<object><name>cat</name></object>\n" + // 14
			"</annotation>",
		"Annotations/b.xml":          "<annotation>" + good + "</annotation>",
		"Annotations/nopicture.xml":  "<annotation>" + good + "</annotation>",
		"Annotations/broken.xml":     head + "<object>\n<name>cat</nam>\n</object></annotation>",
		"Annotations/other.xml":      "<annotation>\n<size><width>640</width><height>320</height></size>" + good + "</annotation>",
		"Annotations/bomb.xml":       "<!DOCTYPE a [<!ENTITY b \"ha\"><!ENTITY c \"&b;&b;\">]>\n<annotation><filename>&c;</filename></annotation>",
		"Annotations/small.xml":      "<note/>",
		"Annotations/empty.xml":      "<annotation></annotation>",
		"Annotations/unreadable.xml": "<annotation>" + good + "</annotation>",
		"JPEGImages/a.jpg":           "64x32", "JPEGImages/b.png": "64x32", "JPEGImages/broken.jpg": "64x32", "JPEGImages/other.jpg": "64x32",
		"JPEGImages/bomb.jpg": "64x32", "JPEGImages/small.jpg": "64x32", "JPEGImages/empty.jpg": "64x32", "JPEGImages/unreadable.jpg": "raw:nothing",
	}
	dir := tree(t, files)
	o, problems := collect(dir)
	o.Split = "train"
	d, err := OpenDetection(dir, o)
	require.NoError(t, err)
	require.Equal(t, []string{"JPEGImages/a.jpg", "JPEGImages/b.png", "JPEGImages/empty.jpg"}, relative(dir, d.Paths))
	require.Equal(t, []Box{{X0: 9, Y0: 9, X1: 20, Y1: 20}, {X0: 59, Y0: 9, X1: 64, Y1: 20}, {X0: 9, Y0: 9, X1: 20, Y1: 20, Class: 1}}, d.Boxes[0])
	require.Empty(t, d.Boxes[2])
	require.Equal(t, []string{
		`ImageSets/Main/train.txt:4: "a" is listed in line 1 already; skipped`,
		`ImageSets/Main/train.txt:5: "../up" leads out of the folder; skipped`,
		`Annotations/a.xml:7: object 5 ("cat"): xmin is "NaN", not a finite number; dropped`,
		`Annotations/a.xml:8: object 6 ("cat"): xmin is "1e999", not a finite number; dropped`,
		`Annotations/a.xml:9: object 7 ("cat"): xmin is missing; dropped`,
		`Annotations/a.xml:10: object 8 ("cat"): xmin is "ten", not a number; dropped`,
		`Annotations/a.xml:11: object 9 has no name; dropped`,
		`Annotations/a.xml:14: object 12 ("cat") has 0 boxes where there should be one; dropped`,
		`Annotations/a.xml:4: box 2 (cat) reaches beyond the picture of 64x32 pixels (59, 9 to 70, 20); clipped`,
		`Annotations/a.xml:5: box 3 (cat) lies outside the picture of 64x32 pixels (69, 9 to 80, 20); dropped`,
		`Annotations/a.xml:6: box 4 (cat) ends before it begins (29, 9 to 20, 20); dropped`,
		`Annotations/a.xml:12: box 5 (cat) is there already; dropped`,
		`ImageSets/Main/train.txt:3: Annotations/missing.xml: no such file or directory; skipped`,
		`Annotations/nopicture.xml: no picture of that name in JPEGImages; skipped`,
		`Annotations/broken.xml:4: not valid XML: element <name> closed by </nam>; skipped`,
		`Annotations/other.xml: is for a picture of 640x320 pixels, but JPEGImages/other.jpg has 64x32; skipped`,
		`Annotations/bomb.xml:2: not valid XML: invalid character entity &c;; skipped`,
		`Annotations/small.xml:1: holds <note>, not the <annotation> of Pascal VOC; skipped`,
		`Annotations/unreadable.xml: JPEGImages/unreadable.jpg: not a picture: unknown format; skipped`,
	}, withoutFolder(problems(), dir))
	o.Strict = true
	_, err = OpenDetection(dir, o)
	require.ErrorContains(t, err, "19 problems with the labels, the first: ")

	o, problems = collect(dir)
	o.Split, o.Classes = "train", []string{"dog", "bird"}
	d, err = OpenDetection(dir, o)
	require.NoError(t, err)
	require.Equal(t, o.Classes, d.Classes)
	require.Equal(t, [][]Box{{{X0: 9, Y0: 9, X1: 20, Y1: 20}}, {}, {}}, d.Boxes)
	require.Contains(t, problems(), `Annotations/b.xml:1: object 1 ("cat"): the class is not among the 2 to be told apart; dropped`)
}

// withoutFolder takes a folder off the middle of messages as well.
func withoutFolder(messages []string, dir string) []string {
	for i := range messages {
		messages[i] = strings.ReplaceAll(messages[i], dir+"/", "")
	}
	return messages
}

// XML beside the pictures, as labelImg leaves it, with a picture that is called otherwise.
func TestVOCFlat(t *testing.T) {
	dir := tree(t, map[string]string{
		"1.xml": "<annotation><filename>C:\\photos\\one.png</filename>" + object("cat", "1", "1", "5", "5", "") + "</annotation>", "one.png": "20x10",
		"2.xml": "<annotation>" + object("dog", "1", "1", "5", "5", "") + "</annotation>", "2.jpg": "20x10"})
	d, err := OpenDetection(dir, Options{Strict: true})
	require.NoError(t, err)
	require.Equal(t, []string{"one.png", "2.jpg"}, relative(dir, d.Paths))
}

// A turned picture: an annotation of the stored size has its boxes turned with it, one of the upright size is left alone.
func TestTurnedPictures(t *testing.T) {
	stored := "<annotation><size><width>64</width><height>32</height></size>" + object("x", "1", "1", "16", "8", "") + "</annotation>"
	upright := "<annotation><size><width>32</width><height>64</height></size>" + object("x", "1", "1", "8", "16", "") + "</annotation>"
	for orientation, want := range map[string]Box{
		// The stored top left corner [0, 16) by [0, 8) of 64 by 32, in the upright 32 by 64.
		"5": {X0: 0, Y0: 0, X1: 8, Y1: 16},
		"6": {X0: 24, Y0: 0, X1: 32, Y1: 16},
		"7": {X0: 24, Y0: 48, X1: 32, Y1: 64},
		"8": {X0: 0, Y0: 48, X1: 8, Y1: 64},
	} {
		dir := tree(t, map[string]string{"a.xml": stored, "a.jpg": "64x32@" + orientation, "b.xml": upright, "b.jpg": "64x32@" + orientation})
		o, problems := collect(dir)
		d, err := OpenDetection(dir, o)
		require.NoError(t, err)
		require.Equal(t, [][]Box{{want}, {{X1: 8, Y1: 16}}}, d.Boxes, orientation)
		require.Equal(t, []string{"a.xml: is for a.jpg as it is stored, 64x32, not upright; its boxes are turned"}, problems())
	}
}

func TestParseVOCLimits(t *testing.T) {
	deep := "<annotation>" + strings.Repeat("<a>", 300_000)
	_, err := parseVOC([]byte(deep), "f")
	require.ErrorContains(t, err, "f:1: not valid XML")
	_, err = parseVOC([]byte("<annotation><object>"+strings.Repeat("<a>", 300_000)), "f")
	require.ErrorContains(t, err, "f:1: not valid XML")
	_, err = parseVOC(make([]byte, maxVOC+1), "f")
	require.ErrorContains(t, err, "more than 4 MB")
	_, err = parseVOC([]byte("<annotation/><annotation/>"), "f")
	require.ErrorContains(t, err, "f:1: ")
}

func FuzzVOC(f *testing.F) {
	// Short ones: the fuzzer cuts what it finds byte by byte.
	f.Add([]byte("<annotation>\n<size><width>64</width><height>32</height></size>\n" + object("cat", "1", "1", "5", "5.5", "<difficult>1</difficult>") + "</annotation>"))
	f.Add([]byte("<!DOCTYPE a [<!ENTITY b \"ha\">]><annotation><filename>&b;</filename></annotation>"))
	f.Add([]byte("<annotation><size><width>-3</width></size><object><name>x</name><bndbox><xmin>Inf</xmin></bndbox></object></annotation>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := strings.Count(string(data), "\n") + 1
		b := newBoxReader(Options{OnProblem: func(p *Problem) {
			require.LessOrEqual(t, p.Line, lines)
			require.NotContains(t, p.What, "\n")
		}})
		v, err := parseVOC(data, "f.xml")
		if err != nil {
			require.LessOrEqual(t, err.(*Problem).Line, lines)
			return
		}
		b.checkFitted(t, b.vocBoxes(v, "f.xml"), lines)
	})
}
