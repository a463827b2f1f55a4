package device

import (
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Pace makes a long job go easy on a board that is too hot: it says how much of its time the job should rest, and what
// to tell of heat and supply voltage. A job calls Rest once a step.
type Pace struct {
	// Limit is the temperature in °C from which on the job rests, 0 for never. Boards slow down by themselves from about
	// 80 °C on, by more than a rest costs.
	Limit float64
	// Say is told of each change: too hot, cool again, throttled, voltage too low.
	Say func(string)

	root    fs.FS
	share   float64 // of the time to rest
	checked time.Time
	last    Heat
}

// Heat is a board's state at one moment.
type Heat struct {
	Celsius      float64 // of the hottest zone; 0: unknown
	UnderVoltage bool
	Throttled    bool // the firmware holds the clock down
	MHz, MaxMHz  int  // of the fastest cores; 0: unknown
}

const (
	paceEvery  = 5 * time.Second // between two looks at the sensors
	paceStep   = 0.15            // by which the resting share grows
	paceMost   = 0.75            // the largest resting share
	hysteresis = 5               // °C below the limit at which the rest shrinks
)

// NewPace reads the sensors of this machine.
func NewPace(limit float64, say func(string)) *Pace {
	return &Pace{Limit: limit, Say: say, root: os.DirFS("/")}
}

// Heat is what the last look found.
func (p *Pace) Heat() Heat { return p.last }

// Rest returns how long to rest after work of the given length: share/(1-share) of it. Every few seconds it looks at
// the sensors: at the limit and above the share grows, well below it the share shrinks.
func (p *Pace) Rest(now time.Time, work time.Duration) time.Duration {
	if p.checked.IsZero() || now.Sub(p.checked) >= paceEvery {
		p.checked = now
		p.look()
	}
	return time.Duration(float64(work) * p.share / (1 - p.share))
}

func (p *Pace) look() {
	was, h := p.last, readHeat(p.root)
	p.last = h
	if h.UnderVoltage && !was.UnderVoltage {
		p.Say("the supply voltage is too low: use a stronger power supply or a shorter cable")
	}
	if h.Throttled && !was.Throttled {
		p.Say("the firmware holds the clock down because of heat or voltage: expect fewer pictures a second")
	}
	if was.Throttled && !h.Throttled {
		p.Say("the firmware no longer holds the clock down")
	}
	if p.Limit <= 0 {
		return
	}
	rested := p.share > 0
	switch {
	case h.Celsius >= p.Limit:
		p.share = min(p.share+paceStep, paceMost)
	case h.Celsius < p.Limit-hysteresis:
		p.share = max(p.share-paceStep, 0)
		if p.share < paceStep/2 {
			p.share = 0 // what is left is rounding
		}
	}
	if rests := p.share > 0; rests != rested {
		if rests {
			p.Say(fmt.Sprintf("%.0f °C: resting part of the time to stay below %.0f °C; better cooling gives full speed", h.Celsius, p.Limit))
		} else {
			p.Say(fmt.Sprintf("%.0f °C: going at full speed again", h.Celsius))
		}
	}
}

// readHeat reads the sensors of the machine whose file system is root. What makes no sense counts as unknown here; Probe
// names it.
func readHeat(root fs.FS) (h Heat) {
	r := &reader{root: root}
	for _, t := range r.temperatures() {
		h.Celsius = max(h.Celsius, t.Celsius)
	}
	if w := r.power(); w != nil {
		h.UnderVoltage, h.Throttled = w.UnderVoltage, w.Throttled || w.FrequencyCapped || w.SoftLimit
	}
	for _, c := range r.clocks() {
		if c.MaxMHz >= h.MaxMHz {
			h.MaxMHz, h.MHz = c.MaxMHz, max(h.MHz, c.MHz)
		}
	}
	return h
}
