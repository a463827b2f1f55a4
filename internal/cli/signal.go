package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// ErrInterrupted is the cause of a context that SIGINT or SIGTERM cancelled.
var ErrInterrupted = errors.New("interrupted")

// SignalContext returns a context that the first SIGINT or SIGTERM cancels with the cause ErrInterrupted, so that the run
// can finish its row or save its checkpoint. A second signal kills the process at once. Writing to a closed pipe becomes
// an ordinary error (see IsBrokenPipe). stop restores the signals.
func SignalContext(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	ignoreBrokenPipe()
	go func() {
		select {
		case <-ch:
			signal.Stop(ch) // the next one has its default effect
			cancel(ErrInterrupted)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(ch)
		cancel(nil)
	}
}

// interrupted tells whether err is the end of a run under ctx that a signal caused.
func interrupted(ctx context.Context, err error) bool {
	return errors.Is(err, ErrInterrupted) ||
		errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), ErrInterrupted)
}
