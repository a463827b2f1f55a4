//go:build !unix

package cli

import (
	"errors"
	"syscall"
)

func ignoreBrokenPipe() {}

// IsBrokenPipe tells whether err is a write to a reader that went away, as in "edge-embed … | head".
func IsBrokenPipe(err error) bool {
	// Windows reports ERROR_BROKEN_PIPE or ERROR_NO_DATA.
	const brokenPipe, noData = syscall.Errno(109), syscall.Errno(232)
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, brokenPipe) || errors.Is(err, noData)
}
