package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

func TestExitCodes(t *testing.T) {
	alive := context.Background()
	hit, cancel := context.WithCancelCause(alive)
	cancel(ErrInterrupted)
	stopped, cancel2 := context.WithCancel(alive)
	cancel2()
	boom := errors.New("boom")
	for _, c := range []struct {
		ctx    context.Context
		err    error
		code   int
		stderr string
	}{
		{alive, nil, 0, ""},
		{alive, boom, 1, "edge: boom\n"},
		{alive, fmt.Errorf("row 3: %w", Usagef("--batch %d is too small", 0)), 2, "edge: row 3: --batch 0 is too small\n"},
		{alive, ErrSkipped, 3, ""},
		{alive, fmt.Errorf("write: %w", syscall.EPIPE), 0, ""},
		{hit, context.Cause(hit), 130, "edge: interrupted\n"},
		{hit, fmt.Errorf("step 7: %w", context.Canceled), 130, "edge: interrupted\n"},
		{hit, boom, 1, "edge: boom\n"},
		{hit, nil, 0, ""}, // the last step was done when the signal came
		{stopped, context.Canceled, 1, "edge: context canceled\n"},
	} {
		var stderr bytes.Buffer
		require.Equal(t, c.code, Report(c.ctx, &stderr, "edge", c.err), "%v", c.err)
		require.Equal(t, c.stderr, stderr.String())
	}
	require.NoError(t, Usage(nil))
	require.ErrorIs(t, Usage(boom), boom)
}

func TestByteSize(t *testing.T) {
	for text, want := range map[string]ByteSize{
		"0": 0, "100": 100, "100B": 100, "256MiB": 256 << 20, "256 MiB": 256 << 20, "1.5GiB": 3 << 29, "512M": 512 << 20, "1k": 1 << 10,
		"1kb": 1000, "2GB": 2e9, "1T": 1 << 40,
	} {
		var b ByteSize
		require.NoError(t, b.Set(text), text)
		require.Equal(t, want, b, text)
		var back ByteSize
		require.NoError(t, back.Set(b.String()))
		require.Equal(t, b, back)
	}
	for _, text := range []string{"", "M", "-1", "1e3", "NaN", "inf", "1.2.3", "0x10", "5 MiBs", "1MM", "9000000TiB", "1_000"} {
		b := ByteSize(7)
		require.Error(t, b.Set(text), text)
		require.Equal(t, ByteSize(7), b)
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"2h": 2 * time.Hour, "90s": 90 * time.Second, "1d12h": 36 * time.Hour, "2d": 48 * time.Hour, "0s": 0, "1h30m": 90 * time.Minute,
	} {
		var d Duration
		require.NoError(t, d.Set(text), text)
		require.Equal(t, want, time.Duration(d))
		var back Duration
		require.NoError(t, back.Set(d.String()))
		require.Equal(t, d, back)
	}
	for _, text := range []string{"", "d", "5", "-1h", "1d-2h", "1.5d", "99999999d", "h", "1d1d"} {
		var d Duration
		require.Error(t, d.Set(text), text)
	}
}

func TestHuman(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "0.98 KiB", 1536: "1.50 KiB", 10 << 20: "10.0 MiB", 512 << 20: "512 MiB", 1 << 40: "1.00 TiB", -2048: "-2.00 KiB", math.MaxInt64: "8.00 EiB"} {
		require.Equal(t, want, Bytes(n))
	}
	for n, want := range map[int64]string{0: "0", 9999: "9999", 12345: "12.3k", 21_700_000: "21.7M", 999_999: "1.00M", -12345: "-12.3k"} {
		require.Equal(t, want, Count(n))
	}
	for d, want := range map[time.Duration]string{
		0: "0s", 1250 * time.Millisecond: "1.25s", 42 * time.Second: "42s", 200 * time.Second: "3m20s", 59*time.Second + 600*time.Millisecond: "1m00s",
		125 * time.Minute: "2h05m", 27 * time.Hour: "1d03h", -time.Minute: "-1m00s",
	} {
		require.Equal(t, want, Span(d))
	}
	require.Equal(t, "1 other file is no picture", OtherFiles(1))
	require.Equal(t, "12.3k other files are no pictures", OtherFiles(12345))
}

func TestPrintable(t *testing.T) {
	require.Equal(t, "Ünï/cödé 中.jpg", Printable("Ünï/cödé 中.jpg"))
	for in, want := range map[string]string{
		"a\nERROR: fake": `"a\nERROR: fake"`, "\x1b[2J": `"\x1b[2J"`, "a\u202etxt": `"a\u202etxt"`, "\xff": `"\xff"`,
	} {
		require.Equal(t, want, Printable(in))
	}
}

func newFlags() (*pflag.FlagSet, func() string) {
	f := pflag.NewFlagSet("t", pflag.ContinueOnError)
	batch := f.Int("batch", 1, "")
	lr := f.Float64("lr", 0.5, "")
	eval := f.StringSlice("eval", []string{"x"}, "")
	quiet := f.Bool("quiet", false, "")
	maxTime, memory := Duration(0), ByteSize(0)
	f.Var(&maxTime, "max-time", "")
	f.Var(&memory, "memory", "")
	f.String("config", "", "")
	return f, func() string {
		return strings.TrimSpace(fmt.Sprintln(*batch, *lr, *eval, *quiet, maxTime.String(), memory.String()))
	}
}

func TestApplyConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "run.yaml")
	apply := func(content string, args ...string) (string, error) {
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		f, values := newFlags()
		require.NoError(t, f.Parse(args))
		err := ApplyConfig(f, file)
		return values(), err
	}
	got, err := apply("# settings\nbatch: 32\nlr: 1e-3\neval: [a, b]\nquiet: true\nmax-time: 2h\nmemory: 256MiB\n", "--lr", "7")
	require.NoError(t, err)
	require.Equal(t, "32 7 [a b] true 2h0m0s 256MiB", got)
	got, err = apply("eval: a\nbatch: &b 4\n")
	require.NoError(t, err)
	require.Equal(t, "4 0.5 [a] false 0s 0", got)
	for _, empty := range []string{"", "# nothing\n", "---\n", "{}"} {
		got, err = apply(empty)
		require.NoError(t, err, empty)
		require.Equal(t, "1 0.5 [x] false 0s 0", got)
	}
	for content, want := range map[string]string{
		"batch: 2\nbacth: 3":       `:2: unknown key "bacth"; did you mean batch?`,
		"max_time: 2h":             `:1: unknown key "max_time"; did you mean max-time?`,
		"zzzzzzzz: 1":              "see --help",
		"help: true":               "unknown key",
		"config: x.yaml":           "unknown key",
		"batch: 2\nbatch: 3":       ":2: batch was set in line 1 already",
		"eval: [q]\nbatch: x":      `:2: batch: `,
		"batch: [1, 2]":            ":1: batch: takes one value, not a list",
		"batch:":                   ":1: batch has no plain value",
		"batch: {a: 1}":            ":1: batch has no plain value",
		"- batch":                  ":1: must be a list of name: value",
		"batch: 1\n---\nbatch: 2":  "more than one YAML document",
		"batch: 'x":                "yaml: ",
		"memory: 12 apples":        `:1: memory: "12 apples" is no size`,
		"[batch]: 1":               "unknown key",
		"x: &a [*a]\nbatch: 1":     "unknown key",
		strings.Repeat("# ", 1e6):  "not a settings file",
		"lr: 3\nbatch: 2\nlrr: 1e": `:3: unknown key "lrr"; did you mean lr?`,
	} {
		got, err = apply(content)
		require.ErrorContains(t, err, want, "%.40s", content)
		require.ErrorContains(t, err, file)
		require.Equal(t, ExitUsage, Code(context.Background(), err))
		require.Equal(t, "1 0.5 [x] false 0s 0", got, "%.40s", content)
	}
	f, _ := newFlags()
	err = ApplyConfig(f, file+".none")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Equal(t, ExitUsage, Code(context.Background(), err))
}

// clock is a Progress with a clock that stands still until told.
func clock(style style, every time.Duration) (*Progress, *bytes.Buffer, *time.Time) {
	var out bytes.Buffer
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	p := &Progress{w: &out, unit: "step", style: style, every: every, now: func() time.Time { return now }, width: func() int { return 80 }, start: now}
	return p, &out, &now
}

func TestProgressLines(t *testing.T) {
	p, out, now := clock(text, 10*time.Second)
	for step := range int64(31) {
		p.Update(Status{Done: step, Total: 100, Images: 8 * step, Loss: 0.5 - float64(step)/1000})
		*now = now.Add(time.Second)
	}
	p.Infof("note %d", 1)
	p.Finish() // the last status has been shown
	p.Update(Status{Done: 31, Total: 100, Images: 248, Loss: 0.469})
	p.Finish()
	p.Finish()
	require.Equal(t, strings.Join([]string{
		"step 0/100  loss 0.5000",
		"step 10/100  8.00 images/s  loss 0.4900  1m30s left",
		"step 20/100  8.00 images/s  loss 0.4800  1m20s left",
		"step 30/100  8.00 images/s  loss 0.4700  1m10s left",
		"note 1",
		"step 31/100  8.00 images/s  loss 0.4690  1m09s left",
		"",
	}, "\n"), out.String())
}

func TestProgressBar(t *testing.T) {
	p, out, now := clock(bar, 100*time.Millisecond)
	p.Update(Status{Done: 0, Total: 4})
	p.Update(Status{Done: 1, Total: 4}) // too soon
	require.Equal(t, "\r  0% "+strings.Repeat("░", 30)+"  step 0/4\x1b[K", out.String())
	out.Reset()
	*now = now.Add(2 * time.Second)
	p.Update(Status{Done: 2, Total: 4, Images: 20, Loss: 0.25})
	require.Equal(t, "\r 50% "+strings.Repeat("█", 13)+strings.Repeat("░", 13)+"  step 2/4  10.0 images/s  loss 0.2500  2s left\x1b[K", out.String())
	out.Reset()
	p.Warnf("skipping %s", "x")
	require.True(t, strings.HasPrefix(out.String(), "\r\x1b[Kskipping x\n\r 50% "), "%q", out.String())
	p.Finish()
	require.True(t, strings.HasSuffix(out.String(), "\x1b[K\n"))

	// No line is wider than the terminal, whatever it says.
	for width := 1; width < 120; width++ {
		out.Reset()
		p.width = func() int { return width }
		*now = now.Add(time.Second)
		p.Update(Status{Done: 3, Total: 4, Images: 30, Loss: 1, Note: "a note in ünïcode"})
		line := strings.TrimSuffix(strings.TrimPrefix(out.String(), "\r"), "\x1b[K")
		require.Less(t, len([]rune(line)), width)
	}
}

func TestProgressJSON(t *testing.T) {
	p, out, now := clock(jsonLines, 10*time.Second)
	p.Infof("found %d pictures", 3)
	p.Update(Status{Done: 0, Total: 10})
	*now = now.Add(20 * time.Second)
	p.Update(Status{Done: 5, Total: 10, Images: 50, Loss: math.NaN(), Note: "warm"})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 3)
	require.JSONEq(t, `{"level":"info","message":"found 3 pictures","time":"2026-01-02T03:04:05Z"}`, lines[0])
	require.JSONEq(t, `{"level":"progress","step":5,"total":10,"seconds":20,"images_per_second":2.5,"seconds_left":20,"note":"warm","time":"2026-01-02T03:04:25Z"}`, lines[2])
	for _, line := range lines {
		require.True(t, json.Valid([]byte(line)))
	}
}

func TestProgressQuiet(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, "image", LogAuto, true)
	p.Update(Status{Done: 1})
	p.Infof("x")
	p.Finish()
	require.Zero(t, out.Len())
	p.Warnf("skipping a.jpg: broken")
	require.Equal(t, "skipping a.jpg: broken\n", out.String())
	var none *Progress
	none.Update(Status{})
	none.Warnf("x")
	none.Finish()
}

// TestProgressCost holds that an update that shows nothing allocates nothing.
func TestProgressCost(t *testing.T) {
	p, _, _ := clock(text, time.Hour)
	p.Update(Status{Done: 1})
	n := int64(1)
	require.Zero(t, testing.AllocsPerRun(100, func() { n++; p.Update(Status{Done: n, Total: 1000, Loss: 1}) }))
}

func TestIsTerminal(t *testing.T) {
	require.False(t, IsTerminal(&bytes.Buffer{}))
	require.False(t, IsTerminal(io.Discard))
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer null.Close()
	require.False(t, IsTerminal(null))
	require.Equal(t, 80, columns(null))
	if runtime.GOOS == "linux" {
		tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
		if err != nil {
			t.Skip(err)
		}
		defer tty.Close()
		require.True(t, IsTerminal(tty))
	}
}

// A settings file of any content is applied whole or refused with the line, the flags as they were.
func FuzzApplyConfig(f *testing.F) {
	for _, text := range []string{
		"batch: 32\nlr: 1e-3\neval: [a, b]\nquiet: true\nmax-time: 2h\nmemory: 256MiB\n", "batch: &b 4\neval: *b", "lr: 3\nlrr: 1e", "eval: [q]\nbatch: x",
		"x: &a [*a]\nbatch: 1", "---\n--- 1", "? [batch]\n: {}", "!!null", "*x", "%YAML 1.1\n---\n<<: {batch: 1}", "batch: !!binary aGk=\nlr: .nan\n", "memory: 9999999EiB",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		flags, values := newFlags()
		before := values()
		if err := applyConfig(flags, "run.yaml", text); err != nil {
			require.Equal(t, before, values())
			require.Contains(t, err.Error(), "run.yaml:")
			require.Equal(t, ExitUsage, Code(context.Background(), err))
		}
	})
}
