package quant

import (
	"bytes"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/parallel"
	"edgejepa/internal/safetensors"
	"edgejepa/vit"
)

// edits of a file's tensors, three bytes each: what to do, which tensor, an argument.
const (
	editDrop = iota
	editRepeat
	editRename
	editShape // another length, of the same type
	editType
	editRank
	editCount
)

// changed returns a copy of ts with a few changes. The data always fill the shapes: a parser refuses anything else.
func changed(ts []safetensors.Tensor, edits []byte) []safetensors.Tensor {
	ts = slices.Clone(ts)
	edits = edits[:min(len(edits), 3*8)]
	for ; len(edits) >= 3 && len(ts) > 0; edits = edits[3:] {
		at, by := int(edits[1])%len(ts), edits[2]
		t := &ts[at]
		switch edits[0] % editCount {
		case editDrop:
			ts = slices.Delete(ts, at, at+1)
			continue
		case editRepeat:
			ts = append(ts, *t)
			ts[len(ts)-1].Name += string(rune(by))
		case editRename:
			t.Name = strings.Replace(t.Name, ".", ".\x1b"[:1+by%2], 1) + string(rune(by))
		case editShape:
			t.Shape = []int{int(by)}
		case editType:
			types := []safetensors.DType{safetensors.TypeF32, safetensors.TypeF16, safetensors.TypeBF16, safetensors.TypeI8, safetensors.TypeI32, safetensors.TypeI64, safetensors.TypeF64, safetensors.TypeBool}
			t.DType = types[int(by)%len(types)]
		case editRank:
			t.Shape = append(slices.Clone(t.Shape), int(by%3))
		}
		data := bytes.Repeat([]byte{0x3c}, t.Len()*t.DType.Size())
		copy(data, t.Data)
		t.Data = data
	}
	return ts
}

// fuzzModel changes a model file in one configuration, that of a key of its metadata, in its tensors and its numbers. There is no checksum to notice: what
// comes of it is refused in words fit for a terminal, or embeds a picture; and it takes memory in proportion to its size.
func fuzzModel(f *testing.F, file []byte, key string) {
	src, err := safetensors.Parse(file)
	require.NoError(f, err)
	delete(src.Metadata, "sha256")
	config := src.Metadata[key]
	f.Add(config, []byte(nil), []byte(nil))
	for what := range byte(editCount) {
		f.Add(config, []byte{what, 1, 1, what, 5, 40}, []byte{0, 0, 0x7f})
	}
	f.Add(strings.Replace(config, `"depth":1`, `"depth":64`, 1), []byte(nil), []byte(nil))
	f.Add(strings.Replace(config, `"depth":1,"heads":2`, `"depth":0,"heads":0`, 1), []byte(nil), []byte(nil))
	f.Add(strings.Replace(config, `"image_size":8`, `"image_size":1024`, 1), []byte(nil), []byte{1, 2, 3})
	f.Add(strings.Replace(config, `"dim":8`, `"dim":2048`, 1), []byte(nil), []byte{9, 9, 0x80, 9, 8, 0xff})
	f.Fuzz(func(t *testing.T, config string, edits, values []byte) {
		ts := changed(src.Tensors, edits)
		for ; len(values) >= 3 && len(ts) > 0; values = values[3:] {
			x := &ts[int(values[0])%len(ts)]
			if len(x.Data) > 0 {
				x.Data = bytes.Clone(x.Data)
				x.Data[int(values[1])*7%len(x.Data)] = values[2]
			}
		}
		meta := maps.Clone(src.Metadata)
		meta[key] = config
		var b bytes.Buffer
		if safetensors.Write(&b, meta, ts) != nil {
			return // repeated names, text that is not UTF-8
		}
		file, err := safetensors.Parse(b.Bytes())
		require.NoError(t, err)
		var m Model
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err = m.load(file, vit.ContextPrefix)
		runtime.ReadMemStats(&after)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20+40*b.Len()))
		if err != nil {
			for _, r := range err.Error() {
				require.True(t, r >= ' ' && r != 0x7f, "%q", err)
			}
			return
		}
		pool := parallel.New(1)
		defer pool.Close()
		c := m.Config()
		m.NewEmbedder(pool, 1).Embed(make([]float32, c.Dim), pictures(c, 1), 1)
		if h := m.Head(); h != nil {
			m.NewPredictor(pool, 1).Predict(make([]float32, h.OutLen()), pictures(c, 1), 1)
		}
	})
}

// smallest is an encoder whose file is mostly header.
func smallest(f *testing.F) *vit.Encoder {
	p, err := vit.PresetNamed("micro")
	require.NoError(f, err)
	c := p.Config(8, 4)
	c.Dim, c.Depth, c.Heads, c.MLPRatio = 8, 1, 2, 1
	return randomised(f, c)
}

func FuzzFloatModel(f *testing.F) {
	var b bytes.Buffer
	require.NoError(f, WriteFloat(&b, smallest(f), F16, nil, nil))
	fuzzModel(f, b.Bytes(), "config")
}

func FuzzInt8Model(f *testing.F) {
	fuzzModel(f, written(f, calibrated(f, smallest(f), 1)), "config")
}

// FuzzHeadModel changes what a file says of its head.
func FuzzHeadModel(f *testing.F) {
	e := smallest(f)
	all := someHeads(f, e.Config)
	var b bytes.Buffer
	require.NoError(f, WriteFloat(&b, e, F32, all["detect"], nil))
	for _, h := range all {
		f.Add(h.Config.JSON(), []byte(nil), []byte(nil))
	}
	text := all["detect"].Config.JSON()
	f.Add(strings.Replace(text, `"hidden":6`, `"hidden":2048`, 1), []byte(nil), []byte(nil))
	f.Add(strings.Replace(text, `"taps":[0]`, `"taps":[]`, 1), []byte(nil), []byte(nil))
	f.Add("{\"task\":\"c\x7f\"}", []byte(nil), []byte(nil)) // fuzzing found it: an error passed the DEL on
	fuzzModel(f, b.Bytes(), vit.HeadKey)
}
