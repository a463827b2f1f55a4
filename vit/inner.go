package vit

import (
	"edgejepa/internal/arena"
	"edgejepa/kernels"
)

// inner is what an inference pass keeps of the blocks before the last one.
type inner struct {
	blocks int       // of them, the last ones before the last
	eps    float32   // of the layer norm
	sum    []float32 // [rows, D]
}

// PlaceInner makes every Forward of an inference pass leave in Inner the sum, over a number of blocks before the last one,
// of their layer-normed outputs, without gain and bias.
func (p *Pass) PlaceInner(a *arena.Arena, blocks int, eps float32) {
	ws := p.ws
	if ws.mode != Infer || blocks < 1 || blocks >= len(ws.trunk.Blocks) {
		panic("vit: PlaceInner: not an inference pass of that many blocks")
	}
	ws.inner = inner{blocks, eps, a.F32(ws.max.Rows * ws.trunk.Dim)}
}

// Inner is the sum that PlaceInner asks for, [rows, D], of the last Forward.
func (p *Pass) Inner() []float32 { return p.ws.inner.sum[:p.ws.Rows()*p.enc.Config.Dim] }

// addInner adds block i's output, rows x of a chunk, to the sum if it is one of those wanted.
func (ws *Workspace) addInner(x []float32, c chunk, i int, w *scratch) {
	d, last := ws.trunk.Dim, len(ws.trunk.Blocks)-1
	first, rows := last-ws.inner.blocks, c.row1-c.row0
	if i < first || i == last {
		return
	}
	sum := ws.inner.sum[c.row0*d : c.row1*d]
	if i == first {
		kernels.LayerNorm(sum, x, nil, nil, nil, nil, rows, d, ws.inner.eps)
		return
	}
	kernels.LayerNorm(w.norm, x, nil, nil, nil, nil, rows, d, ws.inner.eps)
	kernels.Add(sum, w.norm[:rows*d])
}
