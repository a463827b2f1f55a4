package safetensors

import (
	"io"
	"os"
	"runtime"
	"runtime/debug"
)

// Map is Open without reading: the tensors' Data are views of the file, mapped into memory, whose pages are read when they
// are looked at. They end with Close. Where files cannot be mapped (js/wasm, Windows, some network folders) it is Open.
//
// The header is a copy and checked as ever, but a page of the data may be gone when it is needed: another program cut the
// file short, or the card was pulled out. Such a look would end the program; within Guard it is an error.
func Map(path string) (*File, error) {
	f, err := open(path, mapFile)
	return named(f, path, err)
}

// readRest reads a whole file whose head is l.
func readRest(src io.ReaderAt, size int64, l *layout, start int) (*File, error) {
	b := make([]byte, size)
	if _, err := src.ReadAt(b, 0); err != nil {
		return nil, changed(err)
	}
	return l.attach(b, start), nil
}

// named gives a file just opened, or the error about it, its path.
func named(f *File, path string, err error) (*File, error) {
	if err != nil {
		if fe, ok := err.(*FormatError); ok {
			fe.Path = path
		}
		return nil, err
	}
	f.Path = path
	for i := range f.Tensors {
		f.Tensors[i].path = path
	}
	return f, nil
}

// Close ends the mapping of Map or closes the file of Stream; after Open there is nothing to do. Data, and views of it that
// were taken before, must not be looked at any more.
func (f *File) Close() error {
	switch {
	case f.src != nil:
		return f.src.Close()
	case !f.mapped:
		return nil
	}
	b := f.raw
	f.raw, f.mapped = nil, false
	for i := range f.Tensors {
		f.Tensors[i].Data = nil
	}
	return unmap(b)
}

// Guard runs do, which looks at a mapped file's data, and returns its error, or the one that the file shrank if a page of
// it was gone. It holds for the calling goroutine, and for plain Go code and assembly without a frame: what was cut off in
// the middle stays half done. Any other panic goes on.
func (f *File) Guard(do func() error) (err error) {
	if !f.mapped {
		return do()
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch v := recover().(type) {
		case nil:
		case fault:
			if !holds(f.raw, v.Addr()) {
				panic(v)
			}
			gone := badFormat("%s", shrank)
			gone.Path = f.Path
			err = gone
		default:
			panic(v)
		}
	}()
	return do()
}

// fault is the panic that debug.SetPanicOnFault speaks of.
type fault interface {
	runtime.Error
	Addr() uintptr
}

// Drop gives back the memory of a mapped file's data b until it is looked at again. It is for those who pass over a large
// file once. Bytes that are no part of the file are left alone.
func (f *File) Drop(b []byte) {
	if !f.mapped || len(b) == 0 || !inside(f.raw, b) {
		return
	}
	page, from := os.Getpagesize(), offset(f.raw, b)
	to := from + len(b)
	if to < len(f.raw) { // else the last page belongs to nobody else
		to = to / page * page
	}
	if from = (from + page - 1) / page * page; from < to {
		drop(f.raw[from:to])
	}
}

// Pour returns a writer that passes on to w, and drops f's data behind itself. Mapped data goes through a buffer, so that w,
// whose assembly may have a frame, never meets a page that is gone.
func (f *File) Pour(w io.Writer) io.Writer {
	if !f.mapped {
		return w
	}
	return &pourer{f: f, w: w, buf: make([]byte, 64<<10)}
}

type pourer struct {
	f   *File
	w   io.Writer
	buf []byte
}

// dropEvery is how much a pourer passes over before it drops it.
const dropEvery = 1 << 20

func (p *pourer) Write(b []byte) (done int, err error) {
	for from := 0; done < len(b); {
		n := copy(p.buf, b[done:])
		if _, err := p.w.Write(p.buf[:n]); err != nil {
			return done, err
		}
		if done += n; done-from >= dropEvery || done == len(b) {
			p.f.Drop(b[from:done])
			from = done
		}
	}
	return done, nil
}
