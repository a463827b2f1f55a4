package durable

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
)

// sim is a file system in memory for one folder. Like a real one it loses at a crash what was not flushed: the bytes of
// a file since its Sync, and any of the folder's changes since syncDir.
type sim struct {
	names   map[string]*inode // as programs see the folder
	durable map[string]*inode // as it was at the last syncDir
	pending []func(map[string]*inode)

	ops    int   // operations so far
	failAt int   // number of the first operation that fails, 0 for none
	once   bool  // only that one fails
	err    error // with this error
	short  bool  // a failing write writes half
}

type inode struct{ data, synced []byte }

func newSim() *sim { return &sim{names: map[string]*inode{}, durable: map[string]*inode{}} }

func (s *sim) fault() error {
	s.ops++
	if s.failAt > 0 && (s.ops == s.failAt || s.ops > s.failAt && !s.once) {
		return s.err
	}
	return nil
}

func (s *sim) change(f func(map[string]*inode)) {
	f(s.names)
	s.pending = append(s.pending, f)
}

func (s *sim) create(path string, _ fs.FileMode) (file, error) {
	if err := s.fault(); err != nil {
		return nil, err
	}
	if s.names[path] != nil {
		return nil, fs.ErrExist
	}
	node := &inode{}
	s.change(func(m map[string]*inode) { m[path] = node })
	return &simFile{s, node}, nil
}

func (s *sim) rename(from, to string) error {
	if err := s.fault(); err != nil {
		return err
	}
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

func (s *sim) remove(path string) error {
	if err := s.fault(); err != nil {
		return err
	}
	if s.names[path] == nil {
		return fs.ErrNotExist
	}
	s.change(func(m map[string]*inode) { delete(m, path) })
	return nil
}

func (s *sim) syncDir(string) error {
	if err := s.fault(); err != nil {
		return err
	}
	s.durable, s.pending = maps.Clone(s.names), nil
	return nil
}

func (s *sim) list(string) ([]string, error) {
	if err := s.fault(); err != nil {
		return nil, err
	}
	var names []string
	for path := range s.names {
		names = append(names, path[len("run/"):])
	}
	slices.Sort(names)
	return names, nil
}

// crash returns the disk after power came back: of the folder's unflushed changes a prefix survives, as with a journal,
// or any subset; of a file's unflushed bytes any prefix, followed by zeros or nothing.
func (s *sim) crash(r *rand.Rand, journal bool) *sim {
	after := maps.Clone(s.durable)
	cut := r.IntN(len(s.pending) + 1)
	for i, f := range s.pending {
		if journal && i < cut || !journal && r.IntN(2) == 0 {
			f(after)
		}
	}
	back := newSim()
	for name, node := range after {
		data := slices.Clone(node.synced)
		if lost := node.data[len(node.synced):]; len(lost) > 0 {
			data = append(data, lost[:r.IntN(len(lost)+1)]...)
			if r.IntN(2) == 0 {
				data = append(data, make([]byte, len(node.data)-len(data))...)
			}
		}
		back.names[name] = &inode{data, data}
	}
	back.durable = maps.Clone(back.names)
	return back
}

type simFile struct {
	s    *sim
	node *inode
}

func (f *simFile) Write(b []byte) (int, error) {
	if err := f.s.fault(); err != nil {
		n := 0
		if f.s.short {
			n = len(b) / 2
		}
		f.node.data = append(f.node.data, b[:n]...)
		return n, err
	}
	f.node.data = append(f.node.data, b...)
	return len(b), nil
}

func (f *simFile) Sync() error {
	if err := f.s.fault(); err != nil {
		return err
	}
	f.node.synced = f.node.data
	return nil
}

func (f *simFile) Close() error { return f.s.fault() }

var errNoSum = errors.New("checksum does not match")
