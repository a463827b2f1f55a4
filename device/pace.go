package device

import (
	"fmt"
	"io/fs"
	"time"
)

// Pace makes a long job go easy on a board that is too hot: it says how much of its time the job should rest, and what
// to tell of heat and supply voltage. A job calls Rest once a step.
type Pace struct {
	// Limit is the temperature in °C from which on the job rests, 0 for never. Boards slow down by themselves from about
	// 80 °C on, by more than a rest costs.
	Limit float64
	// Say is told of each change: too hot, cool again, each of the strains when it appears.
	Say func(string)

	root    fs.FS
	share   float64 // of the time to rest
	checked time.Time
	last    Heat
	seen    [len(strains)]time.Time // when each was last there
	told    [len(strains)]bool      // that it has been there since boot
}

// Heat is a board's state at one moment.
type Heat struct {
	Power               // what is not known is false
	Celsius     float64 // of the hottest zone; 0: unknown
	MHz, MaxMHz int     // of the fastest cores; 0: unknown
}

const (
	paceEvery  = 5 * time.Second // between two looks at the sensors
	paceQuiet  = time.Hour       // a strain that comes and goes is told of anew when it was gone for so long
	paceStep   = 0.15            // by which the resting share grows
	paceMost   = 0.75            // the largest resting share
	hysteresis = 5               // °C below the limit at which the rest shrinks
)

// NewPace reads the sensors of the machine whose file system is root, in most cases os.DirFS("/").
func NewPace(root fs.FS, limit float64, say func(string)) *Pace {
	return &Pace{Limit: limit, Say: say, root: root}
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
	h := readHeat(p.root)
	p.last = h
	for i, strain := range strains {
		switch {
		case *strain.now(&h.Power):
			if p.seen[i].IsZero() || p.checked.Sub(p.seen[i]) >= paceQuiet {
				p.Say(strain.is)
			}
			p.seen[i], p.told[i] = p.checked, true
		case *strain.ever(&h.Power) && !p.told[i]: // before the job began, or between two looks
			p.Say(strain.was)
			p.told[i] = true
		}
	}
	if p.Limit <= 0 {
		return
	}
	rested := p.share > 0
	// Where the sensor is not near what gets hot the firmware knows better. Of a weak supply no rest makes a strong one.
	throttled := h.Throttled && !h.UnderVoltage
	switch {
	case h.Celsius >= p.Limit || throttled:
		p.share = min(p.share+paceStep, paceMost)
	case h.Celsius < p.Limit-hysteresis:
		p.share = max(p.share-paceStep, 0)
		if p.share < paceStep/2 {
			p.share = 0 // what is left is rounding
		}
	}
	switch rests := p.share > 0; {
	case rests == rested:
	case !rests:
		p.Say(fmt.Sprintf("%.0f °C: going at full speed again", h.Celsius))
	case h.Celsius >= p.Limit:
		p.Say(fmt.Sprintf("%.0f °C: resting part of the time to stay below %.0f °C; better cooling gives full speed", h.Celsius, p.Limit))
	default:
		p.Say("resting part of the time until the firmware no longer holds the clock down; better cooling gives full speed")
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
		h.Power = *w
	}
	for _, c := range r.clocks() {
		if c.MaxMHz >= h.MaxMHz {
			h.MaxMHz, h.MHz = c.MaxMHz, max(h.MHz, c.MHz)
		}
	}
	return h
}
