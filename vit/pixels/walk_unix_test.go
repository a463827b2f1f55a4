//go:build unix

package pixels

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A FIFO without a writer blocks whoever opens it.
func TestFIFO(t *testing.T) {
	root := plant(t, map[string][]byte{"a.png": aPicture, "link.png->fifo.png": nil})
	fifo := filepath.Join(root, "fifo.png")
	if err := syscall.Mkfifo(fifo, 0o644); err != nil {
		t.Skip("no FIFOs here:", err)
	}
	found, skipped := walk(root, root)
	require.Equal(t, []string{"a.png"}, found)
	require.Empty(t, skipped)
	_, skipped = walk(root, fifo)
	require.Equal(t, []string{"fifo.png: a FIFO, not a file"}, skipped)
	_, err := Load(fifo, Limits{})
	require.ErrorContains(t, err, "a FIFO, not a file")
}
