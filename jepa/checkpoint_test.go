package jepa

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/parallel"
	"edgejepa/internal/safetensors"
	"edgejepa/vit"
)

func checkpointBytes(t *testing.T, tr *Trainer) []byte {
	var b bytes.Buffer
	require.NoError(t, tr.WriteCheckpoint(&b))
	return b.Bytes()
}

// A run resumed from any checkpoint, under another plan and number of threads, ends in the bytes of the uninterrupted one.
func TestResumeIsExact(t *testing.T) {
	c := microConfig()
	steps := 12
	if testing.Short() {
		c.Batch, steps = 3, 8
	}
	whole := newTrainer(t, c, 2)
	var saved [][]byte
	for s := range steps {
		if s%5 == 3 {
			saved = append(saved, checkpointBytes(t, whole))
		}
		whole.Step(pictures(c, uint64(s)))
	}
	want := checkpointBytes(t, whole)
	for i, b := range saved {
		f, err := safetensors.Parse(b)
		require.NoError(t, err)
		pool := parallel.New(3)
		defer pool.Close()
		tr, err := NewTrainer(c, plans[(i+1)%len(plans)], pool)
		require.NoError(t, err)
		tr.Step(pictures(c, 99)) // state that Restore must replace
		require.NoError(t, tr.Restore(f))
		for s := tr.Done(); s < steps; s++ {
			tr.Step(pictures(c, uint64(s)))
		}
		require.Equal(t, want, checkpointBytes(t, tr))
	}
}

func TestRestoreRefuses(t *testing.T) {
	c := microConfig()
	tr := newTrainer(t, c, 1)
	b := checkpointBytes(t, tr)
	f, err := safetensors.Parse(b)
	require.NoError(t, err)

	other := c
	other.LR, other.Masks.Targets = 2e-3, 3
	err = newTrainer(t, other, 1).Restore(f)
	require.ErrorContains(t, err, "lr was 0.001, now 0.002")
	require.ErrorContains(t, err, "masks.targets was 4, now 3")

	flipped := bytes.Clone(b)
	flipped[len(flipped)-100] ^= 1
	f, err = safetensors.Parse(flipped)
	require.NoError(t, err)
	require.Error(t, tr.Restore(f), "one flipped bit")
}

func TestEncodersFile(t *testing.T) {
	c := microConfig()
	tr := newTrainer(t, c, 1)
	tr.Step(pictures(c, 1))
	var b bytes.Buffer
	require.NoError(t, tr.WriteEncoders(&b))
	f, err := safetensors.Parse(b.Bytes())
	require.NoError(t, err)
	for prefix, want := range map[string]*vit.Encoder{vit.ContextPrefix: tr.Context, vit.TargetPrefix: tr.Target} {
		e, err := vit.LoadEncoder(f, prefix)
		require.NoError(t, err)
		require.Equal(t, want.Params.Value, e.Params.Value)
		require.Equal(t, c.Encoder, e.Config)
	}
	// A checkpoint serves as well: a run that was cut off has nothing else.
	f, err = safetensors.Parse(checkpointBytes(t, tr))
	require.NoError(t, err)
	_, err = vit.LoadEncoder(f, vit.TargetPrefix)
	require.NoError(t, err)
}

func TestFileBytes(t *testing.T) {
	for _, o := range []Objective{IJEPA, LeJEPA, BYOL, MAE} {
		for _, precision := range []vit.Precision{vit.F32, vit.F16, vit.I8} {
			c := microConfig()
			c.SetObjective(o)
			c.Precision = precision
			tr := newTrainer(t, c, 1)
			var encoders bytes.Buffer
			require.NoError(t, tr.WriteEncoders(&encoders))
			all, some := c.FileBytes()
			const header = 16 << 10
			require.InDelta(t, int64(len(checkpointBytes(t, tr))), all+header/2, header/2, "%v in %v", o, precision)
			require.InDelta(t, int64(encoders.Len()), some+header/2, header/2, "%v in %v", o, precision)
		}
	}
}
