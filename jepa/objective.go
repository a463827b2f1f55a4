package jepa

import (
	"fmt"

	"edgejepa/internal/arena"
	"edgejepa/vit"
)

// Objective is what a run learns by. All of them train the same encoder and export it alike.
type Objective byte

const (
	IJEPA  Objective = iota // predict the features of hidden blocks from visible ones (arXiv 2301.08243)
	LeJEPA                  // views of a picture get equal features, which are to be normally distributed (arXiv 2511.08544)
	BYOL                    // predict the features of one view from those of another (arXiv 2006.07733)
	MAE                     // draw hidden patches from visible ones (arXiv 2111.06377)
)

var objectives = [...]string{IJEPA: "ijepa", LeJEPA: "lejepa", BYOL: "byol", MAE: "mae"}

func (o Objective) String() string { return objectives[o] }

// ParseObjective reads "ijepa", "lejepa", "byol" or "mae".
func ParseObjective(name string) (Objective, error) {
	for o, n := range objectives {
		if n == name {
			return Objective(o), nil
		}
	}
	return 0, fmt.Errorf("no objective %q: choose one of ijepa, lejepa, byol, mae", name)
}

// MarshalText is the name, as configurations hold it.
func (o Objective) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText is ParseObjective.
func (o *Objective) UnmarshalText(name []byte) (err error) {
	*o, err = ParseObjective(string(name))
	return err
}

// Terms are the names of the two numbers whose sum a step makes smaller: Stats.Loss and Stats.Variance. The second is
// empty where there is none.
func (c Config) Terms() (loss, collapse string) {
	switch c.Objective {
	case LeJEPA:
		return "invariance", "sigreg"
	case BYOL:
		return "prediction", ""
	case MAE:
		if c.Views > 0 {
			return "reconstruction", "views"
		}
		return "reconstruction", ""
	}
	loss = "prediction"
	if c.PixelWeight > 0 {
		loss = "prediction and pixels"
	}
	switch variance, sigreg := c.VarianceWeight > 0, c.SIGRegWeight > 0; {
	case c.Views > 0:
		collapse = "views"
	case variance && sigreg:
		collapse = "variance and sigreg"
	case variance:
		collapse = "variance"
	case sigreg:
		collapse = "sigreg"
	}
	return loss, collapse
}

// objective is the part of a trainer that depends on what it learns by: the models beside the encoders, the memory of a
// step, and one pass forward and backward over a batch. The trainer has the rest: encoders, optimiser, checkpoints.
type objective interface {
	// placeHead lays out what is trained beside the context encoder.
	placeHead(a *arena.Arena) head

	// placeStep lays out the memory of a step, after the models.
	placeStep(a *arena.Arena)

	// backward sets the gradients of the context encoder and the head for one batch of pixels, the target encoder
	// standing still, and gives the monitor its features. It returns the loss and the term against collapse, weighted.
	backward(px []float32) (loss, collapse float64)
}

// newObjective returns the objective that the trainer's configuration asks for.
func newObjective(t *Trainer) objective {
	switch t.Config.Objective {
	case LeJEPA:
		return &lejepa{t: t}
	case BYOL:
		return &byol{t: t}
	case MAE:
		return &mae{t: t}
	}
	return &ijepa{t: t}
}

// head is the model that an objective trains beside the context encoder.
type head struct {
	params  *vit.Params
	linears func(yield func(*vit.Linear) bool)

	// target, if not nil, is a moving average of the first of the params: what the target encoder is to the context
	// encoder.
	target        *vit.Params
	targetLinears func(yield func(*vit.Linear) bool)
}

var headNames = [...]string{IJEPA: "predictor", LeJEPA: "projector", BYOL: "heads", MAE: "decoder"}

// Head is what the objective's head is called.
func (o Objective) Head() string { return headNames[o] }

// headPrefix is that of the head's parameters in a checkpoint.
func (o Objective) headPrefix() string {
	if o == IJEPA {
		return vit.PredictorPrefix
	}
	return vit.TrainingPrefix + o.Head() + "."
}

// headTargetPrefix is that of what follows the head.
const headTargetPrefix = vit.TrainingPrefix + "target_projector."

// HeadParams is how many parameters an objective trains beside the encoder of a valid configuration.
func (c Config) HeadParams() int64 {
	var a arena.Arena
	return newObjective(&Trainer{Config: c}).placeHead(&a).params.Count()
}
