package jepa

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cpu"
)

// hashRuns are the runs whose checkpoints every machine must write alike: between them they have both predictors, both
// losses, and contexts of one length and of many. A new hash is a new result for every user: say so in the changes.
var hashRuns = []struct {
	name   string
	change func(*Config)
	sha256 string
}{
	{"vit", func(*Config) {}, "7c76c641c802131b9af7c239674c03d8d3dfd8e00f42cb8be03dd1330fc934d2"},
	{"mlp", func(c *Config) { c.Predictor, c.Loss, c.Masks.EqualContext = PredictorMLP, LossL2, false }, "85c51b8274cbf447e10e0418a6faae586b6b0cda8701513397c33be2e4b4a63d"},
}

// checkpointHash is of three steps; last is done to the last step's pixels.
func checkpointHash(t *testing.T, change func(*Config), last func(px []float32)) string {
	c := microConfig()
	change(&c)
	tr := newTrainer(t, c, 2)
	for s := range 3 {
		px := pictures(c, uint64(s))
		if s == 2 {
			last(px)
		}
		tr.Step(px)
	}
	sum := sha256.Sum256(checkpointBytes(t, tr))
	return hex.EncodeToString(sum[:])
}

// TestCheckpointHash holds the promise of equal bytes on every machine: whoever runs it, on whatever machine or emulator,
// compares with all others.
func TestCheckpointHash(t *testing.T) {
	for _, r := range hashRuns {
		t.Run(r.name, func(t *testing.T) {
			require.Equal(t, r.sha256, checkpointHash(t, r.change, func([]float32) {}), "on %s", cpu.ISA())
		})
	}
}

// One pixel of the last step that is off by a thousandth shows. (Off by its last bit, rounding swallows it.)
func TestCheckpointHashSeesOnePixel(t *testing.T) {
	for _, r := range hashRuns {
		got := checkpointHash(t, r.change, func(px []float32) { px[0] *= 1.001 })
		require.NotEqual(t, r.sha256, got, r.name)
	}
}

// TestCheckpointHashEveryISA runs TestCheckpointHash in a process for each path of the kernels that this machine has.
func TestCheckpointHashEveryISA(t *testing.T) {
	if forced, _ := cpu.Forced(); forced != "" {
		t.Skip("this process is bound to one path: " + forced)
	}
	for _, isa := range cpu.Paths() {
		c := exec.Command(os.Args[0], "-test.run", "^TestCheckpointHash$", "-test.v")
		c.Env = append(os.Environ(), cpu.EnvISA+"="+isa)
		out, err := c.CombinedOutput()
		if errors.Is(err, syscall.ENOEXEC) {
			t.Skip("an emulator that the kernel does not know of cannot run this binary again")
		}
		require.NoError(t, err, "%s: %s", isa, out)
		require.Contains(t, string(out), "--- PASS: TestCheckpointHash/mlp", isa)
	}
}
