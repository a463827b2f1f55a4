package pixels

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
)

// FileError is what went wrong with one file, on one line.
type FileError struct {
	Path string
	Err  error // the reason, without the path
}

func (e *FileError) Error() string { return Printable(e.Path) + ": " + e.Err.Error() }

func (e *FileError) Unwrap() error { return e.Err }

// fileError names the file once: the path inside a *fs.PathError is dropped.
func fileError(path string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return &FileError{Path: path, Err: err}
}

// Printable returns a path fit for a terminal and a log line: control characters and broken UTF-8 are quoted.
func Printable(path string) string {
	quoted := strconv.Quote(path)
	if quoted[1:len(quoted)-1] == strings.ReplaceAll(strings.ReplaceAll(path, `\`, `\\`), `"`, `\"`) {
		return path
	}
	return quoted
}

// unsupportedError is the reason for a file whose format Decode does not read.
func unsupportedError(f Format, head []byte) error {
	switch {
	case f.Picture():
		return fmt.Errorf("unsupported: %v (convert it first)", f)
	case f != Unknown:
		return fmt.Errorf("not a picture: %v", f)
	case len(head) == 0:
		return errors.New("not a picture: the file is empty")
	case constant(head):
		return fmt.Errorf("not a picture: it starts with %d bytes of 0x%02x (lost data?)", len(head), head[0])
	}
	return errors.New("not a picture: unknown format")
}

func constant(b []byte) bool {
	for _, v := range b {
		if v != b[0] {
			return false
		}
	}
	return len(b) >= 16
}

// decodeError puts the format before a decoder's complaint and says plainly what "EOF" means.
func decodeError(f Format, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%v: the file ends too early", f)
	}
	text := strings.Join(strings.Fields(err.Error()), " ")
	switch {
	case strings.Contains(text, "short Huffman data"):
		text = "the coded pixels end too early"
	case strings.Contains(text, "unsupported BMP image"):
		text = "unsupported: a header of an unknown kind (convert it first)"
	}
	for _, prefix := range []string{"jpeg: ", "png: ", "gif: ", "bmp: ", "webp: ", "tiff: ", "vp8: ", "vp8l: ", "riff: ",
		"invalid JPEG format: ", "unsupported JPEG feature: ", "image: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return fmt.Errorf("%v: %s", f, text)
}
