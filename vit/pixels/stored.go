package pixels

import (
	"fmt"
	"image"
	"io"
	"os"
)

// Size is how many pixels the upright picture has, and how it is stored.
type Size struct {
	W, H        int
	Orientation int // EXIF, 1 to 8; from 5 on width and height are exchanged in the file
}

// Stored returns width and height as they are in the file.
func (s Size) Stored() (w, h int) {
	if s.Orientation >= 5 {
		return s.H, s.W
	}
	return s.W, s.H
}

// jpegHead is how much of a JPEG is read at first for its size: two segments of the greatest length and the frame header.
const jpegHead = 192 << 10

// Info is what is known of a picture that is not decoded.
type Info struct {
	Size
	Format Format
	Bytes  int64 // of the file
}

// ReadSize reads the size of a picture without decoding it. What Decode gives has this size. Errors are *FileError.
func ReadSize(path string) (Size, error) {
	info, err := ReadInfo(path)
	return info.Size, err
}

// ReadInfo reads what ReadSize does, and more of it.
func ReadInfo(path string) (Info, error) {
	f, stat, err := openRegular(path)
	if err != nil {
		return Info{}, fileError(path, err)
	}
	defer f.Close()
	length := stat.Size()
	head := make([]byte, min(length, jpegHead))
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return Info{}, fileError(path, err)
	}
	head = head[:n]
	format := formatOf(path, head[:min(n, SniffLen)])
	if !format.Supported() {
		return Info{}, fileError(path, unsupportedError(format, head[:min(n, SniffLen)]))
	}
	if format == JPEG && int64(n) < length {
		if s, err := sizeOf(format, head); err == nil {
			return Info{s, format, length}, nil
		}
	}
	if int64(n) < length { // of other formats, tags may be anywhere in the file
		if head, err = readFile(path, defaultMaxFile); err != nil {
			return Info{}, fileError(path, err)
		}
	}
	s, err := sizeOf(format, head)
	if err != nil {
		return Info{}, fileError(path, decodeError(format, err))
	}
	return Info{s, format, length}, nil
}

func sizeOf(f Format, data []byte) (s Size, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the decoder failed: %v", v)
		}
	}()
	hd, err := readHeader(f, data)
	if err != nil {
		return Size{}, err
	}
	if hd.w <= 0 || hd.h <= 0 {
		return Size{}, fmt.Errorf("no pixels (%dx%d)", hd.w, hd.h)
	}
	s = Size{W: hd.w, H: hd.h, Orientation: 1}
	if hd.tags != nil {
		s.Orientation = readMetadata(hd.tags).orientation
	}
	s.W, s.H = s.Stored()
	return s, nil
}

// DecodePNG decodes a PNG file as it is stored, neither turned nor converted: for masks, whose samples are numbers rather
// than colours. Errors are those of Decode.
func DecodePNG(data []byte, lim Limits) (m image.Image, err error) {
	head := data[:min(len(data), SniffLen)]
	if f := Sniff(head); f != PNG {
		if f.Supported() {
			return nil, fmt.Errorf("is %v, not PNG", f)
		}
		return nil, unsupportedError(f, head)
	}
	defer func() {
		if v := recover(); v != nil {
			m, err = nil, decodeError(PNG, fmt.Errorf("the decoder failed: %v", v))
		}
	}()
	if _, err := admit(PNG, data, lim.withDefaults()); err != nil {
		return nil, decodeError(PNG, err)
	}
	if m, err = decodeFormat(PNG, data); err != nil {
		return nil, decodeError(PNG, err)
	}
	return m, nil
}

// ReadFile returns the contents of a regular file of at most limit bytes; FIFOs, devices and sockets are not opened. Errors
// are *FileError.
func ReadFile(path string, limit int64) ([]byte, error) {
	data, err := readFile(path, limit)
	if err != nil {
		return nil, fileError(path, err)
	}
	return data, nil
}

// Open opens a regular file of at most limit bytes for reading, as ReadFile does.
func Open(path string, limit int64) (*os.File, error) {
	f, info, err := openRegular(path)
	if err != nil {
		return nil, fileError(path, err)
	}
	if info.Size() > limit {
		f.Close()
		return nil, fileError(path, fmt.Errorf("file of %d MB is over the limit of %d MB", info.Size()/1_000_000, limit/1_000_000))
	}
	return f, nil
}
