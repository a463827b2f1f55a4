package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		now, before int64
		grown       bool
	}{{100, 0, false}, {1000, 1000, false}, {1019, 1000, false}, {1021, 1000, true}, {900, 1000, false}} {
		_, grown := judge(c.now, c.before)
		require.Equal(t, c.grown, grown, "%d after %d", c.now, c.before)
	}
}

func TestSum(t *testing.T) {
	s := symbols{{Name: "edgejepa/kernels.a.abi0", Value: 0x1000, Size: 0x20}, {Name: "runtime.b", Value: 0x1020, Size: 0x10}}
	sums, err := s.sum("1000 3 10\n1010 4 5\n1020 1 7\n1030 9 1\nfff 2 1\n")
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"edgejepa/kernels.a": 50, "runtime.b": 7, "elsewhere": 11}, sums)
	_, err = s.sum("1000 x 1\n")
	require.ErrorContains(t, err, "1000 x 1")
	require.True(t, counted("edgejepa/kernels.a"))
	require.True(t, counted("runtime.memmove"))
	require.False(t, counted("runtime.b"))
	require.False(t, counted("edgejepa/internal/parallel.(*Pool).await"))
}

func TestCountFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "counts")
	want := map[string]int64{"cortex-a53": 3, "cortex-a72": 2, "cortex-a76": 1}
	require.NoError(t, writeCounts(name, want))
	got, err := readCounts(name)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.NoError(t, os.WriteFile(name, []byte("cortex-a53 3\ncortex-a72 2\n"), 0o644))
	_, err = readCounts(name)
	require.ErrorContains(t, err, "cortex-a76")
	_, err = readCounts(name + "x")
	require.ErrorContains(t, err, "UPDATE=1")
}

// What is counted runs here too.
func TestEmbedTimes(t *testing.T) {
	if testing.Short() {
		t.Skip("make count-arm runs it on emulated cores")
	}
	require.NoError(t, embedTimes(1))
}
