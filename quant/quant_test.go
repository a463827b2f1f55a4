package quant

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cpu"
	"edgejepa/internal/parallel"
	"edgejepa/internal/rng"
	"edgejepa/internal/safetensors"
	"edgejepa/kernels/fixed"
	"edgejepa/kernels/kerneltest"
	"edgejepa/vit"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

func TestISA(t *testing.T) { kerneltest.RequireISA(t) }

// randomEncoder is a micro network that no one trained: initial weights, with norms and biases that do something and a
// few input channels far wider than the rest, which is what makes trained transformers hard to quantise.
func randomEncoder(t testing.TB) *vit.Encoder {
	t.Helper()
	p, err := vit.PresetNamed("micro")
	require.NoError(t, err)
	return randomised(t, p.Config(0, 0))
}

func randomised(t testing.TB, c vit.Config) *vit.Encoder {
	t.Helper()
	e, err := vit.NewEncoder(c)
	require.NoError(t, err)
	e.Params.Init(3)
	for i, p := range e.Params.List {
		s := rng.New(9, rng.PurposeProbe, uint64(i), 0)
		if len(p.Shape) > 1 {
			for j := range p.Value {
				p.Value[j] *= 6
			}
			continue
		}
		for j := range p.Value {
			p.Value[j] += float32(0.1 * s.Norm())
			if j%13 == 5 {
				p.Value[j] *= 8
			}
		}
	}
	e.Pack()
	return e
}

// pictures are n pictures [n, S, S, 3] of noise over a gradient of a colour of their own.
func pictures(c vit.Config, n int) []uint8 {
	pix := make([]uint8, n*c.PixelLen())
	for b := range n {
		s := rng.New(17, rng.PurposeProbe, uint64(b), 1)
		slope := [3]float64{s.Norm(), s.Norm(), s.Norm()}
		for i := range c.PixelLen() {
			x := float64(i / 3 % c.ImageSize)
			v := 128 + float64(60*slope[i%3]*(x/float64(c.ImageSize)-0.5)) + float64(20*s.Norm())
			pix[b*c.PixelLen()+i] = uint8(min(max(v, 0), 255))
		}
	}
	return pix
}

// normalized are pictures as the float network takes them.
func normalized(c vit.Config, pix []uint8, n int) []float32 {
	px := make([]float32, n*c.PixelLen())
	for b := range n {
		normalize(px[b*c.PixelLen():][:c.PixelLen()], pix[b*c.PixelLen():][:c.PixelLen()], pixelTable(c))
	}
	return px
}

func embed(e *Encoder, threads, batch int, pix []uint8, n int) []float32 {
	pool := parallel.New(threads)
	defer pool.Close()
	dst := make([]float32, n*e.Config.Dim)
	p := e.NewPass(pool)
	for b := 0; b < n; b += batch {
		p.Embed(dst[b*e.Config.Dim:], pix[b*e.Config.PixelLen():], min(batch, n-b))
	}
	return dst
}

func calibrated(t testing.TB, e *vit.Encoder, threads int) *Encoder {
	t.Helper()
	pool := parallel.New(threads)
	defer pool.Close()
	q, _, err := Calibrate(e, pool, pictures(e.Config, 8), 8)
	require.NoError(t, err)
	return q
}

const (
	goldenModel   = "../testdata/golden/fixed_micro.safetensors"
	goldenVectors = "../testdata/golden/fixed_micro_vectors.safetensors"
	goldenCount   = 5
)

// The stored model gives the stored embeddings of the stored pictures, byte for byte, on every instruction set of this
// machine, for any batch and any number of threads.
func TestGolden(t *testing.T) {
	t.Logf("path: %s", cpu.ISA())
	if *update {
		writeGolden(t)
	}
	v, err := safetensors.Open(goldenVectors)
	require.NoError(t, err)
	get := func(name string) *safetensors.Tensor {
		x, ok := v.Get(name)
		require.True(t, ok, name)
		return x
	}
	pix, err := get("pictures").Uint8Data()
	require.NoError(t, err)
	want, err := get("embeddings").Float32Data()
	require.NoError(t, err)
	wantTokens, err := get("tokens").Float32Data()
	require.NoError(t, err)
	kerneltest.ForEachISA(t, func(t *testing.T) {
		f, err := safetensors.Open(goldenModel)
		require.NoError(t, err)
		e, err := Load(f)
		require.NoError(t, err)
		for _, threads := range []int{1, 2, 7} {
			for _, batch := range []int{1, 2, goldenCount} {
				require.Equal(t, want, embed(e, threads, batch, pix, goldenCount), "threads %d, batch %d", threads, batch)
			}
			pool := parallel.New(threads)
			tokens := make([]float32, goldenCount*e.Config.Tokens()*e.Config.Dim)
			e.NewPass(pool).Tokens(tokens, pix, goldenCount)
			pool.Close()
			require.Equal(t, wantTokens, tokens[:len(wantTokens)], "threads %d", threads)
		}
		other := bytes.Clone(pix)
		other[7] ^= 16
		require.NotEqual(t, want, embed(e, 1, 1, other, goldenCount), "one pixel shows")
	})
}

func writeGolden(t *testing.T) {
	e := randomEncoder(t)
	q := calibrated(t, e, 1)
	require.NoError(t, os.WriteFile(goldenModel, written(t, q), 0o644))
	c := e.Config
	pix := pictures(c, goldenCount)
	pool := parallel.New(1)
	defer pool.Close()
	tokens := make([]float32, goldenCount*c.Tokens()*c.Dim)
	q.NewPass(pool).Tokens(tokens, pix, goldenCount)
	var b bytes.Buffer
	require.NoError(t, safetensors.Write(&b, nil, []safetensors.Tensor{
		safetensors.F32("embeddings", []int{goldenCount, c.Dim}, embed(q, 1, 1, pix, goldenCount)),
		safetensors.F32("tokens", []int{1, c.Tokens(), c.Dim}, tokens[:c.Tokens()*c.Dim]),
		safetensors.U8("pictures", []int{goldenCount, c.ImageSize, c.ImageSize, 3}, pix),
	}))
	require.NoError(t, os.WriteFile(goldenVectors, b.Bytes(), 0o644))
}

// Calibration is as reproducible as inference: every machine and any number of threads write the stored model.
func TestCalibrateGolden(t *testing.T) {
	want, err := os.ReadFile(filepath.FromSlash(goldenModel))
	require.NoError(t, err)
	e := randomEncoder(t)
	for _, threads := range []int{1, 3} {
		require.True(t, bytes.Equal(want, written(t, calibrated(t, e, threads))), "threads %d", threads)
	}
	e.Params.List[0].Value[0] += 0.5
	e.Pack()
	require.False(t, bytes.Equal(want, written(t, calibrated(t, e, 1))), "one weight shows")
}

// Widths that fill no vector, and a picture whose rows fill no word.
func TestGoldenRagged(t *testing.T) {
	const want = "30d7bb9314c5da28d91a854ee021d530"
	c := vit.Config{ImageSize: 15, PatchSize: 3, Channels: 3, Dim: 20, Depth: 1, Heads: 5, MLPRatio: 2.5, NormEps: 1e-6,
		Mean: vit.ImageNetMean, Std: vit.ImageNetStd, Pool: "mean"}
	require.NoError(t, c.Validate())
	e := randomised(t, c)
	kerneltest.ForEachISA(t, func(t *testing.T) {
		q := calibrated(t, e, 2)
		for _, threads := range []int{1, 2, 7} {
			require.Equal(t, want, hashed(embed(q, threads, 1, pictures(c, 3), 3)), "threads %d", threads)
		}
	})
}

func hashed(x []float32) string {
	h := sha256.New()
	if err := binary.Write(h, binary.LittleEndian, x); err != nil {
		panic(err)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// The traced float network is vit's, bit by bit.
func TestTrace(t *testing.T) {
	e := randomEncoder(t)
	pool := parallel.New(2)
	defer pool.Close()
	const n = 5
	c := e.Config
	pix := pictures(c, n)
	want := e.NewPass(pool, n).Forward(normalized(c, pix, n), n, nil, nil)
	got := make([]float32, len(want))
	traceAll(e, pool, pix, n, func(picture, block, _ int, tr *trace) {
		if block == c.Depth-1 {
			e.Trunk().Norm.Apply(got[picture*c.Tokens()*c.Dim:], tr.out, c.Tokens(), float32(c.NormEps))
		}
	})
	require.Equal(t, want, got)
}

func TestEmbedAllocatesNothing(t *testing.T) {
	e := randomEncoder(t)
	pix := pictures(e.Config, 5)
	dst, tokens := make([]float32, 5*e.Config.Dim), make([]float32, 5*e.Config.Tokens()*e.Config.Dim)
	for _, threads := range []int{1, 2} {
		pool := parallel.New(threads)
		defer pool.Close()
		for name, p := range map[string]Embedder{"int8": calibrated(t, e, 1).NewPass(pool), "f32": newFloatEmbedder(e, pool, 2)} {
			require.Zero(t, testing.AllocsPerRun(5, func() {
				p.Embed(dst, pix, 1)
				p.Embed(dst, pix, 5)
				p.Tokens(tokens, pix, 5)
			}), "%s, threads %d", name, threads)
		}
	}
}

// What rounding may do. A uniform error of ±scale/2 with scale = peak/127 has the power peak²/(12·127²); values whose peak
// is r times their rms then have an SQNR of 20 log10(127 sqrt(12)/r): 45.6 dB for r = 2.3 (32 Gaussian values), 31 for
// r = 12. Input and weights both err, which takes 3 dB, the chain rule takes 1, and an 8-fold channel raises r. Attention
// adds the rounding of its weights. So: no layer below 25 dB. Above 60, which is more than 8 bits give, is only the patch
// embedding, whose input is exact.
func TestCompare(t *testing.T) {
	e := randomEncoder(t)
	pool := parallel.New(2)
	defer pool.Close()
	pix := pictures(e.Config, 20)[8*e.Config.PixelLen():]
	q, _, err := Calibrate(e, pool, pictures(e.Config, 44)[20*e.Config.PixelLen():], 24)
	require.NoError(t, err)
	f := Compare(e, q, pool, pix, 12)
	require.Len(t, f.Layers, 1+2*5)
	for _, l := range f.Layers {
		require.Greater(t, l.SQNR, 25.0, l.Name)
		require.Less(t, l.SQNR, 60.0, "%s: suspiciously good", l.Name)
		require.Less(t, l.Cut, 0.02, l.Name)
	}
	require.Len(t, f.Stream, 2)
	require.Greater(t, f.Stream[1], 25.0)
	require.Zero(t, f.StreamCut)
	require.Greater(t, f.StreamPeak, 0.5/headroom)
	require.Greater(t, f.LeastCosine, 0.999)
	require.Less(t, f.LeastCosine, 1-1e-9, "suspiciously good")
	require.Greater(t, f.LeastCentred, 0.97)
	require.LessOrEqual(t, f.LeastCosine, f.MeanCosine)

	fit := q.scales.fits[4]
	fit.out[1] *= -3
	broken := Compare(e, q, pool, pix, 12)
	require.Equal(t, "blocks.0.mlp.fc2", broken.Layers[5].Name)
	require.Less(t, broken.Layers[5].SQNR, 25.0, "a wrong scale shows")
	require.Equal(t, f.Layers[6], broken.Layers[6], "and only in its layer")

	fit.out[1] /= -3
	q.blocks[0].proj.to.Mult[3] = -q.blocks[0].proj.to.Mult[3]
	broken = Compare(e, q, pool, pix, 12)
	require.Less(t, broken.Stream[0], 25.0, "a wrong multiplier shows behind its block")
	require.Equal(t, f.Layers, broken.Layers)
	require.Less(t, broken.MeanCentred, f.MeanCentred)
}

// The stream saturates where calibration saw nothing like it, and that is counted.
func TestSaturation(t *testing.T) {
	e := randomEncoder(t)
	pool := parallel.New(1)
	defer pool.Close()
	q := calibrated(t, e, 1)
	for i := range q.pos {
		q.pos[i] = fixed.ResidualMax - 1
	}
	f := Compare(e, q, pool, pictures(e.Config, 2), 2)
	require.Equal(t, 1.0, f.StreamPeak)
	require.NotZero(t, f.StreamCut)
}

// Migration helps on pictures that calibration has not seen: all layers are given the error that they have without.
func TestCalibrationHelps(t *testing.T) {
	e := randomEncoder(t)
	pool := parallel.New(2)
	defer pool.Close()
	_, report, err := Calibrate(e, pool, pictures(e.Config, 8), 8)
	require.NoError(t, err)
	require.Len(t, report.Layers, 9)
	require.Equal(t, 8*e.Config.Tokens(), report.Rows)
	gain, migrated := 0.0, 0
	for _, l := range report.Layers[1:] {
		require.LessOrEqual(t, l.Error, 1.0, l.Name)
		gain += l.Error
		if l.Migration > 0 {
			migrated++
		}
	}
	require.Less(t, gain/8, 0.9)
	require.NotZero(t, migrated)
}

func TestQuarterPower(t *testing.T) {
	for q, want := range []float64{1, 2, 4, 8, 16} {
		require.Equal(t, want, quarterPower(16, float64(q)))
	}
}

func TestLimitChains(t *testing.T) {
	row := make([]int8, 40)
	for i, v := range map[int]int8{1: 127, 9: -127, 17: 100, 25: 3, 2: 127, 10: 127, 33: -127} {
		row[i] = v
	}
	limitChains(row)
	want := make([]int8, 40)
	for i, v := range map[int]int8{1: 84, 9: -84, 17: 84, 25: 3, 2: 127, 10: 127, 33: -127} {
		want[i] = v
	}
	require.Equal(t, want, row)
}

func TestTranspose(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {8, 8}, {9, 8}, {7, 16}, {24, 20}, {13, 11}} {
		rows, cols := size[0], size[1]
		lds, ldd := cols+3, rows+2
		src, dst := make([]int8, rows*lds), make([]int8, cols*ldd)
		for i := range src {
			src[i] = int8(i * 37)
		}
		for i := range dst {
			dst[i] = 99
		}
		transpose(dst, ldd, src, lds, rows, cols)
		for j := range cols {
			for i := range ldd {
				want := int8(99)
				if i < rows {
					want = src[i*lds+j]
				}
				require.Equal(t, want, dst[j*ldd+i], "%v: %d, %d", size, i, j)
			}
		}
	}
}

func TestGELURange(t *testing.T) {
	for _, most := range []float64{0, 0.01, 1, 7, 500, 5000} {
		scale, zero := geluRange(most)
		_, err := fixed.NewGELU(scale, zero)
		require.NoError(t, err, most)
		require.GreaterOrEqual(t, float64(127-zero)*scale, min(most, 500)*0.99)
		require.LessOrEqual(t, float64(-128-zero)*scale, -0.17+scale/2)
	}
}

// A network that overflows, or is all zeros, is refused.
func TestNotFinite(t *testing.T) {
	e := randomEncoder(t)
	pool := parallel.New(1)
	defer pool.Close()
	for _, b := range e.Trunk().Blocks {
		for i := range b.FC1.W.Value {
			b.FC1.W.Value[i] *= 1e30
		}
		for i := range b.FC2.W.Value {
			b.FC2.W.Value[i] *= 1e30
		}
	}
	e.Pack()
	_, _, err := Calibrate(e, pool, pictures(e.Config, 3), 3)
	require.ErrorContains(t, err, "not finite")
}
