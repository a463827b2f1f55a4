package emulator

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSum(t *testing.T) {
	s := Symbols{{Name: "edgejepa/kernels.a.abi0", Value: 0x1000, Size: 0x20}, {Name: "runtime.b", Value: 0x1020, Size: 0x10}}
	blocks, err := parseBlocks("1000 3 10\n1010 4 5\n1020 1 7\n1030 9 1\nfff 2 1\n")
	require.NoError(t, err)
	require.Equal(t, Block{0x1010, 4, 5}, blocks[1])
	require.Equal(t, map[string]int64{"edgejepa/kernels.a": 50, "runtime.b": 7, "elsewhere": 11}, s.Sum(blocks))
	_, err = parseBlocks("1000 x 1\n")
	require.ErrorContains(t, err, "1000 x 1")
	require.True(t, Counted("edgejepa/kernels.a"))
	require.True(t, Counted("runtime.memmove"))
	require.False(t, Counted("runtime.b"))
	require.False(t, Counted("edgejepa/internal/parallel.(*Pool).await"))
}
