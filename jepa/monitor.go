package jepa

import "edgejepa/internal/arena"

// monitor keeps the mean-pooled tokens of the last pictures, from which collapse is seen: the target encoder's where a step
// runs it, else the context encoder's. They cost nothing to gather, since the pass is made anyway.
type monitor struct {
	features []float32 // [slots·B, D], a ring of batches
	batch    int
	dim      int
	batches  int // batches ever put in
}

// monitorRows is how many pictures the monitor aims to look at.
const monitorRows = 512

func placeMonitor(a *arena.Arena, batch, dim int) monitor {
	return monitor{features: a.F32(monitorLen(batch, dim)), batch: batch, dim: dim}
}

func monitorLen(batch, dim int) int { return max(1, monitorRows/batch) * batch * dim }

func (m *monitor) slots() int { return len(m.features) / (m.batch * m.dim) }

// reset forgets all pictures. Their places become 0, since a checkpoint holds all of them.
func (m *monitor) reset() {
	clear(m.features)
	m.batches = 0
}

// next is where the next batch's features [B, D] go.
func (m *monitor) next() []float32 {
	at := m.batches % m.slots() * m.batch * m.dim
	m.batches++
	return m.features[at : at+m.batch*m.dim]
}

// Recent returns the features gathered so far, [n, D], in no particular order.
func (t *Trainer) Recent() (x []float32, n, dim int) {
	m := &t.monitor
	n = min(m.batches, m.slots()) * m.batch
	return m.features[:n*m.dim], n, m.dim
}
