//go:build unix

package cli

import (
	"errors"
	"os/signal"
	"syscall"
)

// ignoreBrokenPipe turns the deadly SIGPIPE of standard output into an EPIPE error.
func ignoreBrokenPipe() { signal.Ignore(syscall.SIGPIPE) }

// IsBrokenPipe tells whether err is a write to a reader that went away, as in "edge-embed … | head".
func IsBrokenPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }
