package jepa

import (
	"fmt"
	"math"
	"strconv"

	"edgejepa/internal/safetensors"
)

// Where a checkpoint's metadata says how often the learning rate was halved, and Trainer.Unsound.
const (
	halvingsKey = "lr_halvings"
	unsoundKey  = "unsound_steps"
)

// HalveRate trains on at half the learning rate that the schedule says, also after a Restore of what is saved from now on.
func (t *Trainer) HalveRate() { t.halvings++ }

// Halvings is how often the learning rate was halved.
func (t *Trainer) Halvings() int { return t.halvings }

// rates are what the schedules say of the present step.
func (t *Trainer) rates() rates {
	return rates{math.Ldexp(t.schedule.LR(t.step), -t.halvings), t.schedule.WeightDecay(t.step), t.schedule.EMA(t.step)}
}

// rare are the numbers of a run that are 0 as long as all is well. A checkpoint's metadata leaves them out then.
func (t *Trainer) rare() []rareNumber {
	return []rareNumber{{halvingsKey, &t.halvings, 64}, {unsoundKey, &t.Unsound, math.MaxInt32}}
}

type rareNumber struct {
	key  string
	v    *int
	most int
}

func (t *Trainer) noteRare(meta map[string]string) {
	for _, n := range t.rare() {
		if *n.v > 0 {
			meta[n.key] = strconv.Itoa(*n.v)
		}
	}
}

func (t *Trainer) restoreRare(f *safetensors.File) error {
	for _, n := range t.rare() {
		*n.v = 0
		text, ok := f.Metadata[n.key]
		if !ok {
			continue
		}
		v, err := strconv.Atoi(text)
		if err != nil || v < 0 || v > n.most {
			return fmt.Errorf("%s: the checkpoint's %s is %q", f.Path, n.key, text)
		}
		*n.v = v
	}
	return nil
}
