package kerneltest

import (
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cpu"
)

// recorder is a test whose failure is wanted.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) Fatalf(string, ...any) { r.FailNow() }
func (r *recorder) FailNow() {
	r.failed = true
	runtime.Goexit()
}

// fails says whether f fails its test.
func fails(t *testing.T, f func(t testing.TB)) bool {
	r, done := &recorder{TB: t}, make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r.failed
}

// states are the switches of all rungs, the lowest first.
func states() (on []bool) {
	for _, r := range cpu.Rungs() {
		on = append(on, *r.On)
	}
	return on
}

// Each path that is on gets its turn, with those above it off, and all is as before afterwards, whatever f does.
func TestForEachISA(t *testing.T) {
	before := states()
	want := []string{"generic"}
	for _, r := range on() {
		want = append(want, r.Name)
	}
	slices.Reverse(want)
	var seen []string
	ForEachISA(t, func(t *testing.T) {
		highest := "generic"
		for _, r := range on() {
			highest = r.Name
		}
		seen = append(seen, highest)
		require.Len(t, on(), len(want)-len(seen))
		t.SkipNow() // leaves by way of runtime.Goexit
	})
	require.Equal(t, want, seen)
	require.Equal(t, before, states())
}

// What is off stays off, within a restriction too.
func TestOnly(t *testing.T) {
	before := states()
	all := len(on())
	for n := range all + 1 {
		restore := Only(n)
		require.Len(t, on(), n)
		inner := Only(n / 2)
		require.Len(t, on(), n/2)
		inner()
		require.Len(t, on(), n)
		restore()
		require.Equal(t, before, states())
	}
	require.Panics(t, func() { Only(all + 1) })
}

func TestRequireISA(t *testing.T) {
	for list, missing := range map[string]bool{"": false, "generic": false, "generic,": false, "sse9": true, "generic,sse9": true} {
		t.Setenv("EDGEJEPA_REQUIRE_ISA", list)
		require.Equal(t, missing, fails(t, RequireISA), "%q", list)
	}
	for _, r := range on() {
		t.Setenv("EDGEJEPA_REQUIRE_ISA", r.Name)
		require.False(t, fails(t, RequireISA), r.Name)
	}
	restore := Only(0)
	defer restore()
	for _, r := range cpu.Rungs() {
		t.Setenv("EDGEJEPA_REQUIRE_ISA", r.Name)
		require.True(t, fails(t, RequireISA), "%s is switched off", r.Name)
	}
}
