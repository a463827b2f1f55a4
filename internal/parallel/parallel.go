// Package parallel runs the chunks of a task on a persistent pool of workers.
//
// Work is cut by shape and never by worker: a caller chooses the number of chunks from its sizes alone, chunks are
// handed out one at a time, and which worker runs a chunk can change nothing but the time it takes. A call
// allocates nothing: tasks are structs that their owner keeps.
package parallel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Task is work cut into independent chunks.
type Task interface {
	// Run does chunk number chunk. worker, in [0, Workers), names the scratch that this call may use.
	Run(chunk, worker int)
}

// Pool is a fixed set of workers. The goroutine that calls Do is worker 0. One Do runs at a time.
type Pool struct {
	workers  int
	patience time.Duration
	task     Task  // written only while the gate is shut
	chunks   int64 // likewise
	next     atomic.Int64
	gate     atomic.Int64 // workers inside the present task, or shut

	epoch  atomic.Uint64 // counts tasks; a worker that sees it move looks at the gate
	parked []chan struct{}
	asleep []atomic.Bool
	closed atomic.Bool
	wg     sync.WaitGroup

	panicMu sync.Mutex
	panicV  any
}

// shut is the gate's value between tasks: nobody is inside and nobody may enter.
const shut = -1

// patience is how long an idle worker looks for new work before it sleeps. The chunks of a step's tasks take some hundred
// microseconds, so that is how long the first worker to run out of them waits for the last; waking a sleeper takes tens,
// and until then its share is done by the others. A worker without a processor of its own sleeps sooner.
const (
	patience      = 300 * time.Microsecond
	shortPatience = 20 * time.Microsecond
)

// New starts a pool of the given number of workers, at least one. Close releases it.
func New(workers int) *Pool {
	workers = max(workers, 1)
	p := &Pool{
		workers: workers, patience: patience, parked: make([]chan struct{}, workers), asleep: make([]atomic.Bool, workers),
	}
	if workers > runtime.GOMAXPROCS(0) {
		p.patience = shortPatience
	}
	p.gate.Store(shut)
	for w := 1; w < workers; w++ {
		p.parked[w] = make(chan struct{}, 1)
		p.wg.Add(1)
		go p.work(w)
	}
	return p
}

// Workers returns the number of workers, the calling goroutine included.
func (p *Pool) Workers() int { return p.workers }

// Do runs t.Run for every chunk in [0, chunks) and returns when all are done. A panic in a chunk is raised again
// here, after the others have finished.
func (p *Pool) Do(t Task, chunks int) {
	if chunks <= 0 {
		return
	}
	if p.workers == 1 || chunks == 1 {
		for c := range chunks {
			t.Run(c, 0)
		}
		return
	}
	p.task, p.chunks = t, int64(chunks)
	p.next.Store(0)
	p.gate.Store(1) // this goroutine
	p.epoch.Add(1)
	p.wake(min(p.workers, chunks))
	p.drain(0)
	for i := 0; !p.gate.CompareAndSwap(1, shut); i++ { // the others finish the chunks they took
		if i > 100 {
			runtime.Gosched()
		}
	}
	p.task = nil
	if v := p.panicV; v != nil {
		p.panicV = nil
		panic(v)
	}
}

// wake rouses the sleepers among the first n workers.
func (p *Pool) wake(n int) {
	for w := 1; w < n; w++ {
		if p.asleep[w].CompareAndSwap(true, false) {
			p.parked[w] <- struct{}{}
		}
	}
}

// Close stops the workers. The pool must be idle.
func (p *Pool) Close() {
	if p.closed.Swap(true) {
		return
	}
	p.epoch.Add(1)
	p.wake(p.workers)
	p.wg.Wait()
}

func (p *Pool) work(w int) {
	defer p.wg.Done()
	for seen := uint64(0); ; {
		seen = p.await(w, seen)
		if p.closed.Load() {
			return
		}
		for g := p.gate.Load(); g > 0; g = p.gate.Load() {
			if p.gate.CompareAndSwap(g, g+1) {
				p.drain(w)
				p.gate.Add(-1)
				break
			}
		}
	}
}

// await returns the present epoch once it differs from seen.
func (p *Pool) await(w int, seen uint64) uint64 {
	for start, i := time.Now(), 1; ; i++ {
		if e := p.epoch.Load(); e != seen {
			return e
		}
		if i%16 == 0 {
			runtime.Gosched()
		}
		if i%64 == 0 && time.Since(start) > p.patience {
			break
		}
	}
	p.asleep[w].Store(true)
	if p.epoch.Load() == seen || !p.asleep[w].CompareAndSwap(true, false) {
		<-p.parked[w] // if the flag was taken, a token is on its way
	}
	return p.epoch.Load()
}

// drain takes chunks until none is left.
func (p *Pool) drain(w int) {
	for c := p.next.Add(1) - 1; c < p.chunks; c = p.next.Add(1) - 1 {
		p.one(int(c), w)
	}
}

func (p *Pool) one(c, w int) {
	defer func() {
		if v := recover(); v != nil {
			p.panicMu.Lock()
			p.panicV = v
			p.panicMu.Unlock()
		}
	}()
	p.task.Run(c, w)
}
