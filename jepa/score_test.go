package jepa

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/safetensors"
	"edgejepa/vit"
)

// Encoders keep what they scored to the last bit, and load as any others.
func TestScore(t *testing.T) {
	tr := newTrainer(t, microConfig(), 1)
	want := Score{Step: 12, Measure: "knn", Value: 100.0 / 3}
	var b bytes.Buffer
	require.NoError(t, tr.WriteScored(&b, want))
	f, err := safetensors.Parse(b.Bytes())
	require.NoError(t, err)
	got, ok, err := ReadScore(f)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, want, got)
	_, err = vit.LoadEncoder(f, vit.TargetPrefix)
	require.NoError(t, err)

	b.Reset()
	require.NoError(t, tr.WriteEncoders(&b))
	f, err = safetensors.Parse(b.Bytes())
	require.NoError(t, err)
	_, ok, err = ReadScore(f)
	require.NoError(t, err)
	require.False(t, ok)

	for _, bad := range [][2]string{{"", "1"}, {"-1", "1"}, {"3", ""}, {"3", "NaN"}, {"3", "+Inf"}, {"3", "x"}} {
		f := &safetensors.File{Path: "best.safetensors", Metadata: map[string]string{
			scoreMeasureKey: "knn", scoreStepKey: bad[0], scoreValueKey: bad[1],
		}}
		_, _, err := ReadScore(f)
		require.ErrorContains(t, err, "best.safetensors: score_")
	}
}
