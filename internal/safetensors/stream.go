package safetensors

import (
	"io"
	"os"
	"strings"
)

// piece is how many bytes of a streamed file are in memory at a time: whole elements of every type.
const piece = 1 << 18

// Stream is Open for files that are too large to be held beside what they are read into: of the tensors only names, types
// and shapes are in memory. Float32s, CheckFinite and Verify read the file piece by piece; Data is nil, and whatever looks
// at it finds a tensor without elements. Close the file when done.
func Stream(path string) (*File, error) {
	f, err := stream(path)
	return named(f, path, err)
}

func stream(path string) (_ *File, err error) {
	src, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			src.Close()
		}
	}()
	l, start, err := readHead(src, size)
	if err != nil {
		return nil, err
	}
	f := &File{Metadata: l.metadata, Tensors: make([]Tensor, len(l.entries)), index: l.index, src: src, size: size}
	if l.sum.to > 0 {
		f.sum = span{8 + l.sum.from, 8 + l.sum.to}
	}
	for i, e := range l.entries {
		f.Tensors[i] = Tensor{Name: e.name, DType: e.dtype, Shape: e.shape, src: io.NewSectionReader(src, int64(start)+e.from, e.to-e.from)}
	}
	return f, nil
}

// hashStream is hash for a Stream.
func (f *File) hashStream(h io.Writer, text []byte) error {
	from, to := int64(f.sum.from), int64(f.sum.to)
	if _, err := f.src.ReadAt(text, from); err != nil {
		return changed(err)
	}
	_, err := io.Copy(h, io.MultiReader(io.NewSectionReader(f.src, 0, from), strings.NewReader(zeroSum), io.NewSectionReader(f.src, to, f.size-to)))
	return err
}

// pieces hands the tensor's bytes to use, piece by piece, with the number of the piece's first element.
func (t *Tensor) pieces(use func(b []byte, first int)) error {
	b := make([]byte, min(piece, t.src.Size()))
	for at := int64(0); at < t.src.Size(); at += int64(len(b)) {
		b = b[:min(int64(len(b)), t.src.Size()-at)]
		if _, err := t.src.ReadAt(b, at); err != nil {
			return changed(err)
		}
		use(b, int(at/int64(t.DType.Size())))
	}
	return nil
}

// openRegular opens a regular file and returns its size.
func openRegular(path string) (*os.File, int64, error) {
	// Stat before opening: opening a FIFO would block for ever.
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, badFormat("not a regular file; a model is one .safetensors file")
	}
	src, err := os.Open(path)
	return src, info.Size(), err
}

// readHead reads and checks the header of a file of that size; its data starts at byte start.
func readHead(src io.ReaderAt, size int64) (l *layout, start int, err error) {
	head := make([]byte, min(size, 64)) // enough to recognise other formats
	if _, err := src.ReadAt(head, 0); err != nil {
		return nil, 0, changed(err)
	}
	n, err := headerLength(head, size)
	if err != nil {
		return nil, 0, err
	}
	header := make([]byte, n)
	if _, err := src.ReadAt(header, 8); err != nil {
		return nil, 0, changed(err)
	}
	l, err = parseHeader(header, size-8-int64(n))
	return l, 8 + n, err
}
