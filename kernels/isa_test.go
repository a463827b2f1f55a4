package kernels

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// isaSwitch is one path that a test can switch off and on.
type isaSwitch struct {
	name string
	on   *bool
}

// forEachISA runs f once on every path that this machine has, generic last.
func forEachISA(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	paths := isaSwitches()
	for i := len(paths); i >= 0; i-- {
		name := "generic"
		if i > 0 {
			name = paths[i-1].name
		}
		t.Run(name, func(t *testing.T) {
			was := make([]bool, len(paths))
			for j, p := range paths {
				was[j], *p.on = *p.on, j < i
			}
			defer func() {
				for j, p := range paths {
					*p.on = was[j]
				}
			}()
			f(t)
		})
	}
}

// A path that did not run did not pass: EDGEJEPA_REQUIRE_ISA=avx2 (a list, comma between) fails a run without it.
func TestRequiredISA(t *testing.T) {
	have := []string{"generic"}
	for _, p := range isaSwitches() {
		have = append(have, p.name)
	}
	t.Logf("paths under test: %v", have)
	if want := os.Getenv("EDGEJEPA_REQUIRE_ISA"); want != "" {
		for _, w := range strings.Split(want, ",") {
			if !slices.Contains(have, w) {
				t.Errorf("EDGEJEPA_REQUIRE_ISA=%s, but this run has only %v", w, have)
			}
		}
	}
}
