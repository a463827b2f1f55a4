package heads

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/vit/pixels"
)

func TestProbabilities(t *testing.T) {
	h, err := New(all()["linear"], encoder())
	require.NoError(t, err)
	p := make([]float64, 3)
	logits := []float32{1, -2, 0.5}
	for _, temperature := range []float64{0, 1, 2.5} {
		h.Config.Temperature = temperature
		h.Probabilities(p, logits)
		by, sum := max(temperature, 1), 0.0
		for _, z := range logits {
			sum += math.Exp(float64(z) / by)
		}
		for i, z := range logits {
			require.InDelta(t, math.Exp(float64(z)/by)/sum, p[i], 1e-6)
		}
	}
	h.Probabilities(p, []float32{3e38, -3e38, 3e38})
	require.Equal(t, []float64{0.5, 0, 0.5}, p)
}

// A map of the sub-pixels' own size is their classes; of another size it is that of the definition in float64, but for
// pixels where two classes are as good as equal.
func TestClassMap(t *testing.T) {
	h, err := New(all()["segment"], encoder())
	require.NoError(t, err)
	c, s := len(h.Config.Classes), h.Config.Pixels
	rows, cols := 3*s, 5*s
	logits := normal(h.OutLen(), 4)
	require.Len(t, logits, rows*cols*c)
	got := make([]uint8, rows*cols)
	h.ClassMap(got, logits, cols, rows)
	for i, k := range got {
		require.Equal(t, logits[i*c+1] > logits[i*c], k == 1)
	}
	for _, size := range [][2]int{{1, 1}, {7, 50}, {cols / 2, 3}, {cols * 4, rows * 3}} {
		width, height := size[0], size[1]
		got := make([]uint8, width*height)
		h.ClassMap(got, logits, width, height)
		for y := range height {
			for x := range width {
				u := min(max((float64(x)+0.5)*float64(cols)/float64(width)-0.5, 0), float64(cols-1))
				v := min(max((float64(y)+0.5)*float64(rows)/float64(height)-0.5, 0), float64(rows-1))
				at := func(k int) (sum float64) {
					for r := range rows {
						for q := range cols {
							w := max(1-math.Abs(float64(r)-v), 0) * max(1-math.Abs(float64(q)-u), 0)
							sum += w * float64(logits[(r*cols+q)*c+k])
						}
					}
					return sum
				}
				if d := at(1) - at(0); math.Abs(d) > 1e-5 {
					require.Equal(t, d > 0, got[y*width+x] == 1, "%d %d", x, y)
				}
			}
		}
	}
}

func TestInPicture(t *testing.T) {
	h, err := New(all()["detect"], encoder())
	require.NoError(t, err)
	found := []Found{{Object{Box{0, 3, 20, 12}, 1}, 0.5}}
	h.InPicture(found, 200, 6)
	require.Equal(t, []Found{{Object{Box{0, 1.5, 200, 6}, 1}, 0.5}}, found)
}

// To classify, an input is what embeddings are made of; else all of the picture is in it.
func TestInput(t *testing.T) {
	e := encoder()
	src := pixels.NewImage(40, 12)
	for i := range src.Pix {
		src.Pix[i] = uint8(i * 7)
	}
	src.Pix[0], src.Pix[1], src.Pix[2] = 255, 255, 255
	var dst pixels.Image
	var r pixels.Resizer
	all()["mlp"].Input(&dst, &r, src, e)
	pre := pixels.NewPreprocessor(pixels.Spec{Size: e.ImageSize, Width: e.ImageWidth, Mean: e.Mean, Std: e.Std})
	require.Equal(t, pre.Crop(src), dst)
	require.Positive(t, all()["mlp"].MinSide(e))
	for _, task := range []string{"segment", "detect"} {
		c := all()[task]
		c.Input(&dst, &r, src, e)
		require.Equal(t, [2]int{e.Width(), e.ImageSize}, [2]int{dst.W, dst.H})
		before := dst.Pix[0]
		other := pixels.NewImage(40, 12)
		copy(other.Pix, src.Pix)
		other.Pix[0] = 0
		c.Input(&dst, &r, other, e)
		require.Less(t, dst.Pix[0], before, "the corner counts")
		require.Zero(t, c.MinSide(e))
	}
}

// A head that would not fit any machine is refused by its numbers.
func TestConfigOutputs(t *testing.T) {
	e := encoder()
	e.ImageSize, e.ImageWidth, e.PatchSize = 1024, 1024, 64
	require.NoError(t, e.Validate())
	c := Default(Segment, "", e)
	for i := range 200 {
		c.Classes = append(c.Classes, string(rune('a'+i)))
	}
	require.NoError(t, c.Validate(e))
	c.Pixels = 64
	require.ErrorContains(t, c.Validate(e), "more outputs")
}
