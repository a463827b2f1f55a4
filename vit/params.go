package vit

import (
	"edgejepa/internal/arena"
	"edgejepa/internal/rng"
	"edgejepa/kernels"
)

// Param is one named tensor of a model. Value and Grad are views into the flat blocks of its Params.
type Param struct {
	Name  string
	Shape []int
	Decay bool // weight decay applies: not to biases nor anything else of one dimension
	Value []float32
	Grad  []float32

	init initial
}

type initial byte

const (
	zeros  initial = iota
	ones           // the gain of a layer norm
	normal         // N(0, 0.02^2), as the official I-JEPA code starts
)

// Params is the one list of a model's parameters: initialisation, load, save, optimiser, EMA, quantiser and gradient
// check all range over it, in this order. Values form one flat block, gradients another.
type Params struct {
	List  []*Param
	Value []float32
	Grad  []float32
}

func (ps *Params) add(name string, init initial, shape ...int) *Param {
	p := &Param{Name: name, Shape: shape, Decay: len(shape) > 1, init: init}
	ps.List = append(ps.List, p)
	return p
}

// Linear adds the weight [out, in] and bias [out] of a linear layer.
func (ps *Params) Linear(name string, in, out int) *Linear {
	return &Linear{In: in, Out: out, W: ps.add(name+".weight", normal, out, in), B: ps.add(name+".bias", zeros, out)}
}

// Norm adds the gain [dim] and bias [dim] of a layer norm.
func (ps *Params) Norm(name string, dim int) *Norm {
	return &Norm{Dim: dim, Gain: ps.add(name+".weight", ones, dim), Bias: ps.add(name+".bias", zeros, dim)}
}

// Token adds a learned token [1, 1, dim]. As in the official code it is decayed, having three dimensions.
func (ps *Params) Token(name string, dim int) *Param { return ps.add(name, normal, 1, 1, dim) }

// alloc places every parameter in the flat blocks. A model without gradients (a target encoder, one for inference)
// saves that memory.
func (ps *Params) alloc(a *arena.Arena, grads bool) {
	n := int(ps.Count())
	ps.Value = a.F32(n)
	if grads {
		ps.SetGrad(a.F32(n))
	}
	if a.Measuring() {
		return
	}
	off := 0
	for _, p := range ps.List {
		end := off + p.Len()
		p.Value = ps.Value[off:end:end]
		off = end
	}
}

// SetGrad gives the parameters memory for their gradients; nil while an arena is measuring.
func (ps *Params) SetGrad(flat []float32) {
	if ps.Grad = flat; flat == nil {
		return
	}
	for _, p := range ps.List {
		n := p.Len()
		p.Grad, flat = flat[:n:n], flat[n:]
	}
}

// Alloc places the parameters and packed weights of a model in the arena, after all were added.
func (ps *Params) Alloc(a *arena.Arena, grads bool, linears func(yield func(*Linear) bool)) {
	ps.alloc(a, grads)
	for l := range linears {
		if l.passing {
			continue
		}
		l.forward.Data = a.F32(kernels.PanelLen(l.In, l.Out))
	}
}

// Init sets the initial values: a function of the seed and each parameter's name alone.
func (ps *Params) Init(seed uint64) {
	for _, p := range ps.List {
		s := rng.New(seed, rng.PurposeInit, rng.Hash(p.Name), 0)
		for i := range p.Value {
			switch p.init {
			case zeros:
				p.Value[i] = 0
			case ones:
				p.Value[i] = 1
			case normal:
				p.Value[i] = float32(0.02 * s.Norm())
			}
		}
	}
}

// Len is the number of values.
func (p *Param) Len() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}

// Count is the number of values of all parameters.
func (ps *Params) Count() (n int64) {
	for _, p := range ps.List {
		n += int64(p.Len())
	}
	return n
}
