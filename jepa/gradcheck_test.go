package jepa

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/rng"
	"edgejepa/kernels/kerneltest"
	"edgejepa/vit"
)

// whole is the training loss as a function of the weights: masks, pictures and the target encoder stand still.
type whole struct {
	tr    *Trainer
	px    []float32
	masks Masks
}

// still are rates at which a step moves no weight.
var still = rates{lr: 0, weightDecay: 0, ema: 1}

func newWhole(t *testing.T, predictor, loss string, equal bool) *whole {
	c := microConfig()
	c.Encoder.ImageSize, c.Encoder.Dim, c.Encoder.Depth = 16, 16, 1
	c.PredictorDim, c.PredictorDepth = 8, 1
	c.Masks = DefaultMasks(4, 4)
	c.Masks.Targets, c.Masks.EqualContext = 2, equal
	c.Predictor, c.Loss, c.VarianceWeight = predictor, loss, 0.7
	c.Batch = 4
	w := &whole{tr: newTrainer(t, c, 2), px: pictures(c, 1)}
	for i, ps := range []*vit.Params{&w.tr.Context.Params, w.tr.head.params, &w.tr.Target.Params} {
		for j, p := range ps.List {
			s := rng.New(11, rng.PurposeProbe, uint64(i), uint64(j))
			gain := len(p.Shape) == 1 && p.Value[0] == 1
			for k := range p.Value {
				p.Value[k] = float32(0.25 * s.Norm())
				if gain {
					p.Value[k]++
				}
			}
		}
	}
	NewSampler(c.Masks).Sample(&w.masks, 3, 1, c.Batch)
	return w
}

// stageGradients is when gradients are there and weights are still what they were.
const stageGradients = stageGuess + 1

// stepWith is Step with given masks and rates. inspect, if not nil, is called at each stage.
func (t *Trainer) stepWith(px []float32, masks *Masks, r rates, inspect func(stage)) Stats {
	if inspect == nil {
		inspect = func(stage) {}
	}
	loss, collapse := t.objective.(*ijepa).backwardWith(px, masks, inspect)
	inspect(stageGradients)
	return t.optimise(loss, collapse, r)
}

func (w *whole) loss() float64 {
	w.tr.repack.Repack()
	st := w.tr.stepWith(w.px, &w.masks, still, nil)
	return st.Loss + st.Variance
}

// gradients are of every trained parameter, by model and place in its list.
func (w *whole) gradients() (all [2][][]float32) {
	w.loss() // AdamW leaves gradients as they are
	for i, ps := range w.tr.trained() {
		for _, p := range ps.List {
			all[i] = append(all[i], slices.Clone(p.Grad))
		}
	}
	return all
}

// gradientTolerance is twice what kerneltest.Gradient's bound allows for: biases in front of a layer norm have gradients
// that all but cancel, next to which the rounding of the loss is larger.
const gradientTolerance = 2e-3

// wholeVariants are both predictors and both losses, on contexts of one length and of many.
var wholeVariants = []struct {
	predictor, loss string
	equal           bool
}{
	{PredictorViT, LossSmoothL1, false},
	{PredictorMLP, LossL2, true},
	{PredictorViT, LossL2, true},
	{PredictorMLP, LossSmoothL1, false},
	{PredictorViT, LossL2, false},
	{PredictorMLP, LossSmoothL1, true},
	{PredictorViT, LossSmoothL1, true},
	{PredictorMLP, LossL2, false},
}

// The gradient of everything that the optimiser updates, through prediction loss, predictor, context encoder and
// variance term, is that of the number that Step reports.
func TestWholeGradient(t *testing.T) {
	variants := wholeVariants
	if testing.Short() {
		variants = variants[:2]
	}
	for _, v := range variants {
		w := newWhole(t, v.predictor, v.loss, v.equal)
		lengths := map[int32]bool{}
		for b := range w.tr.Config.Batch {
			lengths[w.masks.ContextOff[b+1]-w.masks.ContextOff[b]] = true
		}
		require.Equal(t, v.equal, len(lengths) == 1, "the masks are not what they are for")
		was := slices.Clone(w.tr.Context.Params.Value)
		grads := w.gradients()
		require.Equal(t, was, w.tr.Context.Params.Value, "a step at these rates moves nothing")
		open := 0
		for _, s := range w.tr.objective.(*ijepa).variance.std {
			require.Greater(t, math.Abs(s-1), 0.05, "a channel at the hinge has no gradient to compare with")
			if s < 1 {
				open++
			}
		}
		require.Positive(t, open, "no channel below the hinge")
		require.Less(t, open, len(w.tr.objective.(*ijepa).variance.std), "no channel above the hinge")
		for i, ps := range w.tr.trained() {
			for j, p := range ps.List {
				require.Less(t, kerneltest.Gradient(p.Value, grads[i][j], w.loss), gradientTolerance, "%v: %s", v, p.Name)
			}
		}
	}
}

// Gradients that lack a part of the loss are found out in the layers that the part goes through.
func TestWholeGradientCatchesErrors(t *testing.T) {
	w := newWhole(t, PredictorViT, LossSmoothL1, false)
	first, last := w.tr.Context.Params.List[0], w.tr.head.params.List[len(w.tr.head.params.List)-1]
	for name, change := range map[string]func(*Trainer){
		"no variance term":     func(tr *Trainer) { tr.objective.(*ijepa).variance.weight, tr.Config.VarianceWeight = 0, 0 },
		"variance a tenth off": func(tr *Trainer) { tr.objective.(*ijepa).variance.weight *= 1.1 },
		"the other loss":       func(tr *Trainer) { tr.Config.Loss = LossL2 },
	} {
		other := newWhole(t, PredictorViT, LossSmoothL1, false)
		change(other.tr)
		grads := other.gradients()
		require.Greater(t, kerneltest.Gradient(first.Value, grads[0][0], w.loss), 2*gradientTolerance, name)
	}
	other := newWhole(t, PredictorViT, LossSmoothL1, false)
	other.masks.Targets[0], other.masks.Targets[1] = other.masks.Targets[1], other.masks.Targets[0] // order is no matter
	grads := other.gradients()
	require.Less(t, kerneltest.Gradient(last.Value, grads[1][len(grads[1])-1], w.loss), gradientTolerance)
	other.masks.Targets[0] = other.masks.Targets[1]
	grads = other.gradients()
	require.Greater(t, kerneltest.Gradient(last.Value, grads[1][len(grads[1])-1], w.loss), 2*gradientTolerance, "a wrong patch predicted")
}
