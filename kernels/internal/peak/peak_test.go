package peak

import (
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cpu"
)

func TestPeak(t *testing.T) {
	require.Zero(t, F32("abacus"))
	for _, isa := range cpu.Paths()[1:] {
		if loop, _ := loopOf(isa); loop != nil {
			require.Greater(t, F32(isa), 1e8, "%s: a core that does less is not one", isa)
		}
	}
}
