package labels

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

const (
	maxElement   = 8 << 20 // bytes of one element of a list; the longest outlines in COCO have some 100 kB
	maxJSONDepth = 100
)

// jsonStream reads a large JSON object element by element and knows in which line it is.
type jsonStream struct {
	*json.Decoder
	in *lineReader
}

func newJSONStream(r io.Reader) *jsonStream {
	in := &lineReader{in: r}
	return &jsonStream{Decoder: json.NewDecoder(in), in: in}
}

// lineReader notes where lines end, and refuses to read far ahead of what was asked about: a decoder keeps in memory what it
// has not handed out.
type lineReader struct {
	in      io.Reader
	read    int64   // bytes so far
	asked   int64   // the offset last asked about
	line    int     // line breaks before asked
	pending []int64 // offsets of line breaks from asked on
}

func (l *lineReader) Read(p []byte) (int, error) {
	if l.read-l.asked > maxElement {
		return 0, fmt.Errorf("an element of more than %d MB", maxElement>>20)
	}
	n, err := l.in.Read(p)
	for at := 0; ; at++ {
		next := bytes.IndexByte(p[at:n], '\n')
		if next < 0 {
			break
		}
		at += next
		l.pending = append(l.pending, l.read+int64(at))
	}
	l.read += int64(n)
	return n, err
}

// lineOf returns the line, from 1, of an offset. Offsets may not fall.
func (l *lineReader) lineOf(offset int64) int {
	n := 0
	for n < len(l.pending) && l.pending[n] < offset {
		n++
	}
	l.pending = l.pending[n:]
	l.line += n
	l.asked = max(l.asked, offset)
	return l.line + 1
}

// line is that of the end of what was read last.
func (s *jsonStream) line() int { return s.in.lineOf(s.InputOffset()) }

// fail returns an error with the line of what could not be read.
func (s *jsonStream) fail(file string, err error) error {
	offset := s.InputOffset()
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		offset = max(offset, syntax.Offset)
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		offset, err = max(offset, s.in.read), errors.New("the file ends too early")
	}
	return &Problem{File: file, Line: s.in.lineOf(offset), What: "not valid JSON: " + err.Error()}
}

// skip passes over a value of any size.
func (s *jsonStream) skip() error {
	for depth := 0; ; {
		t, err := s.Token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('['), json.Delim('{'):
			if depth++; depth > maxJSONDepth {
				return fmt.Errorf("lists nested more than %d deep", maxJSONDepth)
			}
		case json.Delim(']'), json.Delim('}'):
			depth--
		}
		s.line()
		if depth == 0 {
			return nil
		}
	}
}

// elements calls visit with the bytes of each element of a list and the line it begins in. The bytes are good until visit
// returns.
func (s *jsonStream) elements(visit func(raw json.RawMessage, line int)) error {
	t, err := s.Token()
	if err != nil {
		return err
	}
	if t != json.Delim('[') {
		return fmt.Errorf("%v where a list should begin", t)
	}
	var raw json.RawMessage
	for s.More() {
		if err := s.Decode(&raw); err != nil {
			return err
		}
		visit(raw, s.in.lineOf(s.InputOffset()-int64(len(raw))))
	}
	_, err = s.Token()
	return err
}
