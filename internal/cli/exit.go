// Package cli is what the programs share towards a person: exit codes, progress, flags, settings files, signals.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// The exit codes of both programs.
const (
	ExitOK          = 0   // all done
	ExitFailed      = 1   // failed, or every input failed
	ExitUsage       = 2   // wrong usage or settings; nothing was touched
	ExitSkipped     = 3   // done, some inputs skipped
	ExitInterrupted = 130 // interrupted; what was written is valid and resumable
)

// ExitError is an error with the exit code it leads to. A nil Err says nothing more to the person.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

func (e *ExitError) Unwrap() error { return e.Err }

// Usage makes err one of wrong usage, nil stays nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return &ExitError{ExitUsage, err}
}

// Usagef is an error of wrong usage.
func Usagef(format string, args ...any) error { return Usage(fmt.Errorf(format, args...)) }

// ErrSkipped ends a run that did its work but had to pass over some inputs, each of which was told already.
var ErrSkipped error = &ExitError{Code: ExitSkipped}

// Code is the exit code for the error that ended a run under ctx, the context of SignalContext.
func Code(ctx context.Context, err error) int {
	var exit *ExitError
	switch {
	case err == nil || IsBrokenPipe(err):
		return ExitOK
	case interrupted(ctx, err):
		return ExitInterrupted
	case errors.As(err, &exit):
		return exit.Code
	}
	return ExitFailed
}

// Report tells the person on stderr why the program ends and returns the exit code. A reader that went away is not worth
// a word.
func Report(ctx context.Context, stderr io.Writer, program string, err error) int {
	code := Code(ctx, err)
	var exit *ExitError
	switch {
	case code == ExitOK:
	case code == ExitInterrupted:
		fmt.Fprintf(stderr, "%s: interrupted\n", program)
	case errors.As(err, &exit) && exit.Err == nil:
	default:
		fmt.Fprintf(stderr, "%s: %v\n", program, err)
	}
	return code
}
