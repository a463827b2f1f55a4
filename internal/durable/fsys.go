package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FS is what of a file system writing needs. Everything that this package writes goes through one, so that tests can put
// one in its place that fails, or loses power.
type FS interface {
	Create(path string, perm fs.FileMode) (File, error) // a new file; it must not exist
	Append(path string, perm fs.FileMode) (Log, error)  // a file to add to, created when absent
	Rename(from, to string) error                       // replaces to
	Remove(path string) error
	SyncDir(path string) error // after it, what was renamed, created and removed in the folder survives a power cut
	List(path string) ([]string, error)
}

// File is a file being written.
type File interface {
	io.Writer
	Sync() error
	Close() error
}

// Log is a file being added to.
type Log interface {
	File
	io.ReaderAt
	Size() (int64, error)
	Truncate(size int64) error
}

var system FS = Disk{}

// Replace puts d in the place of the disk until restore is called. It is for tests, which then write nothing else at that time.
func Replace(d FS) (restore func()) {
	before := system
	system = d
	return func() { system = before }
}

// Remove removes a file; that it is absent is no error. It may be back after a power cut, unless SyncDir comes before.
func Remove(path string) error {
	if err := system.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// SyncDir makes what was removed from a folder stay removed.
func SyncDir(path string) error { return system.SyncDir(path) }

// MkdirAll makes a folder and those above it that are missing, and flushes the entries of all that it made: a flushed file
// in a folder that is gone after a power cut is gone, too. Where the folder above may not be read its entries are not flushed.
func MkdirAll(path string, perm fs.FileMode) error {
	var made []string
	for dir := filepath.Clean(path); ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		made = append(made, dir)
	}
	if err := os.MkdirAll(path, perm); err != nil {
		return err
	}
	for _, dir := range made {
		if err := (Disk{}).SyncDir(filepath.Dir(dir)); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return nil
}

// Disk is the real file system.
type Disk struct{}

// Create is that of FS.
func (Disk) Create(path string, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Append is that of FS.
func (Disk) Append(path string, perm fs.FileMode) (Log, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, perm)
	if err != nil {
		return nil, err
	}
	return diskLog{f}, nil
}

type diskLog struct{ *os.File }

func (l diskLog) Size() (int64, error) {
	info, err := l.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Rename is that of FS.
func (Disk) Rename(from, to string) error { return os.Rename(from, to) }

// Remove is that of FS.
func (Disk) Remove(path string) error { return os.Remove(path) }

// List is that of FS.
func (Disk) List(path string) ([]string, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(-1)
}
