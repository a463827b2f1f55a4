package cpu

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMain prints the choice when a test runs this binary as a child under another environment.
func TestMain(m *testing.M) {
	if os.Getenv("CPU_TEST_CHILD") != "" {
		_, err := Forced()
		if err != nil {
			os.Stdout.WriteString("error: " + err.Error())
			os.Exit(0)
		}
		os.Stdout.WriteString(ISA())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestChoose(t *testing.T) {
	var low, mid, high bool
	rungs := []path{{"low", &low, true}, {"mid", &mid, true}, {"high", &high, false}}
	for _, c := range []struct {
		force, isa string
		low, mid   bool
		fails      bool
	}{
		{"", "mid", true, true, false},
		{"generic", "generic", false, false, false},
		{"low", "low", true, false, false},
		{"mid", "mid", true, true, false},
		{"high", "generic", false, false, true},
		{"sse9", "generic", false, false, true},
	} {
		low, mid, high = false, false, false
		isa, err := choose(rungs, c.force)
		require.Equal(t, c.isa, isa, c.force)
		require.Equal(t, []bool{c.low, c.mid, false}, []bool{low, mid, high}, c.force)
		require.Equal(t, c.fails, err != nil, c.force)
		if err != nil {
			require.ErrorContains(t, err, "generic, low, mid")
		}
	}
}

// A machine may lack a rung and have a higher one: AVX-512 came before AVX-VNNI.
func TestChooseSkipsWhatIsMissing(t *testing.T) {
	for _, force := range []string{"", "high"} {
		var low, mid, high bool
		isa, err := choose([]path{{"low", &low, true}, {"mid", &mid, false}, {"high", &high, true}}, force)
		require.NoError(t, err)
		require.Equal(t, "high", isa)
		require.Equal(t, []bool{true, false, true}, []bool{low, mid, high})
	}
}

// TestEnvironment runs every path this machine has, and one that no machine has, through a real environment.
func TestEnvironment(t *testing.T) {
	child := func(isa string) string {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "CPU_TEST_CHILD=1", EnvISA+"="+isa)
		out, err := cmd.Output()
		if err != nil {
			t.Skipf("cannot start a child process: %v", err)
		}
		return string(out)
	}
	paths := Paths()
	for _, p := range paths {
		require.Equal(t, p, child(p))
	}
	require.Equal(t, paths[len(paths)-1], child(""))
	require.True(t, strings.HasPrefix(child("sse9"), "error: EDGEJEPA_ISA=sse9"))
}
