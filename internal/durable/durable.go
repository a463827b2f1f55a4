// Package durable writes files that survive crashes and power cuts.
//
// Nothing is overwritten in place: a file is written beside its destination, flushed to the disk, renamed over the
// destination, and the folder is flushed too. After a failed flush the same file is never tried again, since the kernel
// may have marked its lost pages as clean (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020).
package durable

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
)

// WriteFile replaces path by what write writes, or leaves path alone: a reader sees the old content or the new, never a
// part, and once WriteFile has returned nil the new content survives a power cut. A new file gets perm less the umask, an
// existing one keeps its permissions. Symbolic links are followed. A device or pipe is written directly.
//
// Errors name path. The error of write is wrapped.
func WriteFile(path string, perm fs.FileMode, write func(io.Writer) error) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if info, err := os.Stat(path); err == nil {
		switch mode := info.Mode(); {
		case mode.IsRegular():
			perm = mode.Perm()
		case mode.IsDir():
			return fmt.Errorf("cannot write %s: it is a folder", path)
		default:
			return writeStream(path, write)
		}
	}
	tmp, err := stage(path, perm, write)
	if err != nil {
		return err
	}
	return commit(tmp, path)
}

// commit gives the staged file tmp its name.
func commit(tmp, path string) error {
	if err := system.Rename(tmp, path); err != nil {
		_ = system.Remove(tmp)
		return err
	}
	return system.SyncDir(filepath.Dir(path))
}

// stage writes a complete, flushed temporary file beside path and returns its name. On error none is left.
func stage(path string, perm fs.FileMode, write func(io.Writer) error) (string, error) {
	tmp := tempName(path)
	f, err := system.Create(tmp, perm)
	if err != nil {
		return "", cannotWrite(path, tmp, err)
	}
	complete := false
	defer func() { // also when write panics
		if !complete {
			f.Close()
			_ = system.Remove(tmp)
		}
	}()
	w := bufio.NewWriterSize(counted{f}, 256<<10)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return "", cannotWrite(path, tmp, err)
	}
	complete = true
	return tmp, nil
}

// cannotWrite names path in the error instead of tmp, which nobody knows.
func cannotWrite(path, tmp string, err error) error {
	if pe, ok := err.(*fs.PathError); ok && pe.Path == tmp {
		err = pe.Err
	}
	return fmt.Errorf("cannot write %s: %w", path, err)
}

func writeStream(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 256<<10)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

// tempName is a new hidden name beside path that Sweep recognises.
func tempName(path string) string {
	dir, base := filepath.Split(path)
	return fmt.Sprintf("%s.%.200s.%016x.tmp", dir, base, rand.Uint64()) // names end at 255 bytes
}

var tempPattern = regexp.MustCompile(`^\..+\.[0-9a-f]{16}\.tmp$`)

// Sweep removes the temporary files that killed writers left in dir. Hold the Lock of dir: the temporary file of a live
// writer looks the same.
func Sweep(dir string) error {
	names, err := system.List(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if tempPattern.MatchString(name) {
			if err := Remove(filepath.Join(dir, name)); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
