package quant

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/parallel"
	"edgejepa/internal/safetensors"
	"edgejepa/vit"
)

// limits are between what figures an encoder's fidelity must lie: the least that 8 bits must give, and the most that they can.
type limits struct {
	stream         []float64 // dB, behind each block: least
	meanLoss, loss float64   // 1-cosine, mean over the pictures and of one: most
}

// What 8 bits cannot do. Rounding to 256 steps has an SQNR of 6.02*8 + 1.76 = 50 dB for a wave of the full range, which no
// layer's values are, so no stream is above; and noise of that power, were it independent in every token, would leave
// 1-cosine = 1e-5/2/N in the mean of N tokens.
const bestStream = 50

func bestLoss(c vit.Config) float64 { return 1e-5 / 2 / float64(c.Tokens()) }

// limitsOf derives what must be reached from the noise of each layer by itself, which TestCompare bounds. A layer's output
// is a part of the stream, so its own noise's share of the stream is no more than its share of that output; what norms and
// softmax amplify is less than what the parts leave room for. If noise n of unit vectors has no preferred direction,
// cos = 1/sqrt(1+n) and 1-cos < n/2; the noisiest picture may have four times the mean's.
func limitsOf(f Fidelity, depth int) limits {
	var m limits
	noise := math.Pow(10, -f.Layers[0].SQNR/10)
	for i, l := range f.Layers[1:] {
		noise += math.Pow(10, -l.SQNR/10)
		if (i+1)%((len(f.Layers)-1)/depth) == 0 {
			m.stream = append(m.stream, -10*math.Log10(noise))
		}
	}
	m.meanLoss, m.loss = noise/2, 4*noise/2
	return m
}

// broken names the limits that f breaks.
func (m limits) broken(c vit.Config, f Fidelity) (names []string) {
	say := func(name string, ok bool) {
		if !ok {
			names = append(names, name)
		}
	}
	for b, s := range f.Stream {
		say("stream too noisy", s > m.stream[b])
		say("stream too good", s < bestStream)
	}
	say("mean cosine too low", 1-f.MeanCosine < m.meanLoss)
	say("least cosine too low", 1-f.LeastCosine < m.loss)
	say("mean cosine too good", 1-f.MeanCosine > bestLoss(c))
	say("least cosine too good", 1-f.LeastCosine > bestLoss(c))
	return names
}

// The fixed-point encoder is as near to its original as 8 bits must be and no nearer than they can be, and neither bound is
// so wide that a damaged encoder would pass.
func TestFidelityIsTwoSided(t *testing.T) {
	if testing.Short() {
		t.Skip("the same numbers on every machine, as TestGolden shows")
	}
	e := randomEncoder(t)
	c := e.Config
	pool := parallel.New(2)
	defer pool.Close()
	pix, n := pictures(c, 20)[8*c.PixelLen():], 12
	q, _, err := Calibrate(e, pool, pictures(c, 44)[20*c.PixelLen():], 24)
	require.NoError(t, err)
	data := written(t, q)
	whole := Compare(e, q, pool, pix, n)
	m := limitsOf(whole, c.Depth)
	t.Logf("stream %.1f dB, at least %.1f; 1-cosine %.2g and %.2g, at most %.2g and %.2g",
		whole.Stream, m.stream, 1-whole.MeanCosine, 1-whole.LeastCosine, m.meanLoss, m.loss)
	require.Empty(t, m.broken(c, whole))

	double := func(r *requant, channels ...int) {
		for _, j := range channels {
			r.Shift[j]-- // to the right
		}
	}
	for name, damage := range map[string]func(b *block){
		"nothing":                  func(*block) {},
		"a channel's scale twice":  func(b *block) { double(&b.proj.to, 1) },
		"a query's scale twice":    func(b *block) { double(&b.qkv.to, upTo(c.Dim)...) },
		"a layer's scale twice":    func(b *block) { double(&b.proj.to, upTo(c.Dim)...) },
		"a norm's scale twice":     func(b *block) { double(&b.norm2, upTo(c.Dim)...) },
		"a channel's weights zero": func(b *block) { clear(b.fc1.w[:c.Dim]) },
		"a row's weights zero":     func(b *block) { clear(b.fc2.w[:c.Hidden()]) },
		"a bias gone":              func(b *block) { b.fc2.to.Add[0] = 0 },
		"softmax of another scale": func(b *block) { b.scoreScale[0] *= 2 },
		"GELU of another scale":    func(b *block) { b.geluScale[0] *= 1.1 },
		"GELU's zero shifted":      func(b *block) { b.geluZero[0] += 4 },
	} {
		t.Run(name, func(t *testing.T) {
			f, err := safetensors.Parse(data)
			require.NoError(t, err)
			d, err := Load(f)
			require.NoError(t, err)
			d.scales = q.scales
			for _, l := range d.linears() {
				l.w = append([]int8(nil), l.w...)
			}
			damage(&d.blocks[0])
			require.NoError(t, d.ready())
			got := Compare(e, d, pool, pix, n)
			if broken := m.broken(c, got); name == "nothing" {
				require.Equal(t, whole, got)
			} else {
				require.Contains(t, broken, "stream too noisy", "%.1f", got.Stream)
				require.Contains(t, broken, "mean cosine too low", "%g", 1-got.MeanCosine)
			}
		})
	}

	// The float network beside itself is better than int8 can be.
	own := Fidelity{Stream: []float64{decibel(1, 0), decibel(1, 0)}}
	want, got := make([]float64, n*c.Dim), make([]float32, n*c.Dim)
	e.NewPass(pool, n).Embed(got, normalized(c, pix, n), n)
	for i, v := range got {
		want[i] = float64(v)
	}
	own.cosines(want, got, n, c.Dim)
	require.Subset(t, m.broken(c, own), []string{"stream too good", "mean cosine too good", "least cosine too good"})
}

func upTo(n int) []int {
	x := make([]int, n)
	for i := range x {
		x[i] = i
	}
	return x
}
