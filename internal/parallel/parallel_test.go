package parallel

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type count struct {
	hits    []atomic.Int32
	workers int
	bad     atomic.Int32
}

func (c *count) Run(chunk, worker int) {
	c.hits[chunk].Add(1)
	if worker < 0 || worker >= c.workers {
		c.bad.Add(1)
	}
}

func TestEveryChunkOnce(t *testing.T) {
	for _, workers := range []int{1, 2, 3, 7} {
		p := New(workers)
		for round := range 3000 {
			n := round % 23
			c := &count{hits: make([]atomic.Int32, n), workers: workers}
			p.Do(c, n)
			for i := range c.hits {
				require.EqualValues(t, 1, c.hits[i].Load(), "chunk %d of %d", i, n)
			}
			require.Zero(t, c.bad.Load())
			if round%500 == 0 {
				time.Sleep(5 * time.Millisecond) // let the workers fall asleep
			}
		}
		p.Close()
		p.Close()
	}
}

type boom struct{}

func (boom) Run(chunk, worker int) {
	if chunk == 3 {
		panic("boom")
	}
}

func TestPanicReachesCaller(t *testing.T) {
	p := New(3)
	defer p.Close()
	require.PanicsWithValue(t, "boom", func() { p.Do(boom{}, 9) })
	c := &count{hits: make([]atomic.Int32, 5), workers: 3}
	p.Do(c, 5) // and the pool still works
	require.EqualValues(t, 1, c.hits[4].Load())
}

func TestDoAllocatesNothing(t *testing.T) {
	p := New(2)
	defer p.Close()
	c := &count{hits: make([]atomic.Int32, 64), workers: 2}
	require.Zero(t, testing.AllocsPerRun(100, func() { p.Do(c, 64) }))
}

// Workers without work sleep, whether they have a processor each or not.
func TestIdleWorkersSleep(t *testing.T) {
	for _, workers := range []int{2, 2 * runtime.GOMAXPROCS(0)} {
		p := New(workers)
		c := &count{hits: make([]atomic.Int32, 64), workers: workers}
		p.Do(c, 64)
		for w := 1; w < workers; w++ {
			require.Eventually(t, p.asleep[w].Load, 10*time.Second, time.Millisecond, "worker %d of %d", w, workers)
		}
		p.Do(c, 64) // and wake
		for i := range c.hits {
			require.EqualValues(t, 2, c.hits[i].Load())
		}
		p.Close()
	}
}
