package quant

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/parallel"
	"edgejepa/internal/rng"
	"edgejepa/internal/safetensors"
	"edgejepa/kernels/kerneltest"
	"edgejepa/vit"
	"edgejepa/vit/heads"
)

// someHeads is a head of each kind, with weights large enough for all of it to matter.
func someHeads(t testing.TB, e vit.Config) map[string]*heads.Head {
	t.Helper()
	configs := map[string]heads.Config{}
	for _, k := range []heads.Kind{heads.Linear, heads.MLP, heads.Attentive} {
		configs[string(k)] = heads.Default(heads.Classify, k, e)
	}
	for _, task := range []heads.Task{heads.Segment, heads.Detect} {
		c := heads.Default(task, "", e)
		c.Hidden = 6
		configs[string(task)] = c
	}
	out := map[string]*heads.Head{}
	for name, c := range configs {
		c.Classes = []string{"a", "b", "c"}
		h, err := heads.New(c, e)
		require.NoError(t, err)
		h.Init(5)
		for i, p := range h.Params.List {
			s := rng.New(21, rng.PurposeProbe, uint64(i), 0)
			for j := range p.Value {
				p.Value[j] += float32(0.2 * s.Norm())
			}
		}
		h.Pack()
		out[name] = h
	}
	return out
}

func predict(m *Model, threads, batch int, pix []uint8, n int) []float32 {
	pool := parallel.New(threads)
	defer pool.Close()
	p, out := m.NewPredictor(pool, batch), m.Head().OutLen()
	dst := make([]float32, n*out)
	for b := 0; b < n; b += batch {
		p.Predict(dst[b*out:], pix[b*m.Config().PixelLen():], min(batch, n-b))
	}
	return dst
}

func opened(t *testing.T, data []byte) *Model {
	t.Helper()
	m, err := OpenModel(save(t, data), vit.ContextPrefix)
	require.NoError(t, err)
	return m
}

// A head comes back from a file of any precision as it was written; its answers are the same bits for any batch and number of
// threads, and those behind the fixed encoder near those behind the float one.
func TestHeadFile(t *testing.T) {
	const n = 5
	e := wide(t)
	q, pix := calibrated(t, e, 1), pictures(e.Config, n)
	for name, h := range someHeads(t, e.Config) {
		t.Run(name, func(t *testing.T) {
			var bare, f32, f16, i8 bytes.Buffer
			require.NoError(t, WriteFloat(&bare, e, F32, nil, nil))
			require.NoError(t, WriteFloat(&f32, e, F32, h, map[string]string{"note": "x"}))
			require.NoError(t, WriteFloat(&f16, e, F16, h, nil))
			require.NoError(t, Write(&i8, q, h, nil))
			ids := map[string]bool{}
			out := map[Precision][]float32{}
			for p, b := range map[Precision]*bytes.Buffer{F32: &f32, F16: &f16, Int8: &i8} {
				m := opened(t, b.Bytes())
				ids[m.ID()] = true
				require.Equal(t, p, m.Info().Precision)
				require.Equal(t, h.Config, m.Head().Config)
				require.Equal(t, h.Params.Value, m.Head().Params.Value)
				require.Equal(t, h.Config, m.Info().Head.Config)
				require.Equal(t, h.Params.Count(), m.Info().Head.Parameters)
				require.NotContains(t, m.Info().FileMetadata, vit.HeadKey)
				text, err := json.Marshal(m.Info())
				require.NoError(t, err)
				require.Contains(t, string(text), fmt.Sprintf(`"task":"%s"`, h.Config.Task))
				out[p] = predict(m, 1, 1, pix, n)
				for _, threads := range []int{1, 2, 3} {
					for _, batch := range []int{1, 2, n} {
						require.Equal(t, out[p], predict(m, threads, batch, pix, n))
					}
				}
				if p == Int8 {
					kerneltest.ForEachISA(t, func(t *testing.T) { require.Equal(t, out[p], predict(m, 2, 2, pix, n)) })
				}
			}
			none := opened(t, bare.Bytes())
			require.Nil(t, none.Head())
			require.Nil(t, none.Info().Head)
			require.Equal(t, FloatID(e, nil), none.ID())
			require.Len(t, ids, 3)
			require.True(t, ids[FloatID(e, h)])
			require.False(t, ids[none.ID()])
			pool := parallel.New(1)
			defer pool.Close()
			want, got := make([]float32, n*e.Config.Dim), make([]float32, n*e.Config.Dim)
			none.NewEmbedder(pool, n).Embed(want, pix, n)
			opened(t, f32.Bytes()).NewEmbedder(pool, n).Embed(got, pix, n)
			require.Equal(t, want, got, "a head changes no embedding")

			require.Less(t, apart(out[F32], out[Int8]), 0.15)
			require.Greater(t, apart(out[F32], out[Int8]), 1e-4, "too good for eight bits")
			require.Less(t, apart(out[F32], out[F16]), 1e-2)
		})
	}
}

// apart is the deviation of the difference over that of a.
func apart(a, b []float32) float64 {
	mean, noise, signal := 0.0, 0.0, 0.0
	for _, v := range a {
		mean += float64(v) / float64(len(a))
	}
	for i, v := range a {
		noise += math.Pow(float64(v)-float64(b[i]), 2)
		signal += math.Pow(float64(v)-mean, 2)
	}
	return math.Sqrt(noise / signal)
}

// What no export would have written is refused, in both kinds of file.
func TestHeadRefused(t *testing.T) {
	e := wide(t)
	q, h := calibrated(t, e, 1), someHeads(t, e.Config)["segment"]
	var f32, i8 bytes.Buffer
	require.NoError(t, WriteFloat(&f32, e, F32, h, nil))
	require.NoError(t, Write(&i8, q, h, nil))
	type meta = map[string]string
	replace := func(old, new string) func(meta) {
		return func(m meta) {
			if !strings.Contains(m[vit.HeadKey], old) {
				panic(old)
			}
			m[vit.HeadKey] = strings.Replace(m[vit.HeadKey], old, new, 1)
		}
	}
	tensor := func(name string, change func(*safetensors.Tensor)) func([]safetensors.Tensor) {
		return func(ts []safetensors.Tensor) {
			for i := range ts {
				if ts[i].Name == name {
					change(&ts[i])
				}
			}
		}
	}
	for name, c := range map[string]struct {
		meta    func(meta)
		tensors func([]safetensors.Tensor)
		want    string
	}{
		"nothing wrong": {nil, nil, ""},
		"not described": {func(m meta) { delete(m, vit.HeadKey) }, nil, "tensors unknown (head."},
		"missing":       {nil, tensor("head.out.bias", func(t *safetensors.Tensor) { t.Name = "head.out.bible" }), "1 tensors missing (head.out.bias); 1 tensors unknown (head.out.bible)"},
		"shape":         {nil, tensor("head.out.bias", func(t *safetensors.Tensor) { t.Shape = []int{1, len(t.Data) / 4} }), "another shape or type (head.out.bias)"},
		"type":          {nil, tensor("head.out.bias", func(t *safetensors.Tensor) { t.DType = safetensors.TypeI32 }), "another shape or type (head.out.bias)"},
		"not finite":    {nil, tensor("head.fc.weight", func(t *safetensors.Tensor) { copy(t.Data[4:], []byte{0, 0, 0xc0, 0x7f}) }), "finite"},
		"no JSON":       {func(m meta) { m[vit.HeadKey] = "{" }, nil, "head configuration"},
		"no object":     {func(m meta) { m[vit.HeadKey] = "" }, nil, "head configuration"},
		"more":          {replace(`{`, `{"legs":4,`), nil, "legs"},
		"task":          {replace(`"segment"`, `"sing"`), nil, "task is"},
		"classes":       {replace(`"c"`, `"a"`), nil, "unique"},
		"another head":  {replace(`"hidden":6`, `"hidden":7`), nil, "another shape or type"},
		"large":         {replace(`"hidden":6`, `"hidden":2048`), nil, "another shape or type"},
		"taps":          {replace(`"taps":[0,1]`, `"taps":[0,9]`), nil, "taps"},
		"pixels":        {replace(`"pixels":4`, `"pixels":3`), nil, "pixels"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, data := range [][]byte{f32.Bytes(), i8.Bytes()} {
				src, err := safetensors.Parse(bytes.Clone(data))
				require.NoError(t, err)
				delete(src.Metadata, "sha256")
				if c.meta != nil {
					c.meta(src.Metadata)
				}
				if c.tensors != nil {
					c.tensors(src.Tensors)
				}
				var b bytes.Buffer
				require.NoError(t, safetensors.Write(&b, src.Metadata, src.Tensors))
				path := save(t, b.Bytes())
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, err = OpenModel(path, vit.ContextPrefix)
				runtime.ReadMemStats(&after)
				require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2<<20))
				if c.want == "" {
					require.NoError(t, err)
					continue
				}
				require.ErrorContains(t, err, c.want)
				require.ErrorContains(t, err, path)
			}
		})
	}
}
