package quant

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/parallel"
	"edgejepa/internal/safetensors"
	"edgejepa/vit"
)

func written(t testing.TB, e *Encoder) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, Write(&b, e, nil, map[string]string{KeySource: "0123", "note": `{"a":1}`}))
	return b.Bytes()
}

func save(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.safetensors")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

func TestRoundTrip(t *testing.T) {
	q := calibrated(t, randomEncoder(t), 1)
	data := written(t, q)
	require.Equal(t, data, written(t, q), "equal encoders give equal bytes")
	f, err := safetensors.Parse(data)
	require.NoError(t, err)
	require.NoError(t, f.Verify())
	got, err := Load(f)
	require.NoError(t, err)
	require.Equal(t, data, written(t, got))
	pix := pictures(q.Config, 3)
	require.Equal(t, embed(q, 1, 3, pix, 3), embed(got, 1, 3, pix, 3))
}

// A weight takes a byte, and everything else a small part: 15 numbers of 9 bytes a channel, the positions, the header.
func TestFileSize(t *testing.T) {
	p, err := vit.PresetNamed("nano")
	require.NoError(t, err)
	c := p.Config(0, 0)
	e := newEncoder(c)
	e.alloc()
	n := len(written(t, e))
	require.Greater(t, float64(n), 1.0*float64(vit.CountParams(c)))
	require.Less(t, float64(n), 1.15*float64(vit.CountParams(c)))
}

// edited writes q's file after a change of its tensors and metadata.
func edited(t *testing.T, q *Encoder, change func(ts map[string]*safetensors.Tensor, meta map[string]string)) *safetensors.File {
	t.Helper()
	src, err := safetensors.Parse(bytes.Clone(written(t, q)))
	require.NoError(t, err)
	ts := map[string]*safetensors.Tensor{}
	for i := range src.Tensors {
		ts[src.Tensors[i].Name] = &src.Tensors[i]
	}
	delete(src.Metadata, "sha256")
	change(ts, src.Metadata)
	var list []safetensors.Tensor
	for i := range src.Tensors {
		if src.Tensors[i].Name != "" {
			list = append(list, src.Tensors[i])
		}
	}
	if extra, ok := ts["encoder.extra"]; ok {
		list = append(list, *extra)
	}
	var b bytes.Buffer
	require.NoError(t, safetensors.Write(&b, src.Metadata, list))
	f, err := safetensors.Parse(b.Bytes())
	require.NoError(t, err)
	return f
}

func TestLoadRefuses(t *testing.T) {
	q := calibrated(t, randomEncoder(t), 1)
	const qkv = "encoder.blocks.0.attn.qkv"
	type tensors = map[string]*safetensors.Tensor
	type meta = map[string]string
	for name, c := range map[string]struct {
		change func(tensors, meta)
		want   []string
	}{
		"nothing wrong": {func(tensors, meta) {}, nil},
		"all at once": {func(ts tensors, _ meta) {
			ts["encoder.norm.bias"].Name = ""
			extra := safetensors.F32("encoder.extra", []int{1}, []float32{1})
			ts["encoder.extra"] = &extra
			ts["encoder.blocks.1.mlp.fc2.requant"].Shape = []int{4, 16}
		}, []string{"1 tensors missing (encoder.norm.bias)", "unknown (encoder.extra)", "another shape or type (encoder.blocks.1.mlp.fc2.requant)"}},
		"another type": {func(ts tensors, _ meta) {
			*ts["encoder.norm.bias"] = safetensors.F32("encoder.norm.bias", []int{32}, make([]float32, 32))
		}, []string{"type (encoder.norm.bias)"}},
		"-128":        {func(ts tensors, _ meta) { ts[qkv+".weight"].Data[5] = 0x80 }, []string{qkv + ".weight", "-128"}},
		"chains":      {func(ts tensors, _ meta) { copy(ts[qkv+".weight"].Data, bytes.Repeat([]byte{127}, 32)) }, []string{qkv + ".weight", "255"}},
		"multiplier":  {func(ts tensors, _ meta) { copy(ts[qkv+".requant"].Data, []byte{0, 0, 0, 0x40}) }, []string{qkv + ".requant", "out of range"}},
		"shift":       {func(ts tensors, _ meta) { ts[qkv+".shift"].Data[3] = 0xff }, []string{qkv, "out of range"}},
		"lift":        {func(ts tensors, _ meta) { ts[qkv+".shift"].Data[0] = 31 }, []string{qkv, "shifts left by 31"}},
		"NaN":         {func(ts tensors, _ meta) { copy(ts["encoder.norm.bias"].Data[6:], []byte{0xf8, 0x7f}) }, []string{"encoder.norm.bias", "finite"}},
		"softmax":     {func(ts tensors, _ meta) { copy(ts["encoder.blocks.1.attn.scale"].Data[6:], []byte{0xf0, 0xbf}) }, []string{"blocks.1.attn", "head 0", "range"}},
		"GELU":        {func(ts tensors, _ meta) { ts["encoder.blocks.1.mlp.gelu.zero"].Data[3] = 1 }, []string{"blocks.1.mlp", "zero point"}},
		"position":    {func(ts tensors, _ meta) { ts["encoder.pos_embed"].Data[3] = 0x7f }, []string{"pos_embed", "stream"}},
		"epsilon":     {func(ts tensors, _ meta) { ts["encoder.norm_eps"].Data[7] = 0xff }, []string{"norm_eps", "range"}},
		"precision":   {func(_ tensors, m meta) { m[KeyPrecision] = "int4" }, []string{"version"}},
		"float":       {func(_ tensors, m meta) { m[KeyPrecision], m["version"] = "f32", "1" }, []string{`"f32"`}},
		"old":         {func(_ tensors, m meta) { m["version"] = "1" }, []string{`version "1"`, "export it again"}},
		"config":      {func(_ tensors, m meta) { delete(m, "config") }, []string{"config"}},
		"another net": {func(_ tensors, m meta) { m["config"] = strings.Replace(m["config"], `"depth":2`, `"depth":3`, 1) }, []string{"21 tensors missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(edited(t, q, c.change))
			if c.want == nil {
				require.NoError(t, err)
			}
			for _, w := range c.want {
				require.ErrorContains(t, err, w)
			}
		})
	}
}

func TestOpenModel(t *testing.T) {
	e := randomEncoder(t)
	q := calibrated(t, e, 1)
	pool := parallel.New(1)
	defer pool.Close()
	pix := pictures(e.Config, 2)
	var f32, f16 bytes.Buffer
	require.NoError(t, WriteFloat(&f32, e, F32, nil, nil))
	require.NoError(t, WriteFloat(&f16, e, F16, nil, nil))
	require.ErrorContains(t, WriteFloat(&f32, e, Int8, nil, nil), "f32 or f16")
	ids := map[string]bool{}
	for p, data := range map[Precision][]byte{F32: f32.Bytes(), F16: f16.Bytes(), Int8: written(t, q)} {
		m, err := OpenModel(save(t, data), vit.ContextPrefix)
		require.NoError(t, err)
		info := m.Info()
		require.Equal(t, p, info.Precision)
		require.Equal(t, "micro", info.Preset)
		require.EqualValues(t, len(e.Params.Value), info.Parameters, p)
		require.EqualValues(t, len(data), info.FileBytes)
		require.True(t, info.Checksummed)
		require.Equal(t, e.Config, m.Config())
		require.Len(t, m.ID(), 16)
		ids[m.ID()] = true
		_, err = json.Marshal(info)
		require.NoError(t, err)
		got := make([]float32, 2*e.Config.Dim)
		m.NewEmbedder(pool, 1).Embed(got, pix, 2)
		switch p {
		case Int8:
			require.Equal(t, embed(q, 1, 2, pix, 2), got)
			require.JSONEq(t, `{"a":1}`, string(info.FileMetadata["note"].(json.RawMessage)))
		case F32:
			want := make([]float32, len(got))
			e.NewPass(pool, 2).Embed(want, normalized(e.Config, pix, 2), 2)
			require.Equal(t, want, got)
			tokens := make([]float32, 2*e.Config.Tokens()*e.Config.Dim)
			m.NewEmbedder(pool, 1).Tokens(tokens, pix, 2)
			require.Equal(t, e.NewPass(pool, 2).Forward(normalized(e.Config, pix, 2), 2, nil, nil), tokens)
			require.Equal(t, FloatID(e, nil), m.ID())
		}
	}
	require.Len(t, ids, 3)

	e.Params.List[0].Value[0] = float32(math.Nextafter32(65520, 0))
	require.NoError(t, WriteFloat(&f16, e, F16, nil, nil))
	e.Params.List[0].Value[0] = 65520
	require.ErrorContains(t, WriteFloat(&f16, e, F16, nil, nil), "f16")
}

func TestOpenModelTarget(t *testing.T) {
	ctx, target := randomEncoder(t), randomEncoder(t)
	target.Params.List[0].Value[0] = 5
	var b bytes.Buffer
	ts := append(ctx.Params.Tensors(vit.ContextPrefix), target.Params.Tensors(vit.TargetPrefix)...)
	require.NoError(t, safetensors.WriteChecked(&b, ctx.Config.Metadata(), ts))
	path := save(t, b.Bytes())
	m, err := OpenModel(path, vit.ContextPrefix)
	require.NoError(t, err)
	require.Equal(t, FloatID(ctx, nil), m.ID())
	require.Equal(t, "context", m.Info().Encoder)
	m, err = OpenModel(path, vit.TargetPrefix)
	require.NoError(t, err)
	require.Equal(t, FloatID(target, nil), m.ID())
	require.Equal(t, "target", m.Info().Encoder)

	damaged := b.Bytes()
	damaged[len(damaged)-1] ^= 1
	_, err = OpenModel(save(t, damaged), vit.ContextPrefix)
	var sum *safetensors.ChecksumError
	require.ErrorAs(t, err, &sum)
	_, err = OpenModel(t.TempDir(), vit.ContextPrefix)
	require.ErrorContains(t, err, "folder")
}

// A few bytes that claim the largest network do not get its memory.
func TestOpenModelClaims(t *testing.T) {
	c := randomEncoder(t).Config
	c.Dim, c.Depth, c.ImageSize, c.PatchSize = 2048, 64, 64, 64
	require.NoError(t, c.Validate())
	for _, p := range []Precision{F32, Int8} {
		meta := c.Metadata()
		meta[KeyPrecision] = string(p)
		if p == Int8 {
			meta["version"] = int8Version
		}
		var b bytes.Buffer
		require.NoError(t, safetensors.Write(&b, meta, []safetensors.Tensor{safetensors.F32("encoder.norm.bias", []int{1}, []float32{0})}))
		path := save(t, b.Bytes())
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := OpenModel(path, vit.ContextPrefix)
		runtime.ReadMemStats(&after)
		require.ErrorContains(t, err, "describes a network")
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
	}
}
