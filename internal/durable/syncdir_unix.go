//go:build unix

package durable

import (
	"errors"
	"os"
	"syscall"
)

// SyncDir is that of FS.
func (Disk) SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	err = dir.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil // a file system that cannot flush folders, such as some network mounts
	}
	return errors.Join(err, dir.Close())
}
