package kernels

// AdamW holds the scalars of one optimiser step (Loshchilov and Hutter, arXiv 1711.05101, in PyTorch's order of
// operations). Corr1 = 1-Beta1^t and Corr2 = sqrt(1-Beta2^t) correct the bias of the moments at step t = 1, 2, ...
// They must come from the float32 betas held here: 1-0.999 loses four digits in float32, and the loss cancels only then.
type AdamW struct{ LR, Beta1, Beta2, Eps, WeightDecay, Corr1, Corr2 float32 }

// adamw is what the loop needs of an AdamW.
type adamw struct {
	decay, gscale float32 // 1-lr*wd, the factor of clipping
	b1, b2, a2    float32 // 1-beta1, beta2, 1-beta2
	inv2, eps     float32 // 1/corr2
	rate          float32 // lr/corr1
	m, m1         float32 // the target's momentum and 1-momentum
}

func (c AdamW) scalars(gscale, momentum float32) adamw {
	return adamw{
		decay: 1 - float32(c.LR*c.WeightDecay), gscale: gscale,
		b1: 1 - c.Beta1, b2: c.Beta2, a2: 1 - c.Beta2,
		inv2: 1 / c.Corr2, eps: c.Eps, rate: c.LR / c.Corr1,
		m: momentum, m1: 1 - momentum,
	}
}

// Step is, for each i, with g' = gscale*g[i] (gscale is the factor of gradient clipping),
//
//	p[i] *= 1 - LR*WeightDecay
//	m[i] += (1-Beta1)*(g' - m[i])
//	v[i] = Beta2*v[i] + (1-Beta2)*g'*g'
//	p[i] -= LR/Corr1 * m[i]/(sqrt(v[i])/Corr2 + Eps)
//
// with every operation rounded, and the division by Corr2 done as a product with 1/Corr2. The gradient is left as it is.
func (c AdamW) Step(p, g, m, v []float32, gscale float32) {
	if len(g) != len(p) || len(m) != len(p) || len(v) != len(p) {
		panic("kernels: AdamW.Step: lengths differ")
	}
	s := c.scalars(gscale, 0)
	n := adamwVector(p, g, m, v, &s)
	adamwGeneric(p[n:], g[n:], m[n:], v[n:], &s)
}

func adamwGeneric(p, g, m, v []float32, s *adamw) {
	for i := range p {
		p[i] = adamwOne(p[i], g[i], &m[i], &v[i], s)
	}
}

// StepEMA is Step, followed in the same pass by
//
//	target[i] = momentum*target[i] + (1-momentum)*p[i]
//
// with the values that Lerp would give.
func (c AdamW) StepEMA(p, g, m, v, target []float32, gscale, momentum float32) {
	if len(g) != len(p) || len(m) != len(p) || len(v) != len(p) || len(target) != len(p) {
		panic("kernels: AdamW.StepEMA: lengths differ")
	}
	s := c.scalars(gscale, momentum)
	n := adamwEMAVector(p, g, m, v, target, &s)
	adamwEMAGeneric(p[n:], g[n:], m[n:], v[n:], target[n:], &s)
}

func adamwEMAGeneric(p, g, m, v, target []float32, s *adamw) {
	for i := range p {
		p[i] = adamwOne(p[i], g[i], &m[i], &v[i], s)
		target[i] = float32(s.m*target[i]) + float32(s.m1*p[i])
	}
}

// adamwOne steps one parameter's moments and returns its new value.
func adamwOne(p, g float32, m, v *float32, s *adamw) float32 {
	g = float32(g * s.gscale)
	*m += float32(s.b1 * (g - *m))
	*v = float32(s.b2**v) + float32(s.a2*float32(g*g))
	return float32(p*s.decay) - float32(s.rate*(*m/(float32(sqrt(*v)*s.inv2)+s.eps)))
}
