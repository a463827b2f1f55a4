package labels

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"edgejepa/vit/pixels"
)

const (
	maxMaskFile    = 64 << 20
	maxMaskClasses = 255 // 0 to 254; 255 is Ignore

	// unnamedClasses is how many classes masks may have that nobody named: more are rather pictures than masks.
	unnamedClasses = 64
)

// Segmentation is a list of pictures with a class for each pixel.
type Segmentation struct {
	Paths, Masks []string
	Sizes        []pixels.Size
	Classes      []string
	Pixels       [][]int64 // [picture][C], of each class
	Ignored      int64     // pixels of no class

	code   maskCode
	limits pixels.Limits
}

// Counts returns the number of pixels of each class [C].
func (s *Segmentation) Counts() []int64 {
	sum := make([]int64, len(s.Classes))
	for _, here := range s.Pixels {
		for c, n := range here {
			sum[c] += n
		}
	}
	return sum
}

// Pick returns some of the pictures, by their index.
func (s *Segmentation) Pick(index []int) *Segmentation {
	part := *s
	part.Paths, part.Masks, part.Sizes, part.Pixels = nil, nil, nil, nil
	for _, i := range index {
		part.Paths, part.Masks = append(part.Paths, s.Paths[i]), append(part.Masks, s.Masks[i])
		part.Sizes, part.Pixels = append(part.Sizes, s.Sizes[i]), append(part.Pixels, s.Pixels[i])
	}
	return &part
}

// Mask reads the class of each pixel of picture i, [H, W] of the upright picture; Ignore is a pixel of no class. It is safe
// for concurrent use. Errors are *pixels.FileError.
func (s *Segmentation) Mask(i int) ([]uint8, error) {
	path, size := s.Masks[i], s.Sizes[i]
	data, err := pixels.ReadFile(path, maxMaskFile)
	if err != nil {
		return nil, err
	}
	m, err := readMask(data, s.limits, s.code.colour != nil)
	if err == nil && (m.w != size.W || m.h != size.H) {
		err = fmt.Errorf("has %dx%d pixels now and had %dx%d", m.w, m.h, size.W, size.H)
	}
	if err != nil {
		return nil, &pixels.FileError{Path: path, Err: err}
	}
	out, _ := s.code.classes(m)
	return out, nil
}

// OpenSegmentation pairs the pictures in root/images with the PNG files in root/masks that have the same name but for the
// ending, in folders of any depth; or, of Pascal VOC, JPEGImages with SegmentationClass and the lists of
// ImageSets/Segmentation. With Options.Split the part is root/SPLIT/images, or root/images/SPLIT, or the list of that name.
//
// What a mask says of a pixel:
//
//   - a palette index or grey level is the class, 255 is Ignore. If no mask holds 1 and there are two classes, or two levels,
//     255 is class 1: a black and white mask;
//
//   - with colours in root/classes.yaml, a colour is the class and other colours are Ignore:
//
//     classes: {background: "#000000", road: "#804080"}
//     ignore: "#ffffff"
//
// Names come from classes.yaml, which may have a list in place of colours, or from classes.txt, one a line. Without them
// classes are called by their number, up to the highest found, or are Options.Classes in their order. Named classes go by their
// names where there are Options.Classes, and those of other names are Ignore.
//
// Every mask is read once: for what is wrong with it, and to count its pixels. It must have the size of the upright picture.
// It is an error if no picture is left, or a class file cannot be read.
func OpenSegmentation(root string, o Options) (*Segmentation, error) {
	r := &segmenter{reporter: &reporter{options: o}, s: &Segmentation{limits: pixels.Limits{}}}
	if err := r.classFile(root); err != nil {
		return nil, err
	}
	r.number()
	images, masks, list, err := segmentationFolders(root, o.Split)
	if err != nil {
		return nil, err
	}
	if err := r.pairs(images, masks, list); err != nil {
		return nil, err
	}
	if err := r.read(); err != nil {
		return nil, err
	}
	if len(r.s.Paths) == 0 {
		if r.first != nil {
			return nil, fmt.Errorf("no picture of %s can be used; the first of %d problems: %w", pixels.Printable(root), r.count, r.first)
		}
		return nil, fmt.Errorf("no pictures in %s", pixels.Printable(images))
	}
	return r.s, r.done()
}

// segmenter builds a Segmentation.
type segmenter struct {
	*reporter
	s     *Segmentation
	names []string // of the class file; without one Options.Classes, or nil
	file  string   // that file
	class []uint8  // by place in names
	seen  [][]sample
}

// sample is how many pixels of a mask hold a value, or are of a class where colours tell it.
type sample struct {
	v uint8
	n int64
}

// segmentationFolders returns where pictures and masks of a part are, and the list that picks from them, if there is one.
func segmentationFolders(root, split string) (images, masks, list string, err error) {
	if isFolder(filepath.Join(root, "SegmentationClass")) {
		images, masks = filepath.Join(root, "JPEGImages"), filepath.Join(root, "SegmentationClass")
		if split != "" {
			list = firstFile(filepath.Join(root, "ImageSets", "Segmentation"), split+".txt")
			if list == "" {
				return "", "", "", fmt.Errorf("%s: no list ImageSets/Segmentation/%s.txt", pixels.Printable(root), split)
			}
		}
		return images, masks, list, nil
	}
	for _, at := range [][2]string{{split, ""}, {"", split}} {
		for _, name := range []string{"masks", "labels", "annotations"} {
			images, masks = filepath.Join(root, at[0], "images", at[1]), filepath.Join(root, at[0], name, at[1])
			if isFolder(images) && isFolder(masks) {
				return images, masks, "", nil
			}
		}
	}
	part := ""
	if split != "" {
		part = ", in " + split + "/ or with " + split + "/ in both"
	}
	return "", "", "", fmt.Errorf("%s: no folders images/ and masks/%s: pictures and PNG masks of the same names", pixels.Printable(root), part)
}

// classFile reads the names of the classes and their colours.
func (r *segmenter) classFile(root string) error {
	if r.file = firstFile(root, "classes.yaml", "classes.yml"); r.file != "" {
		y, err := readSettings(r.file)
		if err != nil {
			return err
		}
		r.names, r.s.code.colour, err = y.colours()
		if err != nil {
			return err
		}
	} else if r.file = firstFile(root, "classes.txt"); r.file != "" {
		var err error
		if r.names, err = readNames(r.file); err != nil {
			return err
		}
	}
	if len(r.names) > maxMaskClasses {
		return &Problem{File: r.file, What: fmt.Sprintf("%d classes; a mask tells %d apart", len(r.names), maxMaskClasses)}
	}
	return nil
}

// number decides which class a name is: its place among Options.Classes, if there are any.
func (r *segmenter) number() {
	want := r.options.Classes
	if r.names == nil {
		r.names = want
	}
	for i, name := range r.names {
		class := i
		if want != nil {
			if class = slices.Index(want, name); class < 0 {
				class = Ignore
				r.add(r.file, 0, "class %s is none of those to judge by; ignored", quote(name))
			}
		}
		r.class = append(r.class, uint8(class))
	}
	for colour, i := range r.s.code.colour {
		if i != Ignore {
			r.s.code.colour[colour] = r.class[i]
		}
	}
}

// pairs finds a mask for each picture.
func (r *segmenter) pairs(images, masks, list string) error {
	wanted := map[string]int{} // by name in a list: its line
	if list != "" {
		data, err := pixels.ReadFile(list, maxList)
		if err != nil {
			return err
		}
		for i, line := range strings.Split(string(data), "\n") {
			if name := strings.TrimSpace(line); name != "" {
				if first, twice := wanted[name]; twice {
					r.add(list, i+1, "%s is listed in line %d already; skipped", quote(name), first)
					continue
				}
				wanted[name] = i + 1
			}
		}
	}
	unused := map[string]string{} // masks by name without ending
	for path, err := range pixels.Walk([]string{masks}, nil) {
		if err != nil {
			r.walked(path, err)
			continue
		}
		unused[relativeStem(masks, path)] = path
	}
	for path, err := range pixels.Walk([]string{images}, nil) {
		if err != nil {
			r.walked(path, err)
			continue
		}
		name := relativeStem(images, path)
		if list != "" {
			if _, ok := wanted[name]; !ok {
				continue
			}
			delete(wanted, name)
		}
		mask, ok := unused[name]
		if !ok {
			r.add(path, 0, "no mask %s.png in %s; skipped", pixels.Printable(name), pixels.Printable(masks))
			continue
		}
		delete(unused, name)
		r.s.Paths = append(r.s.Paths, path)
		r.s.Masks = append(r.s.Masks, mask)
	}
	if list != "" {
		for _, name := range slices.SortedFunc(maps.Keys(wanted), func(a, b string) int { return wanted[a] - wanted[b] }) {
			r.add(list, wanted[name], "no picture %s in %s; skipped", quote(name), pixels.Printable(images))
		}
		return nil
	}
	for _, path := range slices.Sorted(maps.Values(unused)) {
		r.add(path, 0, "a mask without a picture, or with a second one of its name; not used")
	}
	return nil
}

// relativeStem is the path of a file below a folder, without its ending.
func relativeStem(folder, path string) string {
	rel, err := filepath.Rel(folder, path)
	if err != nil {
		rel = path
	}
	return stem(filepath.ToSlash(rel))
}

// read looks at every mask: pairs that cannot be used are taken off the list, values become classes, pixels are counted.
func (r *segmenter) read() error {
	s := r.s
	kept := 0
	byColour := s.code.colour != nil
	limit := len(r.names)
	for i, path := range s.Masks {
		m, size, err := r.checked(s.Paths[i], path)
		if err != nil {
			var fe *pixels.FileError
			if errors.As(err, &fe) {
				path, err = fe.Path, fe.Err
			}
			r.unreadable(path, 0, err, "skipped")
			continue
		}
		if byColour {
			var strays stray
			m.index, strays = s.code.classes(m)
			r.strays(path, strays)
		}
		var here [256]int64
		first := -1 // the first sample that is no class
		for at, v := range m.index {
			here[v]++
			if first < 0 && !byColour && limit > 0 && int(v) >= limit && v != Ignore {
				first = at
			}
		}
		if first >= 0 {
			n := 0
			for v := limit; v < Ignore; v++ {
				n += int(here[v])
			}
			r.strays(path, stray{pixels: n, x: first % m.w, y: first / m.w, what: fmt.Sprintf("value %d of %d classes", m.index[first], limit)})
		}
		var seen []sample
		for v, n := range here {
			if n > 0 {
				seen = append(seen, sample{uint8(v), n})
			}
		}
		r.seen = append(r.seen, seen)
		s.Paths[kept], s.Masks[kept] = s.Paths[i], s.Masks[i]
		s.Sizes = append(s.Sizes, size)
		kept++
	}
	s.Paths, s.Masks = s.Paths[:kept], s.Masks[:kept]
	if kept == 0 {
		return nil
	}
	return r.settle()
}

func (r *segmenter) strays(path string, s stray) {
	if s.pixels > 0 {
		r.add(path, 0, "%d pixels are of no class, the first at (%d, %d): %s; ignored", s.pixels, s.x, s.y, s.what)
	}
}

// checked reads a mask that fits its picture.
func (r *segmenter) checked(picture, path string) (mask, pixels.Size, error) {
	size, err := pixels.ReadSize(picture)
	if err != nil {
		return mask{}, size, err
	}
	data, err := pixels.ReadFile(path, maxMaskFile)
	if err != nil {
		return mask{}, size, err
	}
	m, err := readMask(data, r.s.limits, r.s.code.colour != nil)
	if err != nil || m.w == size.W && m.h == size.H {
		return m, size, err
	}
	if w, h := size.Stored(); m.w == w && m.h == h {
		return m, size, fmt.Errorf("has %dx%d pixels as %s is stored, but that is turned to %dx%d when it is read (EXIF orientation %d): turn the mask as well, or take the tag off the picture", m.w, m.h, pixels.Printable(picture), size.W, size.H, size.Orientation)
	}
	return m, size, fmt.Errorf("has %dx%d pixels, but %s has %dx%d", m.w, m.h, pixels.Printable(picture), size.W, size.H)
}

// settle decides which class a sample is, from the samples of all masks, and counts classes.
func (r *segmenter) settle() error {
	s := r.s
	highest, white := 0, false
	for _, seen := range r.seen {
		for _, p := range seen {
			if white = white || p.v == 255; p.v != 255 {
				highest = max(highest, int(p.v))
			}
		}
	}
	s.Classes = r.names
	if r.options.Classes != nil {
		s.Classes = r.options.Classes
	}
	byColour := s.code.colour != nil
	blackAndWhite := !byColour && white && highest == 0 && (r.names == nil || len(r.names) == 2)
	if r.names == nil {
		classes := highest + 1
		if blackAndWhite || classes < 2 {
			classes = 2
		}
		if classes > unnamedClasses {
			return fmt.Errorf("%s and other masks have values up to %d: if these are classes, name them in a file classes.txt, one a line", pixels.Printable(s.Masks[0]), highest)
		}
		for c := range classes {
			s.Classes = append(s.Classes, strconv.Itoa(c))
			r.class = append(r.class, uint8(c))
		}
	}
	for v := range s.code.index {
		s.code.index[v] = Ignore
		switch {
		case byColour && v < len(s.Classes):
			s.code.index[v] = uint8(v)
		case !byColour && v < len(r.class):
			s.code.index[v] = r.class[v]
		}
	}
	if blackAndWhite {
		s.code.index[1], s.code.index[255] = Ignore, s.code.index[1]
	}
	for _, seen := range r.seen {
		here := make([]int64, len(s.Classes))
		for _, p := range seen {
			if class := s.code.index[p.v]; class == Ignore {
				s.Ignored += p.n
			} else {
				here[class] += p.n
			}
		}
		s.Pixels = append(s.Pixels, here)
	}
	return nil
}
