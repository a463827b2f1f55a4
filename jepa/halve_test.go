package jepa

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/parallel"
	"edgejepa/internal/safetensors"
	"edgejepa/vit"
)

// A halved rate is half of what the schedule says, belongs to the checkpoint, and is gone after Init.
func TestHalveRate(t *testing.T) {
	p, err := vit.PresetNamed("micro")
	require.NoError(t, err)
	c := Default(p, 0, 0)
	c.Batch = 4
	c.SetSteps(20)
	pool := parallel.New(1)
	defer pool.Close()
	newTrainer := func() *Trainer {
		tr, err := NewTrainer(c, Plan{}, pool)
		require.NoError(t, err)
		return tr
	}
	saved := func(tr *Trainer) string {
		var b bytes.Buffer
		require.NoError(t, tr.WriteCheckpoint(&b))
		return b.String()
	}
	tr := newTrainer()
	usual, plain := tr.rates(), saved(tr)
	require.NotContains(t, plain, halvingsKey)
	tr.HalveRate()
	tr.HalveRate()
	require.Equal(t, rates{usual.lr / 4, usual.weightDecay, usual.ema}, tr.rates())
	halved := saved(tr)

	restore := func(text string) (*Trainer, error) {
		path := filepath.Join(t.TempDir(), "checkpoint.safetensors")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		f, err := safetensors.Open(path)
		require.NoError(t, err)
		tr := newTrainer()
		tr.HalveRate()
		return tr, tr.Restore(f)
	}
	again, err := restore(halved)
	require.NoError(t, err)
	require.Equal(t, 2, again.Halvings())
	require.Equal(t, halved, saved(again))
	again, err = restore(plain)
	require.NoError(t, err)
	require.Zero(t, again.Halvings())

	// Likewise how many steps were not sound.
	tr.Init()
	require.Equal(t, plain, saved(tr))
	tr.Unsound = 7
	counted := saved(tr)
	require.Contains(t, counted, `"unsound_steps":"7"`)
	again, err = restore(counted)
	require.NoError(t, err)
	require.Equal(t, 7, again.Unsound)
	require.Equal(t, counted, saved(again))
	f, err := safetensors.Parse([]byte(plain))
	require.NoError(t, err)
	require.NoError(t, again.Restore(f))
	require.Zero(t, again.Unsound)

	tr.Init()
	require.Equal(t, plain, saved(tr))
	for _, bad := range []string{"x", "-1", "65", ""} {
		f := &safetensors.File{Path: "some.safetensors", Metadata: map[string]string{halvingsKey: bad}}
		require.ErrorContains(t, tr.restoreRare(f), "some.safetensors: the checkpoint's lr_halvings is")
	}
	for _, bad := range []string{"x", "-1", "99999999999", ""} {
		f := &safetensors.File{Path: "some.safetensors", Metadata: map[string]string{unsoundKey: bad}}
		require.ErrorContains(t, tr.restoreRare(f), "some.safetensors: the checkpoint's unsound_steps is")
	}
}
