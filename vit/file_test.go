package vit

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/safetensors"
)

func microEncoder(t *testing.T) *Encoder {
	t.Helper()
	pre, err := PresetNamed("micro")
	require.NoError(t, err)
	e, err := NewEncoder(pre.Config(16, 4))
	require.NoError(t, err)
	e.Params.Init(3)
	e.Pack()
	return e
}

// fileOf writes a file and reads it as a program would.
func fileOf(t *testing.T, meta map[string]string, ts []safetensors.Tensor) *safetensors.File {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, safetensors.Write(&b, meta, ts))
	path := filepath.Join(t.TempDir(), "model.safetensors")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
	f, err := safetensors.Open(path)
	require.NoError(t, err)
	return f
}

func shapeError(t *testing.T, err error) *ShapeError {
	t.Helper()
	var e *ShapeError
	require.ErrorAs(t, err, &e)
	return e
}

func TestLoadEncoder(t *testing.T) {
	want := microEncoder(t)
	other := microEncoder(t)
	other.Params.Init(4)
	ts := append(want.Params.Tensors(ContextPrefix), other.Params.Tensors(TargetPrefix)...)
	ts = append(ts, safetensors.F32(PredictorPrefix+"x", []int{1}, []float32{1}), safetensors.F32(TrainingPrefix+"m", []int{1}, []float32{1}))
	f := fileOf(t, want.Config.Metadata(), ts)
	for prefix, w := range map[string]*Encoder{ContextPrefix: want, TargetPrefix: other} {
		got, err := LoadEncoder(f, prefix)
		require.NoError(t, err)
		require.Equal(t, want.Config, got.Config)
		require.Equal(t, w.Params.Value, got.Params.Value)
	}
}

// Half the bits, the same network: every value is the file's, widened, and the encoder is ready to run.
func TestLoadEncoderWidens(t *testing.T) {
	e := microEncoder(t)
	var f16, bf16 []safetensors.Tensor
	for _, p := range e.Params.List {
		f16 = append(f16, safetensors.F16(ContextPrefix+p.Name, p.Shape, p.Value))
		data := make([]byte, 0, 2*p.Len())
		for _, v := range p.Value {
			b := math.Float32bits(v)
			data = append(data, byte(b>>16), byte(b>>24)) // truncated
		}
		bf16 = append(bf16, safetensors.Tensor{Name: ContextPrefix + p.Name, DType: safetensors.TypeBF16, Shape: p.Shape, Data: data})
	}
	for _, c := range []struct {
		ts        []safetensors.Tensor
		precision float64 // relative, for weights of 0.02: f16 has 2^-11, a truncated bf16 2^-7
	}{{f16, 0x1p-11}, {bf16, 0x1p-7}} {
		got, err := LoadEncoder(fileOf(t, e.Config.Metadata(), c.ts), ContextPrefix)
		require.NoError(t, err)
		rounded := 0
		for i, v := range e.Params.Value {
			// f16 is coarser below 2^-14, by steps of 2^-24.
			require.InDelta(t, v, got.Params.Value[i], math.Abs(float64(v))*c.precision+0x1p-25)
			if v != got.Params.Value[i] {
				rounded++
			}
		}
		require.Greater(t, rounded, len(e.Params.Value)/4, "these were never narrowed")
		require.NotNil(t, got.patch.forward.Data)
	}
}

// Everything that is wrong with a file's tensors is said at once, and nothing is copied.
func TestAssignListsAllAtOnce(t *testing.T) {
	e := microEncoder(t)
	was := slices.Clone(e.Params.Value)
	donor := microEncoder(t)
	for i := range donor.Params.Value {
		donor.Params.Value[i]++
	}
	ts := donor.Params.Tensors(ContextPrefix)
	ts = slices.DeleteFunc(ts, func(t safetensors.Tensor) bool { return strings.Contains(t.Name, "blocks.1.mlp") }) // 4 tensors
	at := slices.IndexFunc(ts, func(t safetensors.Tensor) bool { return t.Name == ContextPrefix+"norm.bias" })
	ts[at].Shape = []int{2, 16}
	at = slices.IndexFunc(ts, func(t safetensors.Tensor) bool { return t.Name == ContextPrefix+"norm.weight" })
	ts[at] = safetensors.I32(ContextPrefix+"norm.weight", []int{32}, make([]int32, 32))
	ts = append(ts, safetensors.F32(ContextPrefix+"cls_token", []int{1}, []float32{1}))
	ts = append(ts, safetensors.F32(TargetPrefix+"whatever", []int{1}, []float32{1})) // another prefix, another model
	f := fileOf(t, nil, ts)
	err := e.Params.Assign(f, ContextPrefix)
	bad := shapeError(t, err)
	require.Equal(t, []string{"encoder.blocks.1.mlp.fc1.weight", "encoder.blocks.1.mlp.fc1.bias", "encoder.blocks.1.mlp.fc2.weight", "encoder.blocks.1.mlp.fc2.bias"}, bad.Missing)
	require.Equal(t, []string{"encoder.cls_token"}, bad.Unknown)
	require.Equal(t, []string{"encoder.norm.weight", "encoder.norm.bias"}, bad.Misshapen)
	require.Equal(t, was, e.Params.Value)
	require.EqualError(t, err, f.Path+": not this network's weights: "+
		"4 tensors missing (encoder.blocks.1.mlp.fc1.weight, encoder.blocks.1.mlp.fc1.bias, encoder.blocks.1.mlp.fc2.weight, …); "+
		"1 tensors unknown (encoder.cls_token); 2 tensors of another shape or type (encoder.norm.weight, encoder.norm.bias)")
}

func TestLoadEncoderRefuses(t *testing.T) {
	e := microEncoder(t)
	for name, c := range map[string]struct {
		change func(meta map[string]string, ts []safetensors.Tensor) []safetensors.Tensor
		says   string
	}{
		"foreign names": {func(_ map[string]string, ts []safetensors.Tensor) []safetensors.Tensor {
			return append(ts, safetensors.F32("optimizer.state", []int{1}, []float32{1}))
		}, "1 tensors unknown (optimizer.state)"},
		"names that are no text": {func(_ map[string]string, ts []safetensors.Tensor) []safetensors.Tensor {
			return append(ts, safetensors.F32("\x1b[2J", []int{1}, []float32{1}), safetensors.F32(strings.Repeat("n", 500), []int{1}, []float32{1}))
		}, `2 tensors unknown ("\x1b[2J", "` + strings.Repeat("n", 80) + `"…)`},
		"NaN": {func(_ map[string]string, ts []safetensors.Tensor) []safetensors.Tensor {
			v := make([]float32, 32)
			v[31] = float32(math.NaN())
			ts[len(ts)-1] = safetensors.F32(ts[len(ts)-1].Name, []int{32}, v)
			return ts
		}, "encoder.norm.bias"},
		"infinity in f16": {func(_ map[string]string, ts []safetensors.Tensor) []safetensors.Tensor {
			ts[len(ts)-1] = safetensors.F16Bits(ts[len(ts)-1].Name, []int{32}, append(make([]uint16, 31), 0x7c00))
			return ts
		}, "encoder.norm.bias"},
		"newer version": {func(meta map[string]string, ts []safetensors.Tensor) []safetensors.Tensor {
			meta["version"] = "2"
			return ts
		}, "file version 2, this program reads version 1: use a newer program"},
		"no config": {func(meta map[string]string, ts []safetensors.Tensor) []safetensors.Tensor {
			delete(meta, "config")
			return ts
		}, `has no "config"`},
		"bad config": {func(meta map[string]string, ts []safetensors.Tensor) []safetensors.Tensor {
			meta["config"] = strings.Replace(meta["config"], `"dim":32`, `"dim":33`, 1)
			return ts
		}, "dim is 33"},
		"another network's config": {func(meta map[string]string, ts []safetensors.Tensor) []safetensors.Tensor {
			meta["config"] = strings.Replace(meta["config"], `"depth":2`, `"depth":3`, 1)
			return ts
		}, "12 tensors missing"},
		"no tensors": {func(map[string]string, []safetensors.Tensor) []safetensors.Tensor { return nil }, "28 tensors missing"},
	} {
		t.Run(name, func(t *testing.T) {
			meta := e.Config.Metadata()
			ts := c.change(meta, e.Params.Tensors(ContextPrefix))
			f := fileOf(t, meta, ts)
			_, err := LoadEncoder(f, ContextPrefix)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, f.Path+": ")
		})
	}
	_, err := LoadEncoder(fileOf(t, e.Config.Metadata(), e.Params.Tensors(ContextPrefix)), TargetPrefix)
	require.Len(t, shapeError(t, err).Missing, 28)
}

// A version of someone else's is none of ours.
func TestForeignVersion(t *testing.T) {
	e := microEncoder(t)
	meta := e.Config.Metadata()
	meta["format"], meta["version"] = "pt", "7"
	_, err := LoadEncoder(fileOf(t, meta, e.Params.Tensors(ContextPrefix)), ContextPrefix)
	require.NoError(t, err)
}

// A few bytes that claim the largest network do not get its memory: some 17 GB here.
func TestLoadEncoderAllocatesForWhatIsThere(t *testing.T) {
	c := microEncoder(t).Config
	c.Dim, c.Heads, c.Depth, c.MLPRatio, c.ImageSize, c.PatchSize = maxDim, 64, maxDepth, 8, 1024, 16
	require.NoError(t, c.Validate())
	for _, ts := range [][]safetensors.Tensor{
		{safetensors.F32("encoder.norm.bias", []int{1}, []float32{0})},
		{safetensors.F32("encoder.norm.bias", []int{maxDim}, make([]float32, maxDim))},
	} {
		f := fileOf(t, c.Metadata(), ts)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := LoadEncoder(f, ContextPrefix)
		runtime.ReadMemStats(&after)
		require.Greater(t, len(shapeError(t, err).Missing), 700)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
	}
}
