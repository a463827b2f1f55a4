package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
)

// A checkpoint is a pair of files: name, the newest, and the one before it with a word put in before the extension.

// PrevName is the name of the checkpoint before name: checkpoint.prev.safetensors for checkpoint.safetensors.
func PrevName(name string) string { return withWord(name, "prev") }

// DamagedName is what Recover renames a checkpoint to that is not complete.
func DamagedName(name string) string { return withWord(name, "damaged") }

func withWord(name, word string) string {
	ext := filepath.Ext(name)
	return strings.TrimSuffix(name, ext) + "." + word + ext
}

// SaveCheckpoint writes dir/name durably and keeps the one before it as PrevName(name). At every instant a complete
// checkpoint exists under one of the two names, provided that dir/name was complete before (see Recover).
func SaveCheckpoint(dir, name string, write func(io.Writer) error) error {
	path := filepath.Join(dir, name)
	tmp, err := stage(path, 0o666, write)
	if err != nil {
		return err
	}
	// The new file is on the disk before the old one loses its name.
	err = system.Rename(path, filepath.Join(dir, PrevName(name)))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = system.Rename(tmp, path)
	}
	if err != nil {
		_ = system.Remove(tmp)
		return err
	}
	return system.SyncDir(dir)
}

// LoadNewest returns the path of the newest checkpoint that validate accepts. It only reads, so it may run beside a
// trainer; load inside validate then, because the trainer may rename the file at any time. The error is
// fs.ErrNotExist when there is no checkpoint, else it tells why each one was refused.
func LoadNewest(dir, name string, validate func(path string) error) (path string, err error) {
	path, _, err = newest(dir, name, validate)
	return path, err
}

func newest(dir, name string, validate func(path string) error) (path string, refused []error, err error) {
	absent := 0
	for _, n := range []string{name, PrevName(name)} {
		path := filepath.Join(dir, n)
		err := validate(path)
		if err == nil {
			return path, refused, nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			absent++
			continue
		}
		if !strings.Contains(err.Error(), path) {
			err = fmt.Errorf("%s: %w", path, err)
		}
		refused = append(refused, err)
	}
	if absent == 2 {
		return "", nil, fmt.Errorf("no checkpoint %s in %s: %w", name, dir, fs.ErrNotExist)
	}
	return "", refused, fmt.Errorf("no usable checkpoint in %s: %w", dir, errors.Join(refused...))
}

// Recover prepares dir for more training; hold its Lock. It sweeps temporary files and returns what LoadNewest does, with
// the reasons why a newer checkpoint was passed over. That one is renamed to name with ".damaged" put in, so that the
// next save does not push the good one out with it.
func Recover(dir, name string, validate func(path string) error) (path string, refused []error, err error) {
	if err := Sweep(dir); err != nil {
		return "", nil, err
	}
	path, refused, err = newest(dir, name, validate)
	if err != nil || len(refused) == 0 {
		return path, refused, err
	}
	if err := system.Rename(filepath.Join(dir, name), filepath.Join(dir, DamagedName(name))); err != nil {
		return "", refused, err
	}
	return path, refused, system.SyncDir(dir)
}
