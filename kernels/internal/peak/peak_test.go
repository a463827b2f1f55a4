package peak

import (
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cpu"
)

func TestPeak(t *testing.T) {
	least := 1e8 // multiply-adds a second: a core that does less is not one
	if testing.Short() {
		least = 1 // emulated, perhaps
	}
	require.Nil(t, Of("abacus", "f32"))
	require.Nil(t, Of("generic", "f32"))
	for _, path := range cpu.Paths()[1:] {
		for _, typ := range []string{"f32", "int8"} {
			l := Of(path, typ)
			if l == nil {
				continue // pure Go
			}
			require.Greater(t, l.Best(), least, "%s on %s", l.Name, path)
		}
	}
	t.Logf("%.2f GHz, an addition takes %.2f cycles", Clock()/1e9, AddLatency())
	for _, l := range Loops() {
		if l.Have {
			t.Logf("%-11s %-5s %-50s %7.1f GMAC/s, %5.2f a cycle", l.Path, l.Type, l.Name, l.Best()/1e9, l.Best()/Clock())
		}
	}
}
