//go:build unix

package safetensors

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOpenFIFO would block for ever if the pipe were opened.
func TestOpenFIFO(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	_, err := Open(fifo)
	require.ErrorContains(t, err, "not a regular file")
}
