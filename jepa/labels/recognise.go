package labels

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"edgejepa/vit/pixels"
)

type format uint8

const (
	formatNone format = iota
	formatVOC
	formatCOCO
	formatYOLO
)

// source is where annotations were found.
type source struct {
	format format
	root   string // the folder that holds them
	file   string // the list (VOC), JSON (COCO) or YAML (YOLO) to read; may be empty for VOC and YOLO
	split  string // the part wanted that file does not say yet
}

// recognise tells what holds the boxes at path.
func recognise(path, split string) (source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return source{}, err
	}
	if !info.IsDir() {
		return recogniseFile(path, split)
	}
	if s, err := recogniseFolder(path, split); s.format != formatNone || err != nil {
		return s, err
	}
	if split != "" { // a folder for each part
		if s, err := recogniseFolder(filepath.Join(path, split), ""); s.format != formatNone || err != nil {
			return s, err
		}
	}
	// What an archive unpacks to is often one folder in a folder: VOCdevkit/VOC2007.
	for inner := path; ; {
		folders := foldersIn(inner)
		if len(folders) != 1 || len(inner) > len(path)+200 {
			break
		}
		inner = filepath.Join(inner, folders[0])
		if s, err := recogniseFolder(inner, split); s.format != formatNone || err != nil {
			return s, err
		}
	}
	return source{}, fmt.Errorf("%s: no boxes found: neither Pascal VOC (Annotations/*.xml), nor COCO (annotations/*.json), nor YOLO (data.yaml, or images/, labels/ and classes.txt)", pixels.Printable(path))
}

func recogniseFile(path, split string) (source, error) {
	folder := filepath.Dir(path)
	switch strings.ToLower(filepath.Ext(path)) {
	case ".json":
		return source{format: formatCOCO, root: folder, file: path}, nil
	case ".yaml", ".yml":
		return source{format: formatYOLO, root: folder, file: path, split: split}, nil
	case ".txt":
		if root := filepath.Join(folder, "..", ".."); isFolder(filepath.Join(root, "Annotations")) {
			return source{format: formatVOC, root: root, file: path}, nil
		}
	}
	return source{}, fmt.Errorf("%s: not a file that boxes are read from: give COCO's .json, YOLO's data.yaml, Pascal VOC's ImageSets/Main/*.txt, or a folder", pixels.Printable(path))
}

// recogniseFolder returns format none if the folder holds no boxes that are known.
func recogniseFolder(root, split string) (source, error) {
	s := source{root: root, split: split}
	if isFolder(filepath.Join(root, "Annotations")) && len(filesIn(filepath.Join(root, "Annotations"), ".xml")) > 0 {
		return s.voc()
	}
	if f := firstFile(root, "data.yaml", "data.yml", "dataset.yaml", "dataset.yml"); f != "" {
		s.format, s.file = formatYOLO, f
		return s, nil
	}
	candidates := slices.Concat(filesIn(root, ".json"), filesIn(filepath.Join(root, "annotations"), ".json"))
	if split != "" {
		candidates = slices.Concat(filesIn(filepath.Join(root, split), ".json"), slices.DeleteFunc(candidates, func(f string) bool { return !namesSplit(f, split) }))
	}
	candidates = slices.DeleteFunc(candidates, func(f string) bool { // COCO's own archive holds these beside the boxes
		name := filepath.Base(f)
		return strings.HasPrefix(name, "captions_") || strings.HasPrefix(name, "person_keypoints_") || strings.HasPrefix(name, "image_info_")
	})
	switch {
	case len(candidates) == 1:
		s.format, s.file = formatCOCO, candidates[0]
		return s, nil
	case len(candidates) > 1:
		return source{}, fmt.Errorf("%s: %d JSON files, among them %s and %s: name one of them, or a split", pixels.Printable(root), len(candidates), filepath.Base(candidates[0]), filepath.Base(candidates[1]))
	}
	if len(filesIn(root, ".xml")) > 0 {
		return s.voc()
	}
	if isFolder(filepath.Join(root, "labels")) && isFolder(filepath.Join(root, "images")) || firstFile(root, "classes.txt", "obj.names") != "" {
		s.format = formatYOLO
		return s, nil
	}
	return source{}, nil
}

// voc looks for the list of a split.
func (s source) voc() (source, error) {
	s.format = formatVOC
	if s.split == "" {
		return s, nil
	}
	s.file = filepath.Join(s.root, "ImageSets", "Main", s.split+".txt")
	if _, err := os.Stat(s.file); err != nil {
		if isFolder(filepath.Join(s.root, s.split)) {
			return source{}, nil // the part is a folder of its own
		}
		return source{}, fmt.Errorf("%s: no list of that name, so there is no part %s%s", pixels.Printable(s.file), quote(s.split), alternatives(filesIn(filepath.Dir(s.file), ".txt")))
	}
	return s, nil
}

// alternatives lists the names of files, for the end of a message.
func alternatives(files []string) string {
	if len(files) == 0 {
		return ""
	}
	var names []string
	for _, f := range files[:min(len(files), 8)] {
		names = append(names, strings.TrimSuffix(filepath.Base(f), filepath.Ext(f)))
	}
	return "; there is " + strings.Join(names, ", ")
}

// namesSplit says whether a split is a word of a file's name: val of instances_val2017.json, not of interval.json.
func namesSplit(file, split string) bool {
	words := strings.FieldsFunc(strings.ToLower(strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))), func(r rune) bool { return r < 'a' || r > 'z' })
	name := strings.ToLower(strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)))
	split = strings.ToLower(split)
	return slices.Contains(words, split) || name == split || strings.HasSuffix(name, "_"+split)
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// firstFile returns the first of the names that is a file in the folder, or nothing.
func firstFile(folder string, names ...string) string {
	for _, n := range names {
		if info, err := os.Stat(filepath.Join(folder, n)); err == nil && info.Mode().IsRegular() {
			return filepath.Join(folder, n)
		}
	}
	return ""
}

// filesIn returns the files in a folder with that ending, in byte order; none if there is no such folder. Hidden files do not
// count.
func filesIn(folder, ext string) []string {
	entries, _ := os.ReadDir(folder)
	var out []string
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") && strings.EqualFold(filepath.Ext(e.Name()), ext) {
			out = append(out, filepath.Join(folder, e.Name()))
		}
	}
	return out
}

// foldersIn returns the names of the folders in a folder, hidden ones left out.
func foldersIn(folder string) []string {
	entries, _ := os.ReadDir(folder)
	var out []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			out = append(out, e.Name())
		}
	}
	return out
}
