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
