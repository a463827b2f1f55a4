package kerneltest

import (
	"os"
	"slices"
	"strings"
	"testing"

	"edgejepa/internal/cpu"
)

// ForEachISA runs f once on every path that the run has switched on, generic last. Paths above it are switched off
// meanwhile, for every package that dispatches on internal/cpu.
func ForEachISA(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	rungs := on()
	for i := len(rungs); i >= 0; i-- {
		name := "generic"
		if i > 0 {
			name = rungs[i-1].Name
		}
		t.Run(name, func(t *testing.T) {
			defer Only(i)()
			f(t)
		})
	}
}

// Only leaves on the lowest n of the paths that are on, and returns what switches the others on again.
func Only(n int) (restore func()) {
	rungs := on()
	for _, r := range rungs[n:] {
		*r.On = false
	}
	return func() {
		for _, r := range rungs[n:] {
			*r.On = true
		}
	}
}

// on lists the paths that are on, the lowest first.
func on() []cpu.Rung {
	return slices.DeleteFunc(cpu.Rungs(), func(r cpu.Rung) bool { return !*r.On })
}

// RequireISA fails a run without one of the paths in EDGEJEPA_REQUIRE_ISA, a list with commas, or without the path that
// EDGEJEPA_ISA forces: a path that did not run did not pass.
func RequireISA(t testing.TB) {
	t.Helper()
	if _, err := cpu.Forced(); err != nil {
		t.Errorf("%v", err)
	}
	have := []string{"generic"}
	for _, r := range on() {
		have = append(have, r.Name)
	}
	t.Logf("paths under test: %v", have)
	want := os.Getenv("EDGEJEPA_REQUIRE_ISA")
	for w := range strings.SplitSeq(want, ",") {
		if w != "" && !slices.Contains(have, w) {
			t.Errorf("EDGEJEPA_REQUIRE_ISA=%s, but this run has only %v", want, have)
		}
	}
}
