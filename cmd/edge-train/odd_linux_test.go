package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cli"
)

// A run that goes on with its list waits for nothing that has taken a picture's place meanwhile.
func TestResumeOverOddFiles(t *testing.T) {
	pictures, out := drawn(t, 4), filepath.Join(t.TempDir(), "run")
	code, _, stderr := command(t, micro(pictures, out, "--max-time", "1ns", "--report=false")...)
	require.Zero(t, code, stderr)
	all, err := filepath.Glob(filepath.Join(pictures, "*", "*"))
	require.NoError(t, err)
	fifo, device := all[1], all[2]
	require.NoError(t, os.Remove(fifo))
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	require.NoError(t, os.Remove(device))
	require.NoError(t, os.Symlink("/dev/zero", device))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		code, _, stderr = command(t, micro(pictures, out, "--resume", "--report=false")...)
	}()
	select {
	case <-ended:
	case <-time.After(5 * time.Minute):
		t.Fatal("it waits for a FIFO or reads a device")
	}
	require.Equal(t, cli.ExitSkipped, code, stderr)
	for _, path := range []string{fifo, device} {
		require.Contains(t, stderr, "skipping "+path)
	}
}
