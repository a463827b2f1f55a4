package pixels

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Walk yields the pictures under paths, which may be folders of any nesting and files: in the order of the
// arguments, and within a folder in the byte order of the paths. A picture comes with a nil error; a path with an
// error is a file or folder that was passed over, and the error (a *FileError) says why.
//
// Every regular file is a candidate and its first bytes decide. A file that is no picture, or of a kind that is not
// decoded, is reported if it was named in paths, if its name promises a picture, or if it is a picture of an
// unsupported kind; other files are passed over, and only counted: in *others, unless that is nil. Hidden files, @eaDir,
// .git and node_modules are not looked at, unless they are named in paths. Links to files and folders are followed; a
// folder is entered through a link at most once, and never from inside itself. FIFOs, devices and sockets are such other
// files, which are not opened.
func Walk(paths []string, others *int64) iter.Seq2[string, error] {
	if others == nil {
		others = new(int64)
	}
	return func(yield func(string, error) bool) {
		w := walker{yield: yield, others: others, entered: map[string]bool{}, head: make([]byte, SniffLen)}
		for _, p := range paths {
			if !w.root(p) {
				return
			}
		}
	}
}

type walker struct {
	yield   func(string, error) bool
	others  *int64
	above   []fs.FileInfo   // the folders from the root to the one being read
	entered map[string]bool // real paths of the folders entered through a link
	head    []byte
}

// root visits one argument. It returns false when the consumer has had enough, as do the other methods.
func (w *walker) root(path string) bool {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return w.skip(path, err)
	case info.IsDir():
		w.above = w.above[:0]
		return w.folder(path, info)
	}
	return w.file(path, true)
}

func (w *walker) folder(path string, info fs.FileInfo) bool {
	names, err := w.readFolder(path)
	if err != nil && !w.skip(path, err) {
		return false
	}
	w.above = append(w.above, info)
	defer func() { w.above = w.above[:len(w.above)-1] }()
	for _, place := range names.places {
		text, link := names.entry(place)
		name, isFolder := strings.CutSuffix(string(text), "/")
		child := join(path, name)
		switch {
		case !isFolder:
			if !w.file(child, false) {
				return false
			}
		default:
			info, err := os.Stat(child)
			switch {
			case err != nil:
				if !w.skip(child, err) {
					return false
				}
			case link && !w.mayEnter(child, info):
			case !w.folder(child, info):
				return false
			}
		}
	}
	return true
}

// mayEnter says whether a link to a folder is to be followed.
func (w *walker) mayEnter(path string, info fs.FileInfo) bool {
	for _, a := range w.above {
		if os.SameFile(a, info) {
			return false
		}
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil || w.entered[target] {
		return false
	}
	w.entered[target] = true
	return true
}

func (w *walker) file(path string, named bool) bool {
	head, err := readHead(path, w.head)
	if err != nil {
		return w.skip(path, err)
	}
	f := formatOf(path, head)
	switch {
	case f.Supported():
		return w.yield(path, nil)
	case named || f.Picture() || looksLikePicture(path):
		return w.skip(path, unsupportedError(f, head))
	}
	*w.others++
	return true
}

func (w *walker) skip(path string, err error) bool { return w.yield(path, fileError(path, err)) }

// names are the entries of a folder. There may be a million, so they lie in blocks, not in a string each: one takes ten
// bytes beside its name. A folder's name ends in a slash, so that sorting the names sorts the paths.
type names struct {
	blocks [][]byte // of entries: two bytes with the length, and whether it is a link, and the name
	places []int    // of the entries: block * nameBlock + offset
}

const (
	nameBlock = 1 << 16
	linkBit   = 1 << 15 // no system has names as long
)

func (n *names) add(name string, link bool) {
	last := len(n.blocks) - 1
	switch {
	case last < 0: // most folders are small
		n.blocks, last = append(n.blocks, nil), 0
	case len(n.blocks[last])+2+len(name) > nameBlock:
		n.blocks, last = append(n.blocks, make([]byte, 0, nameBlock)), last+1
	}
	size := uint16(len(name))
	if link {
		size |= linkBit
	}
	b := n.blocks[last]
	n.places = append(n.places, last*nameBlock+len(b))
	n.blocks[last] = append(binary.LittleEndian.AppendUint16(b, size), name...)
}

func (n *names) entry(place int) (name []byte, link bool) {
	b := n.blocks[place/nameBlock][place%nameBlock:]
	size := binary.LittleEndian.Uint16(b)
	return b[2:][:size&^linkBit], size&linkBit != 0
}

func (n *names) sort() {
	slices.SortFunc(n.places, func(a, b int) int {
		x, _ := n.entry(a)
		y, _ := n.entry(b)
		return bytes.Compare(x, y)
	})
}

// readFolder returns the sorted entries of a folder that are worth a look: folders, regular files, links to either, and
// whatever else has a picture's name.
func (w *walker) readFolder(path string) (all names, err error) {
	f, err := os.Open(path)
	if err != nil {
		return all, err
	}
	defer f.Close()
	for {
		batch, err := f.ReadDir(1024)
		for _, d := range batch {
			switch name, link, use := classify(path, d); {
			case use:
				all.add(name, link)
			case !private(name):
				*w.others++
			}
		}
		if err != nil {
			all.sort()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return all, err
		}
	}
}

func private(name string) bool {
	return strings.HasPrefix(name, ".") || name == "@eaDir" || name == "node_modules"
}

func classify(folder string, d fs.DirEntry) (name string, link, use bool) {
	name = d.Name()
	if private(name) {
		return name, false, false
	}
	mode := d.Type()
	if link = mode&fs.ModeSymlink != 0; link {
		info, err := os.Stat(join(folder, name))
		if err != nil { // it leads nowhere
			return name, link, looksLikePicture(name)
		}
		mode = info.Mode()
	}
	if mode.IsDir() {
		return name + "/", link, true
	}
	return name, link, mode.IsRegular() || looksLikePicture(name)
}

// join is filepath.Join without cleaning: the path keeps the form in which the user gave it.
func join(folder, name string) string {
	if strings.HasSuffix(folder, "/") || strings.HasSuffix(folder, string(filepath.Separator)) {
		return folder + name
	}
	return folder + string(filepath.Separator) + name
}
