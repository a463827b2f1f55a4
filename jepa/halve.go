package jepa

import (
	"fmt"
	"math"
	"strconv"

	"edgejepa/internal/safetensors"
)

// halvingsKey is where a checkpoint's metadata says how often the learning rate was halved. It is left out for never.
const halvingsKey = "lr_halvings"

// HalveRate trains on at half the learning rate that the schedule says, also after a Restore of what is saved from now on.
func (t *Trainer) HalveRate() { t.halvings++ }

// Halvings is how often the learning rate was halved.
func (t *Trainer) Halvings() int { return t.halvings }

// rates are what the schedules say of the present step.
func (t *Trainer) rates() rates {
	return rates{math.Ldexp(t.schedule.LR(t.step), -t.halvings), t.schedule.WeightDecay(t.step), t.schedule.EMA(t.step)}
}

func (t *Trainer) noteHalvings(meta map[string]string) {
	if t.halvings > 0 {
		meta[halvingsKey] = strconv.Itoa(t.halvings)
	}
}

func (t *Trainer) restoreHalvings(f *safetensors.File) error {
	t.halvings = 0
	text, ok := f.Metadata[halvingsKey]
	if !ok {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 64 {
		return fmt.Errorf("%s: the checkpoint's %s is %q", f.Path, halvingsKey, text)
	}
	t.halvings = n
	return nil
}
