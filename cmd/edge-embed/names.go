package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"edgejepa/internal/durable"
	"edgejepa/vit/pixels"
)

// below is where under dir the file that belongs to a picture lies: at the picture's path, with an ending of its own, so that
// no two pictures share one. What leads out of dir becomes a name: %root, %up, or % and a Windows volume; a name that begins
// with % gets another.
func below(dir, picture, ending string) string {
	path := filepath.Clean(picture)
	volume := filepath.VolumeName(path)
	path = filepath.ToSlash(path[len(volume):])
	parts := []string{dir}
	if volume != "" {
		parts = append(parts, "%"+strings.NewReplacer(":", "", "/", "_", `\`, "_").Replace(volume))
	}
	if strings.HasPrefix(path, "/") {
		parts = append(parts, "%root")
	}
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		switch {
		case name == "..":
			name = "%up"
		case strings.HasPrefix(name, "%"):
			name = "%" + name
		}
		parts = append(parts, name)
	}
	return filepath.Join(parts...) + ending
}

// writeBelow writes the file of a picture and the folders that lead to it. That the name is too long, or needs a folder where
// a file is, is said of the picture; other errors are about the disk.
func writeBelow(file, picture string, write func(io.Writer) error) error {
	err := os.MkdirAll(filepath.Dir(file), 0o777)
	if err == nil {
		err = durable.WriteFile(file, 0o666, write)
	}
	for _, of := range []error{syscall.ENAMETOOLONG, syscall.ENOTDIR, syscall.EISDIR} {
		if errors.Is(err, of) {
			return &pixels.FileError{Path: picture, Err: err}
		}
	}
	return err
}

// checkFolder finds what is wrong with a folder that the run will fill: files that it might replace, and that its files would
// be among the pictures.
func (o *options) checkFolder(flag, dir string) error {
	if dir == "" {
		return nil
	}
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("%s: %w", flag, err)
	case len(entries) > 0 && !o.force:
		return fmt.Errorf("%s: %s is not empty: choose another folder, or add --force", flag, dir)
	}
	at, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for {
		if here, err := os.Stat(at); err == nil {
			for _, path := range o.paths {
				if info, err := os.Stat(path); err == nil && info.IsDir() && os.SameFile(here, info) {
					return fmt.Errorf("%s: %s lies in %s, whose pictures are read: choose another folder", flag, dir, path)
				}
			}
		}
		up := filepath.Dir(at)
		if up == at {
			return nil
		}
		at = up
	}
}
