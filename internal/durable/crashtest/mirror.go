package crashtest

import (
	"errors"
	"io/fs"

	"edgejepa/internal/durable"
)

// Mirror is a real folder of which Sim keeps the record of what was flushed, for programs that read what they write by
// other ways. What fails in Sim is not done on the disk either.
type Mirror struct {
	*Sim
	disk durable.Disk
}

// NewMirror mirrors a real folder, whose files count as flushed.
func NewMirror(dir string) (*Mirror, error) {
	s := NewSim(dir)
	return &Mirror{Sim: s}, s.Load(dir)
}

// Create is that of durable.FS.
func (m *Mirror) Create(path string, perm fs.FileMode) (durable.File, error) {
	f, err := m.Sim.Create(path, perm)
	if err != nil {
		return nil, err
	}
	real, err := m.disk.Create(path, perm)
	return mirrorFile{f, real}, err
}

// Append is that of durable.FS.
func (m *Mirror) Append(path string, perm fs.FileMode) (durable.Log, error) {
	f, err := m.Sim.Append(path, perm)
	if err != nil {
		return nil, err
	}
	real, err := m.disk.Append(path, perm)
	return mirrorLog{mirrorFile{f, real}, f, real}, err
}

// Rename is that of durable.FS.
func (m *Mirror) Rename(from, to string) error {
	if err := m.Sim.Rename(from, to); err != nil {
		return err
	}
	return m.disk.Rename(from, to)
}

// Remove is that of durable.FS.
func (m *Mirror) Remove(path string) error {
	if err := m.Sim.Remove(path); err != nil {
		return err
	}
	return m.disk.Remove(path)
}

// mirrorFile is a file in both. The real one need not be flushed.
type mirrorFile struct{ sim, real durable.File }

func (f mirrorFile) Write(b []byte) (int, error) {
	n, err := f.sim.Write(b)
	if _, werr := f.real.Write(b[:n]); werr != nil {
		return 0, werr
	}
	return n, err
}

func (f mirrorFile) Sync() error { return f.sim.Sync() }

func (f mirrorFile) Close() error { return errors.Join(f.sim.Close(), f.real.Close()) }

type mirrorLog struct {
	mirrorFile
	log, realLog durable.Log
}

func (l mirrorLog) ReadAt(b []byte, off int64) (int, error) { return l.realLog.ReadAt(b, off) }

func (l mirrorLog) Size() (int64, error) { return l.realLog.Size() }

func (l mirrorLog) Truncate(size int64) error {
	if err := l.log.Truncate(size); err != nil {
		return err
	}
	return l.realLog.Truncate(size)
}
