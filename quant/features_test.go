package quant

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/arena"
	"edgejepa/internal/parallel"
	"edgejepa/vit"
)

// features of n pictures, in batches.
func features(x Embedder, c vit.Config, pix []uint8, taps []int, batch, n int) []float32 {
	per := c.Tokens() * (len(taps) + 1) * c.Dim
	dst := make([]float32, n*per)
	for b := 0; b < n; b += batch {
		x.Features(dst[b*per:], pix[b*c.PixelLen():], taps, min(batch, n-b))
	}
	return dst
}

// wide is a network whose grid is neither square nor a multiple of four tokens.
func wide(t testing.TB) *vit.Encoder {
	e, err := randomEncoder(t).At(12, 28)
	require.NoError(t, err)
	return e
}

// Features are the same bits for any batch and number of threads, the float ones those that heads are trained on, and the
// fixed ones are near them: the columns behind a tap as near as the tokens are.
func TestFeatures(t *testing.T) {
	const n = 5
	e := wide(t)
	c, pix := e.Config, pictures(e.Config, n)
	q := calibrated(t, e, 1)
	for _, taps := range [][]int{nil, {0}, {1}, {0, 1}} {
		width := (len(taps) + 1) * c.Dim
		want := trainingFeatures(e, pix, taps, n)
		var fixed []float32
		for _, threads := range []int{1, 2, 3} {
			pool := parallel.New(threads)
			for _, batch := range []int{1, 2, n} {
				name := fmt.Sprint(taps, threads, batch)
				require.Equal(t, want, features(newFloatEmbedder(e, pool, 2), c, pix, taps, batch, n), name)
				got := features(q.NewPass(pool), c, pix, taps, batch, n)
				if fixed == nil {
					fixed = got
				}
				require.Equal(t, fixed, got, name)
			}
			if len(taps) == 0 {
				tokens := make([]float32, len(fixed))
				q.NewPass(pool).Tokens(tokens, pix, n)
				require.Equal(t, tokens, fixed)
			}
			pool.Close()
		}
		for i := range len(taps) + 1 {
			signal, noise := 0.0, 0.0
			for r := range n * c.Tokens() {
				sum, squares := 0.0, 0.0
				for j, v := range want[r*width+i*c.Dim:][:c.Dim] {
					d := float64(v - fixed[r*width+i*c.Dim+j])
					signal, noise = signal+float64(v)*float64(v), noise+d*d
					sum, squares = sum+float64(fixed[r*width+i*c.Dim+j]), squares+float64(fixed[r*width+i*c.Dim+j])*float64(fixed[r*width+i*c.Dim+j])
				}
				if i < len(taps) {
					require.InDelta(t, 0, sum/float64(c.Dim), 1e-3)
					require.InDelta(t, 1, math.Sqrt(squares/float64(c.Dim)), 1e-2)
				}
			}
			db := decibel(signal, noise)
			require.Greater(t, db, 20.0, "%v, part %d", taps, i)
			require.Less(t, db, 70.0, "%v, part %d: too good for eight bits", taps, i)
		}
	}
}

// trainingFeatures are those that a head learns from.
func trainingFeatures(e *vit.Encoder, pix []uint8, taps []int, n int) []float32 {
	pool := parallel.New(2)
	defer pool.Close()
	var read *vit.Taps
	p := arena.Build(func(a *arena.Arena) *vit.Pass {
		p := e.PlacePass(a, pool, n, n*e.Config.Tokens(), vit.Train)
		read = p.PlaceTaps(a, taps)
		return p
	})
	p.Forward(normalized(e.Config, pix, n), n, nil, nil)
	dst := make([]float32, n*e.Config.Tokens()*(len(taps)+1)*e.Config.Dim)
	read.Features(dst)
	return dst
}
