package quant

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cpu"
	"edgejepa/internal/parallel"
	"edgejepa/internal/rng"
	"edgejepa/vit"
)

// randomEncoder is a micro network that no one trained: initial weights, with norms and biases that do something and a
// few input channels far wider than the rest, which is what makes trained transformers hard to quantise.
func randomEncoder(t testing.TB) *vit.Encoder {
	t.Helper()
	p, err := vit.PresetNamed("micro")
	require.NoError(t, err)
	e, err := vit.NewEncoder(p.Config(0, 0))
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

// pictures are n normalised pictures [n, C, S, S] of noise over a gradient.
func pictures(c vit.Config, n int) []float32 {
	px := make([]float32, n*c.PixelLen())
	for b := range n {
		s := rng.New(17, rng.PurposeProbe, uint64(b), 1)
		slope := s.Norm()
		for i := range c.PixelLen() {
			px[b*c.PixelLen()+i] = float32(float64(slope*float64(i%c.ImageSize)/float64(c.ImageSize)) + float64(0.5*s.Norm()))
		}
	}
	return px
}

func embed(e *Encoder, threads, batch int, px []float32, n int) []float32 {
	pool := parallel.New(threads)
	defer pool.Close()
	dst := make([]float32, n*e.Config.Dim)
	p := e.NewPass(pool, batch)
	for b := 0; b < n; b += batch {
		p.Embed(dst[b*e.Config.Dim:], px[b*e.Config.PixelLen():], min(batch, n-b))
	}
	return dst
}

func calibrated(t testing.TB, e *vit.Encoder, threads int) *Encoder {
	t.Helper()
	pool := parallel.New(threads)
	defer pool.Close()
	q, _ := Calibrate(e, pool, pictures(e.Config, 8), 8)
	return q
}

func hash(x []float32) string {
	h := sha256.New()
	if err := binary.Write(h, binary.LittleEndian, x); err != nil {
		panic(err)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// golden is the hash of the embeddings of five pictures by the calibrated random network, on every machine.
const golden = "11ebd483f4720e98b265dcd3e9a09995"

// The same bits on this machine's instruction set, for any batch and any number of threads, calibration included.
func TestGolden(t *testing.T) {
	t.Logf("path: %s", cpu.ISA())
	e := randomEncoder(t)
	px := pictures(e.Config, 5)
	for threads := 1; threads <= 3; threads++ {
		q := calibrated(t, e, threads)
		for _, batch := range []int{1, 2, 5} {
			require.Equal(t, golden, hash(embed(q, threads, batch, px, 5)), "threads %d, batch %d", threads, batch)
		}
	}
	px[0]++
	require.NotEqual(t, golden, hash(embed(calibrated(t, e, 1), 1, 5, px, 5)), "the hash sees one pixel")
}

// The float network of this package is vit's, bit by bit.
func TestFloatNetwork(t *testing.T) {
	e := randomEncoder(t)
	pool := parallel.New(2)
	defer pool.Close()
	px := pictures(e.Config, 5)
	want, got := make([]float32, 5*e.Config.Dim), make([]float32, 5*e.Config.Dim)
	e.NewPass(pool, 5).Embed(want, px, 5)
	net := floatNetwork(e)
	p := net.newPass(pool, 5)
	p.Embed(got, px, 5)
	require.Equal(t, want, got)

	tokens := make([]float32, 5*e.Config.Tokens()*e.Config.Dim)
	p.Tokens(tokens, px, 5)
	require.Equal(t, e.NewPass(pool, 5).Forward(px, 5, nil, nil), tokens)
}

func TestEmbedAllocatesNothing(t *testing.T) {
	e := randomEncoder(t)
	pool := parallel.New(2)
	defer pool.Close()
	p := Quantize(e).NewPass(pool, 4)
	px := pictures(e.Config, 4)
	dst, tokens := make([]float32, 4*e.Config.Dim), make([]float32, 4*e.Config.Tokens()*e.Config.Dim)
	require.Zero(t, testing.AllocsPerRun(20, func() {
		p.Embed(dst, px, 4)
		p.Tokens(tokens, px, 4)
	}))
}

// What rounding may do. A uniform error of ±scale/2 with scale = absmax/127 has the power absmax²/(12·127²); a row of
// values whose peak is r times their rms then has an SQNR of 20 log10(127 sqrt(12)/r): 45.6 dB for r = 2.3 (32 Gaussian
// values), 31 for r = 12. Input and weights both err, which takes 3 dB, the chain rule takes 1, and an 8-fold channel
// raises r. So: no layer below 25 dB, and none above 55, which rounding to 8 bits cannot reach.
func TestCompare(t *testing.T) {
	e := randomEncoder(t)
	pool := parallel.New(2)
	defer pool.Close()
	px := pictures(e.Config, 12)
	for name, q := range map[string]*Encoder{"plain": Quantize(e), "calibrated": calibrated(t, e, 2)} {
		f := Compare(e, q, pool, px, 12)
		require.Len(t, f.Layers, 8)
		for _, l := range f.Layers {
			require.Greater(t, l.SQNR, 25.0, "%s %s", name, l.Name)
			require.Less(t, l.SQNR, 55.0, "%s %s: suspiciously good", name, l.Name)
		}
		require.Greater(t, f.LeastCosine, 0.999, name)
		require.Less(t, f.LeastCosine, 1-1e-9, "%s: suspiciously good", name)
		require.Greater(t, f.LeastCentred, 0.97, name)
		require.LessOrEqual(t, f.LeastCosine, f.MeanCosine)
		require.Less(t, f.MeanCentred, f.MeanCosine, "%s: the common part flatters", name)
	}

	broken := Quantize(e)
	broken.Linears[3].Scale.Value[1] *= -3
	f := Compare(e, broken, pool, px, 12)
	require.Less(t, f.Layers[3].SQNR, 25.0, "a wrong scale shows")
	require.Greater(t, f.Layers[2].SQNR, 25.0, "and only in its layer")
}

// Calibration helps on pictures that it has not seen.
func TestCalibrationHelps(t *testing.T) {
	e := randomEncoder(t)
	pool := parallel.New(2)
	defer pool.Close()
	q, report := Calibrate(e, pool, pictures(e.Config, 8), 8)
	require.Len(t, report.Layers, 8)
	require.Equal(t, 8*e.Config.Tokens(), report.Rows)
	unseen := pictures(e.Config, 24)[8*e.Config.PixelLen():]
	plain, better := Compare(e, Quantize(e), pool, unseen, 16), Compare(e, q, pool, unseen, 16)
	gain, migrated := 0.0, 0
	for i, l := range report.Layers {
		require.LessOrEqual(t, l.Error, 1.0, l.Name)
		gain += better.Layers[i].SQNR - plain.Layers[i].SQNR
		if l.Migration > 0 {
			migrated++
		}
	}
	require.Greater(t, gain/8, 0.5, "dB a layer")
	require.NotZero(t, migrated)
	require.Greater(t, better.MeanCentred, plain.MeanCentred)
}

// A recorder keeps the same rows however the batch is cut.
func TestRecorder(t *testing.T) {
	e := randomEncoder(t)
	px := pictures(e.Config, 7)
	var want []float32
	for threads := 1; threads <= 3; threads++ {
		pool := parallel.New(threads)
		rs := record(e, pool, px, 7)
		pool.Close()
		if want == nil {
			want = rs[5].rows
		}
		require.Equal(t, want, rs[5].rows)
	}
	r := &recorder{layer: nothing{}, in: 1, stride: 3, rows: make([]float32, 4)}
	x := []float32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	for _, cut := range [][2]int{{7, 10}, {0, 4}, {4, 5}, {5, 7}} {
		r.apply(nil, x[cut[0]:], cut[0], cut[1]-cut[0], nil)
	}
	require.Equal(t, []float32{0, 3, 6, 9}, r.rows)
}

type nothing struct{}

func (nothing) apply(_, _ []float32, _, _ int, _ *scratch) {}

func TestQuarterPower(t *testing.T) {
	for q, want := range []float64{1, 2, 4, 8, 16} {
		require.Equal(t, want, quarterPower(16, float64(q)), fmt.Sprint(q))
	}
}

// Bad numbers give bad numbers, not a crash.
func TestNotFinitePixels(t *testing.T) {
	e := randomEncoder(t)
	px := pictures(e.Config, 2)
	var zero float32
	px[7] = 1 / zero
	got := embed(Quantize(e), 1, 2, px, 2)
	require.NotEqual(t, got[0], got[0], "NaN shows")
	clean := embed(Quantize(e), 1, 2, pictures(e.Config, 2), 2)
	require.Equal(t, clean[e.Config.Dim:], got[e.Config.Dim:], "and stays with its picture")
}

// A network that overflows gives a report that still has a JSON form, and says that nothing agrees.
func TestOverflow(t *testing.T) {
	e := randomEncoder(t)
	for _, b := range e.Trunk().Blocks {
		for i := range b.FC1.W.Value {
			b.FC1.W.Value[i] *= 1e30
		}
		for i := range b.FC2.W.Value {
			b.FC2.W.Value[i] *= 1e30
		}
	}
	e.Pack()
	pool := parallel.New(1)
	defer pool.Close()
	px := pictures(e.Config, 3)
	q, report := Calibrate(e, pool, px, 3)
	f := Compare(e, q, pool, px, 3)
	require.NotEmpty(t, jsonText(report))
	require.NotEmpty(t, jsonText(f))
	require.Zero(t, f.MeanCosine)
}
