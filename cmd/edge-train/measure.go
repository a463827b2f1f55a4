package main

import (
	"context"
	"runtime"
	"time"

	"edgejepa/internal/cli"
	"edgejepa/jepa/data"
)

// measureSteps finds how many steps fit into what is left of limit, with an evaluation of that cost a number of times.
// It measures what decoding a batch and what training on one take, the latter on a state that is thrown away: both use
// all cores, so a step costs their sum as long as pictures must be decoded, and training alone once they are all cached.
func (t *training) measureSteps(ctx context.Context, p *plan, begin time.Time, limit, evals time.Duration) (int, error) {
	spend := min(20*time.Second, max(2*time.Second, limit/40)) // on each of the two
	l := p.loader(0)
	defer l.Close()
	begun, batches := time.Now(), 0
	var px []float32
	for ; batches == 0 || time.Since(begun) < spend; batches++ {
		b, err := l.Next(ctx)
		if err != nil {
			return 0, err
		}
		px = b.Pixels
	}
	decode := time.Since(begun) / time.Duration(batches+1) // one more was being prepared
	l.Close()

	t.trainer.Step(px) // touches fresh memory
	begun = time.Now()
	steps := 0
	for ; steps == 0 || time.Since(begun) < spend; steps++ {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		t.trainer.Step(px)
	}
	train := time.Since(begun) / time.Duration(steps)
	px = nil
	runtime.GC() // the loader of the run needs as much again

	left := float64(limit-time.Since(begin)-evals) * 0.97
	n := left / float64(train+decode)
	if perEpoch := float64(p.set.Len()) / float64(p.config.Run.Batch); n > perEpoch && fits(p.set, p.memory.cache) {
		n = perEpoch + (left-perEpoch*float64(train+decode))/(float64(train)*1.05) // crops are still cut
	}
	if n < 1 {
		return 0, cli.Usagef("--max-time %s is too short for a single step here: give more time or a smaller network", cli.Span(limit))
	}
	t.progress.Infof("a step takes %s, decoding its pictures %s: %d steps in %s", cli.Span(train), cli.Span(decode), int(n), cli.Span(limit))
	return int(n), nil
}

// fits guesses from a few pictures whether all of them, decoded, fit into the cache.
func fits(set *data.Set, cache int64) bool {
	const look = 8
	bytes, n := int64(0), int64(0)
	for i := range look {
		if img, err := set.Picture(i * set.Len() / look); err == nil {
			bytes += int64(len(img.Pix))
			n++
		}
	}
	return n > 0 && bytes/n*int64(set.Len()) <= cache
}
