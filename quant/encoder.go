// Package quant makes trained encoders small: int8 weights for the four linear layers of each block, in which all but a
// few percent of an encoder's parameters and multiplications lie.
//
// Weights have one scale an output channel, activations one scale a token, found when the token is there (dynamic
// quantisation; Yao et al., ZeroQuant, arXiv 2206.01861). Sums are exact in int32. Between the linear layers (layer norm,
// softmax, GELU, residuals, attention's products) and in the patch embedding numbers are float32, in the order of
// operations that package kernels fixes, so an encoder gives the same bits on every machine, for any batch and any number
// of threads.
package quant

import (
	"fmt"

	"edgejepa/internal/arena"
	"edgejepa/kernels/i8"
	"edgejepa/vit"
)

// Encoder is a vit.Encoder whose blocks have int8 weights.
type Encoder struct {
	Config  vit.Config
	Params  vit.Params // everything that is float32: patch embedding, norms, scales, biases
	Linears []*Linear  // qkv, proj, fc1 and fc2 of each block

	net network
}

// Linear is y = dequant(quant(norm(x))·Wᵀ) + bias, with norm only where the layer follows one.
type Linear struct {
	Name        string // blocks.0.attn.qkv
	In, Out     int
	Norm        *vit.Norm  // of the input; nil in front of proj and fc2
	W           []int8     // [Out, In], under the chain rule of i8.CheckChains
	Scale, Bias *vit.Param // [Out]

	panels i8.Panels
	eps    float32
}

// newEncoder lays out an encoder of a valid configuration, its weights still missing.
func newEncoder(c vit.Config) *Encoder {
	e := arena.Build(func(a *arena.Arena) *Encoder {
		e := &Encoder{Config: c}
		ps := &e.Params
		patch := ps.Linear("patch_embed.proj", c.PatchLen(), c.Dim)
		patch.W.Shape = []int{c.Dim, c.Channels, c.PatchSize, c.PatchSize}
		e.net = network{config: c, patch: patch}
		linear := func(name string, in, out int, norm *vit.Norm) *Linear {
			l := &Linear{Name: name, In: in, Out: out, Norm: norm, eps: float32(c.NormEps)}
			l.Scale = &vit.Param{Name: name + ".weight_scale", Shape: []int{out}}
			l.Bias = &vit.Param{Name: name + ".bias", Shape: []int{out}}
			ps.List = append(ps.List, l.Scale, l.Bias)
			e.Linears = append(e.Linears, l)
			return l
		}
		for i := range c.Depth {
			n := fmt.Sprintf("blocks.%d.", i)
			var b block
			b[0] = linear(n+"attn.qkv", c.Dim, 3*c.Dim, ps.Norm(n+"norm1", c.Dim))
			b[1] = linear(n+"attn.proj", c.Dim, c.Dim, nil)
			b[2] = linear(n+"mlp.fc1", c.Dim, c.Hidden(), ps.Norm(n+"norm2", c.Dim))
			b[3] = linear(n+"mlp.fc2", c.Hidden(), c.Dim, nil)
			e.net.blocks = append(e.net.blocks, b)
		}
		e.net.norm = ps.Norm("norm", c.Dim)
		ps.Alloc(a, false, func(yield func(*vit.Linear) bool) { yield(patch) })
		return e
	})
	e.net.pos = vit.SinCos2D(c.Dim, c.Grid(), c.Grid())
	return e
}

// pack readies the weights for the kernels of this machine.
func (e *Encoder) pack() {
	e.net.patch.Pack()
	for _, l := range e.Linears {
		l.panels.Pack(l.W, l.In, l.Out)
	}
}

// apply is y [rows, Out] from x [rows, In], a strip of rows at a time so that the sums stay in a cache.
func (l *Linear) apply(y, x []float32, _, rows int, s *scratch) {
	for r := 0; r < rows; r += stripRows {
		n := min(stripRows, rows-r)
		in := x[r*l.In:][:n*l.In]
		if l.Norm != nil {
			l.Norm.Apply(s.norm, in, n, l.eps)
			in = s.norm[:n*l.In]
		}
		i8.QuantizeRows(s.q, s.scale, in, n, l.In, l.In)
		i8.Gemm(s.acc, l.Out, s.q, l.In, n, &l.panels)
		i8.Dequant(y[r*l.Out:], l.Out, s.acc, l.Out, n, l.Out, s.scale, l.Scale.Value, l.Bias.Value)
	}
}

// floatLinear is a layer of the float network.
type floatLinear struct {
	*vit.Linear
	norm *vit.Norm
	eps  float32
}

func (l *floatLinear) apply(y, x []float32, _, rows int, s *scratch) {
	if l.norm == nil {
		l.Apply(y, x, rows)
		return
	}
	for r := 0; r < rows; r += stripRows {
		n := min(stripRows, rows-r)
		l.norm.Apply(s.norm, x[r*l.In:], n, l.eps)
		l.Apply(y[r*l.Out:], s.norm, n)
	}
}

// floatNetwork is e as this package runs it. It shares e's weights.
func floatNetwork(e *vit.Encoder) network {
	t := e.Trunk()
	net := network{config: e.Config, patch: e.Patch(), pos: e.Positions(), norm: t.Norm}
	eps := float32(e.Config.NormEps)
	for _, b := range t.Blocks {
		net.blocks = append(net.blocks, block{
			&floatLinear{b.QKV, b.Norm1, eps}, &floatLinear{b.Proj, nil, eps},
			&floatLinear{b.FC1, b.Norm2, eps}, &floatLinear{b.FC2, nil, eps},
		})
	}
	return net
}
