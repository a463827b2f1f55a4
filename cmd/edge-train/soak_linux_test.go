package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cli"
	"edgejepa/internal/cpu"
)

// held is what a process has of the machine at one moment.
type held struct{ heap, resident, goroutines, files int64 }

// holds counts what this process has after everything unused was given back. Open pictures below pictures are left out: the
// loader reads some all the time.
func holds(t *testing.T, pictures string) (h held) {
	t.Helper()
	debug.FreeOSMemory() // collects garbage first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	h.heap, h.goroutines = int64(m.HeapAlloc), int64(runtime.NumGoroutine())
	b, err := os.ReadFile("/proc/self/statm")
	require.NoError(t, err)
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	require.NoError(t, err)
	h.resident = pages * int64(os.Getpagesize())
	links, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, l := range links {
		if to, err := os.Readlink("/proc/self/fd/" + l.Name()); err == nil && !strings.HasPrefix(to, pictures) { // that of the folder itself is gone
			h.files++
		}
	}
	return h
}

// least of each figure: what is left of ups and downs.
func least(all []held) held {
	m := all[0]
	for _, h := range all[1:] {
		m = held{min(m.heap, h.heap), min(m.resident, h.resident), min(m.goroutines, h.goroutines), min(m.files, h.files)}
	}
	return m
}

// A long run holds at its end what it held after a tenth: memory, goroutines and open files, with checkpoints several times
// a second and evaluations. The least of five samples one per cent of the run apart is compared with the least of the last
// five. The report is left out: it keeps some hundred lines, which come one by one.
//
// Of the heap 64 KiB of growth are let pass, twice what single samples differ by. A leak of one byte a step is more than that
// over the full length, one of 40 bytes over the short one. What is resident is counted in pages and given back in spans,
// and moves by half a MiB: 2 MiB are let pass, and four huge pages more where the system makes them unasked.
func TestLongRunsStayFlat(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long under an emulator")
	}
	steps := 2000
	if os.Getenv("EDGEJEPA_EXHAUSTIVE") != "" {
		steps = 100_000
	} else if cpu.ISA() == "generic" {
		t.Skip("pure Go is a tenth as fast and holds the same")
	}
	pictures, err := filepath.EvalSymlinks(drawn(t, 2))
	require.NoError(t, err)
	var early, late []held
	begun := time.Now()
	eachStep(t, func(step int) {
		part := step * 100 / steps
		switch {
		case step%(steps/100) != 0:
		case part >= 10 && part < 15:
			early = append(early, holds(t, pictures))
		case part > 95:
			late = append(late, holds(t, pictures))
		}
	})
	code, _, stderr := command(t, "pretrain", pictures, "--out", filepath.Join(t.TempDir(), "run"), "--preset", "micro", "--batch", "2",
		"--max-steps", fmt.Sprint(steps), "--threads", "2", "--checkpoint-every", "200ms", "--eval", pictures, "--eval-every", fmt.Sprint(steps/4), "--report=false", "--quiet")
	require.Zero(t, code, stderr)
	require.Len(t, early, 5)
	require.Len(t, late, 5)
	first, last := least(early), least(late)
	t.Logf("%d steps in %v: heap %d to %d bytes, resident %s to %s, %d to %d goroutines, %d to %d files", steps, time.Since(begun).Round(time.Second),
		first.heap, last.heap, cli.Bytes(first.resident), cli.Bytes(last.resident), first.goroutines, last.goroutines, first.files, last.files)
	require.Less(t, last.heap, first.heap+64<<10)
	margin := int64(2 << 20)
	if b, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled"); err == nil && strings.Contains(string(b), "[always]") {
		margin += 8 << 20
	}
	require.Less(t, last.resident, first.resident+margin)
	require.LessOrEqual(t, last.goroutines, first.goroutines)
	require.LessOrEqual(t, last.files, first.files)

	// The counts see what they are to see.
	f, err := os.Open(os.DevNull)
	require.NoError(t, err)
	stop := make(chan struct{})
	go func() { <-stop }()
	before := holds(t, pictures)
	block := make([]byte, 4<<20)
	for i := range block {
		block[i] = byte(i)
	}
	after := holds(t, pictures)
	runtime.KeepAlive(block)
	require.GreaterOrEqual(t, after.heap, before.heap+3<<20)
	require.GreaterOrEqual(t, after.resident, before.resident+3<<20)
	close(stop)
	require.NoError(t, f.Close())
	for range 1000 { // until the goroutine has ended
		if after = holds(t, pictures); after.goroutines < before.goroutines {
			break
		}
		time.Sleep(time.Millisecond)
	}
	require.Equal(t, before.goroutines-1, after.goroutines)
	require.Equal(t, before.files-1, after.files)
}
