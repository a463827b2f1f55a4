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
	f    Log
	held []byte // whole lines that are not written yet
	torn bool   // the file's last line may not be whole
}

// AppendLines opens path for appending and creates it when absent. What follows the last line end, torn by a crash, is
// cut off.
func AppendLines(path string) (*Lines, error) {
	f, err := system.Append(path, 0o666)
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
func cutTorn(f Log) error {
	size, err := f.Size()
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

// mostHeld bounds the lines that wait for the disk to take them, in bytes.
const mostHeld = 1 << 20

// Append writes v as one line with one write call. A line is safe from a crash of the program at once, from a power cut
// after the next Sync. A line that cannot be written is held back and written with the next one, or by Sync.
func (l *Lines) Append(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(l.held) < mostHeld {
		l.held = append(append(l.held, line...), '\n')
	}
	return l.write()
}

// write writes the lines that are held.
func (l *Lines) write() error {
	if l.torn {
		if err := cutTorn(l.f); err != nil {
			return err
		}
		l.torn = false
	}
	if len(l.held) == 0 {
		return nil
	}
	n, err := counted{l.f}.Write(l.held)
	if err != nil { // what is whole of it stays
		l.torn, n = true, bytes.LastIndexByte(l.held[:n], '\n')+1
	}
	l.held = l.held[:copy(l.held, l.held[n:])]
	return err
}

// Sync flushes the lines to the disk. Call it before saving the checkpoint that they lead up to.
func (l *Lines) Sync() error {
	if err := l.write(); err != nil {
		return err
	}
	return l.f.Sync()
}

// Close flushes and closes the log.
func (l *Lines) Close() error { return errors.Join(l.Sync(), l.f.Close()) }

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
	tmp, err := stage(path, 0o666, func(w io.Writer) error {
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
	return commit(tmp, path)
}
