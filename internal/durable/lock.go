package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

const lockName = ".lock"

// Lock is the exclusive right to write into a folder. It ends with the process, however that ends.
type Lock struct{ f *flock.Flock }

// LockedError says who has the folder.
type LockedError struct {
	Dir   string
	Owner string // "process 123 on host", "" when unknown
}

func (e *LockedError) Error() string {
	owner := e.Owner
	if owner == "" {
		owner = "another process"
	}
	return fmt.Sprintf("%s is in use by %s; wait until it ends or choose another folder", e.Dir, owner)
}

// LockDir takes the lock of dir, which must exist, without waiting. A *LockedError tells that another run has it. On
// systems without file locks every call succeeds.
func LockDir(dir string) (*Lock, error) {
	path := filepath.Join(dir, lockName)
	f := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o666))
	ok, err := f.TryLock()
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return &Lock{}, nil
	case err != nil:
		return nil, fmt.Errorf("cannot lock %s: %w", dir, err)
	case !ok:
		owner, _ := os.ReadFile(path)
		return nil, &LockedError{dir, strings.TrimSpace(string(owner))}
	}
	// For the message above only: the lock itself is what counts, so a failure here is harmless.
	host, _ := os.Hostname()
	_ = os.WriteFile(path, fmt.Appendf(nil, "process %d on %s\n", os.Getpid(), host), 0o666)
	return &Lock{f}, nil
}

// Unlock gives the folder up. The lock file stays: removing it would race with the next owner.
func (l *Lock) Unlock() error {
	if l.f == nil {
		return nil
	}
	return l.f.Unlock()
}
