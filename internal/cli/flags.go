package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// ByteSize is a flag for an amount of memory: 256MiB, 1.5GiB, 512M, 1000000. K, M, G and T alone count in 1024s like
// KiB, MiB, GiB and TiB; KB, MB, GB and TB in 1000s.
type ByteSize int64

var _ pflag.Value = (*ByteSize)(nil)

// Set parses s.
func (b *ByteSize) Set(s string) error {
	digits := strings.TrimRight(s, "bBiIkKmMgGtT ")
	factor, ok := map[string]float64{
		"": 1, "b": 1,
		"k": 1 << 10, "kib": 1 << 10, "kb": 1e3,
		"m": 1 << 20, "mib": 1 << 20, "mb": 1e6,
		"g": 1 << 30, "gib": 1 << 30, "gb": 1e9,
		"t": 1 << 40, "tib": 1 << 40, "tb": 1e12,
	}[strings.ToLower(strings.TrimSpace(s[len(digits):]))]
	x, err := strconv.ParseFloat(digits, 64)
	if !ok || err != nil || strings.Trim(digits, "0123456789.") != "" {
		return fmt.Errorf("%q is no size; write for example 256MiB or 1.5GiB", s)
	}
	if x*factor >= math.MaxInt64 {
		return fmt.Errorf("%s is too large", s)
	}
	*b = ByteSize(math.Round(x * factor))
	return nil
}

// String is the shortest text that Set reads back exactly.
func (b *ByteSize) String() string {
	n, unit := int64(*b), 0
	for n != 0 && n%1024 == 0 && unit < 4 {
		n /= 1024
		unit++
	}
	if unit == 0 {
		return strconv.FormatInt(n, 10)
	}
	return strconv.FormatInt(n, 10) + binaryUnits[unit]
}

// Type names the value in the help text.
func (b *ByteSize) Type() string { return "size" }

// Duration is a flag for a time span: 90s, 1h30m, and with days 2d or 1d12h.
type Duration time.Duration

var _ pflag.Value = (*Duration)(nil)

// Set parses s.
func (d *Duration) Set(s string) error {
	bad := fmt.Errorf("%q is no time span; write for example 90s, 2h30m or 1d12h", s)
	var total time.Duration
	rest := s
	if days, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16) // 65535 days fit a Duration
		if err != nil {
			return bad
		}
		total, rest = time.Duration(n)*24*time.Hour, after
	}
	if rest != "" || s == "" {
		t, err := time.ParseDuration(rest)
		if err != nil || t < 0 {
			return bad
		}
		if total += t; total < 0 {
			return fmt.Errorf("%s is too long", s)
		}
	}
	*d = Duration(total)
	return nil
}

func (d *Duration) String() string { return time.Duration(*d).String() }

// Type names the value in the help text.
func (d *Duration) Type() string { return "duration" }

// LogFormat is the --log-format flag: how progress and messages look on stderr.
type LogFormat string

const (
	LogAuto LogFormat = "auto" // a bar on a terminal, else lines of text
	LogText LogFormat = "text" // lines of text
	LogJSON LogFormat = "json" // one JSON object a line
)

var _ pflag.Value = (*LogFormat)(nil)

// Set parses s.
func (l *LogFormat) Set(s string) error {
	switch f := LogFormat(s); f {
	case LogAuto, LogText, LogJSON:
		*l = f
		return nil
	}
	return fmt.Errorf("%q is not one of auto, text, json", s)
}

func (l *LogFormat) String() string { return string(*l) }

// Type names the value in the help text.
func (l *LogFormat) Type() string { return "auto|text|json" }
