package vit

import (
	"edgejepa/fp"
	"edgejepa/internal/arena"
	"edgejepa/kernels"
)

// What lies between blocks: heads read features of several depths.

// Input fills dst [rows, D] with the input of block i, which is the output of block i-1, of the last Forward in Train mode.
// Below float32 it is what was kept of it, in halves.
func (ws *Workspace) Input(dst []float32, i int) {
	n := ws.Rows() * ws.trunk.Dim
	if ws.inHalves() {
		fp.DecodeHalf(dst[:n], ws.inputHalves(i)[:n])
		return
	}
	copy(dst, ws.input(i)[:n])
}

// AddInputGrad makes the next Backward add d [rows, D] to the gradient of block i's input, once it has come to it: for what
// Input gave to something else.
func (ws *Workspace) AddInputGrad(i int, d []float32) { ws.taps = append(ws.taps, tap{i, d}) }

// tap is a gradient that enters between blocks.
type tap struct {
	block int
	d     []float32
}

// addTaps adds what AddInputGrad gave for the present block.
func (ws *Workspace) addTaps() {
	for _, t := range ws.taps {
		if t.block == ws.block {
			kernels.Add(ws.DOut[:ws.Rows()*ws.trunk.Dim], t.d)
		}
	}
}

// Taps reads features for heads from the passes of an encoder: side by side for each token the inputs of some blocks, each
// less its mean and over its deviation (a layer norm without gain and bias, which a head's first layer would take up), then
// the token behind the final norm.
type Taps struct {
	pass       *Pass
	blocks     []int
	x, dx      [][]float32 // [block] of [rows, D]
	mean, rstd [][]float32 // [block] of [rows]
}

// PlaceTaps lays out what reading the inputs of blocks takes, of a pass made for Train.
func (p *Pass) PlaceTaps(a *arena.Arena, blocks []int) *Taps {
	t, rows := &Taps{pass: p, blocks: blocks}, p.ws.max.Rows
	for range blocks {
		t.x, t.dx = append(t.x, a.F32(rows*p.enc.Config.Dim)), append(t.dx, a.F32(rows*p.enc.Config.Dim))
		t.mean, t.rstd = append(t.mean, a.F32(rows)), append(t.rstd, a.F32(rows))
	}
	return t
}

// Features fills dst [rows, (T+1)·D] from the last Forward.
func (t *Taps) Features(dst []float32) {
	d, rows := t.pass.enc.Config.Dim, t.pass.ws.Rows()
	for i, b := range t.blocks {
		t.pass.ws.Input(t.x[i], b)
		kernels.LayerNorm(t.dx[i], t.x[i], nil, nil, t.mean[i], t.rstd[i], rows, d, float32(t.pass.enc.Config.NormEps))
		t.columns(dst, t.dx[i], i, false)
	}
	t.columns(dst, t.pass.Tokens(), len(t.blocks), false)
}

// SetGrad takes the gradient of Features to where Backward of the pass finds it: DTokens, and between the blocks.
func (t *Taps) SetGrad(grad []float32) {
	d, rows := t.pass.enc.Config.Dim, t.pass.ws.Rows()
	t.columns(grad, t.pass.DTokens(), len(t.blocks), true)
	for i, b := range t.blocks {
		dy := t.pass.ws.Out[:rows*d] // which a backward pass does not read
		t.columns(grad, dy, i, true)
		clear(t.dx[i][:rows*d])
		kernels.AddLayerNormGrad(t.dx[i], dy, t.x[i], nil, t.mean[i], t.rstd[i], rows, d)
		t.pass.ws.AddInputGrad(b, t.dx[i][:rows*d])
	}
}

// columns copies x [rows, D] to part i of each row of all, or back.
func (t *Taps) columns(all, x []float32, i int, back bool) {
	d, w := t.pass.enc.Config.Dim, (len(t.blocks)+1)*t.pass.enc.Config.Dim
	for r := range t.pass.ws.Rows() {
		part, row := all[r*w+i*d:][:d], x[r*d:][:d]
		if back {
			copy(row, part)
		} else {
			copy(part, row)
		}
	}
}
