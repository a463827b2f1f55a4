package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const corpus = "../../testdata/hostile/models"

// build makes a file from header text and data, with the true header length.
func build(header string, data []byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

// reasons says what each file of the corpus that must be refused is refused for, apart from its name.
var reasons = map[string]string{
	"bad_7_bytes":             "7 bytes are too few",
	"bad_all_ff_4096":         "header length 18446744073709551615 is over the limit",
	"bad_data_zeroed":         `header byte 32 is "\x00" where , or ] in shape`,
	"bad_dtype_object_o":      `tensor "w": unknown dtype "O"`,
	"bad_empty_file":          "0 bytes are too few",
	"bad_extra_1_byte":        "1 bytes follow the last tensor",
	"bad_extra_sector":        "512 bytes follow the last tensor",
	"bad_gguf":                "GGUF",
	"bad_git_lfs":             "git-lfs pointer",
	"bad_hlen_100mb":          "header length 100000000 is over the limit",
	"bad_hlen_2e32_plus":      "header length 4294967360 is over the limit",
	"bad_hlen_2e63":           "header length 9223372036854775808 is over the limit",
	"bad_hlen_2e64_8":         "header length 18446744073709551608 is over the limit",
	"bad_hlen_big_endian":     "header length 4611686018427387904 is over the limit",
	"bad_hlen_file_size":      "header length 88 is past the end of the file",
	"bad_html":                "an HTML page",
	"bad_json_array":          `header starts with "["`,
	"bad_json_bom":            `header starts with "\xef"`,
	"bad_json_comment":        `header byte 1 is "/"`,
	"bad_json_dup_escape":     `tensor "w": name occurs twice`,
	"bad_json_dup_metadata":   "__metadata__ occurs twice",
	"bad_json_dup_tensor":     `tensor "w": name occurs twice`,
	"bad_json_huge_number":    "a number in shape is too large",
	"bad_json_leading_space":  `header starts with " "`,
	"bad_json_nul_padding":    "where only spaces may follow",
	"bad_json_string":         `header starts with "\""`,
	"bad_json_trailing_comma": `header byte 55 is "}" where a name`,
	"bad_json_unterminated":   "header ends where , or }",
	"bad_meta_nested":         "where a string as value",
	"bad_off_float":           "data_offsets must hold whole numbers",
	"bad_off_hole":            "bytes 4 to 12 before its data belong to no tensor",
	"bad_off_hole_at_start":   "takes 16 bytes, but data_offsets span 12",
	"bad_off_int64_min":       "data_offsets holds a negative number",
	"bad_off_missing":         "data_offsets is missing",
	"bad_off_overlap":         "overlaps",
	"bad_off_overlap_part":    "overlaps",
	"bad_off_past_end":        "takes 16 bytes, but data_offsets span 32",
	"bad_off_reversed":        "run backwards",
	"bad_off_short":           "takes 16 bytes, but data_offsets span 12",
	"bad_off_string":          "data_offsets must hold whole numbers",
	"bad_onnx":                "ONNX",
	"bad_pickle":              "pickle",
	"bad_shape_2e64":          "a number in shape is too large",
	"bad_shape_float":         "shape must hold whole numbers",
	"bad_shape_mismatch":      "takes 20 bytes, but data_offsets span 16",
	"bad_shape_negative":      "shape holds a negative number",
	"bad_shape_nested":        "shape must hold whole numbers",
	"bad_shape_null":          "shape must be an array",
	"bad_shape_wraps_to_4":    "a number in shape is too large",
	"bad_trunc_1_byte":        "the file has 15 bytes of data; it was cut short",
	"bad_trunc_2of4":          "header length 64 is past the end of the file (44 bytes)",
	"bad_trunc_3of4":          "header length 64 is past the end of the file (66 bytes)",
	"bad_value_nan":           `tensor "w": element 1 is not a finite number`,
}

func TestHostileCorpus(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(corpus, "index.json"))
	require.NoError(t, err)
	var index []struct{ File, Expect string }
	require.NoError(t, json.Unmarshal(text, &index))
	count := map[string]int{}
	for _, row := range index {
		path := filepath.Join(corpus, row.File)
		f, err := Open(path)
		if err == nil {
			err = f.CheckFinite()
		}
		count[row.Expect]++
		switch row.Expect {
		case "ok":
			require.NoError(t, err)
		case "error":
			var fe *FormatError
			require.ErrorAs(t, err, &fe, row.File)
			require.True(t, strings.HasPrefix(err.Error(), path+": "), err.Error())
			reason := reasons[strings.TrimSuffix(row.File, ".safetensors")]
			require.NotEmpty(t, reason, row.File)
			require.Contains(t, err.Error(), reason)
		}

		// Parse must agree with Open, also on a buffer with spare capacity behind the end.
		b, rerr := os.ReadFile(path)
		require.NoError(t, rerr)
		f2, err2 := Parse(append(make([]byte, 0, len(b)+64), b...))
		if err2 == nil {
			err2 = f2.CheckFinite()
		}
		require.Equal(t, err == nil, err2 == nil, row.File)
	}
	require.Equal(t, map[string]int{"ok": 7, "error": 53, "any": 9}, count)
}

// TestRefused covers what the corpus leaves out or has only in files too large to keep.
func TestRefused(t *testing.T) {
	w := func(entry string) string { return `{"w":{` + entry + `}}` }
	const good = `"dtype":"U8","shape":[1],"data_offsets":[0,1]`
	deep := strings.Repeat("[", 100_000)
	var many strings.Builder
	for i := range maxCount + 1 {
		fmt.Fprintf(&many, `,"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`, i)
	}
	for _, c := range []struct{ header, reason string }{
		{`{"__metadata__":` + deep, "where { to open __metadata__"},
		{`{"w":` + strings.Repeat(`{"a":`, 20_000), `unknown field "a"`},
		{`{"` + strings.Repeat("n", 65536) + `":{` + good + `}}`, "name has 65536 bytes"},
		{w(`"dtype":"U8","data_offsets":[0,1],"shape":[` + strings.Repeat("1,", 20_000) + "1]"), "more than 8 numbers"},
		{w(`"dtype":"U8","shape":[2147483648,0],"data_offsets":[0,0]`), "dimension 2147483648 is over the limit"},
		{w(`"dtype":"F64","shape":[2147483647,2147483647,2147483647,0],"data_offsets":[0,0]`), "more elements than can be counted"},
		{w(`"dtype":"U8","shape":[01],"data_offsets":[0,1]`), "starts with 0"},
		{w(`"dtype":"U8","shape":[1e0],"data_offsets":[0,1]`), "whole numbers"},
		{w(`"dtype":"U8","shape":[1],"data_offsets":[0,1,2]`), "more than 2 numbers"},
		{w(`"dtype":"U8","shape":[1],"data_offsets":[0]`), "has 1 numbers"},
		{w(good + `,"shape":[1]`), "shape occurs twice"},
		{w(good + `,"dtype":"U8"`), "dtype occurs twice"},
		{w(good + `,"data_offsets":[0,1]`), "data_offsets occurs twice"},
		{w(`"DTYPE":"U8","shape":[1],"data_offsets":[0,1]`), `unknown field "DTYPE"`},
		{w(`"shape":[1],"data_offsets":[0,1]`), "dtype is missing"},
		{w(`"dtype":"U8","data_offsets":[0,1]`), "shape is missing"},
		{w(`"dtype":null,"shape":[1],"data_offsets":[0,1]`), "a string as dtype"},
		{`{"w":null}`, "to open the entry"},
		{`{"":{` + good + `}}`, "empty name"},
		{`{"__metadata__":{"a":"1","a":"1"},"w":{` + good + `}}`, `key "a" occurs twice`},
		{`{"__metadata__":{"a":1},"w":{` + good + `}}`, "a string as value"},
		{"{\"w\xff\":{" + good + "}}", "not valid UTF-8"},
		{"{\"w\n\":{" + good + "}}", "raw control character"},
		{`{"\ud800":{` + good + `}}`, "half a surrogate pair"},
		{`{"\ud800\u0041":{` + good + `}}`, "half a surrogate pair"},
		{`{"\udc00":{` + good + `}}`, "half a surrogate pair"},
		{`{"\u00g0":{` + good + `}}`, "four hexadecimal digits"},
		{`{"\x41":{` + good + `}}`, "unknown escape"},
		{`{"w`, "never ends"},
		{`{"w\`, "never ends"},
		{`{"w":{` + good + "}}\n", "only spaces may follow"},
		{`{"w":{` + good + `}}{}`, "only spaces may follow"},
		{`{"w":{` + good + `}`, "header ends where"},
		{"{" + many.String()[1:] + "}", "more than 65536 tensors"},
		{`{"w" {` + good + `}}`, "where : after a name"},
	} {
		_, err := Parse(build(c.header, []byte{7}))
		require.Error(t, err, "%.60s", c.header)
		require.Contains(t, err.Error(), c.reason, "%.60s", c.header)
		require.Less(t, len(err.Error()), 300, "a message stays short whatever the file holds")
	}
	// The control: the same frame with nothing wrong.
	_, err := Parse(build(w(good)+"   ", []byte{7}))
	require.NoError(t, err)
}

func TestForeign(t *testing.T) {
	for head, want := range map[string]string{
		"PK\x03\x04\x00\x00\x08\x08\x00\x00":         "zip archive",
		"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00":       "gzip",
		"{\n  \"image_size\": 32\n}":                 "a JSON file",
		"<html><body>404</body></html>":              "an HTML page",
		"version https://git-lfs.github.com/spec/v1": "git lfs pull",
	} {
		_, err := Parse([]byte(head))
		require.ErrorContains(t, err, want)
	}
}

// TestAllocatesNothingClaimed measures refusal of claims of gigabytes.
func TestAllocatesNothingClaimed(t *testing.T) {
	b := build(`{"w":{"dtype":"F64","shape":[2147483647],"data_offsets":[0,17179869176]}}`, make([]byte, 16))
	const runs = 100
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		if _, err := Parse(b); err == nil {
			t.Fatal("accepted")
		}
	}
	runtime.ReadMemStats(&after)
	require.Less(t, (after.TotalAlloc-before.TotalAlloc)/runs, uint64(4096))
}

func TestManyTensors(t *testing.T) {
	ts := make([]Tensor, 20_000)
	for i := range ts {
		ts[i] = U8(fmt.Sprintf("t%d", i), []int{1}, []uint8{uint8(i)})
	}
	var b bytes.Buffer
	require.NoError(t, Write(&b, nil, ts))
	f, err := Parse(b.Bytes())
	require.NoError(t, err)
	got, ok := f.Get("t19999")
	require.True(t, ok)
	require.Equal(t, []byte{19999 % 256}, got.Data)
}

func TestOpenRefusesOtherFiles(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(dir)
	require.ErrorContains(t, err, dir+": not a regular file")
	_, err = Open(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "none")
}

func samples() []Tensor {
	return []Tensor{
		F64("d", []int{1}, []float64{math.Pi}),
		I64("i64", []int{2}, []int64{math.MinInt64, math.MaxInt64}),
		U64("u64", []int{1}, []uint64{math.MaxUint64}),
		F32("w.中", []int{2, 2}, []float32{1, -2, 0, float32(math.Copysign(0, -1))}),
		I32("i32", []int{1, 3}, []int32{-1, 0, math.MaxInt32}),
		U32("u32", []int{1}, []uint32{math.MaxUint32}),
		F16("h", []int{3}, []float32{1, 65504, 2049}), // 2049 is a tie and goes to 2048
		F16Bits("hb", []int{1}, []uint16{0x3c00}),
		F32("empty", []int{0, 4}, nil),
		I8("q", []int{2}, []int8{-128, 127}),
		U8("u8", []int{}, []uint8{255}),
	}
}

func TestRoundTrip(t *testing.T) {
	meta := map[string]string{"format": "edgejepa", "b\"\\\n": "\u0001 é", "a": ""}
	var b, again bytes.Buffer
	require.NoError(t, Write(&b, meta, samples()))
	require.NoError(t, Write(&again, meta, samples()))
	require.Equal(t, b.Bytes(), again.Bytes())
	require.Zero(t, binary.LittleEndian.Uint64(b.Bytes())%8)

	f, err := Parse(b.Bytes())
	require.NoError(t, err)
	require.Equal(t, meta, f.Metadata)
	require.Equal(t, samples(), f.Tensors)

	// encoding/json reads the header alike: a second opinion on quoting and layout.
	var header map[string]struct {
		DType   DType
		Shape   []int
		Offsets [2]int `json:"data_offsets"`
	}
	n := binary.LittleEndian.Uint64(b.Bytes())
	text := b.Bytes()[8 : 8+n]
	require.NoError(t, json.Unmarshal(bytes.Replace(text, []byte(`"__metadata__"`), []byte(`"__m"`), 1), &header))
	for _, s := range samples() {
		h := header[s.Name]
		require.Equal(t, s.DType, h.DType)
		require.ElementsMatch(t, s.Shape, h.Shape)
		require.Equal(t, s.Data, append([]byte{}, b.Bytes()[int(8+n)+h.Offsets[0]:int(8+n)+h.Offsets[1]]...))
	}
}

func TestValues(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, Write(&b, nil, samples()))
	// Every alignment of the buffer gives the same values, by view or by copy.
	for shift := range 8 {
		buf := append(make([]byte, shift), b.Bytes()...)
		f, err := Parse(buf[shift:])
		require.NoError(t, err)
		get := func(name string) *Tensor {
			x, ok := f.Get(name)
			require.True(t, ok)
			return x
		}
		w, err := get("w.中").Float32Data()
		require.NoError(t, err)
		require.Equal(t, []float32{1, -2, 0, 0}, w)
		require.True(t, math.Signbit(float64(w[3])))
		h, err := get("h").Float32Data()
		require.NoError(t, err)
		require.Equal(t, []float32{1, 65504, 2048}, h)
		hb, err := get("hb").Half16Data()
		require.NoError(t, err)
		require.Equal(t, []uint16{0x3c00}, hb)
		i64 := make([]int64, 2)
		require.NoError(t, get("i64").Int64s(i64))
		require.Equal(t, []int64{math.MinInt64, math.MaxInt64}, i64)
		u64, err := get("u64").Uint64Data()
		require.NoError(t, err)
		require.Equal(t, []uint64{math.MaxUint64}, u64)
		d, err := get("d").Float64Data()
		require.NoError(t, err)
		require.Equal(t, []float64{math.Pi}, d)
		i32 := make([]int32, 3)
		require.NoError(t, get("i32").Int32s(i32))
		require.Equal(t, []int32{-1, 0, math.MaxInt32}, i32)
		q, err := get("q").Int8Data()
		require.NoError(t, err)
		require.Equal(t, []int8{-128, 127}, q)
		e, err := get("empty").Float32Data()
		require.NoError(t, err)
		require.Empty(t, e)

		_, err = get("q").Int32Data()
		require.ErrorContains(t, err, `tensor "q": is I8, but I32 is wanted`)
		require.ErrorContains(t, get("w.中").Float32s(make([]float32, 3)), "has 4 elements of shape [2 2], but 3 are wanted")
		require.ErrorContains(t, get("q").Float32s(make([]float32, 2)), "F32, F16 or BF16 is wanted")
	}
}

func TestCheckFinite(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(-1)
	for _, c := range []struct {
		bad Tensor
		ok  Tensor
	}{
		{F32("x", []int{2}, []float32{0, float32(nan)}), F32("x", []int{1}, []float32{math.MaxFloat32})},
		{F64("x", []int{2}, []float64{0, inf}), F64("x", []int{1}, []float64{-math.MaxFloat64})},
		{F16("x", []int{2}, []float32{0, 70000}), F16("x", []int{1}, []float32{-65504})},
		{Tensor{Name: "x", DType: TypeBF16, Shape: []int{2}, Data: []byte{0, 0, 0x80, 0x7f}}, Tensor{Name: "x", DType: TypeBF16, Shape: []int{1}, Data: []byte{0x7f, 0x7f}}},
	} {
		f := &File{Path: "m", Tensors: []Tensor{c.ok, c.bad}}
		require.ErrorContains(t, f.CheckFinite(), `tensor "x": element 1 is not a finite number`)
		f.Tensors = f.Tensors[:1]
		require.NoError(t, f.CheckFinite())
	}
}

func TestChecksum(t *testing.T) {
	meta := map[string]string{"a": "1", "z": "2"}
	var b bytes.Buffer
	require.NoError(t, WriteChecked(&b, meta, samples()))
	require.Len(t, meta, 2, "the caller's map is not changed")
	f, err := Parse(b.Bytes())
	require.NoError(t, err)
	require.NoError(t, f.Verify())

	// Every bit that changes is noticed, by the parser or by the sum.
	whole := b.Bytes()
	for i := range whole {
		whole[i] ^= 1 << (i % 8)
		if f, err := Parse(whole); err == nil {
			require.Error(t, f.Verify(), "byte %d", i)
		}
		whole[i] ^= 1 << (i % 8)
	}

	whole[len(whole)-1] ^= 1
	path := filepath.Join(t.TempDir(), "m.safetensors")
	require.NoError(t, os.WriteFile(path, whole, 0o600))
	f, err = Open(path)
	require.NoError(t, err)
	var sum *ChecksumError
	require.ErrorAs(t, f.Verify(), &sum)
	require.ErrorContains(t, sum, path+": damaged")

	b.Reset()
	require.NoError(t, Write(&b, meta, samples()))
	f, err = Parse(b.Bytes())
	require.NoError(t, err)
	require.ErrorIs(t, f.Verify(), ErrNoChecksum)

	// A foreign value that is no digest at all must not pass for one.
	b.Reset()
	require.NoError(t, Write(&b, map[string]string{"sha256": ""}, samples()))
	f, err = Parse(b.Bytes())
	require.NoError(t, err)
	require.ErrorAs(t, f.Verify(), &sum)
}

func TestWriteRefuses(t *testing.T) {
	one := []int{1}
	for want, ts := range map[string][]Tensor{
		"name occurs twice":         {U8("a", one, []uint8{1}), U8("a", one, []uint8{1})},
		"cannot be the name":        {U8("__metadata__", one, []uint8{1})},
		"3 bytes of data for U8":    {{Name: "a", DType: TypeU8, Shape: one, Data: make([]byte, 3)}},
		`unknown dtype "Q4"`:        {{Name: "a", DType: "Q4", Shape: one, Data: make([]byte, 1)}},
		"dimension -1 is outside":   {{Name: "a", DType: TypeU8, Shape: []int{-1, -1}, Data: make([]byte, 1)}},
		"more than 8 dimensions":    {{Name: "a", DType: TypeU8, Shape: make([]int, 9)}},
		`"\xff" cannot be the name`: {U8("\xff", one, []uint8{1})},
	} {
		var b bytes.Buffer
		require.ErrorContains(t, Write(&b, nil, ts), want)
		require.Zero(t, b.Len())
	}
	require.ErrorContains(t, Write(&bytes.Buffer{}, map[string]string{"k": "\xff"}, nil), "not valid UTF-8")
	require.PanicsWithValue(t, "safetensors: values do not fill the shape", func() { F32("a", []int{2}, make([]float32, 3)) })
}

func FuzzParse(f *testing.F) {
	paths, err := filepath.Glob(filepath.Join(corpus, "*.safetensors"))
	require.NoError(f, err)
	for _, p := range paths {
		b, err := os.ReadFile(p)
		require.NoError(f, err)
		f.Add(b)
	}
	var b bytes.Buffer
	require.NoError(f, WriteChecked(&b, map[string]string{"k": "v"}, samples()))
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse(b)
		if err != nil {
			require.IsType(t, &FormatError{}, err)
			return
		}
		// What was accepted fills its data exactly and survives being written and read again.
		n := 8 + int(binary.LittleEndian.Uint64(b))
		for i := range file.Tensors {
			x := &file.Tensors[i]
			require.Equal(t, x.Len()*x.DType.Size(), len(x.Data))
			require.Equal(t, len(x.Data), cap(x.Data))
			n += len(x.Data)
		}
		require.Equal(t, len(b), n)
		_ = file.CheckFinite()
		_ = file.Verify()
		var out bytes.Buffer
		require.NoError(t, Write(&out, file.Metadata, file.Tensors))
		back, err := Parse(out.Bytes())
		require.NoError(t, err)
		require.Equal(t, len(file.Tensors), len(back.Tensors))
		for i := range file.Tensors {
			require.Equal(t, file.Tensors[i].Name, back.Tensors[i].Name)
			require.Equal(t, file.Tensors[i].Shape, back.Tensors[i].Shape)
			require.True(t, bytes.Equal(file.Tensors[i].Data, back.Tensors[i].Data))
		}
	})
}
