package main

import (
	"fmt"
	"runtime"
	"sync"

	"edgejepa/kernels/internal/armcount/emulator"
)

// counts is how often each instruction ran, by address.
type counts map[uint64]float64

func (c counts) add(blocks []emulator.Block, weight float64) {
	for _, b := range blocks {
		for i := range b.Instructions {
			c[b.Address+4*uint64(i)] += weight * float64(b.Runs)
		}
	}
}

// term is a work that is counted, with its weight in a sum.
type term struct {
	work   work
	weight float64
}

// extrapolate says which small works to count for a large one. Every instruction of a training step runs
//
//	α + β·batch + (γ + δ·batch)·depth
//
// times, of an embedding α + γ·depth: the numbers of pictures and of blocks are loops around everything else. Two depths and
// two batches give the four constants. What it takes to start is counted with Times = 0 and taken off.
func extrapolate(w work, batches [2]int, depths [2]int) []term {
	var terms []term
	w.Times = 1
	encoder, predictor := w.Depth, w.Predictor
	along := float64(encoder-depths[0]) / float64(depths[1]-depths[0])
	for i, byDepth := range [2]float64{1 - along, along} {
		w.Depth = depths[i]
		w.Predictor = predictor * depths[i] / encoder
		start := w
		start.Times = 0
		if !w.Train {
			terms = append(terms, term{w, byDepth}, term{start, -byDepth})
			continue
		}
		across := float64(w.Batch-batches[0]) / float64(batches[1]-batches[0])
		for j, byBatch := range [2]float64{1 - across, across} {
			part := w
			part.Batch = batches[j]
			part.Seed = part.typicalSeed(w.Batch)
			terms = append(terms, term{part, byDepth * byBatch})
		}
		start.Batch, start.Seed = batches[0], 0
		terms = append(terms, term{start, -byDepth})
	}
	return terms
}

// counter counts works, each once for a core.
type counter struct {
	machine *emulator.Machine
	done    map[string][]emulator.Block
}

func key(core string, w work) string { return fmt.Sprint(core, w.args()) }

// prepare counts all works that are not counted yet, as many at a time as there are processors.
func (c *counter) prepare(core string, terms []term) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	free := make(chan struct{}, runtime.NumCPU())
	for _, t := range terms {
		mu.Lock()
		_, known := c.done[key(core, t.work)]
		if !known {
			c.done[key(core, t.work)] = nil
		}
		mu.Unlock()
		if known {
			continue
		}
		wg.Go(func() {
			free <- struct{}{}
			blocks, err := c.machine.Run(core, t.work.args()...)
			<-free
			mu.Lock()
			defer mu.Unlock()
			c.done[key(core, t.work)] = blocks
			if err != nil && first == nil {
				first = fmt.Errorf("%s: %w", key(core, t.work), err)
			}
		})
	}
	wg.Wait()
	return first
}

// sum is the weighted sum of terms, without what depends on the moment.
func (c *counter) sum(core string, terms []term) (counts, error) {
	if err := c.prepare(core, terms); err != nil {
		return nil, err
	}
	n := counts{}
	for _, t := range terms {
		n.add(c.done[key(core, t.work)], t.weight)
	}
	for address := range n {
		if n[address] <= 0 || !emulator.Counted(c.machine.Symbols.Name(address)) {
			delete(n, address)
		}
	}
	return n, nil
}

// total is the number of instructions.
func (c counts) total() (n float64) {
	for _, runs := range c {
		n += runs
	}
	return n
}
