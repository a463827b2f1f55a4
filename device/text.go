package device

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// WriteText writes the profile for a person, one line a subject.
func (p Profile) WriteText(w io.Writer) error {
	var b strings.Builder
	line := func(subject, format string, args ...any) {
		text := strings.Map(func(r rune) rune { // names come from files
			if !unicode.IsPrint(r) {
				return '?'
			}
			return r
		}, fmt.Sprintf(format, args...))
		fmt.Fprintf(&b, "%-12s %s\n", subject, text)
	}
	if p.System != "" {
		line("system", "%s", p.System)
	}
	if p.Board != "" {
		line("board", "%s", p.Board)
	}
	if p.CPU != "" {
		line("cpu", "%s", p.CPU)
	}
	if p.ISA != "" {
		line("isa", "%s (of %s)", p.ISA, strings.Join(p.Paths, ", "))
	}
	switch {
	case p.CPUQuota > 0:
		line("cores", "%d, of which the control group grants %.3g", p.Cores, p.CPUQuota)
	case p.Cores > 0:
		line("cores", "%d", p.Cores)
	}
	for _, c := range p.Caches {
		times := ""
		if c.Count > 1 {
			times = fmt.Sprintf("%d × ", c.Count)
		}
		line("cache", "L%d %s %s%d KiB", c.Level, strings.ToLower(c.Type), times, c.Bytes>>10)
	}
	for _, c := range p.Clocks {
		text := fmt.Sprintf("%d of %d MHz", c.MHz, c.MaxMHz)
		if c.Governor != "" {
			text += ", governor " + c.Governor
		}
		if c.Cores != "" {
			text += ", cores " + c.Cores
		}
		line("clock", "%s", text)
	}
	if m := p.Memory; m != (Memory{}) {
		text := size(m.Total)
		if m.Available > 0 {
			text += ", " + size(m.Available) + " available"
		}
		if m.Swap > 0 {
			text += ", " + size(m.Swap) + " swap"
		}
		if m.Limit > 0 {
			text += ", limited to " + size(m.Limit) + " by the control group"
		}
		line("memory", "%s", text)
	}
	for _, t := range p.Temperatures {
		line("temperature", "%s %.1f °C", t.Zone, t.Celsius)
	}
	if p.Power != nil {
		state := "no under-voltage"
		if p.Power.UnderVoltage {
			state = "under-voltage"
		}
		line("power", "%s", state)
	}
	for _, a := range p.Advice() {
		line("note", "%s", a)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
