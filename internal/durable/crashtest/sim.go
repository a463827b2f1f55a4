// Package crashtest is a file system for tests of what internal/durable writes: it loses power, and its operations fail.
package crashtest

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"edgejepa/internal/durable"
)

// Sim is a file system in memory for one folder. Like a real one it loses at a crash what was not flushed: the bytes of
// a file since its Sync, and any of the folder's changes since SyncDir.
type Sim struct {
	dir     string
	names   map[string]*inode // as programs see the folder, by name
	durable map[string]*inode // as it was at the last SyncDir
	pending []func(map[string]*inode)

	Ops    int       // operations so far
	FailAt int       // number of the first operation that fails, 0 for none
	Once   bool      // only that one fails
	Err    error     // with this error
	Short  bool      // a failing write writes half
	Before func(int) // called before each operation with its number, if not nil
}

// inode is a file: as programs see it, and as it was flushed. The first kept bytes of both are the same.
type inode struct {
	data, synced []byte
	kept         int
}

func flushed(data []byte) *inode { return &inode{data, slices.Clone(data), len(data)} }

// NewSim returns an empty folder of that name.
func NewSim(dir string) *Sim {
	return &Sim{dir: dir, names: map[string]*inode{}, durable: map[string]*inode{}}
}

// Load fills the folder with the files of a real one, all of them flushed.
func (s *Sim) Load(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		s.names[e.Name()] = flushed(data)
	}
	s.durable = maps.Clone(s.names)
	return nil
}

// Files are the names and contents as programs see them.
func (s *Sim) Files() map[string][]byte {
	files := map[string][]byte{}
	for name, node := range s.names {
		files[name] = node.data
	}
	return files
}

// ReadFile is os.ReadFile.
func (s *Sim) ReadFile(path string) ([]byte, error) {
	if node := s.names[filepath.Base(path)]; node != nil {
		return node.data, nil
	}
	return nil, fs.ErrNotExist
}

func (s *Sim) fault() error {
	s.Ops++
	if s.Before != nil {
		s.Before(s.Ops)
	}
	if s.FailAt > 0 && (s.Ops == s.FailAt || s.Ops > s.FailAt && !s.Once) {
		return s.Err
	}
	return nil
}

func (s *Sim) change(f func(map[string]*inode)) {
	f(s.names)
	s.pending = append(s.pending, f)
}

// Create is that of durable.FS.
func (s *Sim) Create(path string, _ fs.FileMode) (durable.File, error) {
	if err := s.fault(); err != nil {
		return nil, err
	}
	name := filepath.Base(path)
	if s.names[name] != nil {
		return nil, fs.ErrExist
	}
	return s.add(name), nil
}

// Append is that of durable.FS.
func (s *Sim) Append(path string, _ fs.FileMode) (durable.Log, error) {
	if err := s.fault(); err != nil {
		return nil, err
	}
	name := filepath.Base(path)
	if node := s.names[name]; node != nil {
		return &simFile{s, node}, nil
	}
	return s.add(name), nil
}

func (s *Sim) add(name string) *simFile {
	node := &inode{}
	s.change(func(m map[string]*inode) { m[name] = node })
	return &simFile{s, node}
}

// Rename is that of durable.FS.
func (s *Sim) Rename(from, to string) error {
	if err := s.fault(); err != nil {
		return err
	}
	from, to = filepath.Base(from), filepath.Base(to)
	node := s.names[from]
	if node == nil {
		return fs.ErrNotExist
	}
	s.change(func(m map[string]*inode) {
		if m[from] == node {
			delete(m, from)
		}
		m[to] = node
	})
	return nil
}

// Remove is that of durable.FS.
func (s *Sim) Remove(path string) error {
	if err := s.fault(); err != nil {
		return err
	}
	name := filepath.Base(path)
	if s.names[name] == nil {
		return fs.ErrNotExist
	}
	s.change(func(m map[string]*inode) { delete(m, name) })
	return nil
}

// SyncDir is that of durable.FS.
func (s *Sim) SyncDir(string) error {
	if err := s.fault(); err != nil {
		return err
	}
	s.durable, s.pending = maps.Clone(s.names), nil
	return nil
}

// List is that of durable.FS.
func (s *Sim) List(string) ([]string, error) {
	if err := s.fault(); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(s.names)), nil
}

// Crash returns the folder after power came back: of its unflushed changes a prefix survives, as with a journal, or any
// subset; of a file's unflushed bytes any prefix, followed by zeros or nothing; and a file that was cut may not have been.
func (s *Sim) Crash(r *rand.Rand, journal bool) *Sim {
	after := maps.Clone(s.durable)
	cut := r.IntN(len(s.pending) + 1)
	for i, f := range s.pending {
		if journal && i < cut || !journal && r.IntN(2) == 0 {
			f(after)
		}
	}
	back := NewSim(s.dir)
	for _, name := range slices.Sorted(maps.Keys(after)) { // in order: r is drawn from
		back.names[name] = flushed(after[name].crash(r))
	}
	back.durable = maps.Clone(back.names)
	return back
}

func (n *inode) crash(r *rand.Rand) []byte {
	if n.kept < len(n.synced) && r.IntN(2) == 0 {
		return n.synced
	}
	data := slices.Clone(n.data[:n.kept])
	if lost := n.data[n.kept:]; len(lost) > 0 {
		data = append(data, lost[:r.IntN(len(lost)+1)]...)
		if r.IntN(2) == 0 {
			data = append(data, make([]byte, len(n.data)-len(data))...)
		}
	}
	return data
}

// WriteTo makes dir, which is to be empty, hold the folder's files.
func (s *Sim) WriteTo(dir string) error {
	var errs []error
	for name, data := range s.Files() {
		errs = append(errs, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	return errors.Join(errs...)
}

type simFile struct {
	s    *Sim
	node *inode
}

func (f *simFile) Write(b []byte) (int, error) {
	err := f.s.fault()
	if err != nil {
		if !f.s.Short {
			return 0, err
		}
		b = b[:len(b)/2]
	}
	f.node.data = append(f.node.data, b...)
	return len(b), err
}

func (f *simFile) Sync() error {
	if err := f.s.fault(); err != nil {
		return err
	}
	*f.node = *flushed(f.node.data)
	return nil
}

func (f *simFile) Close() error { return f.s.fault() }

func (f *simFile) Size() (int64, error) { return int64(len(f.node.data)), nil }

func (f *simFile) ReadAt(b []byte, off int64) (int, error) {
	n := copy(b, f.node.data[min(off, int64(len(f.node.data))):])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *simFile) Truncate(size int64) error {
	if err := f.s.fault(); err != nil {
		return err
	}
	f.node.data = slices.Clone(f.node.data[:size])
	f.node.kept = min(f.node.kept, int(size))
	return nil
}
