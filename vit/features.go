package vit

import "edgejepa/kernels"

// Features fills dst [B, N, (T+1)·D] with what Taps reads for the same blocks, on the way of a pass made for Infer, which
// keeps none of it. The blocks ascend.
func (p *Pass) Features(dst, px []float32, batch int, blocks []int) {
	p.start(px, batch, nil, nil)
	p.dst, p.width = dst, (len(blocks)+1)*p.enc.Config.Dim
	at := 0
	for i, b := range blocks {
		p.ws.forward(at, b)
		p.what, p.column, at = passTap, i*p.enc.Config.Dim, b
		p.pool.Do(p, batch)
	}
	p.ws.forward(at, p.enc.Config.Depth)
	p.what, p.column = passTokens, len(blocks)*p.enc.Config.Dim
	p.pool.Do(p, batch)
}

// tap copies to a part of each feature what the rows of sequence n are now: the input of the next block, normalised, or the
// tokens.
func (p *Pass) tap(n int) {
	d, eps := p.enc.Config.Dim, float32(p.enc.Config.NormEps)
	for r := int(p.off[n]); r < int(p.off[n+1]); r++ {
		part := p.dst[r*p.width+p.column:][:d]
		if p.what == passTokens {
			copy(part, p.ws.Out[r*d:])
		} else {
			kernels.LayerNorm(part, p.ws.X[r*d:][:d], nil, nil, nil, nil, 1, d, eps)
		}
	}
}
