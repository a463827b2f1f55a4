package main

import (
	"bytes"
	"encoding/json"
	"image"
	"image/color"
	_ "image/jpeg"
	"image/png"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cli"
	"edgejepa/internal/parallel"
	"edgejepa/internal/rng"
	"edgejepa/quant"
	"edgejepa/vit/heads"
	"edgejepa/vit/pixels"
)

// headFor is a head that no one trained, with weights large enough to give different answers for different pictures.
func headFor(t testing.TB, task heads.Task, classes ...string) *heads.Head {
	t.Helper()
	e := encoder(t).Config
	c := heads.Default(task, heads.Linear, e)
	c.Classes = classes
	if task != heads.Classify {
		c.Hidden = 8
	}
	h, err := heads.New(c, e)
	require.NoError(t, err)
	h.Init(2)
	for i, p := range h.Params.List {
		s := rng.New(3, rng.PurposeProbe, uint64(i), 0)
		for j := range p.Value {
			p.Value[j] += float32(0.4 * s.Norm())
		}
	}
	if h.Config.Pooled() { // mean tokens hardly differ before they are standardised
		pool := parallel.New(1)
		defer pool.Close()
		const n = 8
		pix, x := make([]uint8, n*e.PixelLen()), make([]float32, n*e.Dim)
		for i := range pix {
			pix[i] = uint8(i * (3 + i/e.PixelLen()) >> 2)
		}
		quantised(t).NewPass(pool).Embed(x, pix, n)
		h.Standardize(slices.Values([][]float32{x}), math.Inf(1))
	}
	h.Pack()
	return h
}

// modelWith writes the int8 network with a head.
func modelWith(t testing.TB, h *heads.Head) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, quant.Write(&b, quantised(t), h, nil))
	return write(t, filepath.Join(t.TempDir(), "head.safetensors"), b.Bytes())
}

type prediction struct {
	Path          string             `json:"path"`
	PathBytes     []byte             `json:"path_bytes"`
	Class         string             `json:"class"`
	Probability   float64            `json:"probability"`
	Probabilities map[string]float64 `json:"probabilities"`
	Width, Height int
	Mask          string           `json:"mask"`
	MaskBytes     []byte           `json:"mask_bytes"`
	Pixels        map[string]int64 `json:"pixels"`
	Boxes         []foundBox       `json:"boxes"`
}

type foundBox struct {
	Class          string
	Score          float64
	X0, Y0, X1, Y1 float64
}

func predicted(t testing.TB, r result) (all []prediction) {
	t.Helper()
	require.Zero(t, r.code, r.err)
	d := json.NewDecoder(strings.NewReader(r.out))
	d.DisallowUnknownFields()
	for d.More() {
		var p prediction
		require.NoError(t, d.Decode(&p))
		all = append(all, p)
	}
	return all
}

// raw are the head's outputs for a picture, without any of this program.
func raw(t testing.TB, h *heads.Head, path string) (out []float32, img pixels.Image) {
	t.Helper()
	pool := parallel.New(1)
	defer pool.Close()
	e := h.Encoder
	img, err := pixels.Load(path, pixels.Limits{MinSide: h.Config.MinSide(e)})
	require.NoError(t, err)
	var dst pixels.Image
	h.Config.Input(&dst, new(pixels.Resizer), img, e)
	out = make([]float32, h.OutLen())
	quant.NewPredictor(quantised(t).NewPass(pool), h, pool, 1).Predict(out, dst.Pix, 1)
	return out, img
}

func TestPredictClassify(t *testing.T) {
	h := headFor(t, heads.Classify, "cat", "dog", `a "b"`, "fish", "bird", "cow", "bee")
	m, dir := modelWith(t, h), gallery(t, 6)
	seen := map[string]bool{}
	for i, p := range predicted(t, execute(t, "", "predict", "--model", m, "--quiet", dir)) {
		path := filepath.Join(dir, "0"+strconv.Itoa(i)+".png")
		require.Equal(t, path, p.Path)
		logits, _ := raw(t, h, path)
		want := make([]float64, 7)
		h.Probabilities(want, logits)
		require.Len(t, p.Probabilities, 5)
		for k, name := range h.Config.Classes {
			if got, ok := p.Probabilities[name]; ok {
				require.InDelta(t, want[k], got, 1e-7)
			}
			require.LessOrEqual(t, want[k], p.Probability+1e-7)
		}
		require.Equal(t, p.Probabilities[p.Class], p.Probability)
		seen[p.Class] = true
	}
	require.Greater(t, len(seen), 1, "answers differ")
	r := execute(t, "", "predict", "--model", m, "--quiet", "--top", "1", dir)
	require.Len(t, predicted(t, r)[0].Probabilities, 1)
	r = execute(t, "", "predict", "--model", m, "--top", "100", dir)
	require.Len(t, predicted(t, r)[0].Probabilities, 7)
	require.Contains(t, r.err, "predicted 6 pictures in ")
	first := strings.SplitN(r.out, "\n", 2)[0]
	best := predicted(t, r)[0].Class
	require.Contains(t, first, `"probabilities":{`+strconv.Quote(best)+`:`, "the likeliest stands first")
}

func TestPredictSegment(t *testing.T) {
	h := headFor(t, heads.Segment, "Background", "nucleus", "other")
	m, dir := modelWith(t, h), gallery(t, 4)
	masks := filepath.Join(t.TempDir(), "masks")
	t.Chdir(filepath.Dir(dir))
	base := filepath.Base(dir)
	classes := map[uint8]bool{}
	for i, p := range predicted(t, execute(t, "", "predict", "--model", m, "--quiet", "--masks", masks, base)) {
		require.Equal(t, filepath.Join(masks, base, "0"+strconv.Itoa(i)+".png.png"), p.Mask)
		f, err := os.Open(p.Mask)
		require.NoError(t, err)
		got, err := png.Decode(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		logits, img := raw(t, h, p.Path)
		want := make([]uint8, img.W*img.H)
		h.ClassMap(want, logits, img.W, img.H)
		mask := got.(*image.Paletted)
		require.Equal(t, want, mask.Pix)
		require.Equal(t, image.Rect(0, 0, p.Width, p.Height), mask.Rect)
		require.Equal(t, color.RGBA{A: 255}, mask.Palette[0], "background")
		count := map[string]int64{}
		for _, name := range h.Config.Classes {
			count[name] = 0
		}
		for _, k := range want {
			count[h.Config.Classes[k]]++
			classes[k] = true
		}
		require.Equal(t, count, p.Pixels)
	}
	require.Greater(t, len(classes), 1, "answers differ")
	for _, p := range predicted(t, execute(t, "", "predict", "--model", m, "--quiet", dir)) {
		require.Empty(t, p.Mask)
		require.Len(t, p.Pixels, 3)
	}
}

func TestPredictDetect(t *testing.T) {
	h := headFor(t, heads.Detect, "RBC", "WBC")
	m, dir := modelWith(t, h), gallery(t, 4)
	boxes := func(args ...string) (n int) {
		for _, p := range predicted(t, execute(t, "", append([]string{"predict", "--model", m, "--quiet", dir}, args...)...)) {
			out, img := raw(t, h, p.Path)
			require.Equal(t, [2]int{img.W, img.H}, [2]int{p.Width, p.Height})
			require.NotNil(t, p.Boxes)
			least := 0.3
			if len(args) > 0 {
				least, _ = strconv.ParseFloat(args[1], 64)
			}
			want := h.Decode(out, least)
			require.Len(t, p.Boxes, len(want))
			h.InPicture(want, img.W, img.H)
			for i, b := range p.Boxes {
				require.Equal(t, h.Config.Classes[want[i].Class], b.Class)
				require.InDelta(t, want[i].Score, b.Score, 1e-6)
				require.InDelta(t, want[i].X0, b.X0, 1e-3)
				require.InDelta(t, want[i].Y1, b.Y1, 1e-3)
				require.True(t, b.X0 >= 0 && b.X0 < b.X1 && b.X1 <= float64(p.Width) && b.Y0 >= 0 && b.Y0 < b.Y1 && b.Y1 <= float64(p.Height), "%+v", b)
			}
			n += len(want)
		}
		return n
	}
	few := boxes()
	require.Greater(t, boxes("--threshold", "0.06"), few)
	require.Less(t, boxes("--threshold", "0.99"), few)
}

// tree is every file below a folder.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		all[rel] = string(data)
		return err
	}))
	return all
}

// Rows, masks and drawings are the same bytes in input order, whatever the threads and the batch; a drawing can be read, shows
// the picture, and something on it.
func TestPredictOrder(t *testing.T) {
	const n = 5
	dir := gallery(t, n)
	for task, h := range map[heads.Task]*heads.Head{heads.Classify: headFor(t, heads.Classify, "a", "b"),
		heads.Segment: headFor(t, heads.Segment, "background", "b"), heads.Detect: headFor(t, heads.Detect, "a", "b")} {
		m := modelWith(t, h)
		var want result
		var files map[string]string
		for _, flags := range []string{"--threads 1 --batch 1", "--threads 1", "--threads 2", "--threads 2 --batch 3", "--threads 3 --batch 1"} {
			out := t.TempDir()
			t.Chdir(out)
			args := append(strings.Fields("predict --quiet --draw drawn "+flags), "--model", m, dir)
			if task == heads.Segment {
				args = append(args, "--masks", "masks")
			}
			if task == heads.Detect {
				args = append(args, "--draw-format", "jpg")
			}
			got := execute(t, "", args...)
			if files == nil {
				want, files = got, tree(t, out)
				require.Len(t, predicted(t, got), n)
			}
			require.Equal(t, want, got)
			require.Equal(t, files, tree(t, out))
		}
		drawings := 0
		for name, data := range files {
			if strings.HasPrefix(name, "masks") {
				continue
			}
			drawings++
			img, _, err := image.Decode(strings.NewReader(data))
			require.NoError(t, err, name)
			require.GreaterOrEqual(t, min(img.Bounds().Dx(), img.Bounds().Dy()), 220)
		}
		require.Equal(t, n, drawings)
	}
}

// What a sketch adds is where it should be, and the rest of the picture stays.
func TestSketch(t *testing.T) {
	img := pixels.NewImage(300, 240)
	for i := range img.Pix {
		img.Pix[i] = 100
	}
	grey := color.RGBA{100, 100, 100, 255}
	plain := sketched(img, sketch{})
	require.Equal(t, image.Rect(0, 0, 300, 240), plain.Rect)
	require.Equal(t, grey, plain.RGBAAt(299, 239))

	noted := sketched(img, sketch{legend: []note{{text: "cat 0.93"}}})
	require.Greater(t, noted.Rect.Dy(), 240+letterHeight)
	ink := 0
	for y := 240; y < noted.Rect.Dy(); y++ {
		for x := range 300 {
			switch noted.RGBAAt(x, y) {
			case color.RGBA{A: 255}:
				ink++
			case color.RGBA{255, 255, 255, 255}:
			default:
				t.Fatal("neither ink nor paper")
			}
		}
	}
	require.Greater(t, ink, 60)
	require.Equal(t, grey, noted.RGBAAt(150, 239))

	c := colour(1)
	boxed := sketched(img, sketch{boxes: []frame{{heads.Box{X0: 50, Y0: 60, X1: 150, Y1: 160}, note{c, "x"}}, {heads.Box{X0: 0, Y0: 0, X1: 300, Y1: 240}, note{colour(2), strings.Repeat("wide", 40)}}}})
	for _, at := range []image.Point{{50, 60}, {149, 159}, {100, 61}, {51, 100}} {
		require.Equal(t, c, boxed.RGBAAt(at.X, at.Y), at)
	}
	for _, at := range []image.Point{{100, 100}, {152, 100}, {45, 100}} {
		require.Equal(t, grey, boxed.RGBAAt(at.X, at.Y), at)
	}

	mask := image.NewPaletted(image.Rect(0, 0, 300, 240), palette(heads.Config{Classes: []string{"background", "x"}}))
	mask.Pix[5*300+7] = 1
	laid := sketched(img, sketch{mask: mask})
	require.Equal(t, color.RGBA{mean(100, c.R), mean(100, c.G), mean(100, c.B), 255}, laid.RGBAAt(7, 5))
	require.Equal(t, grey, laid.RGBAAt(8, 5))

	small := sketched(pixels.NewImage(32, 40), sketch{})
	require.Equal(t, image.Rect(0, 0, 7*32, 7*40), small.Rect)
	require.Equal(t, 3, sketched(pixels.NewImage(4000, 3), sketch{}).Rect.Dy(), "never large by being long")
}

// One path gives one name, below the folder.
func TestBelow(t *testing.T) {
	for path, want := range map[string]string{
		"a.png": "d/a.png.x", "./p/../p/a.png": "d/p/a.png.x", "/p/a.png": "d/%root/p/a.png.x", "../a.png": "d/%up/a.png.x",
		"../../a": "d/%up/%up/a.x", "%up/a": "d/%%up/a.x", "%%up/a": "d/%%%up/a.x", "%root/p/a.png": "d/%%root/p/a.png.x",
		"a\xff\n": "d/a\xff\n.x",
	} {
		require.Equal(t, filepath.FromSlash(want), below("d", filepath.FromSlash(path), ".x"), path)
	}
}

func TestPredictUsage(t *testing.T) {
	classify, segment := modelWith(t, headFor(t, heads.Classify, "a", "b")), modelWith(t, headFor(t, heads.Segment, "a", "b"))
	bare, dir := model(t), gallery(t, 2)
	taken := filepath.Dir(write(t, filepath.Join(t.TempDir(), "old"), []byte("old")))
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{dir}, "--model FILE is missing (see edge-embed predict --help)"},
		{[]string{"--model", classify}, "no pictures: give"},
		{[]string{"--model", bare, dir}, "without a head"},
		{[]string{"--model", classify, "--masks", "m", dir}, "--masks is for models that segment"},
		{[]string{"--model", classify, "--top", "0", dir}, "--top 0"},
		{[]string{"--model", classify, "--threshold", "NaN", dir}, "--threshold NaN"},
		{[]string{"--model", classify, "--draw-format", "gif", dir}, "choose one of png, jpg"},
		{[]string{"--model", classify, "--force", dir}, "--force is about --output, --masks and --draw"},
		{[]string{"--model", segment, "--draw", taken, dir}, "is not empty: choose another folder, or add --force"},
		{[]string{"--model", segment, "--draw", filepath.Join(dir, "drawn"), dir}, "whose pictures are read"},
		{[]string{"--model", segment, "--masks", "m", "--draw", "./m", dir}, "are one folder"},
		{[]string{"--model", segment, "--draw", filepath.Join(taken, "old"), dir}, "--draw:"},
		{[]string{"--model", segment, "-o", filepath.Join(taken, "old"), dir}, "add --force"},
		{[]string{"--model", segment, "--tokens", dir}, "unknown flag: --tokens (see edge-embed predict --help)"},
	} {
		r := execute(t, "", append([]string{"predict"}, c.args...)...)
		require.Equal(t, cli.ExitUsage, r.code, "%v: %s", c.args, r.err)
		require.Empty(t, r.out)
		require.Contains(t, r.err, c.want)
		require.Equal(t, 1, strings.Count(r.err, "\n"), "one line: %s", r.err)
	}
	require.NoDirExists(t, "m")
	require.NoDirExists(t, filepath.Join(dir, "drawn"))
	require.Equal(t, map[string]string{"old": "old"}, tree(t, taken))
	require.Zero(t, execute(t, "", "predict", "--model", segment, "--quiet", "--force", "--masks", taken, dir).code)
	require.Len(t, tree(t, taken), 3)
}

// Pictures that cannot be read, and files that cannot be named, are lines; -o takes its name at the end.
func TestPredictSkips(t *testing.T) {
	m, dir := modelWith(t, headFor(t, heads.Segment, "a", "b")), gallery(t, 2)
	write(t, filepath.Join(dir, "01a.jpg"), []byte("\xff\xd8\xff\xe0 no more"))
	long := strings.Repeat("x", 249) + ".png"
	write(t, filepath.Join(dir, long), drawn(t, 30, 20, 1))
	file := filepath.Join(t.TempDir(), "out.jsonl")
	r := execute(t, "", "predict", "--model", m, "--quiet", "-o", file, "--masks", t.TempDir(), dir)
	require.Equal(t, cli.ExitSkipped, r.code, r.err)
	require.Equal(t, 2, strings.Count(r.err, "\n"), r.err)
	require.Contains(t, r.err, "skipping "+filepath.Join(dir, "01a.jpg")+": JPEG: ")
	require.Contains(t, r.err, "name too long")
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Len(t, predicted(t, result{out: string(data)}), 2)

	h := headFor(t, heads.Classify, "a", "b")
	for i := range h.Params.Value {
		h.Params.Value[i] = 3e38
	}
	r = execute(t, "", "predict", "--model", modelWith(t, h), "--quiet", dir)
	require.Equal(t, cli.ExitFailed, r.code)
	require.Empty(t, r.out)
	require.Contains(t, r.err, "not finite")
	require.Contains(t, r.err, "none of the 4 pictures could be predicted")
}

// A model with a head embeds as the same model without, and info describes the head.
func TestHeadBeside(t *testing.T) {
	h := headFor(t, heads.Detect, "RBC", "WBC")
	with, dir := modelWith(t, h), gallery(t, 2)
	require.Equal(t, execute(t, "", "--model", model(t), "--quiet", dir), execute(t, "", "--model", with, "--quiet", dir))
	r := execute(t, "", "info", "--model", with)
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.out, "head         detect, ")
	require.Contains(t, r.out, "classes      2: RBC, WBC")
	r = execute(t, "", "info", "--model", with, "--json")
	var info struct {
		Head struct {
			Task       string
			Classes    []string
			Parameters int
		}
	}
	require.NoError(t, json.Unmarshal([]byte(r.out), &info))
	require.Equal(t, "detect", info.Head.Task)
	require.EqualValues(t, h.Params.Count(), info.Head.Parameters)

	// Of inputs that are not square too, which takes other room than a square.
	e, err := encoder(t).At(12, 48)
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, quant.WriteFloat(&b, e, quant.F32, nil, nil))
	wide := write(t, filepath.Join(t.TempDir(), "wide"), b.Bytes())
	r = execute(t, "", "--model", wide, "--quiet", "--normalize", "none", filepath.Join(dir, "01.png"))
	require.Zero(t, r.code, r.err)
	img, err := pixels.Load(filepath.Join(dir, "01.png"), pixels.Limits{})
	require.NoError(t, err)
	pool := parallel.New(1)
	defer pool.Close()
	want := make([]float32, e.Config.Dim)
	crop := pixels.NewPreprocessor(pixels.Spec{Size: 12, Width: 48, Mean: e.Config.Mean, Std: e.Config.Std}).Crop(img)
	quant.NewFloatEmbedder(e, pool, 1).Embed(want, crop.Pix, 1)
	require.Equal(t, want, lines(t, r.out)[0].Embedding)
}

// The examples of --help work as typed.
func TestPredictHelp(t *testing.T) {
	r := execute(t, "", "predict", "--help")
	require.Zero(t, r.code)
	require.Contains(t, r.out, predictExamples)
	m, photos := modelWith(t, headFor(t, heads.Segment, "a", "b")), gallery(t, 2)
	t.Chdir(t.TempDir())
	require.NoError(t, os.Rename(photos, "photos"))
	data, err := os.ReadFile(m)
	require.NoError(t, err)
	for _, example := range strings.Split(predictExamples, "\n") {
		args := strings.Fields(strings.Split(strings.TrimPrefix(strings.TrimSpace(example), "edge-embed "), " >")[0])
		write(t, args[2], data)
		require.Zero(t, execute(t, "", args...).code, example)
	}
	require.FileExists(t, "masks/photos/00.png.png")
	require.FileExists(t, "drawn/photos/00.png.png")
	require.FileExists(t, "boxes.jsonl")
}
