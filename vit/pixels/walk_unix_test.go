//go:build unix

package pixels

import (
	"maps"
	"net"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever is no file is told by its kind, if it is named or has a picture's name, and counted otherwise. A FIFO without a
// writer would block whoever opens it.
func TestNoFiles(t *testing.T) {
	root := plant(t, map[string][]byte{"a.png": aPicture, "zero.png->/dev/zero": nil, "zero->/dev/zero": nil, "loop.png->loop.png": nil})
	for _, name := range []string{"fifo", "fifo.png"} {
		require.NoError(t, syscall.Mkfifo(filepath.Join(root, name), 0o644))
	}
	t.Chdir(root) // the name of a socket is short
	l, err := net.Listen("unix", "socket.png")
	require.NoError(t, err)
	defer l.Close()
	why := map[string]string{
		"fifo.png": "a FIFO, not a file", "loop.png": "too many levels of symbolic links", "socket.png": "a socket, not a file", "zero.png": "a device, not a file",
	}
	var all, paths []string
	for _, name := range slices.Sorted(maps.Keys(why)) {
		all = append(all, name+": "+why[name])
		paths = append(paths, filepath.Join(root, name))
		_, err := Load(name, Limits{})
		require.EqualError(t, err, name+": "+why[name])
	}
	found, skipped := walk(root, root)
	require.Equal(t, []string{"a.png"}, found)
	require.Equal(t, all, skipped)
	_, skipped = walk(root, paths...)
	require.Equal(t, all, skipped)
	var others int64
	for range Walk([]string{root}, &others) {
	}
	require.EqualValues(t, 2, others, "fifo, zero")
}
