//go:build unix

package cli

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain plays a program for the tests below when it is started as their child.
func TestMain(m *testing.M) {
	ctx := context.Background()
	switch os.Getenv("CLI_TEST_CHILD") {
	case "":
		os.Exit(m.Run())
	case "wait": // ends on the first signal
		ctx, stop := SignalContext(ctx)
		defer stop()
		os.Stdout.WriteString("ready\n")
		<-ctx.Done()
		os.Exit(Report(ctx, os.Stderr, "edge", ctx.Err()))
	case "hang": // takes too long to end
		ctx, _ = SignalContext(ctx)
		os.Stdout.WriteString("ready\n")
		<-ctx.Done()
		os.Stdout.WriteString("ending\n")
		time.Sleep(time.Minute)
	case "pipe": // writes until the reader is gone
		ctx, _ = SignalContext(ctx)
		for {
			if _, err := os.Stdout.WriteString("line\n"); err != nil {
				os.Exit(Report(ctx, os.Stderr, "edge", err))
			}
		}
	}
}

// child starts a copy of this binary and waits for its first line.
func child(t *testing.T, role string) (*exec.Cmd, *bufio.Reader, *strings.Builder) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CLI_TEST_CHILD="+role)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	start(t, cmd)
	r := bufio.NewReader(out)
	_, err = r.ReadString('\n')
	require.NoError(t, err)
	return cmd, r, &stderr
}

// start skips the test where this binary cannot run itself: under an emulator that the kernel does not know of.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	err := cmd.Start()
	if errors.Is(err, syscall.ENOEXEC) {
		t.Skip(err)
	}
	require.NoError(t, err)
}

func TestFirstSignalEndsInOrder(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd, _, stderr := child(t, "wait")
		require.NoError(t, cmd.Process.Signal(sig))
		require.Error(t, cmd.Wait())
		require.Equal(t, ExitInterrupted, cmd.ProcessState.ExitCode())
		require.Equal(t, "edge: interrupted\n", stderr.String())
	}
}

func TestSecondSignalKills(t *testing.T) {
	cmd, out, _ := child(t, "hang")
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	line, err := out.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ending\n", line)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.Error(t, cmd.Wait())
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, status.Signaled())
	require.Equal(t, syscall.SIGINT, status.Signal())
}

func TestClosedPipeIsQuiet(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CLI_TEST_CHILD=pipe")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	r, w, err := os.Pipe()
	require.NoError(t, err)
	cmd.Stdout = w
	start(t, cmd)
	w.Close()
	_, err = r.Read(make([]byte, 10))
	require.NoError(t, err)
	r.Close()
	require.NoError(t, cmd.Wait())
	require.Empty(t, stderr.String())
}

func TestStop(t *testing.T) {
	ctx, stop := SignalContext(context.Background())
	require.NoError(t, ctx.Err())
	stop()
	require.ErrorIs(t, ctx.Err(), context.Canceled)
	require.False(t, interrupted(ctx, ctx.Err()))
}
