package safetensors

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A Stream gives what Open gives, for tensors of less than a piece, of one and of many, at every type that Float32s takes.
func TestStream(t *testing.T) {
	big := make([]float32, piece/4*2+5)
	for i := range big {
		big[i] = float32(i%1000) / 8
	}
	ts := []Tensor{F32("big", []int{len(big)}, big), F32("one", []int{piece / 4}, big[:piece/4]),
		F16("half", []int{len(big)}, big), F32("few", []int{3, 1}, []float32{1, -2, 0.5}), F32("none", []int{0}, nil)}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	var b bytes.Buffer
	require.NoError(t, WriteChecked(&b, map[string]string{"k": "v"}, ts))
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))

	want, err := Open(path)
	require.NoError(t, err)
	got, err := Stream(path)
	require.NoError(t, err)
	defer got.Close()
	require.Equal(t, want.Metadata, got.Metadata)
	require.NoError(t, got.Verify())
	require.Len(t, got.Tensors, len(want.Tensors))
	for i := range want.Tensors {
		w, g := &want.Tensors[i], &got.Tensors[i]
		require.Equal(t, w.Name, g.Name)
		require.Equal(t, w.Shape, g.Shape)
		x, y := make([]float32, w.Len()), make([]float32, w.Len())
		require.NoError(t, w.Float32s(x))
		require.NoError(t, g.Float32s(y))
		require.Equal(t, x, y, w.Name)
	}

	// What Open refuses, Stream refuses; damage and truncation show in Verify and Float32s.
	require.NoError(t, os.WriteFile(path, b.Bytes()[:b.Len()-1], 0o644))
	_, err = Stream(path)
	require.ErrorContains(t, err, path)
	last := &got.Tensors[len(got.Tensors)-2]
	require.Error(t, last.Float32s(make([]float32, last.Len())), "the file shrank under the reader")
	require.Error(t, got.Verify())
	flipped := bytes.Clone(b.Bytes())
	flipped[b.Len()/2] ^= 1
	require.NoError(t, os.WriteFile(path, flipped, 0o644))
	var sum *ChecksumError
	require.ErrorAs(t, got.Verify(), &sum)
	require.Equal(t, path, sum.Path)
	_, err = Stream(filepath.Dir(path))
	require.Error(t, err)
}
