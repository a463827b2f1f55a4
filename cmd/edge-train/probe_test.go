package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cli"
)

// trained is a run of a few steps on pictures.
func trained(t *testing.T, pictures string, more ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "run")
	code, _, stderr := command(t, micro(pictures, out, append([]string{"--max-steps", "3"}, more...)...)...)
	require.Zero(t, code, stderr)
	return out
}

func probed(t *testing.T, args ...string) (r probeReport, text string) {
	t.Helper()
	code, stdout, stderr := command(t, append([]string{"probe", "--json", "--threads", "2"}, args...)...)
	require.Zero(t, code, stderr)
	require.NoError(t, json.Unmarshal([]byte(stdout), &r))
	return r, stdout
}

func classesOf(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestProbeSetsAFifthAside(t *testing.T) {
	pictures := drawn(t, 10)
	run := trained(t, pictures)
	n := len(classesOf(t, pictures))
	r, text := probed(t, "--model", run, "--data", pictures, "--seed", "4")
	require.Equal(t, []int{n, 8 * n, 2 * n}, []int{r.Classes, r.Train, r.Test})
	_, again := probed(t, "--model", run, "--data", pictures, "--seed", "4", "--threads", "1")
	require.Equal(t, text, again, "an equal seed splits alike, on any number of threads")
	_, other := probed(t, "--model", run, "--data", pictures, "--seed", "5")
	require.NotEqual(t, text, other)
}

func TestProbeWithTestFolder(t *testing.T) {
	pictures, held := drawn(t, 6), drawn(t, 3)
	run := trained(t, pictures)
	names := classesOf(t, pictures)
	n := len(names)
	r, _ := probed(t, "--model", run, "--data", pictures, "--test", held)
	require.Equal(t, []int{n, 6 * n, 3 * n}, []int{r.Classes, r.Train, r.Test}, "nothing is set aside")
	// A picture's nearest neighbour is the picture itself, and the linear probe can learn as many by heart.
	r, _ = probed(t, "--model", run, "--data", pictures, "--test", pictures)
	require.Greater(t, r.Linear, 90.0)

	// As if fewer were labelled: which ones is up to the seed.
	r, few := probed(t, "--model", run, "--data", pictures, "--test", held, "--per-class", "2")
	require.Equal(t, []int{n, 2 * n, 3 * n}, []int{r.Classes, r.Train, r.Test})
	_, again := probed(t, "--model", run, "--data", pictures, "--test", held, "--per-class", "2")
	require.Equal(t, few, again)
	_, other := probed(t, "--model", run, "--data", pictures, "--test", held, "--per-class", "2", "--seed", "1")
	require.NotEqual(t, few, other)
	code, _, problem := command(t, "probe", "--model", run, "--data", pictures, "--per-class", "-1")
	require.Equal(t, cli.ExitUsage, code)
	require.Contains(t, problem, "--per-class -1: it must be at least 1")

	// Fewer classes may be asked about than were learnt; another one may not.
	require.NoError(t, os.RemoveAll(filepath.Join(held, names[1])))
	r, _ = probed(t, "--model", run, "--data", pictures, "--test", held)
	require.Equal(t, []int{n, 6 * n, 3 * (n - 1)}, []int{r.Classes, r.Train, r.Test})
	require.NoError(t, os.Rename(filepath.Join(held, names[0]), filepath.Join(held, "unheard-of")))
	code, stdout, stderr := command(t, "probe", "--model", run, "--data", pictures, "--test", held)
	require.Equal(t, cli.ExitUsage, code)
	require.Empty(t, stdout)
	require.Contains(t, stderr, `class "unheard-of"`)
}

func TestProbeForPeople(t *testing.T) {
	pictures := drawn(t, 5)
	run := trained(t, pictures)
	code, stdout, stderr := command(t, "probe", "--model", run, "--data", pictures)
	require.Zero(t, code, stderr)
	for _, s := range []string{"context encoder", "target encoder", "untrained", "linear probe", "k-NN", "RankMe"} {
		require.Contains(t, stdout, s)
	}
	// The network that a run starts from is the one it is compared with.
	fresh := filepath.Join(t.TempDir(), "fresh")
	code, _, stderr = command(t, micro(pictures, fresh, "--max-steps", "1", "--lr", "1e-8", "--seed", "7")...)
	require.Zero(t, code, stderr)
	r, _ := probed(t, "--model", fresh, "--data", pictures)
	require.InDelta(t, r.KNNRandom, r.KNNTarget, 1e-9)
}
