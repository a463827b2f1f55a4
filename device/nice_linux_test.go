package device

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The priority cannot be taken back without rights, so another process takes it.
func TestNice(t *testing.T) {
	if os.Getenv("EDGEJEPA_TEST_NICE") != "" {
		require.NoError(t, Nice(13))
		stat, err := os.ReadFile("/proc/self/stat")
		require.NoError(t, err)
		_, rest, _ := strings.Cut(string(stat), ") ") // pid (name) state ppid …, nice is field 19
		t.Log("nice", strings.Fields(rest)[16])
		return
	}
	if testing.Short() {
		t.Skip("starts itself, which an emulated test cannot")
	}
	c := exec.Command(os.Args[0], "-test.run=^TestNice$", "-test.v")
	c.Env = append(os.Environ(), "EDGEJEPA_TEST_NICE=1")
	out, err := c.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "nice 13")
}
