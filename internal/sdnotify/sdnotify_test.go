package sdnotify

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// manager is a socket like systemd's.
func manager(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil && runtime.GOOS != "linux" {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return c
}

// got are the messages that were sent: one of its own follows them, for a socket keeps their order.
func got(t *testing.T, c *net.UnixConn) (all []string) {
	t.Helper()
	last, err := net.DialUnix("unixgram", nil, c.LocalAddr().(*net.UnixAddr))
	require.NoError(t, err)
	defer last.Close()
	go last.Write([]byte("END")) // waits where the socket's queue is full
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		require.NoError(t, err)
		if string(buf[:n]) == "END" {
			return all
		}
		all = append(all, string(buf[:n]))
	}
}

func socketPath(t *testing.T) string { return filepath.Join(t.TempDir(), "notify") }

// fromEnv returns a Notifier whose clock stands still, and what moves it.
func fromEnv(t *testing.T, say func(string)) (n *Notifier, pass func(time.Duration)) {
	n = FromEnv(say)
	require.NotNil(t, n)
	at := time.Unix(0, 0)
	n.now = func() time.Time { return at }
	n.called = at
	return n, func(d time.Duration) { at = at.Add(d) }
}

func quiet(t *testing.T) func(string) { return func(s string) { t.Error(s) } }

func TestOrder(t *testing.T) {
	names := []string{socketPath(t)}
	if runtime.GOOS == "linux" {
		names = append(names, fmt.Sprintf("@edgejepa-test-%d", os.Getpid())) // abstract
	}
	for _, name := range names {
		c := manager(t, name)
		n, pass := fromEnv(t, quiet(t))
		n.Starting(time.Hour)
		n.Patient(time.Hour)() // not watched
		n.Beat()
		pass(time.Hour)
		n.Beat()
		n.Status("step 1\nof 2")
		n.Stopping(time.Minute)
		n.Stopping(time.Minute)
		n.Beat()
		require.Equal(t, []string{"EXTEND_TIMEOUT_USEC=3600000000", "READY=1", "STATUS=step 1 of 2", "STOPPING=1\nEXTEND_TIMEOUT_USEC=60000000"}, got(t, c))
	}
}

// A job that ends before its first beat has been ready nevertheless.
func TestNothingToDo(t *testing.T) {
	c := manager(t, socketPath(t))
	n, _ := fromEnv(t, quiet(t))
	n.Stopping(time.Second)
	require.Equal(t, []string{"READY=1", "STOPPING=1\nEXTEND_TIMEOUT_USEC=1000000"}, got(t, c))
}

func TestWatchdogFollowsTheWork(t *testing.T) {
	c := manager(t, socketPath(t))
	t.Setenv("WATCHDOG_USEC", "8000000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	n, pass := fromEnv(t, quiet(t))
	n.Beat()
	require.Equal(t, []string{"READY=1"}, got(t, c))

	// Pieces of any length up to a quarter of the limit keep the pauses below its half.
	for _, piece := range []time.Duration{time.Millisecond, 300 * time.Millisecond, 1999 * time.Millisecond, 2 * time.Second} {
		var longest, pause time.Duration
		beats := 0
		for range 20 * time.Second / piece {
			pass(piece)
			pause += piece
			longest = max(longest, pause)
			n.Beat()
			if n.sent == n.called { // sent now
				pause, beats = 0, beats+1
			}
		}
		require.LessOrEqual(t, longest, 4*time.Second, "pieces of %v", piece)
		messages := got(t, c)
		require.Len(t, messages, beats)
		require.LessOrEqual(t, beats, 11, "no more than needed")
		for _, m := range messages {
			require.Equal(t, "WATCHDOG=1", m)
		}
	}

	// When nothing is done nothing is sent, on any clock.
	pass(time.Hour)
	time.Sleep(50 * time.Millisecond)
	require.Empty(t, got(t, c))
}

func TestWatchdogWaitsForSlowWork(t *testing.T) {
	c := manager(t, socketPath(t))
	t.Setenv("WATCHDOG_USEC", "8000000")
	var said []string
	n, pass := fromEnv(t, func(s string) { said = append(said, s) })
	n.Patient(time.Hour)()
	require.Empty(t, got(t, c), "the manager does not watch before the start is over")
	n.Beat()
	pass(5 * time.Second)
	n.Beat()
	require.Equal(t, []string{"READY=1", "WATCHDOG=1\nWATCHDOG_USEC=20000000"}, got(t, c))
	require.Len(t, said, 1)
	require.Contains(t, said[0], "waits 8s, and work was under way for 5s: asking it to wait 20s")

	outer := n.Patient(time.Hour)
	inner := n.Patient(time.Minute)
	pass(30 * time.Minute)
	inner()
	outer()
	pass(time.Second)
	n.Beat()
	require.Equal(t, []string{"WATCHDOG=1\nWATCHDOG_USEC=3600000000", "WATCHDOG=1\nWATCHDOG_USEC=20000000"}, got(t, c))
	done := n.Patient(time.Second)
	require.Equal(t, []string{"WATCHDOG=1\nWATCHDOG_USEC=20000000"}, got(t, c), "never less than usual")
	n.Stopping(time.Second)
	got(t, c)
	done()
	require.Empty(t, got(t, c), "systemd would watch again")
	require.Len(t, said, 1)
}

func TestWatchdogOfAnother(t *testing.T) {
	c := manager(t, socketPath(t))
	for _, env := range [][2]string{{"8000000", "1"}, {"", ""}, {"soon", ""}, {"-5", ""}, {"0", ""}} {
		t.Setenv("WATCHDOG_USEC", env[0])
		t.Setenv("WATCHDOG_PID", env[1])
		n, pass := fromEnv(t, quiet(t))
		n.Beat()
		pass(time.Hour)
		n.Beat()
		require.Equal(t, []string{"READY=1"}, got(t, c), "%v", env)
	}
}

func TestUnset(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	n := FromEnv(quiet(t))
	require.Nil(t, n)
	n.Starting(time.Second)
	n.Beat()
	n.Status("")
	n.Patient(time.Second)()
	n.Stopping(time.Second)
}

// A manager that is gone, or that takes nothing, costs a moment and is said once.
func TestFailureIsHarmless(t *testing.T) {
	name := socketPath(t)
	t.Setenv("WATCHDOG_USEC", "1000")
	t.Setenv("NOTIFY_SOCKET", name)
	var said []string
	n, pass := fromEnv(t, func(s string) { said = append(said, s) })
	for range 3 {
		n.Beat()
		pass(100 * time.Microsecond)
		n.Status("going on")
	}
	require.Len(t, said, 1)
	require.Contains(t, said[0], name)
	manager(t, name)
	n, _ = fromEnv(t, func(s string) { said = append(said, s) })
	begun, sent := time.Now(), 0
	for ; len(said) == 1 && sent < 10000; sent++ {
		n.Status(strings.Repeat("x", 1000)) // until the socket's queue is full
	}
	require.Len(t, said, 2, "%d messages were taken", sent)
	require.Contains(t, said[1], "timeout")
	require.Less(t, time.Since(begun), 30*time.Second)
}
