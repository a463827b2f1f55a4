// Package sdnotify tells systemd how a long job is doing, by the protocol of sd_notify(3): one datagram a message, to the
// socket that the variable NOTIFY_SOCKET names.
//
// The job comes first: a message that is not taken within sendTimeout is lost, and no failure stops anything.
package sdnotify

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	sendTimeout = time.Second
	slack       = 4 // the watchdog's limit is at least so many times what passes between two beats
)

// Notifier sends to the service manager that started this process. A nil *Notifier sends nothing. Its methods are for one
// goroutine.
type Notifier struct {
	addr   net.UnixAddr
	say    func(string)
	now    func() time.Time
	limit  time.Duration // without a beat, after which the manager ends the process; 0: it does not watch
	state  state
	failed bool // and that has been said

	patience int       // calls of Patient that are under way
	called   time.Time // when Beat was last called, or what came before it ended
	sent     time.Time // when the manager was last told that the job gets on
}

type state int

const (
	starting state = iota
	running
	stopping
)

// FromEnv returns a Notifier for the socket and the watchdog of the environment, nil where there is none. say is told once if
// messages cannot be sent, and of a watchdog that is made to wait longer.
func FromEnv(say func(string)) *Notifier {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	n := &Notifier{addr: net.UnixAddr{Name: name, Net: "unixgram"}, say: say, now: time.Now}
	// A process that a service has started inherits its variables, and is not the one that is watched.
	if pid := os.Getenv("WATCHDOG_PID"); pid == "" || pid == strconv.Itoa(os.Getpid()) {
		if us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64); err == nil && us > 0 {
			n.limit = time.Duration(min(us, int64(24*time.Hour/time.Microsecond))) * time.Microsecond
		}
	}
	n.called = n.now()
	return n
}

// send sends lines as one message. It connects anew each time: the manager may have been restarted.
func (n *Notifier) send(lines ...string) {
	err := func() error {
		c, err := net.DialUnix("unixgram", nil, &n.addr)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
			return err
		}
		_, err = c.Write([]byte(strings.Join(lines, "\n")))
		return err
	}()
	if err != nil && !n.failed {
		n.failed = true
		n.say(fmt.Sprintf("systemd cannot be told how it goes: %v", err))
	}
}

func usec(key string, d time.Duration) string { return fmt.Sprintf("%s=%d", key, d.Microseconds()) }

// Starting says that the job may take up to d from now until its first beat or another call of Starting, although the unit's
// TimeoutStartSec be less.
func (n *Notifier) Starting(d time.Duration) {
	if n == nil {
		return
	}
	n.send(usec("EXTEND_TIMEOUT_USEC", d))
	n.called = n.now()
}

// Status shows text, one line, in systemctl status.
func (n *Notifier) Status(text string) {
	if n != nil {
		n.send("STATUS=" + strings.ReplaceAll(text, "\n", " "))
	}
}

// Beat says that the job gets on: it is to be called after each piece of work, however short, and by nothing that runs
// beside the work. The first says that the start is over. Others keep the watchdog quiet, at least every half of its limit.
// If pieces take so long that this cannot be, the limit is raised to slack times a piece: the unit was written for a faster
// machine, and a job that is killed would come to the same piece again.
func (n *Notifier) Beat() {
	if n == nil || n.state == stopping {
		return
	}
	now := n.now()
	took := now.Sub(n.called)
	n.called = now
	if n.state == starting {
		n.state, n.sent = running, now
		n.send("READY=1")
	}
	switch {
	case n.limit == 0:
	case slack*took > n.limit:
		n.say(fmt.Sprintf("systemd's watchdog waits %v, and work was under way for %v: asking it to wait %v", n.limit, took, slack*took))
		n.limit, n.sent = slack*took, now
		n.send("WATCHDOG=1", usec("WATCHDOG_USEC", n.limit))
	case now.Sub(n.sent) >= n.limit/slack:
		n.sent = now
		n.send("WATCHDOG=1")
	}
}

// Patient makes the watchdog wait for up to d until the returned function is called: work begins that takes long and cannot
// beat. Inner calls change nothing.
func (n *Notifier) Patient(d time.Duration) (done func()) {
	if n == nil || n.limit == 0 || n.state != running {
		return func() {}
	}
	if n.patience++; n.patience == 1 {
		n.send("WATCHDOG=1", usec("WATCHDOG_USEC", max(d, n.limit)))
	}
	return func() {
		if n.patience--; n.patience == 0 && n.state == running {
			n.called = n.now()
			n.sent = n.called
			n.send("WATCHDOG=1", usec("WATCHDOG_USEC", n.limit))
		}
	}
}

// Stopping says that the job is over and may take up to d to leave. Nothing is sent after it. A job that found nothing to
// do is ready first: systemd takes one for failed that ends before it is.
func (n *Notifier) Stopping(d time.Duration) {
	if n == nil || n.state == stopping {
		return
	}
	if n.state == starting {
		n.send("READY=1")
	}
	n.state = stopping
	n.send("STOPPING=1", usec("EXTEND_TIMEOUT_USEC", d))
}
