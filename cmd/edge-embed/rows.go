package main

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unicode/utf8"

	"edgejepa/internal/durable"
)

var formats = []string{"jsonl", "csv", "npy", "f32"}

// isBinary says whether a format is no text.
func isBinary(format string) bool { return format == "npy" || format == "f32" }

// shape is what one picture gives: a vector of Dim values, or with Tokens > 0 that many of them.
type shape struct{ Tokens, Dim int }

func (s shape) len() int { return max(s.Tokens, 1) * s.Dim }

// rows writes what pictures give, in order.
type rows interface {
	// row writes the values of one picture.
	row(path string, v []float32) error
	// finish completes the output after the last row.
	finish() error
	// close frees what the writer holds, finished or not.
	close()
}

// newRows returns the writer of a format. file is the name of the output, "" for standard output.
func newRows(w io.Writer, format, file string, s shape) (rows, error) {
	switch format {
	case "npy":
		return newNPY(w, file, s)
	case "csv":
		t := &stream{w: w, shape: s, append: appendCSV}
		t.buf = csvHeader(s)
		return t, nil
	case "f32":
		return &stream{w: w, shape: s, append: appendF32}, nil
	}
	return &stream{w: w, shape: s, append: appendJSONL}, nil
}

// stream is a format whose rows stand on their own.
type stream struct {
	w      io.Writer
	shape  shape
	append func(dst []byte, path string, v []float32, s shape) []byte
	buf    []byte // begins with the header, if there is one
}

func (t *stream) row(path string, v []float32) error {
	t.buf = t.append(t.buf, path, v, t.shape)
	return t.finish()
}

func (t *stream) finish() error {
	_, err := t.w.Write(t.buf)
	t.buf = t.buf[:0]
	return err
}

func (t *stream) close() {}

func appendJSONL(b []byte, path string, v []float32, s shape) []byte {
	b = appendJSONPath(append(b, '{'), "path", path)
	if s.Tokens == 0 {
		b = appendJSONVector(append(b, `,"embedding":`...), v)
		return append(b, "}\n"...)
	}
	b = append(b, `,"tokens":[`...)
	for t := range s.Tokens {
		if t > 0 {
			b = append(b, ',')
		}
		b = appendJSONVector(b, v[t*s.Dim:][:s.Dim])
	}
	return append(b, "]}\n"...)
}

// appendJSONPath is a key and a path, and the path's exact bytes if it is not UTF-8.
func appendJSONPath(b []byte, key, path string) []byte {
	b = appendJSONString(append(append(append(b, '"'), key...), `":`...), path)
	if !utf8.ValidString(path) {
		b = append(append(append(b, `,"`...), key...), `_bytes":"`...)
		b = append(base64.StdEncoding.AppendEncode(b, []byte(path)), '"')
	}
	return b
}

func appendJSONVector(b []byte, v []float32) []byte {
	b = append(b, '[')
	for i, x := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendFloat(b, x)
	}
	return append(b, ']')
}

// appendFloat is the shortest text that reads back as the same float32.
func appendFloat(b []byte, x float32) []byte { return strconv.AppendFloat(b, float64(x), 'g', -1, 32) }

// appendJSONString quotes s; bytes that are not UTF-8 become U+FFFD.
func appendJSONString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ' || r == 0x7f:
			b = append(b, `\u00`...)
			b = append(b, hex[r>>4], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

func csvHeader(s shape) []byte {
	b := []byte("filename")
	if s.Tokens > 0 {
		b = append(b, ",token"...)
	}
	for i := range s.Dim {
		b = strconv.AppendInt(append(b, ",embedding_"...), int64(i), 10)
	}
	return append(b, '\n')
}

func appendCSV(b []byte, path string, v []float32, s shape) []byte {
	for t := range max(s.Tokens, 1) {
		b = appendCSVField(b, path)
		if s.Tokens > 0 {
			b = strconv.AppendInt(append(b, ','), int64(t), 10)
		}
		for _, x := range v[t*s.Dim:][:s.Dim] {
			b = appendFloat(append(b, ','), x)
		}
		b = append(b, '\n')
	}
	return b
}

// appendCSVField quotes a field where RFC 4180 asks for it, and where a space at an end might get lost.
func appendCSVField(b []byte, s string) []byte {
	if s == strings.TrimSpace(s) && !strings.ContainsAny(s, ",\"\r\n") {
		return append(b, s...)
	}
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' {
			b = append(b, '"')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

func appendF32(b []byte, _ string, v []float32, _ shape) []byte {
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

// npy is NumPy's format. Its header tells the number of rows, which is known at the end only, so rows wait in a
// temporary file.
type npy struct {
	w           io.Writer
	file        string
	shape       shape
	count       int
	data, names *spool
	buf         []byte
}

// namesFile is where the names of an npy file's rows stand.
func namesFile(file string) string { return file + ".paths.txt" }

func newNPY(w io.Writer, file string, s shape) (*npy, error) {
	data, err := newSpool()
	if err != nil {
		return nil, err
	}
	n := &npy{w: w, file: file, shape: s, data: data}
	if file != "" {
		if n.names, err = newSpool(); err != nil {
			data.close()
			return nil, err
		}
	}
	return n, nil
}

func (n *npy) row(path string, v []float32) error {
	n.count++
	n.buf = appendF32(n.buf[:0], path, v, n.shape)
	_, err := n.data.Write(n.buf)
	if n.names == nil || err != nil {
		return err
	}
	n.buf = appendLine(n.buf[:0], path)
	_, err = n.names.Write(n.buf)
	return err
}

// appendLine is a path on a line of its own.
func appendLine(b []byte, path string) []byte {
	if strings.HasPrefix(path, `"`) || strings.ContainsAny(path, "\r\n") {
		b = strconv.AppendQuote(b, path)
	} else {
		b = append(b, path...)
	}
	return append(b, '\n')
}

// finish writes the names, which are in place before the array is, and the array.
func (n *npy) finish() error {
	if n.names != nil {
		if err := durable.WriteFile(namesFile(n.file), 0o666, n.names.copyTo); err != nil {
			return err
		}
	}
	if _, err := n.w.Write(npyHeader(n.count, n.shape)); err != nil {
		return err
	}
	return n.data.copyTo(n.w)
}

func (n *npy) close() {
	n.data.close()
	if n.names != nil {
		n.names.close()
	}
}

// npyHeader is the header of version 1.0 (numpy.lib.format): the data after it starts at a multiple of 64.
func npyHeader(count int, s shape) []byte {
	dims := fmt.Sprintf("%d, %d", count, s.Dim)
	if s.Tokens > 0 {
		dims = fmt.Sprintf("%d, %d, %d", count, s.Tokens, s.Dim)
	}
	dict := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", dims)
	const before = 10 // magic, version, length
	dict += strings.Repeat(" ", 63-(before+len(dict))%64) + "\n"
	b := append([]byte("\x93NUMPY\x01\x00"), byte(len(dict)), byte(len(dict)>>8))
	return append(b, dict...)
}

// spool is a temporary file, without a name where the system allows that.
type spool struct {
	*bufio.Writer
	f *os.File
}

func newSpool() (*spool, error) {
	f, err := os.CreateTemp("", "edge-embed-*")
	if err != nil {
		return nil, fmt.Errorf("a temporary file for npy rows: %w (TMPDIR names the folder)", err)
	}
	if runtime.GOOS != "windows" { // there an open file cannot be removed
		_ = os.Remove(f.Name())
	}
	return &spool{bufio.NewWriterSize(f, 64<<10), f}, nil
}

func (s *spool) copyTo(w io.Writer) error {
	if err := s.Flush(); err != nil {
		return err
	}
	if _, err := s.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.Copy(w, s.f)
	return err
}

func (s *spool) close() {
	_ = s.f.Close() // only what was read back counts
	if runtime.GOOS == "windows" {
		_ = os.Remove(s.f.Name())
	}
}
