package durable

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Lines is a log of one JSON value a line, open for appending.
type Lines struct {
	f   *os.File
	buf []byte
}

// AppendLines opens path for appending and creates it when absent. What follows the last line end, torn by a crash, is
// cut off.
func AppendLines(path string) (*Lines, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return nil, err
	}
	if err := cutTorn(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot append to %s: %w", path, err)
	}
	return &Lines{f: f}, nil
}

// cutTorn truncates f after its last line end.
func cutTorn(f *os.File) error {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	buf := make([]byte, 4096)
	for end := size; end > 0; {
		n := min(end, int64(len(buf)))
		if _, err := f.ReadAt(buf[:n], end-n); err != nil {
			return err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			if keep := end - n + int64(i) + 1; keep < size {
				return f.Truncate(keep)
			}
			return nil
		}
		end -= n
	}
	return f.Truncate(0)
}

// Append writes v as one line with one write call. A line is safe from a crash of the program at once, from a power cut
// after the next Sync.
func (l *Lines) Append(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	l.buf = append(append(l.buf[:0], line...), '\n')
	_, err = l.f.Write(l.buf)
	return err
}

// Sync flushes the lines to the disk. Call it before saving the checkpoint that they lead up to.
func (l *Lines) Sync() error { return l.f.Sync() }

// Close flushes and closes the log.
func (l *Lines) Close() error { return errors.Join(l.f.Sync(), l.f.Close()) }

// TruncateJSONL rewrites the log path durably with only the lines for which keep returns true, so that a resumed run
// does not log a step twice. Lines that are not JSON, torn or overwritten in a crash, go as well. A missing file is
// fine. keep must not hold on to line.
func TruncateJSONL(path string, keep func(line []byte) bool) error {
	src, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	tmp, err := stage(disk{}, path, 0o666, func(w io.Writer) error {
		r := bufio.NewReader(src)
		for {
			line, err := r.ReadBytes('\n')
			if err == io.EOF {
				return nil // what is left has no line end: torn
			}
			if err != nil {
				return err
			}
			if body := line[:len(line)-1]; json.Valid(body) && keep(body) {
				if _, err := w.Write(line); err != nil {
					return err
				}
			}
		}
	})
	src.Close() // some systems do not rename over an open file
	if err != nil {
		return err
	}
	return commit(disk{}, tmp, path)
}
