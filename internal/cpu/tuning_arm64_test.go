//go:build !purego

package cpu

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/cpu"
)

func TestInOrder(t *testing.T) {
	for id, want := range map[uint64]bool{
		0x410fd034: true,  // Cortex-A53 r0p4, Raspberry Pi 3 and Zero 2
		0x411fd040: true,  // Cortex-A35
		0x412fd050: true,  // Cortex-A55
		0x410fd083: false, // Cortex-A72, Raspberry Pi 4
		0x414fd0b1: false, // Cortex-A76, Raspberry Pi 5
		0x413fd0c1: false, // Neoverse N1
		0x610fd030: false, // a part number of another implementer
		0:          false,
	} {
		require.Equal(t, want, inOrder(id), "%#x", id)
	}
	if cpu.ARM64.HasCPUID {
		t.Logf("main ID %#x, in order %v", mainID(), InOrder)
		require.NotZero(t, mainID())
	}
}
