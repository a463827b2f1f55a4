package pixels

import (
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
// unsupported kind; other files are passed over in silence. So are hidden files, @eaDir, .git and node_modules, unless
// they are named in paths. Links to files and folders are followed; a folder is entered through a link at most once,
// and never from inside itself. FIFOs, devices and sockets are not opened.
func Walk(paths []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		w := walker{yield: yield, entered: map[string]bool{}, head: make([]byte, SniffLen)}
		for _, p := range paths {
			if !w.root(p) {
				return
			}
		}
	}
}

type walker struct {
	yield   func(string, error) bool
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

// entry is a name in a folder. A folder's name ends in a slash, so that sorting the names sorts the paths.
type entry struct {
	name string
	link bool
}

func (w *walker) folder(path string, info fs.FileInfo) bool {
	entries, err := readFolder(path)
	if err != nil && !w.skip(path, err) {
		return false
	}
	w.above = append(w.above, info)
	defer func() { w.above = w.above[:len(w.above)-1] }()
	for _, e := range entries {
		name, isFolder := strings.CutSuffix(e.name, "/")
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
			case e.link && !w.mayEnter(child, info):
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
	return true
}

func (w *walker) skip(path string, err error) bool { return w.yield(path, fileError(path, err)) }

// readFolder returns the sorted entries of a folder that are worth a look: folders, regular files, and links to
// either. It reads in batches and keeps only names, since a folder may hold a million.
func readFolder(path string) ([]entry, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var entries []entry
	for {
		batch, err := f.ReadDir(1024)
		for _, d := range batch {
			if e, ok := classify(path, d); ok {
				entries = append(entries, e)
			}
		}
		if err != nil {
			slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return entries, err
		}
	}
}

func classify(folder string, d fs.DirEntry) (e entry, ok bool) {
	name := d.Name()
	if strings.HasPrefix(name, ".") || name == "@eaDir" || name == "node_modules" {
		return e, false
	}
	mode, link := d.Type(), d.Type()&fs.ModeSymlink != 0
	if link {
		info, err := os.Stat(join(folder, name))
		if err != nil {
			// A dangling link is reported if it promises a picture.
			return entry{name: name, link: true}, looksLikePicture(name)
		}
		mode = info.Mode()
	}
	switch {
	case mode.IsDir():
		return entry{name: name + "/", link: link}, true
	case mode.IsRegular():
		return entry{name: name, link: link}, true
	}
	return e, false
}

// join is filepath.Join without cleaning: the path keeps the form in which the user gave it.
func join(folder, name string) string {
	if strings.HasSuffix(folder, "/") || strings.HasSuffix(folder, string(filepath.Separator)) {
		return folder + name
	}
	return folder + string(filepath.Separator) + name
}
