package safetensors

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Write writes ts in the given order, so equal arguments give equal bytes. Metadata keys are sorted; the header is padded
// with spaces to a multiple of 8. Tensors follow each other without gaps: with wide element types first, all are aligned.
// The error says which tensor cannot be written; nothing is written then.
func Write(w io.Writer, meta map[string]string, ts []Tensor) error {
	head, _, err := header(meta, ts)
	if err != nil {
		return err
	}
	return write(w, head, ts)
}

// WriteChecked is Write with one more metadata key: "sha256", the SHA-256 in hexadecimal of the whole file in which
// these 64 digits are zeros. File.Verify checks it.
func WriteChecked(w io.Writer, meta map[string]string, ts []Tensor) error {
	withSum := maps.Clone(meta)
	if withSum == nil {
		withSum = map[string]string{}
	}
	withSum[sumKey] = zeroSum
	head, at, err := header(withSum, ts)
	if err != nil {
		return err
	}
	h := sha256.New()
	h.Write(head)
	for i := range ts {
		h.Write(ts[i].Data)
	}
	hex.Encode(head[at:at+len(zeroSum)], h.Sum(nil))
	return write(w, head, ts)
}

func write(w io.Writer, head []byte, ts []Tensor) error {
	if _, err := w.Write(head); err != nil {
		return err
	}
	for i := range ts {
		if _, err := w.Write(ts[i].Data); err != nil {
			return err
		}
	}
	return nil
}

// header lays the tensors out and returns length field and JSON, and where the value of the checksum key starts.
func header(meta map[string]string, ts []Tensor) (head []byte, sumAt int, err error) {
	b := make([]byte, 8, 256+96*len(ts))
	b = append(b, '{')
	if len(meta) > 0 {
		b = append(b, `"`+metaName+`":{`...)
		for i, k := range slices.Sorted(maps.Keys(meta)) {
			if !utf8.ValidString(k) || !utf8.ValidString(meta[k]) {
				return nil, 0, fmt.Errorf("safetensors: metadata %s is not valid UTF-8", quote(k))
			}
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, k), ':')
			if k == sumKey {
				sumAt = len(b) + 1
			}
			b = appendString(b, meta[k])
		}
		b = append(b, '}')
	}
	seen := make(map[string]bool, len(ts))
	var at uint64
	for i := range ts {
		t := &ts[i]
		if err := t.check(); err != nil {
			return nil, 0, err
		}
		if seen[t.Name] {
			return nil, 0, badTensor(t.Name, "name occurs twice")
		}
		seen[t.Name] = true
		if len(b) > len(`{`)+8 {
			b = append(b, ',')
		}
		b = append(appendString(b, t.Name), `:{"dtype":"`...)
		b = append(append(b, t.DType...), `","shape":[`...)
		for j, d := range t.Shape {
			if j > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(d), 10)
		}
		b = append(b, `],"data_offsets":[`...)
		b = append(strconv.AppendUint(b, at, 10), ',')
		at += uint64(len(t.Data))
		b = append(strconv.AppendUint(b, at, 10), `]}`...)
	}
	b = append(b, '}')
	for len(b)%8 != 0 {
		b = append(b, ' ')
	}
	if len(b)-8 > maxHeader {
		return nil, 0, fmt.Errorf("safetensors: header of %d bytes is over the limit of %d", len(b)-8, maxHeader)
	}
	binary.LittleEndian.PutUint64(b, uint64(len(b)-8))
	return b, sumAt, nil
}

// check says why t could not be read back.
func (t *Tensor) check() error {
	switch {
	case t.Name == "" || t.Name == metaName || len(t.Name) > maxName || !utf8.ValidString(t.Name):
		return fmt.Errorf("safetensors: %s cannot be the name of a tensor", quote(t.Name))
	case t.DType.Size() == 0:
		return t.bad("unknown dtype %s", quote(string(t.DType)))
	case len(t.Shape) > maxRank:
		return t.bad("shape %v has more than %d dimensions", t.Shape, maxRank)
	}
	for _, d := range t.Shape {
		if d < 0 || d > maxDim {
			return t.bad("dimension %d is outside 0 to %d", d, maxDim)
		}
	}
	if n, ok := byteCount(t.DType, t.Shape); !ok || n != uint64(len(t.Data)) {
		return t.bad("%d bytes of data for %s of shape %v", len(t.Data), t.DType, t.Shape)
	}
	return nil
}

// appendString appends s as a JSON string; s is valid UTF-8.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

const sumKey = "sha256"

var zeroSum = strings.Repeat("0", 2*sha256.Size)

// ErrNoChecksum is what Verify returns for a file written without one, as other programs do.
var ErrNoChecksum = errors.New("safetensors: file carries no checksum")

// ChecksumError says that a file is not what was written.
type ChecksumError struct{ Path, Recorded, Computed string }

func (e *ChecksumError) Error() string {
	path := e.Path
	if path == "" {
		path = "safetensors"
	}
	return fmt.Sprintf("%s: damaged: the recorded checksum is %s, the content has sha256 %.12s…; use another copy", path, quote(e.Recorded), e.Computed)
}

// Verify hashes the bytes that were parsed, or those of the file of a Stream or Map, and returns nil when they match the
// recorded checksum, ErrNoChecksum when there is none, else a *ChecksumError. A mapped file's wants a Guard.
func (f *File) Verify() error {
	recorded, ok := f.Metadata[sumKey]
	if !ok {
		return ErrNoChecksum
	}
	h := sha256.New()
	text := make([]byte, f.sum.to-f.sum.from)
	if err := f.hash(h, text); err != nil {
		return err
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != string(text) {
		return &ChecksumError{f.Path, recorded, sum}
	}
	return nil
}

// hash writes the file to h with zeros in place of the checksum's text, which it reads into text.
func (f *File) hash(h io.Writer, text []byte) error {
	if f.src != nil {
		return f.hashStream(h, text)
	}
	copy(text, f.raw[f.sum.from:f.sum.to])
	to := f.Pour(h)
	for _, b := range [][]byte{f.raw[:f.sum.from], []byte(zeroSum), f.raw[f.sum.to:]} {
		if _, err := to.Write(b); err != nil {
			return err
		}
	}
	return nil
}
