package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Status is how far a run is.
type Status struct {
	Done, Total int64         // steps or inputs; Total 0 when unknown
	Images      int64         // pictures so far, for the rate
	Loss        float64       // NaN or 0: not shown
	Left        time.Duration // 0: worked out from Done and Total
	Note        string        // shown as it is, may be empty
}

// Progress shows a Status on stderr: a bar on a terminal, else now and then a line of text or JSON. Messages pass through
// it so that they do not tear the bar. Its methods may be called from several goroutines. A nil *Progress is silent.
type Progress struct {
	mu    sync.Mutex
	w     io.Writer
	unit  string // of Done: "step", "image"
	style style
	quiet bool          // only warnings
	every time.Duration // least time between two lines or redraws
	width func() int
	now   func() time.Time

	start, shown time.Time
	drawn        bool // the bar is on the screen
	last         Status
	unseen       bool     // last has not been shown
	past         []sample // at most 16, a second or more apart
}

type style int

const (
	bar style = iota
	text
	jsonLines
)

type sample struct {
	at           time.Time
	done, images int64
}

// NewProgress returns a display on w that counts units ("step", "image"). quiet leaves only warnings.
func NewProgress(w io.Writer, unit string, format LogFormat, quiet bool) *Progress {
	p := &Progress{w: w, unit: unit, quiet: quiet, now: time.Now, width: func() int { return columns(w) }}
	switch {
	case format == LogJSON:
		p.style, p.every = jsonLines, 10*time.Second
	case format == LogText || !IsTerminal(w):
		p.style, p.every = text, 10*time.Second
	default:
		p.style, p.every = bar, 100*time.Millisecond
	}
	p.start = p.now()
	return p
}

// Update tells where the run is. It is cheap between two displays.
func (p *Progress) Update(s Status) {
	if p == nil || p.quiet {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	p.last, p.unseen = s, true
	if n := len(p.past); n == 0 || now.Sub(p.past[n-1].at) >= time.Second {
		if n == 16 {
			p.past = append(p.past[:0], p.past[1:]...)
		}
		p.past = append(p.past, sample{now, s.Done, s.Images})
	}
	if now.Sub(p.shown) >= p.every {
		p.show(now)
	}
}

// Finish shows the last status for good and ends the bar.
func (p *Progress) Finish() {
	if p == nil || p.quiet {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unseen {
		p.show(p.now())
	}
	if p.drawn {
		fmt.Fprintln(p.w)
		p.drawn = false
	}
}

// Infof writes a message line, nothing when quiet.
func (p *Progress) Infof(format string, args ...any) { p.message("info", format, args...) }

// Warnf writes a message line, also when quiet.
func (p *Progress) Warnf(format string, args ...any) { p.message("warn", format, args...) }

func (p *Progress) message(level, format string, args ...any) {
	if p == nil || p.quiet && level == "info" {
		return
	}
	msg := fmt.Sprintf(format, args...)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.style == jsonLines:
		p.object(map[string]any{"level": level, "message": msg})
	case p.drawn:
		fmt.Fprintf(p.w, "\r\x1b[K%s\n", msg)
		p.drawn = false
		p.show(p.now())
	default:
		fmt.Fprintln(p.w, msg)
	}
}

func (p *Progress) object(fields map[string]any) {
	fields["time"] = p.now().UTC().Format(time.RFC3339)
	b, err := json.Marshal(fields)
	if err != nil {
		panic("cli: progress fields must be plain values")
	}
	_, _ = p.w.Write(append(b, '\n')) // nobody could be told
}

// show writes p.last.
func (p *Progress) show(now time.Time) {
	p.shown, p.unseen = now, false
	s := p.last
	perSecond, left := p.rate(now)
	if s.Left > 0 {
		left = s.Left
	}
	hasLoss := s.Loss != 0 && !math.IsNaN(s.Loss) && !math.IsInf(s.Loss, 0)
	if p.style == jsonLines {
		fields := map[string]any{"level": "progress", p.unit: s.Done, "seconds": math.Round(now.Sub(p.start).Seconds()*10) / 10}
		if s.Total > 0 {
			fields["total"] = s.Total
		}
		if perSecond > 0 {
			fields["images_per_second"] = math.Round(perSecond*100) / 100
		}
		if hasLoss {
			fields["loss"] = s.Loss
		}
		if left > 0 {
			fields["seconds_left"] = math.Round(left.Seconds())
		}
		if s.Note != "" {
			fields["note"] = s.Note
		}
		p.object(fields)
		return
	}

	parts := []string{fmt.Sprintf("%s %d", p.unit, s.Done)}
	if s.Total > 0 {
		parts[0] = fmt.Sprintf("%s %d/%d", p.unit, s.Done, s.Total)
	}
	if perSecond > 0 {
		parts = append(parts, threeDigits(perSecond)+" images/s")
	}
	if hasLoss {
		parts = append(parts, fmt.Sprintf("loss %.4f", s.Loss))
	}
	if left > 0 {
		parts = append(parts, Span(left.Round(time.Second))+" left")
	}
	if s.Note != "" {
		parts = append(parts, s.Note)
	}
	line := strings.Join(parts, "  ")
	if p.style == text {
		fmt.Fprintln(p.w, line)
		return
	}
	width := p.width() - 1 // the last column would wrap on some terminals
	if room := min(width-utf8.RuneCountInString(line)-8, 30); s.Total > 0 && room >= 5 {
		part := min(max(float64(s.Done)/float64(s.Total), 0), 1)
		full := int(part * float64(room))
		line = fmt.Sprintf("%3.0f%% %s%s  %s", math.Floor(part*100), strings.Repeat("█", full), strings.Repeat("░", room-full), line)
	}
	if utf8.RuneCountInString(line) > width {
		line = string([]rune(line)[:max(width, 0)])
	}
	fmt.Fprintf(p.w, "\r%s\x1b[K", line)
	p.drawn = true
}

// rate is the pictures a second over the past quarter of a minute, and the time that the rest takes at that pace.
func (p *Progress) rate(now time.Time) (perSecond float64, left time.Duration) {
	if len(p.past) == 0 {
		return 0, 0
	}
	from := p.past[0]
	t := now.Sub(from.at)
	if t <= 0 {
		return 0, 0
	}
	perSecond = float64(p.last.Images-from.images) / t.Seconds()
	if steps, rest := p.last.Done-from.done, p.last.Total-p.last.Done; steps > 0 && rest > 0 {
		if x := float64(t) * (float64(rest) / float64(steps)); x < math.MaxInt64 {
			left = time.Duration(x)
		}
	}
	return perSecond, left
}
