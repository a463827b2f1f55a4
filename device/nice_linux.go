package device

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Nice sets the process's priority, 0 the usual one and 19 the least, so that a long job leaves the board to others.
// Linux keeps a priority for each thread: those there now are set, later ones inherit it.
func Nice(n int) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("priority %d: %w", n, err)
	}
	for _, t := range threads {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, tid, n); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("priority %d: %w", n, err)
		}
	}
	return nil
}
