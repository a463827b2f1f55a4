package labels

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/vit/pixels"
)

func TestSegmentationOfNuclei(t *testing.T) {
	s, err := OpenSegmentation("testdata/nuclei", Options{Strict: true})
	require.NoError(t, err)
	require.Equal(t, []string{"0", "1"}, s.Classes)
	require.Equal(t, []string{"images/13c8ff1f4988.png", "images/16c3d5935ba9.png"}, relative("testdata/nuclei", s.Paths))
	require.Equal(t, []string{"masks/13c8ff1f4988.png", "masks/16c3d5935ba9.png"}, relative("testdata/nuclei", s.Masks))
	var counted [2]int64
	for i := range s.Paths {
		mask, err := s.Mask(i)
		require.NoError(t, err)
		require.Len(t, mask, 256*256)
		for _, c := range mask {
			counted[c]++
		}
	}
	require.Equal(t, counted[:], s.Counts())
	require.Equal(t, []int64{126039, 5033}, s.Counts(), "as Pillow and NumPy count them")
	require.Zero(t, s.Ignored)
}

// masksOf reads every mask.
func masksOf(t *testing.T, s *Segmentation) (out [][]uint8) {
	for i := range s.Paths {
		m, err := s.Mask(i)
		require.NoError(t, err)
		out = append(out, m)
	}
	return out
}

var palette = color.Palette{color.NRGBA{0, 0, 0, 255}, color.NRGBA{200, 0, 0, 255}, color.NRGBA{0, 200, 0, 255}, color.NRGBA{255, 255, 255, 255}}

func TestMaskKinds(t *testing.T) {
	const colours = "classes:\n  sky: \"#0000ff\"\n  road: '#804080'\nignore: \"#ffffff\"\n"
	long := make(color.Palette, 256)
	for i := range long {
		long[i] = color.NRGBA{uint8(i), 0, 0, 255}
	}
	for name, c := range map[string]struct {
		file, text string // of the classes
		masks      []string
		classes    []string
		want       [][]uint8
		pixels     []int64
		ignored    int64
		problems   []string
	}{
		"grey levels": {masks: []string{grey(t, 0, 1, 2, 255), grey(t, 0, 0, 0, 0)}, classes: []string{"0", "1", "2"},
			want: [][]uint8{{0, 1, 2, 255}, {0, 0, 0, 0}}, pixels: []int64{5, 1, 1}, ignored: 1},
		"black and white": {masks: []string{grey(t, 0, 255, 255, 0), grey(t, 0, 0, 0, 0)}, classes: []string{"0", "1"},
			want: [][]uint8{{0, 1, 1, 0}, {0, 0, 0, 0}}, pixels: []int64{6, 2}},
		"black and white with names": {file: "classes.txt", text: "background\ncell", masks: []string{grey(t, 0, 255, 255, 0)}, classes: []string{"background", "cell"},
			want: [][]uint8{{0, 1, 1, 0}}, pixels: []int64{2, 2}},
		"0 and 1 with a border": {file: "classes.txt", text: "background\ncell", masks: []string{grey(t, 0, 255, 1, 0)}, classes: []string{"background", "cell"},
			want: [][]uint8{{0, 255, 1, 0}}, pixels: []int64{2, 1}, ignored: 1},
		"three names, so 255 is no class": {file: "classes.txt", text: "a\nb\nc", masks: []string{grey(t, 0, 255, 255, 0)}, classes: []string{"a", "b", "c"},
			want: [][]uint8{{0, 255, 255, 0}}, pixels: []int64{2, 0, 0}, ignored: 2},
		"palette": {masks: []string{indexed(t, palette, 0, 1, 2, 2)}, classes: []string{"0", "1", "2"}, want: [][]uint8{{0, 1, 2, 2}}, pixels: []int64{1, 1, 2}},
		"palette of 256": {masks: []string{indexed(t, long, 0, 20, 255, 2)}, file: "classes.yaml", text: "classes: [a, b, c]",
			classes: []string{"a", "b", "c"}, want: [][]uint8{{0, 255, 255, 2}}, pixels: []int64{1, 0, 1}, ignored: 2,
			problems: []string{"masks/0.png: 1 pixels are of no class, the first at (1, 0): value 20 of 3 classes; ignored"}},
		"grey with three channels": {masks: []string{coloured(t, 0, 0x010101, 0x020202, 0)}, classes: []string{"0", "1", "2"}, want: [][]uint8{{0, 1, 2, 0}}, pixels: []int64{2, 1, 1}},
		"colours": {file: "classes.yaml", text: colours, masks: []string{coloured(t, 0x0000ff, 0x804080, 0xffffff, 0x0000ff)},
			classes: []string{"sky", "road"}, want: [][]uint8{{0, 1, 255, 0}}, pixels: []int64{2, 1}, ignored: 1},
		"other colours": {file: "classes.yaml", text: colours, masks: []string{coloured(t, 0x0000fe, 0x804080, 0x123456, 0x0000ff)},
			classes: []string{"sky", "road"}, want: [][]uint8{{255, 1, 255, 0}}, pixels: []int64{1, 1}, ignored: 2,
			problems: []string{"masks/0.png: 2 pixels are of no class, the first at (0, 0): colour #0000fe; ignored"}},
		"colours of a palette": {file: "classes.yml", text: "classes: {a: '#c80000', b: '#00c800', c: '#000000'}", masks: []string{indexed(t, palette, 0, 1, 2, 2)},
			classes: []string{"a", "b", "c"}, want: [][]uint8{{2, 0, 1, 1}}, pixels: []int64{1, 2, 1}},
		"names by number": {file: "classes.yaml", text: "classes: {0: a, 1: b}", masks: []string{grey(t, 0, 1, 1, 0)}, classes: []string{"a", "b"}, want: [][]uint8{{0, 1, 1, 0}}, pixels: []int64{2, 2}},
	} {
		files := map[string]string{}
		if c.file != "" {
			files[c.file] = c.text
		}
		for i, m := range c.masks {
			files["masks/"+string(rune('0'+i))+".png"] = m
			files["images/"+string(rune('0'+i))+".jpg"] = "4x1"
		}
		dir := tree(t, files)
		o, problems := collect(dir)
		s, err := OpenSegmentation(dir, o)
		require.NoError(t, err, name)
		require.Equal(t, c.classes, s.Classes, name)
		require.Equal(t, c.want, masksOf(t, s), name)
		require.Equal(t, c.pixels, s.Counts(), name)
		require.Equal(t, c.ignored, s.Ignored, name)
		require.Equal(t, c.problems, problems(), name)
	}
}

// Samples of 1, 2, 4 and 16 bits are taken as they are stored.
func TestMaskDepths(t *testing.T) {
	for depth, row := range map[byte][]byte{1: {0b0110_0000}, 2: {0b00_01_10_11}, 4: {0x01, 0x9f}} {
		m, err := readMask(rawPNG(t, depth, 4, row), pixels.Limits{}, false)
		require.NoError(t, err)
		require.Equal(t, map[byte][]uint8{1: {0, 1, 1, 0}, 2: {0, 1, 2, 3}, 4: {0, 1, 9, 15}}[depth], m.index)
	}
	deep := image.NewGray16(image.Rect(0, 0, 2, 1))
	deep.SetGray16(1, 0, color.Gray16{Y: 3})
	m, err := readMask([]byte(encoded(t, deep)), pixels.Limits{}, false)
	require.NoError(t, err)
	require.Equal(t, []uint8{0, 3}, m.index)
	deep.SetGray16(0, 0, color.Gray16{Y: 256})
	_, err = readMask([]byte(encoded(t, deep)), pixels.Limits{}, false)
	require.ErrorContains(t, err, "16-bit value 256 at (0, 0)")
}

// rawPNG is a grey PNG of one row with few bits a sample, which image/png does not write.
func rawPNG(t *testing.T, depth byte, w uint32, row []byte) []byte {
	var b bytes.Buffer
	b.WriteString("\x89PNG\r\n\x1a\n")
	chunk := func(kind string, data []byte) {
		require.NoError(t, binary.Write(&b, binary.BigEndian, uint32(len(data))))
		body := append([]byte(kind), data...)
		b.Write(body)
		require.NoError(t, binary.Write(&b, binary.BigEndian, crc32.ChecksumIEEE(body)))
	}
	chunk("IHDR", append(binary.BigEndian.AppendUint32(nil, w), 0, 0, 0, 1, depth, 0, 0, 0, 0))
	chunk("IDAT", deflated(append([]byte{0}, row...)))
	chunk("IEND", nil)
	return b.Bytes()
}

func TestSegmentationBroken(t *testing.T) {
	dir := tree(t, map[string]string{
		"images/good.jpg": "4x1", "masks/good.png": grey(t, 0, 1, 0, 1),
		"images/nomask.jpg": "4x1",
		"images/size.jpg":   "4x1", "masks/size.png": grey(t, 0, 1, 0),
		"images/colour.jpg": "2x1", "masks/colour.png": coloured(t, 0x102030, 0),
		"images/jpeg.png": "4x1", "masks/jpeg.jpg": "4x1",
		"images/cut.png": "4x1", "masks/cut.png": grey(t, 0, 1, 0, 1)[:45],
		"images/turned.jpg": "4x1@6", "masks/turned.png": grey(t, 0, 1, 0, 1),
		"images/bad.jpg": "raw:no picture", "images/twice.jpg": "4x1", "images/twice.png": "4x1", "masks/twice.png": grey(t, 0, 1, 0, 1),
		"masks/alone.png": grey(t, 0, 1, 0, 1)})
	o, problems := collect(dir)
	s, err := OpenSegmentation(dir, o)
	require.NoError(t, err)
	require.Equal(t, []string{"images/good.jpg", "images/twice.jpg"}, relative(dir, s.Paths))
	require.Equal(t, []string{
		"images/bad.jpg: not a picture: unknown format; skipped",
		"images/nomask.jpg: no mask nomask.png in masks; skipped",
		"images/twice.png: no mask twice.png in masks; skipped",
		"masks/alone.png: a mask without a picture, or with a second one of its name; not used",
		"masks/colour.png: has colours, and there is no classes.yaml that says which class a colour is; skipped",
		"masks/cut.png: PNG: invalid format: not enough pixel data; skipped",
		"masks/jpeg.jpg: is JPEG, not PNG; skipped",
		"masks/size.png: has 3x1 pixels, but images/size.jpg has 4x1; skipped",
		"masks/turned.png: has 4x1 pixels as images/turned.jpg is stored, but that is turned to 1x4 when it is read (EXIF orientation 6): turn the mask as well, or take the tag off the picture; skipped",
	}, withoutFolder(problems(), dir))
	_, err = OpenSegmentation(dir, Options{Strict: true})
	require.ErrorContains(t, err, "9 problems")

	// A mask that changes or goes away is an error when it is read.
	put(t, s.Masks[0], grey(t, 0, 1, 0))
	_, err = s.Mask(0)
	require.ErrorContains(t, err, "has 3x1 pixels now and had 4x1")
	require.NoError(t, os.Remove(s.Masks[1]))
	_, err = s.Mask(1)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestSegmentationParts(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"folders of parts": {"val/images/a.jpg": "2x1", "val/masks/a.png": grey(t, 0, 1), "train/images/b.jpg": "2x1", "train/masks/b.png": grey(t, 0, 1)},
		"parts in folders": {"images/val/a.jpg": "2x1", "masks/val/a.png": grey(t, 0, 1), "images/train/b.jpg": "2x1", "masks/train/b.png": grey(t, 0, 1)},
		"Pascal VOC": {"JPEGImages/a.jpg": "2x1", "SegmentationClass/a.png": indexed(t, palette, 0, 1), "JPEGImages/b.jpg": "2x1", "SegmentationClass/b.png": indexed(t, palette, 0, 1),
			"ImageSets/Segmentation/val.txt": "a\n", "JPEGImages/unsegmented.jpg": "2x1"},
	} {
		dir := tree(t, files)
		s, err := OpenSegmentation(dir, Options{Split: "val", Strict: true})
		require.NoError(t, err, name)
		require.Len(t, s.Paths, 1, name)
		require.Equal(t, "a.jpg", filepath.Base(s.Paths[0]))
		require.Equal(t, [][]uint8{{0, 1}}, masksOf(t, s))
		_, err = OpenSegmentation(dir, Options{Split: "none"})
		require.ErrorContains(t, err, "none", name)
	}
	dir := tree(t, map[string]string{"JPEGImages/a.jpg": "2x1", "SegmentationClass/a.png": indexed(t, palette, 0, 1), "ImageSets/Segmentation/val.txt": "a\nb\na\n"})
	o, problems := collect(dir)
	o.Split = "val"
	_, err := OpenSegmentation(dir, o)
	require.NoError(t, err)
	require.Equal(t, []string{`ImageSets/Segmentation/val.txt:3: "a" is listed in line 1 already; skipped`, `ImageSets/Segmentation/val.txt:2: no picture "b" in JPEGImages; skipped`}, withoutFolder(problems(), dir))
}

func TestSegmentationClassFiles(t *testing.T) {
	for text, want := range map[string]string{
		"classes: {a: #ff0000\n}":                                  `"" is no colour: write "#rrggbb", in quotes`,
		"classes:\n  a: '#12345'":                                  "classes.yaml:2: \"a\": \"#12345\" is no colour",
		"classes:\n  a: '#123456'\n  b: '#123456'":                 "classes.yaml:3: \"b\" has the colour of \"a\"",
		"classes:\n  a: '#123456'\n  a: '#123457'":                 "have the same name",
		"classes: {a: '#123456', b: '#654321'}\nignore: '#123456'": "classes.yaml:2: ignore: is the colour of \"a\"",
		"names: [a]":  "has no classes",
		"classes: []": "no classes",
		"classes: {}": "no classes",
		"classes:":    "must be a list",
	} {
		_, err := OpenSegmentation(tree(t, map[string]string{"classes.yaml": text}), Options{})
		require.ErrorContains(t, err, want, text)
	}
	dir := tree(t, map[string]string{"images/a.jpg": "2x1", "masks/a.png": grey(t, 0, 200)})
	_, err := OpenSegmentation(dir, Options{})
	require.ErrorContains(t, err, "values up to 200: if these are classes, name them in a file classes.txt")
	_, err = OpenSegmentation(t.TempDir(), Options{})
	require.ErrorContains(t, err, "no folders images/ and masks/")
	dir = tree(t, map[string]string{"images/a.jpg": "2x1", "masks/a.png": grey(t, 0, 1, 0)})
	_, err = OpenSegmentation(dir, Options{})
	require.ErrorContains(t, err, "can be used; the first of 1 problems: ")
}

func FuzzMask(f *testing.F) {
	f.Add([]byte(grey(f, 0, 1, 255)), false)
	f.Add([]byte(indexed(f, palette, 0, 3)), true)
	f.Add([]byte(coloured(f, 0x102030, 0)), true)
	f.Fuzz(func(t *testing.T, data []byte, colours bool) {
		m, err := readMask(data, pixels.Limits{MaxPixels: 1 << 16}, colours)
		if err != nil {
			require.NotContains(t, err.Error(), "the decoder failed")
			return
		}
		code := maskCode{}
		if colours {
			code.colour = map[uint32]uint8{0: 3}
		}
		classes, stray := code.classes(m)
		require.Len(t, classes, m.w*m.h)
		require.LessOrEqual(t, stray.pixels, len(classes))
	})
}

// A part that is judged by the classes of another has those, whatever its own masks and files say.
func TestSegmentationByOtherClasses(t *testing.T) {
	want := []string{"sky", "road", "car"}
	for name, c := range map[string]struct {
		file, text, mask string
		pixels           []int64
		problems         []string
	}{
		"numbers":       {mask: grey(t, 0, 0, 1), pixels: []int64{2, 1, 0}},
		"a number more": {mask: grey(t, 0, 3, 1), pixels: []int64{1, 1, 0}, problems: []string{"masks/a.png: 1 pixels are of no class, the first at (1, 0): value 3 of 3 classes; ignored"}},
		"names in another order": {file: "classes.txt", text: "car\nsky\ntree\n", mask: grey(t, 0, 1, 2), pixels: []int64{1, 0, 1},
			problems: []string{`classes.txt: class "tree" is none of those to judge by; ignored`}},
		"colours in another order": {file: "classes.yaml", text: "classes: {road: \"#010203\", tree: \"#040506\", sky: \"#070809\"}\nignore: \"#ffffff\"\n",
			mask: coloured(t, 0x070809, 0x010203, 0x040506, 0xffffff), pixels: []int64{1, 1, 0}, problems: []string{`classes.yaml: class "tree" is none of those to judge by; ignored`}},
	} {
		files := map[string]string{"images/a.jpg": "3x1", "masks/a.png": c.mask}
		if name == "colours in another order" {
			files["images/a.jpg"] = "4x1"
		}
		if c.file != "" {
			files[c.file] = c.text
		}
		dir := tree(t, files)
		o, problems := collect(dir)
		o.Classes = want
		s, err := OpenSegmentation(dir, o)
		require.NoError(t, err, name)
		require.Equal(t, want, s.Classes, name)
		require.Equal(t, c.pixels, s.Counts(), name)
		require.Equal(t, c.problems, withoutFolder(problems(), dir), name)
		counted := make([]int64, 3)
		for _, v := range masksOf(t, s)[0] {
			if v != Ignore {
				counted[v]++
			}
		}
		require.Equal(t, c.pixels, counted, name)
	}
}

func TestSegmentationPick(t *testing.T) {
	s, err := OpenSegmentation(tree(t, map[string]string{"images/a.jpg": "2x1", "masks/a.png": grey(t, 0, 1), "images/b.jpg": "2x1", "masks/b.png": grey(t, 0, 2)}), Options{})
	require.NoError(t, err)
	require.Equal(t, []int64{2, 1, 1}, s.Counts())
	part := s.Pick([]int{1})
	require.Equal(t, []int64{1, 0, 1}, part.Counts())
	require.Equal(t, [][]uint8{{0, 2}}, masksOf(t, part))
}
