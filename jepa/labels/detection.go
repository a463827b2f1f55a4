package labels

import (
	"fmt"
	"path/filepath"

	"edgejepa/vit/pixels"
)

// Box is where an object is, in pixels of the upright picture from its top left corner: the half-open rectangle
// [X0, X1) by [Y0, Y1), so that a box of the whole picture is 0, 0, W, H. It lies within the picture and is not empty.
type Box struct {
	X0, Y0, X1, Y1 float64
	Class          int
	Area           float64 // of the object in square pixels where COCO's file states it; 0: not stated, take the box's
	Difficult      bool    // Pascal VOC: hard to see; not held against a detector that misses it
	Crowd          bool    // COCO: a group, not one object
}

// Detection is a list of pictures with the objects in them.
type Detection struct {
	Paths   []string
	Sizes   []pixels.Size
	Boxes   [][]Box  // [picture]; none is a picture without objects
	Classes []string // Options.Classes; or as listed (YOLO), by id (COCO), or found in byte order (VOC)
}

// Counts returns the number of boxes of each class [C], crowds included.
func (d *Detection) Counts() []int64 {
	n := make([]int64, len(d.Classes))
	for _, boxes := range d.Boxes {
		for _, b := range boxes {
			n[b.Class]++
		}
	}
	return n
}

// OpenDetection reads boxes. What path is tells the format:
//
//   - a folder with Annotations/*.xml beside JPEGImages/, or with XML beside the pictures, or a list ImageSets/Main/*.txt:
//     Pascal VOC. Split names the list. VOC counts pixels from 1 and includes the last one, so (xmin, ymin, xmax, ymax)
//     becomes [xmin-1, xmax) by [ymin-1, ymax), as detectron2 does it; MMDetection subtracts 1 from all four, which makes
//     boxes a pixel smaller, and tools that copy the numbers make them begin a pixel later.
//   - a .json file, or a folder with one or with annotations/*.json: COCO. Split picks the file with that in its name.
//   - a data.yaml, or a folder with one, or with images/ beside labels/, or with text files beside the pictures; class names
//     from the YAML or classes.txt: YOLO. Split is the YAML's key or a sub-folder's name.
//
// Sizes are read from the headers of the pictures. Where an annotation states another size it is for another picture, and
// the picture is skipped; but if it states the size that a turned picture has in its file, its boxes are turned as well.
// Boxes that reach beyond the picture are clipped, empty ones are dropped.
//
// It is an error if the format is not recognised, a list or a COCO file cannot be read, or no picture is left.
func OpenDetection(path string, o Options) (*Detection, error) {
	source, err := recognise(path, o.Split)
	if err != nil {
		return nil, err
	}
	b := newBoxReader(o)
	switch source.format {
	case formatVOC:
		err = b.openVOC(source)
	case formatCOCO:
		err = b.openCOCO(source)
	default:
		err = b.openYOLO(source)
	}
	if err != nil {
		return nil, err
	}
	d := &b.found
	if len(d.Paths) == 0 {
		if b.first != nil {
			return nil, fmt.Errorf("no picture of %s can be used; the first of %d problems: %w", pixels.Printable(path), b.count, b.first)
		}
		return nil, fmt.Errorf("no labelled pictures in %s", pixels.Printable(path))
	}
	d.Classes = b.classes.names
	if source.format == formatVOC { // classes come in the order of the files
		var moved []int
		d.Classes, moved = b.classes.sorted()
		for _, boxes := range d.Boxes {
			for i := range boxes {
				boxes[i].Class = moved[boxes[i].Class]
			}
		}
	}
	if len(d.Classes) == 0 {
		return nil, fmt.Errorf("no boxes in %s: there is nothing to detect", pixels.Printable(path))
	}
	return d, b.done()
}

// boxReader gathers pictures and boxes of any format.
type boxReader struct {
	*reporter
	classes *classSet
	found   Detection
	seen    map[string]bool // by clean path
}

func newBoxReader(o Options) *boxReader {
	return &boxReader{reporter: &reporter{options: o}, classes: newClassSet(o.Classes), seen: map[string]bool{}}
}

// rawBox is a box as a file has it.
type rawBox struct {
	Box
	line     int
	relative bool // coordinates are fractions of the picture's sides
}

// picture takes a picture and its boxes; it says so if it cannot. file and line are of the annotation, width and height what
// that says of the picture, 0 if nothing.
func (b *boxReader) picture(path, file string, line, width, height int, boxes []rawBox) {
	if key := filepath.Clean(path); b.seen[key] {
		b.add(file, line, "%s is annotated already; its %d boxes here are skipped", pixels.Printable(path), len(boxes))
		return
	} else {
		b.seen[key] = true
	}
	size, err := pixels.ReadSize(path)
	if err != nil {
		if file == path {
			b.walked(file, err)
		} else {
			b.unreadable(file, line, err, "skipped")
		}
		return
	}
	turn := 1
	if stored, high := size.Stored(); width > 0 && height > 0 && (width != size.W || height != size.H) {
		if size.Orientation < 5 || width != stored || height != high {
			b.add(file, line, "is for a picture of %dx%d pixels, but %s has %dx%d; skipped", width, height, pixels.Printable(path), size.W, size.H)
			return
		}
		turn = size.Orientation
		b.add(file, line, "is for %s as it is stored, %dx%d, not upright; its boxes are turned", pixels.Printable(path), width, height)
	}
	kept := make([]Box, 0, len(boxes))
	known := map[Box]bool{}
	for i, raw := range boxes {
		if raw.relative {
			raw.scale(float64(size.W), float64(size.H))
		}
		if turn != 1 {
			raw.turn(turn, size)
		}
		name := fmt.Sprintf("box %d (%s)", i+1, b.classes.names[raw.Class])
		fixed, ok := b.fit(raw, size, name, file)
		if !ok {
			continue
		}
		where := Box{X0: fixed.X0, Y0: fixed.Y0, X1: fixed.X1, Y1: fixed.Y1, Class: fixed.Class, Crowd: fixed.Crowd}
		if known[where] {
			b.add(file, raw.line, "%s is there already; dropped", name)
			continue
		}
		known[where] = true
		kept = append(kept, fixed)
	}
	b.found.Paths = append(b.found.Paths, path)
	b.found.Sizes = append(b.found.Sizes, size)
	b.found.Boxes = append(b.found.Boxes, kept)
}
