// Package safetensors reads and writes the safetensors format strictly.
//
// A file is a little-endian uint64 header length, a JSON header and the tensors' bytes:
//
//	{"__metadata__":{"k":"v"}, "w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}
//
// The format is specified at https://github.com/huggingface/safetensors. This reader also refuses what that text leaves
// open and parsers disagree about: repeated names and fields, unknown fields, lone surrogates. It allocates in proportion
// to the bytes present, never to the sizes they claim.
package safetensors

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
)

const (
	maxHeader = 16 << 20      // bytes; 20 000 tensors need about 1.3 MB
	maxCount  = 1 << 16       // tensors: a list of empty ones takes several times its text
	maxRank   = 8             // dimensions
	maxDim    = math.MaxInt32 // so that a file loads on 32-bit machines or nowhere
	maxName   = 1024          // bytes
	metaName  = "__metadata__"
)

// DType is the element type of a tensor, as spelled in the file.
type DType string

// The element types of the format that have whole bytes.
const (
	TypeBool DType = "BOOL"
	TypeU8   DType = "U8"
	TypeI8   DType = "I8"
	TypeU16  DType = "U16"
	TypeI16  DType = "I16"
	TypeF16  DType = "F16"
	TypeBF16 DType = "BF16"
	TypeU32  DType = "U32"
	TypeI32  DType = "I32"
	TypeF32  DType = "F32"
	TypeU64  DType = "U64"
	TypeI64  DType = "I64"
	TypeF64  DType = "F64"
)

// Size is the number of bytes of one element, 0 for an unknown type.
func (d DType) Size() int {
	switch d {
	case TypeBool, TypeU8, TypeI8:
		return 1
	case TypeU16, TypeI16, TypeF16, TypeBF16:
		return 2
	case TypeU32, TypeI32, TypeF32:
		return 4
	case TypeU64, TypeI64, TypeF64:
		return 8
	}
	return 0
}

// Tensor is one named array. Data is little-endian and row-major, Len()*DType.Size() bytes.
type Tensor struct {
	Name  string
	DType DType
	Shape []int // empty for a scalar
	Data  []byte

	path string            // of the file it was read from
	src  *io.SectionReader // of a Stream: where the data is
}

// Len is the number of elements: the product of Shape, 1 for a scalar.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// File is a parsed file. Tensors are in the order of their data; their Data are views of the bytes given to Parse.
type File struct {
	Path     string // as given to Open, "" after Parse
	Metadata map[string]string
	Tensors  []Tensor

	raw   []byte
	index map[string]int
	sum   span // where the checksum's text lies in the file

	mapped bool     // raw is the file itself
	src    *os.File // of a Stream
	size   int64
}

type span struct{ from, to int }

// FormatError says why bytes are not a usable safetensors file.
type FormatError struct {
	Path   string // "" when unknown
	Tensor string // "" when the fault belongs to no tensor
	Msg    string // what was wrong and what to do
}

func (e *FormatError) Error() string {
	var b strings.Builder
	if e.Path == "" {
		b.WriteString("safetensors")
	} else {
		b.WriteString(e.Path)
	}
	if e.Tensor != "" {
		b.WriteString(": tensor " + quote(e.Tensor))
	}
	b.WriteString(": " + e.Msg)
	return b.String()
}

func badFormat(format string, args ...any) *FormatError {
	return &FormatError{Msg: fmt.Sprintf(format, args...)}
}

func badTensor(name, format string, args ...any) *FormatError {
	return &FormatError{Tensor: name, Msg: fmt.Sprintf(format, args...)}
}

// quote makes a name from a file safe and short enough for a message.
func quote(s string) string {
	if len(s) > 80 {
		return strconv.QuoteToASCII(s[:80]) + "…"
	}
	return strconv.QuoteToASCII(s)
}

// Get returns the tensor of that name.
func (f *File) Get(name string) (*Tensor, bool) {
	i, ok := f.index[name]
	if !ok {
		return nil, false
	}
	return &f.Tensors[i], true
}

// Parse reads a whole file from b without copying tensor data: the result shares b. Errors are *FormatError.
func Parse(b []byte) (*File, error) {
	b = b[:len(b):len(b)] // a range past the end must not find spare capacity
	n, err := headerLength(b, int64(len(b)))
	if err != nil {
		return nil, err
	}
	l, err := parseHeader(b[8:8+n], int64(len(b)-8-n))
	if err != nil {
		return nil, err
	}
	return l.attach(b, 8+n), nil
}

// Open reads the regular file path. The header is checked against the file's size before the rest is read. Errors name
// the file; those about its content are *FormatError.
func Open(path string) (*File, error) {
	f, err := open(path, nil)
	return named(f, path, err)
}

// open reads a file, unless it can be mapped by the function given.
func open(path string, mapFile func(src *os.File, size int) ([]byte, error)) (*File, error) {
	src, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	if size > math.MaxInt {
		return nil, badFormat("%d bytes do not fit into this machine's memory", size)
	}
	l, start, err := readHead(src, size)
	if err != nil {
		return nil, err
	}
	if mapFile != nil {
		if b, err := mapFile(src, int(size)); err == nil {
			f := l.attach(b, start)
			f.mapped = true
			return f, nil
		}
	}
	return readRest(src, size, l, start)
}

const shrank = "file shrank while it was read; another program is writing it"

// changed names the one cause of an end of file within the size that Stat gave.
func changed(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return badFormat("%s", shrank)
	}
	return err
}

// headerLength checks the length field at the start of head, the first bytes of a file of size bytes.
func headerLength(head []byte, size int64) (int, error) {
	if len(head) < 8 {
		if what := foreign(head); what != "" {
			return 0, badFormat("%s", what)
		}
		return 0, badFormat("%d bytes are too few for a safetensors header; copy or download the file again", len(head))
	}
	n := binary.LittleEndian.Uint64(head)
	if n > maxHeader || int64(n) > size-8 {
		if what := foreign(head); what != "" {
			return 0, badFormat("%s", what)
		}
		if n > maxHeader {
			return 0, badFormat("header length %d is over the limit of %d bytes; not a safetensors file, or damaged", n, maxHeader)
		}
		return 0, badFormat("header length %d is past the end of the file (%d bytes); copy or download the file again", n, size)
	}
	if n < 2 {
		return 0, badFormat("header length %d is too short for a JSON object", n)
	}
	return int(n), nil
}

// foreign recognises what is often found under a model's name, "" if nothing is.
func foreign(head []byte) string {
	s := string(head)
	lower := strings.ToLower(strings.TrimSpace(s))
	switch {
	case strings.HasPrefix(s, "version https://git-lfs"):
		return "a git-lfs pointer, not the weights; run git lfs pull"
	case strings.HasPrefix(lower, "<!doctype") || strings.HasPrefix(lower, "<html"):
		return "an HTML page, not a model; download the file itself"
	case strings.HasPrefix(s, "GGUF"):
		return "a GGUF model; only safetensors is read"
	case strings.HasPrefix(s, "PK\x03\x04"):
		return "a zip archive, probably a PyTorch checkpoint; convert it with safetensors.torch.save_file"
	case len(s) > 1 && s[0] == 0x80 && s[1] >= 2 && s[1] <= 5:
		return "a Python pickle, which is never run here; convert it with safetensors.torch.save_file"
	case len(s) > 2 && s[0] == 0x08 && s[1] < 0x20 && s[2] == 0x12:
		return "an ONNX model; only safetensors is read"
	case strings.HasPrefix(s, "\x1f\x8b"):
		return "compressed with gzip; unpack it first"
	case strings.HasPrefix(lower, "{"):
		return "a JSON file, not a model; give the .safetensors file beside it"
	}
	return ""
}

// layout is a checked header: every tensor's range lies inside the data, the ranges join without hole or overlap.
type layout struct {
	metadata map[string]string
	entries  []entry // by position of the data
	index    map[string]int
	sum      span // relative to the header
}

type entry struct {
	name     string
	dtype    DType
	shape    []int
	from, to int64
}

// attach cuts b, the whole file, whose data starts at byte start.
func (l *layout) attach(b []byte, start int) *File {
	f := &File{Metadata: l.metadata, Tensors: make([]Tensor, len(l.entries)), raw: b, index: l.index}
	if l.sum.to > 0 {
		f.sum = span{8 + l.sum.from, 8 + l.sum.to}
	}
	data := b[start:]
	for i, e := range l.entries {
		f.Tensors[i] = Tensor{Name: e.name, DType: e.dtype, Shape: e.shape, Data: data[e.from:e.to:e.to]}
	}
	return f
}

// arrange sorts the entries by position and checks that they fill size bytes exactly.
func (l *layout) arrange(size int64) error {
	slices.SortStableFunc(l.entries, func(a, b entry) int {
		if a.from != b.from {
			return int(min(max(a.from-b.from, -1), 1))
		}
		return int(min(max(a.to-b.to, -1), 1))
	})
	var end int64
	for i, e := range l.entries {
		switch {
		case e.to > size:
			return badTensor(e.name, "its data ends at byte %d, but the file has %d bytes of data; it was cut short, copy or download it again", e.to, size)
		case e.from < end:
			return badTensor(e.name, "its data overlaps the tensor before it")
		case e.from > end:
			return badTensor(e.name, "bytes %d to %d before its data belong to no tensor", end, e.from)
		}
		end = e.to
		l.index[e.name] = i
	}
	if end != size {
		return badFormat("%d bytes follow the last tensor; the file was appended to or its header is damaged", size-end)
	}
	return nil
}
