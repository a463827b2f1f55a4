package durable

import (
	"io"
	"io/fs"
	"os"
)

// fsys is the little of a file system that saving needs, so that tests can put one in its place that fails and crashes.
type fsys interface {
	create(path string, perm fs.FileMode) (file, error) // a new file; it must not exist
	rename(from, to string) error                       // replaces to
	remove(path string) error
	syncDir(path string) error // after it, the renames in the folder survive a power cut
	list(path string) ([]string, error)
}

type file interface {
	io.Writer
	Sync() error
	Close() error
}

// disk is the real file system.
type disk struct{}

func (disk) create(path string, perm fs.FileMode) (file, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (disk) rename(from, to string) error { return os.Rename(from, to) }

func (disk) remove(path string) error { return os.Remove(path) }

func (disk) list(path string) ([]string, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(-1)
}
