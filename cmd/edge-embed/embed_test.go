package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/device"
	"edgejepa/internal/cli"
	"edgejepa/internal/licenses"
	"edgejepa/internal/parallel"
	"edgejepa/quant"
	"edgejepa/vit"
	"edgejepa/vit/pixels"
)

// encoder is a micro network with initial weights.
func encoder(t testing.TB) *vit.Encoder {
	t.Helper()
	p, err := vit.PresetNamed("micro")
	require.NoError(t, err)
	e, err := vit.NewEncoder(p.Config(0, 0))
	require.NoError(t, err)
	e.Params.Init(1)
	e.Pack()
	return e
}

// quantised is that network in fixed point.
func quantised(t testing.TB) *quant.Encoder {
	t.Helper()
	once.Do(func() { once.e = calibrated(t) })
	require.NotNil(t, once.e)
	return once.e
}

var once struct {
	sync.Once
	e *quant.Encoder
}

func calibrated(t testing.TB) *quant.Encoder {
	e := encoder(t)
	pool := parallel.New(1)
	defer pool.Close()
	pix := make([]uint8, 2*e.Config.PixelLen())
	for i := range pix {
		pix[i] = uint8(i * i >> 3)
	}
	q, _, err := quant.Calibrate(e, pool, pix, 2)
	require.NoError(t, err)
	return q
}

// model writes that network in int8 and returns its file.
func model(t testing.TB) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, quant.Write(&b, quantised(t), nil, map[string]string{"training": `{"steps":0}`}))
	return write(t, filepath.Join(t.TempDir(), "model.safetensors"), b.Bytes())
}

func write(t testing.TB, path string, data []byte) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, data, 0o644))
	return path
}

// drawn is a PNG of w by h pixels, another for each seed.
func drawn(t testing.TB, w, h, seed int) []byte {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.Set(x, y, color.NRGBA{uint8(x * (3 + seed)), uint8(y*7 + seed*40), uint8((x/4 + y/4) % 2 * 200), 255})
		}
	}
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, m))
	return b.Bytes()
}

// gallery is a folder of n pictures 00.png, 01.png, … whose sizes, and so decoding times, differ widely.
func gallery(t testing.TB, n int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		side := 20 + i*53%200
		write(t, filepath.Join(dir, fmt.Sprintf("%02d.png", i)), drawn(t, side, side+i, i))
	}
	return dir
}

type result struct {
	code     int
	out, err string
}

func execute(t testing.TB, stdin string, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	code := run(context.Background(), args, strings.NewReader(stdin), &out, &err)
	return result{code, out.String(), err.String()}
}

type line struct {
	Path      string      `json:"path"`
	PathBytes []byte      `json:"path_bytes"`
	Embedding []float32   `json:"embedding"`
	Tokens    [][]float32 `json:"tokens"`
}

func lines(t testing.TB, text string) (ls []line) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	for {
		var l line
		err := d.Decode(&l)
		if err == io.EOF {
			return ls
		}
		require.NoError(t, err)
		ls = append(ls, l)
	}
}

func floats(t testing.TB, b []byte) []float32 {
	t.Helper()
	v := make([]float32, len(b)/4)
	_, err := binary.Decode(b, binary.LittleEndian, v)
	require.NoError(t, err)
	require.Zero(t, len(b)%4)
	return v
}

// What the encoder says about each picture, without any of this program.
func expected(t testing.TB, dir string, n int, tokens bool) (all []float32) {
	t.Helper()
	c := encoder(t).Config
	pool := parallel.New(1)
	defer pool.Close()
	pass := quantised(t).NewPass(pool)
	pre := pixels.NewPreprocessor(pixels.Spec{Size: c.ImageSize, Width: c.ImageWidth, Mean: c.Mean, Std: c.Std})
	for i := range n {
		img, err := pixels.Load(filepath.Join(dir, fmt.Sprintf("%02d.png", i)), pixels.Limits{})
		require.NoError(t, err)
		pix := pre.Crop(img).Pix
		v := make([]float32, c.Dim)
		if tokens {
			v = make([]float32, c.Tokens()*c.Dim)
			pass.Tokens(v, pix, 1)
		} else {
			pass.Embed(v, pix, 1)
		}
		all = append(all, v...)
	}
	return all
}

// Every format holds the same numbers, to the bit.
func TestFormats(t *testing.T) {
	const n, d, tokens = 5, 32, 36
	m, dir := model(t), gallery(t, n)
	for _, mode := range []struct {
		flags []string
		want  []float32
		per   int
	}{
		{[]string{"--normalize", "none"}, expected(t, dir, n, false), d},
		{nil, normalized(expected(t, dir, n, false), d), d},
		{[]string{"--tokens"}, normalized(expected(t, dir, n, true), d), tokens * d},
	} {
		args := append([]string{"--model", m, "--quiet", "--batch", "3", dir}, mode.flags...)
		perPicture := mode.per / d

		r := execute(t, "", args...)
		require.Equal(t, result{0, r.out, ""}, r)
		var got []float32
		for i, l := range lines(t, r.out) {
			require.Equal(t, filepath.Join(dir, fmt.Sprintf("%02d.png", i)), l.Path)
			require.Nil(t, l.PathBytes)
			got = append(got, l.Embedding...)
			for _, tok := range l.Tokens {
				require.Len(t, tok, d)
				got = append(got, tok...)
			}
		}
		require.Equal(t, mode.want, got, "jsonl")

		r = execute(t, "", append(args, "--format", "csv")...)
		require.Equal(t, 0, r.code, r.err)
		table, err := csv.NewReader(strings.NewReader(r.out)).ReadAll()
		require.NoError(t, err)
		require.Len(t, table, 1+n*perPicture)
		require.Equal(t, "filename", table[0][0])
		require.Equal(t, "embedding_31", table[0][len(table[0])-1])
		got = nil
		for i, row := range table[1:] {
			require.Equal(t, fmt.Sprintf("%02d.png", i/perPicture), filepath.Base(row[0]))
			if perPicture > 1 {
				require.Equal(t, strconv.Itoa(i%perPicture), row[1])
			}
			for _, s := range row[len(row)-d:] {
				v, err := strconv.ParseFloat(s, 32)
				require.NoError(t, err)
				got = append(got, float32(v))
			}
		}
		require.Equal(t, mode.want, got, "csv")

		r = execute(t, "", append(args, "--format", "f32")...)
		require.Equal(t, 0, r.code, r.err)
		require.Equal(t, mode.want, floats(t, []byte(r.out)), "f32")

		file := filepath.Join(t.TempDir(), "v.npy")
		r = execute(t, "", append(args, "--format", "npy", "-o", file)...)
		require.Equal(t, result{}, r)
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		piped := execute(t, "", append(args, "--format", "npy")...)
		require.Equal(t, string(data), piped.out)
		shape := fmt.Sprintf("(%d, %d)", n, d)
		if perPicture > 1 {
			shape = fmt.Sprintf("(%d, %d, %d)", n, tokens, d)
		}
		head := 10 + int(binary.LittleEndian.Uint16(data[8:]))
		require.Zero(t, head%64)
		require.Equal(t, "\x93NUMPY\x01\x00", string(data[:8]))
		require.Equal(t, "{'descr': '<f4', 'fortran_order': False, 'shape': "+shape+", }", strings.TrimRight(string(data[10:head-1]), " "))
		require.EqualValues(t, '\n', data[head-1])
		require.Equal(t, mode.want, floats(t, data[head:]), "npy")
		names, err := os.ReadFile(file + ".paths.txt")
		require.NoError(t, err)
		require.Equal(t, n, strings.Count(string(names), "\n"))
		require.True(t, strings.HasPrefix(string(names), filepath.Join(dir, "00.png")+"\n"))
	}
}

func normalized(v []float32, d int) []float32 {
	for i := 0; i < len(v); i += d {
		normalizeL2(v[i : i+d])
	}
	return v
}

func TestNormalizeL2(t *testing.T) {
	v := []float32{3, 0, -4}
	normalizeL2(v)
	require.Equal(t, []float32{0.6, 0, -0.8}, v)
	zero := []float32{0, 0}
	normalizeL2(zero)
	require.Equal(t, []float32{0, 0}, zero)
	huge := []float32{math.MaxFloat32, math.MaxFloat32}
	normalizeL2(huge)
	require.InDelta(t, math.Sqrt(0.5), huge[0], 1e-7)
}

// The same bytes in input order, whatever the threads and the batch.
func TestOrder(t *testing.T) {
	m, dir := model(t), gallery(t, 30)
	want := execute(t, "", "--model", m, "--quiet", "--threads", "1", "--batch", "1", dir)
	require.Equal(t, 0, want.code, want.err)
	require.Len(t, lines(t, want.out), 30)
	for threads := 1; threads <= 4; threads++ {
		for _, batch := range []int{0, 1, 7, 64} {
			got := execute(t, "", "--model", m, "--quiet", "--threads", strconv.Itoa(threads), "--batch", strconv.Itoa(batch), dir)
			require.Equal(t, want, got)
		}
	}
	first, second := filepath.Join(dir, "07.png"), filepath.Join(dir, "03.png")
	r := execute(t, second+"\n", "--model", m, "--files-from", "-", first)
	ls := lines(t, r.out)
	require.Equal(t, []string{first, second}, []string{ls[0].Path, ls[1].Path}, "arguments, then the list")
}

func TestSkips(t *testing.T) {
	m, dir := model(t), gallery(t, 3)
	write(t, filepath.Join(dir, "01a.jpg"), []byte("\xff\xd8\xff\xe0 no more"))
	write(t, filepath.Join(dir, "02a.heic"), []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"))
	write(t, filepath.Join(dir, "notes.txt"), []byte("not a word about this one"))
	r := execute(t, "", "--model", m, "--quiet", dir)
	require.Equal(t, cli.ExitSkipped, r.code)
	require.Len(t, lines(t, r.out), 3)
	said := strings.Split(strings.TrimSpace(r.err), "\n")
	require.Len(t, said, 2)
	require.True(t, strings.HasPrefix(said[0], "skipping "+filepath.Join(dir, "01a.jpg")+": JPEG: "), said[0])
	require.Equal(t, "skipping "+filepath.Join(dir, "02a.heic")+": unsupported: HEIC (convert it first)", said[1])

	r = execute(t, "", "--model", m, dir)
	require.Contains(t, r.err, "embedded 3 pictures in ")
	require.Contains(t, r.err, ", 2 skipped, 1 other file is no picture (model ")

	r = execute(t, "", "--model", m, "--quiet", "--on-error", "fail", "--batch", "64", dir)
	require.Equal(t, cli.ExitFailed, r.code)
	require.Len(t, lines(t, r.out), 2, "the rows before it are written")
	require.Contains(t, r.err, "edge-embed: "+filepath.Join(dir, "01a.jpg"))

	file := filepath.Join(t.TempDir(), "v.jsonl")
	r = execute(t, "", "--model", m, "--quiet", "-o", file, filepath.Join(dir, "01a.jpg"), filepath.Join(dir, "absent.png"))
	require.Equal(t, cli.ExitFailed, r.code)
	require.Contains(t, r.err, "absent.png: no such file")
	require.True(t, strings.HasSuffix(r.err, "edge-embed: none of the 2 pictures could be embedded\n"), r.err)
	require.NoFileExists(t, file)

	empty := t.TempDir()
	r = execute(t, "", "--model", m, empty)
	require.Equal(t, result{cli.ExitFailed, "", "edge-embed: no pictures found\n"}, r)
	for i := range 2 {
		write(t, filepath.Join(empty, strconv.Itoa(i)), []byte("a word"))
	}
	r = execute(t, "", "--model", m, empty)
	require.Equal(t, result{cli.ExitFailed, "", "edge-embed: no pictures found: 2 other files are no pictures\n"}, r)

	r = execute(t, "", "--model", m, "--quiet", "--max-megapixels", "0.001", dir)
	require.Equal(t, cli.ExitSkipped, r.code)
	require.Len(t, lines(t, r.out), 1, "20x20 is what stays")
	require.Contains(t, r.err, "over the limit of 0.001 megapixels")
}

// A model whose numbers overflow gives no rows, and JSON never holds NaN.
func TestNotFinite(t *testing.T) {
	e := encoder(t)
	for _, p := range e.Params.List {
		if p.Name == "norm.weight" {
			for i := range p.Value {
				p.Value[i] = 3e38
			}
		}
	}
	var b bytes.Buffer
	require.NoError(t, quant.WriteFloat(&b, e, quant.F32, nil, nil))
	m := write(t, filepath.Join(t.TempDir(), "m"), b.Bytes())
	r := execute(t, "", "--model", m, "--quiet", gallery(t, 2))
	require.Equal(t, cli.ExitFailed, r.code)
	require.Empty(t, r.out)
	require.Contains(t, r.err, "not finite")
}

func TestUsage(t *testing.T) {
	m, dir := model(t), gallery(t, 1)
	taken := write(t, filepath.Join(t.TempDir(), "taken"), []byte("old"))
	names := write(t, filepath.Join(t.TempDir(), "x.npy.paths.txt"), []byte("old"))
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{dir}, "--model FILE is missing"},
		{[]string{"--model", m}, "no pictures: give"},
		{[]string{"--model", m, ""}, "a PATH is empty"},
		{[]string{"--model", m, "-0", dir}, "--files-from"},
		{[]string{"--model", m, "--format", "xml", dir}, "choose one of jsonl, csv, npy, f32"},
		{[]string{"--model", m, "--normalize", "max", dir}, "l2 or none"},
		{[]string{"--model", m, "--on-error", "cry", dir}, "skip or fail"},
		{[]string{"--model", m, "--threads", "-1", dir}, "--threads -1"},
		{[]string{"--model", m, "--batch", "9999", dir}, "--batch 9999"},
		{[]string{"--model", m, "--max-megapixels", "NaN", dir}, "--max-megapixels"},
		{[]string{"--model", m, "--force", dir}, "--output"},
		{[]string{"--model", m, "--nonsense", dir}, "unknown flag: --nonsense (see edge-embed --help)"},
		{[]string{"--model", m, "-o", taken, dir}, "add --force"},
		{[]string{"--model", m, "--format", "npy", "-o", strings.TrimSuffix(names, ".paths.txt"), dir}, "paths.txt exists"},
		{[]string{"--model", m, "-o", dir, dir}, "is a folder"},
		{[]string{"info"}, "--model FILE is missing"},
		{[]string{"info", "--model", m, "more"}, "unknown command"},
	} {
		r := execute(t, "", c.args...)
		require.Equal(t, cli.ExitUsage, r.code, "%v: %s", c.args, r.err)
		require.Empty(t, r.out)
		require.Contains(t, r.err, c.want)
		require.Equal(t, 1, strings.Count(r.err, "\n"), "one line: %s", r.err)
	}
	old, err := os.ReadFile(taken)
	require.NoError(t, err)
	require.Equal(t, "old", string(old))

	r := execute(t, "", "--model", filepath.Join(dir, "absent"), dir)
	require.Equal(t, cli.ExitFailed, r.code)
	require.Contains(t, r.err, "absent")
}

func TestOutputFile(t *testing.T) {
	m, dir := model(t), gallery(t, 2)
	out := t.TempDir()
	file := filepath.Join(out, "v.jsonl")
	piped := execute(t, "", "--model", m, "--quiet", dir)
	require.Equal(t, result{}, execute(t, "", "--model", m, "--quiet", "-o", file, dir))
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, piped.out, string(data))

	require.Equal(t, cli.ExitUsage, execute(t, "", "--model", m, "-o", file, dir).code)
	require.Equal(t, cli.ExitFailed, execute(t, "", "--model", m, "--force", "-o", file, t.TempDir()).code)
	after, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, data, after, "a run that fails leaves the old file")
	one := filepath.Join(dir, "01.png")
	require.Equal(t, 0, execute(t, "", "--model", m, "--force", "-o", file, one).code)
	after, err = os.ReadFile(file)
	require.NoError(t, err)
	require.Len(t, lines(t, string(after)), 1)
	left, err := os.ReadDir(out)
	require.NoError(t, err)
	require.Len(t, left, 1, "no temporary file stays")

	r := execute(t, "", "--model", m, "-o", filepath.Join(out, "no", "such", "folder"), dir)
	require.Equal(t, cli.ExitFailed, r.code)
	require.Contains(t, r.err, "cannot write")
}

func TestFilesFrom(t *testing.T) {
	m, dir := model(t), gallery(t, 3)
	a, b := filepath.Join(dir, "02.png"), filepath.Join(dir, "00.png")
	paths := func(r result) (ps []string) {
		require.Equal(t, 0, r.code, r.err)
		for _, l := range lines(t, r.out) {
			ps = append(ps, l.Path)
		}
		return ps
	}
	require.Equal(t, []string{a, b}, paths(execute(t, a+"\n\n"+b, "--model", m, "--files-from", "-")))
	require.Equal(t, []string{a, b}, paths(execute(t, a+"\x00"+b+"\x00", "--model", m, "--files-from", "-", "-0")))
	list := write(t, filepath.Join(t.TempDir(), "list"), []byte(b+"\n"+a+"\n"))
	require.Equal(t, []string{b, a}, paths(execute(t, "", "--model", m, "--files-from", list)))
	require.Len(t, paths(execute(t, dir, "--model", m, "--files-from", "-")), 3, "a folder is walked")

	r := execute(t, "", "--model", m, "--files-from", list+"x")
	require.Equal(t, cli.ExitFailed, r.code)
	require.Contains(t, r.err, "--files-from")
	r = execute(t, a+"\n"+strings.Repeat("x", longestPath+1), "--model", m, "--files-from", "-")
	require.Equal(t, cli.ExitFailed, r.code)
	require.Contains(t, r.err, "too long")
	require.Len(t, lines(t, r.out), 1)
}

// The example of --help works as typed; what a person asks for goes to standard output.
func TestHelpVersionInfo(t *testing.T) {
	m := model(t)
	r := execute(t, "", "--help")
	require.Equal(t, 0, r.code)
	require.Empty(t, r.err)
	require.Contains(t, r.out, "edge-embed --model model.safetensors photos/ > vectors.jsonl")

	photos := gallery(t, 2)
	t.Chdir(filepath.Dir(m))
	require.NoError(t, os.Rename(photos, "photos"))
	r = execute(t, "", strings.Fields("--model model.safetensors photos/")...)
	require.Equal(t, 0, r.code, r.err)
	require.Equal(t, "photos/00.png", lines(t, r.out)[0].Path)
	require.Equal(t, 0, execute(t, "", strings.Fields("--model model.safetensors --format npy -o vectors.npy photos/")...).code)

	r = execute(t, "", "--version")
	require.Equal(t, 0, r.code)
	require.Contains(t, r.out, "edge-embed version ")

	r = execute(t, "", "info", "--model", m)
	require.Equal(t, 0, r.code, r.err)
	for _, want := range []string{"micro: dim 32, 2 blocks, 2 heads", "24 x 24 pixels", "int8", "checksum good", "training     steps 0"} {
		require.Contains(t, r.out, want)
	}
	r = execute(t, "", "info", "--model", m, "--json")
	require.Equal(t, 0, r.code, r.err)
	var info map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.out), &info))
	require.Len(t, info["id"], 16)
	require.Equal(t, "int8", info["precision"])
	require.Equal(t, map[string]any{"steps": 0.0}, info["metadata"].(map[string]any)["training"])

	r = execute(t, "", "completion", "bash")
	require.Equal(t, 0, r.code)

	r = execute(t, "", "licenses")
	require.Equal(t, 0, r.code)
	require.Equal(t, licenses.Text, r.out)
}

// After the first batch nothing is allocated between decoded pixels and written rows.
func TestEmbedAllocatesNothing(t *testing.T) {
	m, err := quant.OpenModel(model(t), vit.ContextPrefix)
	require.NoError(t, err)
	pool := parallel.New(2)
	defer pool.Close()
	pix := make([]uint8, m.Config().PixelLen())
	for i := range pix {
		pix[i] = uint8(i * 17)
	}
	for _, format := range []string{"jsonl", "csv", "f32"} {
		for _, tokens := range []bool{false, true} {
			b := newBatch(m, pool, 3, tokens, true)
			b.rows, err = newRows(io.Discard, format, "", b.shape)
			require.NoError(t, err)
			yield := func(err error) bool { panic(err) }
			picture := &slot{path: "a \"name\".png", pix: pix}
			once := func() {
				for range 3 {
					b.add(picture)
				}
				b.flush(yield)
			}
			once()
			require.Zero(t, testing.AllocsPerRun(10, once), "%s, tokens %v", format, tokens)
			require.EqualValues(t, 12*3, b.done)
		}
	}
}

func TestDecodePlan(t *testing.T) {
	for _, c := range []struct {
		mib        int64
		workers    int
		megapixels float64
		decoders   int
		most       int64
	}{
		{64 << 10, 4, 0, 4, 256 << 20},
		{600, 4, 0, 2, 131 << 20}, // two share half of 7/8 of 600 MiB
		{200, 4, 0, 1, 84 << 20},
		{200, 4, 50, 1, 84 << 20},       // that is less than usual
		{200, 4, 100, 1, 1_600_000_000}, // the person insists
		{64 << 10, 4, 100, 4, 1_600_000_000},
		{0, 2, 0, 2, 256 << 20}, // unknown
	} {
		o := &options{megapixels: c.megapixels}
		p := device.Profile{Memory: device.Memory{Total: c.mib << 20, Available: c.mib << 20}}
		decoders, lim := o.decodePlan(p, c.workers)
		require.Equal(t, c.decoders, decoders, "%+v", c)
		require.InDelta(t, c.most, lim.MaxBytes, 1<<20, "%+v", c)
	}
}
