// Package optim says how fast a run learns: learning rate, weight decay, EMA momentum and clipping, each a pure
// function of the step, so that a resumed run needs no replay.
package optim

import (
	"math"

	"edgejepa/fp"
	"edgejepa/kernels"
)

// Schedule is the official I-JEPA code's: the learning rate rises linearly over the warm-up and falls by a cosine,
// weight decay moves by a cosine, the EMA momentum in a straight line. Steps count from 0.
type Schedule struct {
	Steps, Warmup            int
	StartLR, PeakLR, FinalLR float64
	StartWD, FinalWD         float64
	StartEMA, FinalEMA       float64
}

// LR is the learning rate that optimiser step number step uses.
func (s Schedule) LR(step int) float64 {
	n := float64(step + 1)
	if step < s.Warmup {
		return s.StartLR + float64((s.PeakLR-s.StartLR)*(n/float64(s.Warmup)))
	}
	return cosine(s.PeakLR, s.FinalLR, (n-float64(s.Warmup))/float64(max(1, s.Steps-s.Warmup)))
}

// WeightDecay is the weight decay that optimiser step number step uses.
func (s Schedule) WeightDecay(step int) float64 {
	return cosine(s.StartWD, s.FinalWD, float64(step+1)/float64(max(1, s.Steps)))
}

// EMA is the target encoder's momentum after optimiser step number step.
func (s Schedule) EMA(step int) float64 {
	return s.StartEMA + float64((s.FinalEMA-s.StartEMA)*(float64(step)/float64(max(1, s.Steps))))
}

// cosine goes from a to b as t goes from 0 to 1.
func cosine(a, b, t float64) float64 {
	t = min(t, 1)
	return b + float64((a-b)*float64(0.5*(1+fp.Cos(float64(math.Pi*t)))))
}

// Adam's constants: PyTorch's defaults, as the official code leaves them.
const (
	Beta1 = 0.9
	Beta2 = 0.999
	Eps   = 1e-8
)

// AdamW is the update of optimiser step t, counted from 1 (Loshchilov and Hutter, arXiv 1711.05101).
func AdamW(lr, weightDecay float64, t int) kernels.AdamW {
	const b1, b2 = float32(Beta1), float32(Beta2) // the corrections must be those of the betas in use
	return kernels.AdamW{
		LR: float32(lr), Beta1: b1, Beta2: b2, Eps: Eps, WeightDecay: float32(weightDecay),
		Corr1: float32(1 - fp.PowInt(float64(b1), t)), Corr2: float32(math.Sqrt(1 - fp.PowInt(float64(b2), t))),
	}
}

// ClipScale is the factor that brings a gradient of that norm down to the bound; 1 if it is within, or bound is 0.
// The 1e-6 is PyTorch's clip_grad_norm_.
func ClipScale(norm, bound float64) float64 {
	if bound <= 0 {
		return 1
	}
	return min(1, bound/(norm+1e-6))
}
