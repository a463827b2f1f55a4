package pixels

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// openRegular opens a regular file, or the regular file a link leads to. Whatever else bears the name (FIFO, device,
// socket, folder) is refused without being opened.
func openRegular(path string) (*os.File, fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, notRegular(info.Mode())
	}
	f, err := os.OpenFile(path, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, nil, err
	}
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
		err = notRegular(info.Mode())
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

func notRegular(m fs.FileMode) error {
	kind := "not a regular file"
	switch {
	case m.IsDir():
		kind = "a folder, not a file"
	case m&fs.ModeNamedPipe != 0:
		kind = "a FIFO, not a file"
	case m&fs.ModeSocket != 0:
		kind = "a socket, not a file"
	case m&fs.ModeDevice != 0:
		kind = "a device, not a file"
	}
	return errors.New(kind)
}

// readFile returns the contents of a regular file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, info, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size := info.Size()
	if size > limit {
		return nil, fmt.Errorf("file of %d MB is over the limit of %d MB", size/1_000_000, limit/1_000_000)
	}
	data := make([]byte, size)
	n, err := io.ReadFull(f, data)
	if err == io.EOF || err == io.ErrUnexpectedEOF { // it shrank meanwhile: the decoder will say what is missing
		err = nil
	}
	return data[:n:n], err
}

// readHead returns up to SniffLen first bytes of a regular file, in buf.
func readHead(path string, buf []byte) ([]byte, error) {
	f, _, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n, err := io.ReadFull(f, buf[:SniffLen])
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return buf[:n], err
}
