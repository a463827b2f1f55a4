package device

import (
	"fmt"
	"math"
)

// Usable is the memory in bytes that a new process can have without swapping or being killed: the least of what is
// available and what the control group allows. 0 means unknown.
func (p Profile) Usable() int64 {
	usable := p.Memory.Available
	if usable == 0 {
		usable = p.Memory.Total
	}
	if limit := p.Memory.Limit; limit > 0 && (usable == 0 || limit < usable) {
		usable = limit
	}
	return usable
}

// Workers is the number of threads worth starting: the cores, or the quota of the control group rounded up.
func (p Profile) Workers() int {
	n := max(p.Cores, 1)
	if p.CPUQuota > 0 {
		n = min(n, int(math.Ceil(p.CPUQuota)))
	}
	return n
}

// Budget is the memory in bytes that a run may plan with. asked 0 gives what is usable less an eighth, at least 32 MiB,
// for the rest of the system, or 0 when nothing is known. More than is usable is refused.
func Budget(p Profile, asked int64) (int64, error) {
	usable := p.Usable()
	switch {
	case asked < 0:
		return 0, fmt.Errorf("a memory budget of %s makes no sense", size(asked))
	case asked > 0 && usable > 0 && asked > usable:
		return 0, fmt.Errorf("a memory budget of %s is more than the %s that this machine can give now; stop other programs or ask for less",
			size(asked), size(usable))
	case asked > 0:
		return asked, nil
	}
	return max(usable-max(usable/8, 32<<20), usable/2), nil
}

// size writes bytes in MiB or GiB.
func size(n int64) string {
	if n < 1<<30 && n > -1<<30 {
		return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

// Advice lists what keeps this machine from its full speed and what to do about it.
func (p Profile) Advice() []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if p.Power != nil {
		for _, strain := range strains {
			switch {
			case *strain.now(p.Power):
				out = append(out, strain.is)
			case *strain.ever(p.Power):
				out = append(out, strain.was)
			}
		}
	}
	for _, t := range p.Temperatures {
		if t.Celsius >= 80 {
			say("%s is at %.0f °C; boards slow down from about 80 °C on: add cooling", t.Zone, t.Celsius)
		}
	}
	for _, c := range p.Clocks {
		if c.Governor == "powersave" && c.MHz > 0 && c.MHz < c.MaxMHz*3/4 {
			say("cores %s run at %d of %d MHz: the powersave governor is set", c.Cores, c.MHz, c.MaxMHz)
		}
		if c.CapMHz > 0 {
			say("cores %s are capped at %d of %d MHz", c.Cores, c.CapMHz, c.MaxMHz)
		}
	}
	return out
}
