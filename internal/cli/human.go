package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bytes writes n in binary units with three digits: 512 B, 1.50 GiB.
func Bytes(n int64) string {
	x, unit := float64(n), 0
	for math.Abs(x) >= 999.5 && unit < len(binaryUnits)-1 {
		x /= 1024
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return threeDigits(x) + " " + binaryUnits[unit]
}

var binaryUnits = []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

// Count writes n in full up to four digits and else with three and a unit: 9999, 21.7M.
func Count(n int64) string {
	if n > -10_000 && n < 10_000 {
		return strconv.FormatInt(n, 10)
	}
	x, unit := float64(n), 0
	const units = " kMGTPE"
	for math.Abs(x) >= 999.5 && unit < len(units)-1 {
		x /= 1000
		unit++
	}
	return threeDigits(x) + units[unit:unit+1]
}

// OtherFiles says that a walk met files that are not what it is for, such as notes beside pictures.
func OtherFiles(n int64) string {
	if n == 1 {
		return "1 other file is no picture"
	}
	return Count(n) + " other files are no pictures"
}

func threeDigits(x float64) string {
	switch a := math.Abs(x); {
	case a >= 99.95:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case a >= 9.995:
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return strconv.FormatFloat(x, 'f', 2, 64)
}

// Span writes a duration with its two largest units: 42s, 3m20s, 2h05m, 1d03h; below ten seconds 1.25s.
func Span(d time.Duration) string {
	if d < 0 {
		return "-" + Span(-d)
	}
	if d < 10*time.Second {
		s := strconv.FormatFloat(d.Seconds(), 'f', 2, 64)
		return strings.TrimSuffix(strings.TrimRight(s, "0"), ".") + "s"
	}
	s := int64(d.Round(time.Second) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd%02dh", s/86400, s/3600%24)
}
